//! `ETag` and `Last-Modified`: the comparison of validators (RFC 9110 §8.8), the conditions of our own requests
//! (RFC 9111 §4.3.1), and which stored answer a later message is about (§4.3.3 to §4.3.5).
//!
//! The decision: exactly one stored answer, the one that the request selects, is nominated for validation. So an origin's
//! 304 is about that one or about none.
//!
//! An entity tag that is not quoted as it should be is taken for what it is: the same bytes are the same tag.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        CONTENT_LENGTH, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
        LAST_MODIFIED, RANGE,
    },
};

use super::list::members;

/// What a request that validates a stored answer must not carry over from the caller: conditions of its own, and a range,
/// since what comes back may be a new answer to store.
const NOT_WITH_OURS: [HeaderName; 6] =
    [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// Whether a request's conditions are for the origin alone, so that the cache takes no part in it: `If-Match` and
/// `If-Unmodified-Since` (RFC 9111 §4.3.2).
#[must_use]
pub fn is_for_the_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Makes a request conditional on the validators of a stored answer. False, and the request is as it was, if there are
/// none.
pub(crate) fn make_conditional(request: &mut HeaderMap, stored: &HeaderMap) -> bool {
    let conditions = [(IF_NONE_MATCH, stored.get(ETAG)), (IF_MODIFIED_SINCE, stored.get(LAST_MODIFIED))];
    if conditions.iter().all(|(_, validator)| validator.is_none()) {
        return false;
    }
    for name in &NOT_WITH_OURS {
        request.remove(name);
    }
    for (name, validator) in conditions {
        if let Some(validator) = validator {
            request.insert(name, validator.clone());
        }
    }
    true
}

/// Whether a 304 to a conditional request of ours, or a 200 to HEAD, is about the stored answer (§4.3.4, §4.3.5).
pub(crate) fn is_about(method: &Method, status: StatusCode, update: &HeaderMap, stored: &HeaderMap) -> bool {
    let agrees = |name: HeaderName, same: fn(&HeaderValue, &HeaderValue) -> bool| {
        update.get(&name).is_none_or(|new| stored.get(&name).is_some_and(|old| same(new, old)))
    };
    let validators = agrees(ETAG, |new, old| weakly_equal(new.as_bytes(), old.as_bytes()))
        && agrees(LAST_MODIFIED, |new, old| new == old);
    match status {
        StatusCode::NOT_MODIFIED => validators,
        StatusCode::OK => {
            method == Method::HEAD && validators && agrees(CONTENT_LENGTH, |new, old| new == old)
        }
        _ => false,
    }
}

/// Whether one of the tags of a caller's `If-None-Match` is the stored one (RFC 9110 §13.1.2).
pub(super) fn none_match_names(request: &HeaderMap, stored: &HeaderMap) -> bool {
    members(request, &IF_NONE_MATCH)
        .any(|tag| tag == b"*" || stored.get(ETAG).is_some_and(|etag| weakly_equal(tag, etag.as_bytes())))
}

fn weakly_equal(one: &[u8], other: &[u8]) -> bool {
    opaque(one) == opaque(other)
}

/// Only two strong tags are ever strongly equal (RFC 9110 §8.8.3.2).
pub(super) fn strongly_equal(one: &[u8], other: &[u8]) -> bool {
    one == other && opaque(one).len() == one.len()
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn tags_are_compared_as_the_rfc_has_it() {
        for (one, other, strongly, weakly) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            let (one, other) = (one.as_bytes(), other.as_bytes());
            assert_eq!((strongly_equal(one, other), weakly_equal(one, other)), (strongly, weakly));
        }
    }

    #[test]
    fn one_of_many_tags_is_enough() {
        let stored = headers(&[(ETAG, "\"abcdef\"")]);
        for (asked, expected) in [
            ("\"abcdef\"", true),
            ("W/\"abcdef\"", true),
            ("\"abcdef\", \"1234\", \"5678\"", true),
            ("\"1234\", \"abcdef\", \"5678\"", true),
            ("\"1234\",\"5678\",\"abcdef\"", true),
            ("\"1234\"", false),
            ("abcdef", false),
            ("*", true),
        ] {
            assert_eq!(none_match_names(&headers(&[(IF_NONE_MATCH, asked)]), &stored), expected, "{asked}");
        }
        assert!(!none_match_names(&headers(&[(IF_NONE_MATCH, "\"1\"")]), &HeaderMap::new()));
        for odd in ["abcdef", "w/\"a\"", "W\"a\""] {
            assert!(none_match_names(&headers(&[(IF_NONE_MATCH, odd)]), &headers(&[(ETAG, odd)])), "{odd}");
        }
    }

    #[test]
    fn our_conditions_take_the_place_of_the_caller_s() {
        let mut request = headers(&[
            (IF_NONE_MATCH, "\"x\""),
            (IF_MATCH, "\"y\""),
            (RANGE, "bytes=0-1"),
            (IF_RANGE, "\"z\""),
        ]);
        assert!(make_conditional(&mut request, &headers(&[(ETAG, "W/\"1\""), (LAST_MODIFIED, "then")])));
        assert_eq!(request, headers(&[(IF_NONE_MATCH, "W/\"1\""), (IF_MODIFIED_SINCE, "then")]));

        let mut request = headers(&[(IF_NONE_MATCH, "\"x\""), (RANGE, "bytes=0-1")]);
        let before = request.clone();
        assert!(!make_conditional(&mut request, &HeaderMap::new()));
        assert_eq!(request, before);
    }

    #[test]
    fn an_update_is_about_the_answer_whose_validators_it_names() {
        let stored = headers(&[(ETAG, "\"1\""), (LAST_MODIFIED, "then"), (CONTENT_LENGTH, "5")]);
        let about = |method: &Method, status, fields: &[(HeaderName, &'static str)]| {
            is_about(method, StatusCode::from_u16(status).unwrap(), &headers(fields), &stored)
        };
        let get = Method::GET;
        assert!(about(&get, 304, &[]));
        assert!(about(&get, 304, &[(ETAG, "W/\"1\"")]));
        assert!(about(&get, 304, &[(ETAG, "\"1\""), (LAST_MODIFIED, "then"), (CONTENT_LENGTH, "9")]));
        assert!(!about(&get, 304, &[(ETAG, "\"2\"")]));
        assert!(!about(&get, 304, &[(LAST_MODIFIED, "now")]));
        assert!(!about(&get, 200, &[(ETAG, "\"1\"")]));
        assert!(about(&Method::HEAD, 200, &[]));
        assert!(about(&Method::HEAD, 200, &[(ETAG, "\"1\""), (CONTENT_LENGTH, "5")]));
        assert!(!about(&Method::HEAD, 200, &[(CONTENT_LENGTH, "6")]));
        assert!(!about(&Method::HEAD, 410, &[]));
    }
}
