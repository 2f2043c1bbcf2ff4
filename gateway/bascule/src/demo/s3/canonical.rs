//! The canonical form of a request, as "Signature Version 4 signing process" in AWS's documentation defines it.
//!
//! Seen from the verifying side: the input is what came over the wire. For S3 the path is decoded and encoded
//! once, as it stands; other services normalise it and encode what they saw once more.

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// `UriEncode()` of the documentation: everything but `A-Z a-z 0-9 - . _ ~`.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same with the slashes of a path left alone.
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// How a service reads the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathRule {
    /// Decoded, encoded once, never normalised: `a//b` and `a/../b` are keys of their own.
    Object,
    /// Encoded again as it stands on the wire; dot segments and double slashes removed first if `normalize`.
    #[cfg_attr(not(test), expect(dead_code, reason = "the signing test suite signs for such a service"))]
    Other {
        /// Whether the path is normalised.
        normalize: bool,
    },
}

/// The path, query and headers of a request on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    /// Its method.
    pub(crate) method: &'a str,
    /// Its path, encoded.
    pub(crate) path: &'a str,
    /// Its query without `?`, encoded; empty for none.
    pub(crate) query: &'a str,
    /// Its headers.
    pub(crate) headers: &'a HeaderMap,
}

/// The canonical request: octets, since header values need not be UTF-8.
pub(super) fn request(head: &Head<'_>, rule: PathRule, signed_headers: &str, payload: &str) -> Vec<u8> {
    let mut text = format!("{}\n{}\n{}\n", head.method, uri(head.path, rule), query(head.query)).into_bytes();
    for name in signed_headers.split(';') {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        text.extend_from_slice(&header(head.headers, name));
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(signed_headers.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload.as_bytes());
    text
}

/// Entries of a query, name and value decoded.
pub(super) fn entries(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    query.split('&').filter(|entry| !entry.is_empty()).map(|entry| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        // `+` stands for itself: it means a space in forms only.
        (percent_decode(name.as_bytes()).collect(), percent_decode(value.as_bytes()).collect())
    })
}

fn uri(path: &str, rule: PathRule) -> String {
    let path = if path.is_empty() { "/" } else { path };
    match rule {
        PathRule::Object => {
            let decoded: Vec<u8> = percent_decode(path.as_bytes()).collect();
            percent_encode(&decoded, PATH).to_string()
        }
        PathRule::Other { normalize: false } => percent_encode(path.as_bytes(), PATH).to_string(),
        PathRule::Other { normalize: true } => percent_encode(normalized(path).as_bytes(), PATH).to_string(),
    }
}

/// RFC 3986 §5.2.4, and double slashes made single.
fn normalized(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let folder = !kept.is_empty() && (path.ends_with('/') || path.ends_with("/.") || path.ends_with("/.."));
    format!("/{}{}", kept.join("/"), if folder { "/" } else { "" })
}

/// Every entry but the signature itself, encoded, sorted by name and then by value.
fn query(query: &str) -> String {
    let encode = |octets: &[u8]| percent_encode(octets, UNRESERVED).to_string();
    let mut sorted: Vec<(String, String)> = entries(query)
        .filter(|(name, _)| name != b"X-Amz-Signature")
        .map(|(name, value)| (encode(&name), encode(&value)))
        .collect();
    sorted.sort_unstable();
    let joined: Vec<String> = sorted.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    joined.join("&")
}

/// A header's values, joined by commas, trimmed, runs of spaces made single.
fn header(headers: &HeaderMap, name: &str) -> Vec<u8> {
    let values: Vec<Vec<u8>> = headers.get_all(name).iter().map(|value| trimmed(value.as_bytes())).collect();
    values.join(&b',')
}

fn trimmed(value: &[u8]) -> Vec<u8> {
    let words = value.split(|octet| matches!(octet, b' ' | b'\t')).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_objects_are_encoded_once_and_never_normalised() {
        assert_eq!(uri("/b/test%24file.text", PathRule::Object), "/b/test%24file.text");
        assert_eq!(uri("/b/test$file.text", PathRule::Object), "/b/test%24file.text");
        assert_eq!(uri("/b//a/../c", PathRule::Object), "/b//a/../c");
        assert_eq!(uri("/b/a%20b%2Fc", PathRule::Object), "/b/a%20b/c");
    }

    #[test]
    fn other_paths_are_encoded_again() {
        let rule = PathRule::Other { normalize: true };
        assert_eq!(uri("/a%20b", rule), "/a%2520b");
        assert_eq!(uri("/a/./b//c/../d/", rule), "/a/b/d/");
        assert_eq!(uri("", rule), "/");
        assert_eq!(uri("/..", rule), "/");
    }

    #[test]
    fn queries_are_sorted_by_encoded_name_and_then_by_value() {
        assert_eq!(query("b=2&a=%7E&b=1&list-type&X-Amz-Signature=f"), "a=~&b=1&b=2&list-type=");
        assert_eq!(query("prefix=a%20b/c"), "prefix=a%20b%2Fc");
    }
}
