//! Header lines, paths and queries that plugins return: well-formed and not too many.
//!
//! What is refused here would otherwise become a header injection at the provider or the caller. Names
//! are put in lower case; nothing else is changed, since a signature may cover it.

use crate::bindings::bascule::plugin::types::{Field, FieldValue, Header, RequestHead};
use crate::error::PluginError;
use crate::limits::Limits;
use crate::secret::SecretValue;

/// Longest path or query. Beyond this providers answer 414 anyway.
const TARGET_BYTES_MAX: usize = 16 << 10;

/// Headers that say where a request goes and where its body ends; a signer may change neither.
const NOT_A_SIGNERS: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "keep-alive",
    "expect",
];

pub(super) fn request(head: RequestHead, limits: &Limits) -> Result<RequestHead, PluginError> {
    let method = head.method.as_str();
    let is_method =
        !method.is_empty() && method.len() <= 32 && method.bytes().all(|c| c.is_ascii_uppercase());
    if !is_method || matches!(method, "CONNECT" | "TRACE") {
        return Err(PluginError::bad_answer(format!("the method {method:?}")));
    }
    let path = head.path.as_str();
    if !path.starts_with('/') || path.starts_with("//") || !is_target(path.as_bytes(), b"#?") {
        return Err(PluginError::bad_answer("an invalid path"));
    }
    // `.` and `..` would leave the endpoint's base path once somebody resolves them.
    if path.split('/').any(is_dot_segment) {
        return Err(PluginError::bad_answer("a path with dot segments"));
    }
    if head.query.as_deref().is_some_and(|query| !is_target(query.as_bytes(), b"#")) {
        return Err(PluginError::bad_answer("an invalid query"));
    }
    Ok(RequestHead { headers: headers(head.headers, limits)?, ..head })
}

/// `.` and `..`, also percent-encoded.
fn is_dot_segment(segment: &str) -> bool {
    let decoded = segment.replace("%2e", ".").replace("%2E", ".");
    matches!(decoded.as_str(), "." | "..")
}

/// Visible ASCII without the delimiters that would end this part.
fn is_target(octets: &[u8], delimiters: &[u8]) -> bool {
    octets.len() <= TARGET_BYTES_MAX && octets.iter().all(|c| c.is_ascii_graphic() && !delimiters.contains(c))
}

pub(super) fn headers(headers: Vec<Header>, limits: &Limits) -> Result<Vec<Header>, PluginError> {
    let sizes = headers.iter().map(|header| header.name.len() + header.value.len());
    size(headers.len(), sizes.sum(), limits)?;
    let checked = |header: Header| {
        let name = name(&header.name)?;
        value(&name, &header.value)?;
        Ok(Header { name, value: header.value })
    };
    headers.into_iter().map(checked).collect()
}

/// The name in lower case.
fn name(name: &str) -> Result<String, PluginError> {
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(PluginError::bad_answer(format!("the header name {name:?}")));
    }
    Ok(name.to_ascii_lowercase())
}

/// The name of a header that a signer may set.
pub(super) fn signed_name(field: &str) -> Result<String, PluginError> {
    let name = name(field)?;
    if NOT_A_SIGNERS.contains(&name.as_str()) {
        return Err(PluginError::bad_answer(format!("the header `{name}` from a signer")));
    }
    Ok(name)
}

/// The value may be a secret: it is not named in the error.
pub(super) fn value(name: &str, value: &[u8]) -> Result<(), PluginError> {
    let allowed = |c: &u8| *c == b'\t' || (*c >= b' ' && *c != 0x7f);
    match value.iter().all(allowed) {
        true => Ok(()),
        false => Err(PluginError::bad_answer(format!("a control character in the header `{name}`"))),
    }
}

/// A name or value of the query, percent-encoded already.
pub(super) fn query_part(part: &[u8]) -> Result<(), PluginError> {
    match is_target(part, b"#&") {
        true => Ok(()),
        false => Err(PluginError::bad_answer("a query parameter that is not percent-encoded")),
    }
}

/// The caps before secrets are put in, so that a thousand inserts are not rendered first.
pub(super) fn fields_size(fields: &[Field], limits: &Limits) -> Result<(), PluginError> {
    let value = |field: &Field| match &field.value {
        FieldValue::Plain(octets) => octets.len(),
        FieldValue::Secret(insert) => insert.lead.len() + insert.prefix.len() + insert.suffix.len(),
    };
    size(fields.len(), fields.iter().map(|field| field.name.len() + value(field)).sum(), limits)
}

pub(super) fn secrets_size(fields: &[(String, SecretValue)], limits: &Limits) -> Result<(), PluginError> {
    size(fields.len(), fields.iter().map(|(name, value)| name.len() + value.bytes.len()).sum(), limits)
}

pub(crate) fn size(lines: usize, octets: usize, limits: &Limits) -> Result<(), PluginError> {
    if lines > limits.header_lines || octets > limits.header_bytes {
        let reason = format!("{lines} lines and {octets} octets of headers or query");
        return Err(PluginError::bad_answer(reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, path: &str, query: Option<&str>) -> RequestHead {
        RequestHead {
            method: method.into(),
            endpoint: None,
            path: path.into(),
            query: query.map(Into::into),
            headers: Vec::new(),
        }
    }

    fn request(head: RequestHead) -> Result<RequestHead, PluginError> {
        super::request(head, &Limits::default())
    }

    fn headers(headers: Vec<Header>) -> Result<Vec<Header>, PluginError> {
        super::headers(headers, &Limits::default())
    }

    #[test]
    fn request_lines_that_could_be_split_are_refused() {
        assert!(request(head("GET", "/a/b%20c", Some("q=%0d"))).is_ok());
        let bad = [
            ("get", "/"),
            ("GET /x", "/"),
            ("CONNECT", "/"),
            ("GET", "a"),
            ("GET", "//evil.example/"),
            ("GET", "/a b"),
            ("GET", "/a\r\nx: y"),
            ("GET", "/a?b"),
            ("GET", "/ä"),
            ("GET", "/a/../b"),
            ("GET", "/a/%2E%2e"),
        ];
        for (method, path) in bad {
            assert!(request(head(method, path, None)).is_err(), "{method} {path}");
        }
        assert!(request(head("GET", "/", Some("a b"))).is_err());
        assert!(request(head("GET", "/", Some("a#b"))).is_err());
    }

    #[test]
    fn headers_are_lower_cased_and_injections_refused() {
        let header = |name: &str, value: &[u8]| vec![Header { name: name.into(), value: value.into() }];
        assert_eq!(headers(header("X-Id", b"a\tb\xff")).unwrap()[0].name, "x-id");
        for (name, value) in [("", &b""[..]), ("a b", b""), ("a:", b""), ("a", b"\r\nb: c"), ("a", b"\0")] {
            assert!(headers(header(name, value)).is_err(), "{name:?}");
        }
        assert!(signed_name("Authorization").is_ok() && signed_name("Content-Length").is_err());
    }

    #[test]
    fn lines_and_octets_are_capped() {
        let many = |lines, octets| {
            headers(vec![Header { name: "a".into(), value: vec![b'x'; octets] }; lines]).is_ok()
        };
        assert!(many(100, 300) && !many(101, 1) && !many(1, 32 << 10));
    }
}
