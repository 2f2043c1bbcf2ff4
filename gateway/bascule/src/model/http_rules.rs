//! Rules of HTTP that several layers keep: hop-by-hop headers (RFC 9110 §7.6.1) and paths that stay put.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
        TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};
use percent_encoding::percent_decode_str;

/// Whether a header belongs to one connection only.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        CONNECTION | PROXY_AUTHENTICATE | PROXY_AUTHORIZATION | TE | TRAILER | TRANSFER_ENCODING | UPGRADE
    ) || name == "keep-alive"
        || name == "proxy-connection"
}

/// The headers that `Connection` names: they belong to the one connection too.
pub fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// Removes hop-by-hop headers, those that `Connection` names included.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in &named_by_connection(headers) {
        headers.remove(name);
    }
    for name in [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE]
    {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// The headers that go on from one who calls to a provider: all but those that are the connection's, Bascule's or about
/// who called. Trace context is set anew for every attempt.
pub fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut forwarded = headers.clone();
    strip_hop_by_hop(&mut forwarded);
    for name in [HOST, FORWARDED, EXPECT, CONTENT_LENGTH] {
        forwarded.remove(name);
    }
    for name in ["traceparent", "tracestate", "baggage"] {
        forwarded.remove(name);
    }
    join_cookies(&mut forwarded);
    let own: Vec<HeaderName> = forwarded
        .keys()
        .filter(|name| name.as_str().starts_with("bascule-") || name.as_str().starts_with("x-forwarded-"))
        .cloned()
        .collect();
    for name in own {
        forwarded.remove(name);
    }
    forwarded
}

/// HTTP/2 clients split `Cookie` into crumbs; HTTP/1.1 knows one line (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Whether a segment of the path reads `.` or `..` once it is decoded, with backslashes taken for
/// slashes as lenient servers do.
pub fn has_dot_segment(path: &str) -> bool {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    let segments = decoded.split(|octet| matches!(octet, b'/' | b'\\'));
    // Some servers cut path parameters off before they resolve dots: `..;x` is `..` to them.
    segments
        .map(|segment| segment.split(|octet| *octet == b';').next().unwrap_or_default())
        .any(|segment| matches!(segment, b"." | b".."))
}

/// Whether every `%` in the path encodes an octet, and none encodes a control character.
pub fn is_well_encoded(path: &str) -> bool {
    let mut octets = path.bytes();
    while let Some(octet) = octets.next() {
        if octet != b'%' {
            continue;
        }
        let digits = octets.next().zip(octets.next());
        let Some((high, low)) =
            digits.and_then(|(h, l)| Some(((h as char).to_digit(16)?, (l as char).to_digit(16)?)))
        else {
            return false;
        };
        let value = high * 16 + low;
        if value < 0x20 || value == 0x7f {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn hop_by_hop_headers_go_with_those_that_connection_names() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("keep-alive", "5"),
            ("x-stay", "1"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-stay"]);
    }

    #[test]
    fn dot_segments_are_found_however_they_are_written() {
        for bad in
            ["/a/../b", "/..", "/a/%2e%2e/b", "/a/.%2E", "/a%2f..%2fb", "/a\\..\\b", "/./a", "/a/..;x/b"]
        {
            assert!(has_dot_segment(bad), "{bad}");
        }
        for good in ["/a/b", "/...", "/a..b", "/a/.hidden", "/"] {
            assert!(!has_dot_segment(good), "{good}");
        }
    }

    #[test]
    fn percent_signs_must_encode_something_printable() {
        for good in ["/a%20b", "/%C3%BC", "/"] {
            assert!(is_well_encoded(good), "{good}");
        }
        for bad in ["/%", "/%2", "/%zz", "/%0d%0a", "/%00", "/%7F"] {
            assert!(!is_well_encoded(bad), "{bad}");
        }
    }
}
