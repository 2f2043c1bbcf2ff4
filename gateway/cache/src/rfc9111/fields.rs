//! Which fields of an answer are stored, and which of them a later message may change (RFC 9111 §3.1, §3.2).
//!
//! Decisions where the RFC leaves a choice: the fields that `no-cache="…"` and `private="…"` name are left out of what is
//! stored, so that the rest can be used freely; what describes the very bytes of the body, such as `Content-Encoding`, is
//! not changed by a 304.
//!
//! `Set-Cookie` is stored where the answer may be stored at all, which is decided elsewhere. Trailer fields are not
//! stored (RFC 9110 §6.5 lets them go).

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName,
    header::{
        AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

use super::{dates::format, directives::ResponseDirectives, list::members};

/// Fields of one connection or one hop. `Age` is among them because it is worked out anew for every answer.
const NOT_STORED: [HeaderName; 11] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    AGE,
];

/// They belong to the bytes of the stored body.
const NOT_UPDATED: [HeaderName; 5] = [
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
];

/// Takes out of a response's fields what is not stored, and puts in the `Date` that a recipient must add where the
/// origin sent none (RFC 9110 §6.6.1).
pub(super) fn strip(headers: &mut HeaderMap, directives: &ResponseDirectives, received_on: SystemTime) {
    for name in connection_options(headers) {
        headers.remove(name);
    }
    for name in NOT_STORED.iter().chain(&directives.no_cache_fields).chain(&directives.private_fields) {
        headers.remove(name);
    }
    if !headers.contains_key(DATE)
        && let Some(date) = format(received_on)
    {
        headers.insert(DATE, date);
    }
}

/// The stored fields with those of a later message about the same representation in their place. What is not to be
/// stored comes along and is [stripped](strip) afterwards, since `Age` and the directives are still wanted.
pub(crate) fn updated(stored: &HeaderMap, update: &HeaderMap) -> HeaderMap {
    let mut merged = stored.clone();
    // An update without a date was made when it came (RFC 9110 §6.6.1), not when the stored answer was.
    merged.remove(DATE);
    let not_ours = connection_options(update);
    for name in update.keys().filter(|name| !NOT_UPDATED.contains(name) && !not_ours.contains(name)) {
        merged.remove(name);
        for value in update.get_all(name) {
            merged.append(name, value.clone());
        }
    }
    merged
}

fn connection_options(headers: &HeaderMap) -> Vec<HeaderName> {
    members(headers, &CONNECTION).filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn stripped(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = headers(fields);
        let directives = ResponseDirectives::of(&headers);
        strip(&mut headers, &directives, SystemTime::UNIX_EPOCH);
        let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn fields_of_the_connection_are_left_out() {
        let names = stripped(&[
            ("connection", "a, B"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("keep-alive", "1"),
            ("proxy-authenticate", "1"),
            ("proxy-authentication-info", "1"),
            ("proxy-authorization", "1"),
            ("proxy-connection", "1"),
            ("te", "1"),
            ("trailer", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "1"),
            ("age", "1"),
            ("www-authenticate", "x"),
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ]);
        assert_eq!(names, ["c", "date", "www-authenticate"]);
    }

    #[test]
    fn fields_that_a_directive_names_are_left_out() {
        let names = stripped(&[
            ("cache-control", "no-cache=\"a\", private=\"b, d\""),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
        ]);
        assert_eq!(names, ["c", "cache-control", "date"]);
    }

    #[test]
    fn a_missing_date_is_the_moment_of_arrival_and_any_other_is_left_alone() {
        let mut headers = headers(&[]);
        strip(&mut headers, &ResponseDirectives::default(), SystemTime::UNIX_EPOCH);
        assert_eq!(headers[DATE], "Thu, 01 Jan 1970 00:00:00 GMT");
        headers.insert(DATE, HeaderValue::from_static("foo"));
        strip(&mut headers, &ResponseDirectives::default(), SystemTime::UNIX_EPOCH);
        assert_eq!(headers[DATE], "foo");
    }

    #[test]
    fn an_update_replaces_all_lines_of_a_field_but_not_what_describes_the_body() {
        let mut stored =
            headers(&[("a", "1"), ("b", "1"), ("content-length", "5"), ("content-encoding", "gzip")]);
        stored.append("a", HeaderValue::from_static("2"));
        let update = headers(&[
            ("a", "3"),
            ("content-length", "10"),
            ("content-encoding", "br"),
            ("content-type", "text/plain"),
            ("connection", "secret"),
            ("secret", "1"),
        ]);
        let merged = updated(&stored, &update);
        assert_eq!(merged.get_all("a").iter().collect::<Vec<_>>(), ["3"]);
        assert_eq!(
            (&merged["b"], &merged["content-type"]),
            (&HeaderValue::from_static("1"), &HeaderValue::from_static("text/plain"))
        );
        assert_eq!(
            (&merged["content-length"], &merged["content-encoding"]),
            (&HeaderValue::from_static("5"), &HeaderValue::from_static("gzip"))
        );
        assert!(!merged.contains_key("secret"));
    }
}
