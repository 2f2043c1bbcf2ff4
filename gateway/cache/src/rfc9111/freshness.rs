//! How long an answer is fresh (RFC 9111 §4.2.1, §4.2.2).
//!
//! ```text
//! s-maxage ─► max-age ─► Expires − Date ─► a tenth of Date − Last-Modified ─► not at all
//! ```
//!
//! The first that is there counts, even where it cannot be read: a lifetime that is no number and a date that is none
//! are zero (§4.2.1, §5.3). The last one is a guess, made only for status codes that allow it, or with `public`, and
//! capped.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, StatusCode,
    header::{DATE, EXPIRES, LAST_MODIFIED},
};

use super::{
    dates::{date, span},
    directives::ResponseDirectives,
};

/// The tenth of §4.2.2 that everybody takes.
const HEURISTIC_PART: u32 = 10;

/// The age up to which an answer is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// The origin gave it.
    Explicit(Duration),
    /// It was guessed from `Last-Modified`.
    Heuristic(Duration),
    /// Nothing to go by, but storing is not forbidden.
    Unknown,
    /// Nothing to go by, and the status code allows no guess.
    None,
}

pub(super) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    received_on: SystemTime,
    heuristic_max: Duration,
) -> Lifetime {
    if let Some(given) = directives.s_maxage.or(directives.max_age) {
        return Lifetime::Explicit(given);
    }
    // A missing or unreadable Date is the moment of arrival (RFC 9110 §6.6.1).
    let made_on = date(headers, &DATE).unwrap_or(received_on);
    if !directives.targeted && headers.contains_key(EXPIRES) {
        return Lifetime::Explicit(date(headers, &EXPIRES).map_or(Duration::ZERO, |end| span(made_on, end)));
    }
    if !directives.public && !is_heuristically_cacheable(status) {
        return Lifetime::None;
    }
    date(headers, &LAST_MODIFIED).map_or(Lifetime::Unknown, |modified| {
        Lifetime::Heuristic((span(modified, made_on) / HEURISTIC_PART).min(heuristic_max))
    })
}

/// RFC 9110 §15.1, but for 206, which is not stored here.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::rfc9111::dates::format;

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn on(offset: i64) -> HeaderValue {
        let on = Duration::from_secs(1_700_000_000_u64.saturating_add_signed(offset));
        format(SystemTime::UNIX_EPOCH + on).unwrap()
    }

    fn of(status: u16, fields: &[(HeaderName, HeaderValue)]) -> Lifetime {
        let headers: HeaderMap = fields.iter().cloned().collect();
        let directives = ResponseDirectives::of(&headers);
        lifetime(StatusCode::from_u16(status).unwrap(), &headers, &directives, now(), DAY)
    }

    fn explicit(seconds: u64) -> Lifetime {
        Lifetime::Explicit(Duration::from_secs(seconds))
    }

    fn cache_control(value: &'static str) -> (HeaderName, HeaderValue) {
        (http::header::CACHE_CONTROL, HeaderValue::from_static(value))
    }

    #[test]
    fn what_is_more_for_us_counts_more() {
        let expires = (EXPIRES, on(500));
        assert_eq!(of(200, &[expires.clone(), cache_control("max-age=5, s-maxage=50")]), explicit(50));
        assert_eq!(of(200, &[expires.clone(), cache_control("max-age=5")]), explicit(5));
        assert_eq!(of(200, &[expires.clone(), cache_control("max-age=x")]), explicit(0));
        assert_eq!(of(200, &[expires, cache_control("public")]), explicit(500));
    }

    #[test]
    fn expires_is_measured_from_date() {
        for (expires, made_on, expected) in [
            (on(300), on(400), 0),
            (on(20), on(10), 10),
            (on(10), on(-10), 20),
            (on(10), HeaderValue::from_static("foo"), 10),
            (on(0), on(0), 0),
            (on(-100), on(0), 0),
            (HeaderValue::from_static("0"), on(0), 0),
        ] {
            assert_eq!(
                of(200, &[(EXPIRES, expires.clone()), (DATE, made_on)]),
                explicit(expected),
                "{expires:?}"
            );
        }
        assert_eq!(of(200, &[(EXPIRES, on(10))]), explicit(10));
    }

    #[test]
    fn a_targeted_field_takes_the_place_of_expires_too() {
        let cdn = HeaderName::from_static("cdn-cache-control");
        let targeted = |value| (cdn.clone(), HeaderValue::from_static(value));
        assert_eq!(of(200, &[(EXPIRES, on(500)), targeted("max-age=5")]), explicit(5));
        assert_eq!(of(200, &[(EXPIRES, on(500)), targeted("public")]), Lifetime::Unknown);
        assert_eq!(of(200, &[cache_control("max-age=9"), targeted("max-age=x")]), explicit(9));
    }

    #[test]
    fn a_guess_is_a_tenth_of_the_age_up_to_the_cap() {
        let guess = |offset| of(200, &[(LAST_MODIFIED, on(offset)), (DATE, on(0))]);
        assert_eq!(guess(-100), Lifetime::Heuristic(Duration::from_secs(10)));
        assert_eq!(guess(-86_400 * 100), Lifetime::Heuristic(DAY));
        assert_eq!(guess(100), Lifetime::Heuristic(Duration::ZERO));
        assert_eq!(of(200, &[]), Lifetime::Unknown);
    }

    #[test]
    fn only_some_status_codes_allow_a_guess() {
        for (status, allowed) in [
            (200, true),
            (201, false),
            (202, false),
            (203, true),
            (204, true),
            (302, false),
            (308, true),
            (403, false),
            (404, true),
            (405, true),
            (410, true),
            (414, true),
            (501, true),
            (502, false),
            (503, false),
            (504, false),
            (599, false),
        ] {
            let modified = (LAST_MODIFIED, on(-100));
            let guessed = matches!(of(status, std::slice::from_ref(&modified)), Lifetime::Heuristic(_));
            assert_eq!(guessed, allowed, "{status}");
            assert!(
                matches!(of(status, &[modified, cache_control("public")]), Lifetime::Heuristic(_)),
                "{status}"
            );
        }
    }
}
