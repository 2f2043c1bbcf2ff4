//! AWS Signature Version 4 from the provider's side: whether a request is as it was when it was signed.
//!
//! Written from AWS's documentation for S3 (paths are encoded once), apart from the plugin and from the demo's
//! stand-in. It is a check of what was received and knows nothing of clocks, sessions or presigned queries.

use crate::support::Request;
use bascule_plugin_host::PluginHost;

/// The secret key that requests are signed with.
pub(super) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// Whether the signature is that of the request as it arrived.
pub(super) fn verify(request: &Request) -> Result<(), String> {
    let scope =
        part(request, "Credential=").and_then(|credential| credential.split_once('/')).ok_or("no scope")?.1;
    let names = part(request, "SignedHeaders=").ok_or("no signed headers")?;
    let signature = part(request, "Signature=").ok_or("no signature")?;
    let payload = request.header("x-amz-content-sha256");
    if payload != "UNSIGNED-PAYLOAD" && payload != PluginHost::digest_of(&request.body) {
        return Err("another body than was signed".into());
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut entries: Vec<String> =
        query.split('&').filter(|entry| !entry.is_empty()).map(with_value).collect();
    entries.sort();
    let headers: String =
        names.split(';').map(|name| format!("{name}:{}\n", canonical(request, name))).collect();
    let head = [request.method.as_str(), path, &entries.join("&"), &headers, names, payload].join("\n");
    let date = request.header("x-amz-date");
    let text = ["AWS4-HMAC-SHA256", date, scope, &PluginHost::digest_of(head.as_bytes())].join("\n");
    let key =
        scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, word| hmac(&key, word.as_bytes()));
    let expected: String = hmac(&key, text.as_bytes()).iter().map(|octet| format!("{octet:02x}")).collect();
    if signature == expected { Ok(()) } else { Err(format!("another request than was signed: {head}")) }
}

/// Whether the header is among those that were signed.
pub(super) fn covers(request: &Request, name: &str) -> bool {
    part(request, "SignedHeaders=").is_some_and(|names| names.split(';').any(|one| one == name))
}

/// A member of the `Authorization` header.
fn part<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.header("authorization").split([' ', ',']).find_map(|part| part.strip_prefix(name))
}

fn with_value(entry: &str) -> String {
    if entry.contains('=') { entry.to_owned() } else { format!("{entry}=") }
}

/// All values of a header, blanks trimmed and drawn together.
fn canonical(request: &Request, name: &str) -> String {
    let values = request.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    let words = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
    values.map(words).collect::<Vec<_>>().join(",")
}

/// HMAC-SHA256 (RFC 2104) for keys of at most one block.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let padded = |pad: u8, rest: &[u8]| {
        let mut block = vec![pad; 64];
        block.iter_mut().zip(key).for_each(|(octet, key)| *octet ^= key);
        block.extend_from_slice(rest);
        sha256(&block)
    };
    padded(0x5c, &padded(0x36, text))
}

fn sha256(octets: &[u8]) -> Vec<u8> {
    let hex = PluginHost::digest_of(octets);
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits"))
        .collect()
}
