//! What may be stored, by table, and on which terms.

use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, VARY},
};
use proptest::prelude::*;

use super::*;

type Fields<'a> = &'a [(&'static str, &'static str)];

fn headers(fields: Fields<'_>) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn received() -> Received {
    let now = Instant::now();
    Received {
        requested_at: now,
        received_at: now,
        received_on: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    }
}

fn of(
    method: &Method,
    request: Fields<'_>,
    status: u16,
    response: Fields<'_>,
    policy: &Policy,
) -> Result<Storable, NotStored> {
    let (request, response) = (headers(request), headers(response));
    let status = StatusCode::from_u16(status).unwrap();
    Exchange { method, request: &request, status, response: &response, received: received() }.storable(policy)
}

fn stored(request: Fields<'_>, status: u16, response: Fields<'_>) -> Result<(), NotStored> {
    of(&Method::GET, request, status, response, &Policy::default()).map(|_| ())
}

fn terms(cache_control: &'static str) -> Terms {
    let policy = Policy {
        keep_stale: Duration::from_secs(1000),
        stale_while_revalidate: Duration::from_secs(7),
        ..Policy::default()
    };
    *of(&Method::GET, &[], 200, &[("cache-control", cache_control), ("etag", "\"1\"")], &policy)
        .unwrap()
        .terms()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn each_rule_forbids_by_its_name() {
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    for (request, status, response, expected) in [
        (&[][..], 200, &[FRESH][..], Ok(())),
        (&[], 103, &[FRESH], Err(NotStored::Status)),
        (&[], 206, &[FRESH], Err(NotStored::Status)),
        (&[], 304, &[FRESH], Err(NotStored::Status)),
        (&[], 416, &[FRESH], Err(NotStored::Status)),
        (&[("range", "bytes=0-1")], 200, &[FRESH], Ok(())),
        (&[("range", "bytes=0-1")], 404, &[FRESH], Err(NotStored::Status)),
        (&[("cache-control", "no-store")], 200, &[FRESH], Err(NotStored::RequestNoStore)),
        (&[], 200, &[("cache-control", "max-age=60, no-store")], Err(NotStored::NoStore)),
        (&[], 200, &[("cache-control", "max-age=60, no-store, must-understand")], Ok(())),
        (&[], 299, &[("cache-control", "max-age=60, must-understand")], Err(NotStored::NotUnderstood)),
        (&[], 200, &[("cache-control", "max-age=60, private")], Err(NotStored::Private)),
        (&[], 200, &[("cache-control", "max-age=60, private=\"a\"")], Ok(())),
        (&[("authorization", "x")], 200, &[FRESH], Err(NotStored::Authorization)),
        (&[("authorization", "x")], 200, &[("cache-control", "max-age=60, public")], Ok(())),
        (&[("authorization", "x")], 200, &[("cache-control", "max-age=60, must-revalidate")], Ok(())),
        (&[("authorization", "x")], 200, &[("cache-control", "s-maxage=60")], Ok(())),
        (
            &[("authorization", "x")],
            200,
            &[("cdn-cache-control", "max-age=60")],
            Err(NotStored::Authorization),
        ),
        (&[("cookie", "x")], 200, &[FRESH], Err(NotStored::Cookie)),
        (&[], 200, &[FRESH, ("set-cookie", "x")], Err(NotStored::Cookie)),
        (&[("cookie", "x")], 200, &[("cache-control", "public, max-age=60"), ("set-cookie", "x")], Ok(())),
        (&[], 200, &[FRESH, ("vary", "*")], Err(NotStored::Vary)),
        (&[], 599, &[], Err(NotStored::NoLifetime)),
        (&[], 599, &[FRESH], Ok(())),
        (&[], 200, &[], Err(NotStored::Useless)),
        (&[], 200, &[("cache-control", "max-age=0")], Err(NotStored::Useless)),
        (&[], 200, &[("cache-control", "max-age=60"), ("age", "60")], Err(NotStored::Useless)),
        (&[], 200, &[("etag", "\"1\"")], Ok(())),
        (&[], 200, &[("cache-control", "no-cache"), ("etag", "\"1\"")], Ok(())),
        (&[], 200, &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60")], Ok(())),
        (&[], 200, &[FRESH, ("cdn-cache-control", "no-store")], Err(NotStored::NoStore)),
        (&[], 200, &[FRESH, ("cdn-cache-control", "private")], Err(NotStored::Private)),
    ] {
        assert_eq!(stored(request, status, response), expected, "{request:?} {status} {response:?}");
    }
    for method in [Method::HEAD, Method::POST, Method::PUT, Method::OPTIONS] {
        let found = of(&method, &[], 200, &[FRESH], &Policy::default());
        assert_eq!(found.err(), Some(NotStored::Method), "{method}");
    }
}

#[test]
fn cookies_are_shared_as_the_rfc_allows_only_where_that_is_wanted() {
    let policy = Policy { share_cookies: true, ..Policy::default() };
    let guessed = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    for (request, response, expected) in [
        (&[][..], &[("cache-control", "max-age=60"), ("set-cookie", "x")][..], Ok(())),
        (&[("cookie", "x")], &[("cache-control", "max-age=60")], Ok(())),
        (&[], &[guessed, ("set-cookie", "x")], Err(NotStored::Cookie)),
        (&[("authorization", "x")], &[("cache-control", "max-age=60")], Err(NotStored::Authorization)),
    ] {
        let found = of(&Method::GET, request, 200, response, &policy).map(|_| ());
        assert_eq!(found, expected, "{request:?} {response:?}");
    }
}

#[test]
fn an_answer_of_unknown_age_is_stale_but_can_be_validated() {
    let of = |age| {
        let response: Fields<'_> = &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("age", age)];
        of(&Method::GET, &[], 200, response, &Policy::default()).unwrap().terms
    };
    assert_eq!((of("5").lifetime, of("5").initial_age), (secs(60), secs(5)));
    assert_eq!((of("x").lifetime, of("x").validate_within), (secs(0), secs(86_400)));
    assert_eq!(stored(&[], 200, &[("cache-control", "max-age=60"), ("age", "x")]), Err(NotStored::Useless));
}

#[test]
fn every_final_status_may_be_stored_with_an_explicit_lifetime() {
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599] {
        assert_eq!(stored(&[], status, &[("cache-control", "max-age=60")]), Ok(()), "{status}");
    }
}

#[test]
fn what_the_origin_says_of_staleness_goes_before_the_configuration() {
    let plain = terms("max-age=60");
    assert_eq!(
        (plain.lifetime, plain.stale_while_revalidate, plain.keep_stale),
        (secs(60), secs(7), secs(1000))
    );
    assert_eq!(
        (plain.stale_if_error, plain.validate_within, plain.never_stale),
        (secs(0), secs(86_400), false)
    );
    let spoken = terms("max-age=60, stale-while-revalidate=5, stale-if-error=9");
    assert_eq!((spoken.stale_while_revalidate, spoken.stale_if_error), (secs(5), secs(9)));
    assert_eq!(terms("max-age=60, stale-while-revalidate=0").stale_while_revalidate, secs(0));
    for forbidding in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        let line: &'static str = Box::leak(
            format!("max-age=60, stale-while-revalidate=5, stale-if-error=9, {forbidding}").into_boxed_str(),
        );
        let never = terms(line);
        assert!(never.never_stale, "{forbidding}");
        assert_eq!(
            [never.stale_while_revalidate, never.stale_if_error, never.keep_stale],
            [secs(0); 3],
            "{forbidding}"
        );
        assert_eq!(never.validate_within, secs(86_400));
    }
    assert_eq!(terms("max-age=60, no-cache").lifetime, secs(0));
}

#[test]
fn a_fallback_is_kept_although_it_was_never_fresh() {
    let policy = Policy { keep_stale: secs(60), ..Policy::default() };
    let kept = of(&Method::GET, &[], 200, &[], &policy).unwrap();
    assert_eq!((kept.terms().lifetime, kept.terms().end()), (secs(0), secs(60)));
}

#[test]
fn without_guessing_last_modified_is_only_a_validator() {
    let modified = [("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")];
    let guessed = of(&Method::GET, &[], 200, &modified, &Policy::default()).unwrap();
    assert!(guessed.terms().heuristic && guessed.terms().lifetime == secs(86_400));
    let strict = Policy { heuristic_max: Duration::ZERO, ..Policy::default() };
    assert_eq!(of(&Method::GET, &[], 200, &modified, &strict).unwrap().terms().lifetime, secs(0));
}

proptest! {
    /// Any fields at all: no panic, no sum that overflows, and nothing stored that is of no use.
    #[test]
    fn any_head_is_judged(
        cache_control in "(max-age|s-maxage|stale-if-error|stale-while-revalidate|public|no-cache)=?[0-9]{0,12}(, (private|must-revalidate|max-age=[0-9]{1,3}))?",
        age in any::<u64>(),
        expires in "[ -~]{0,30}",
        status in 100_u16..1000,
        swr in any::<u64>(),
    ) {
        let mut response = HeaderMap::new();
        response.insert(CACHE_CONTROL, HeaderValue::try_from(cache_control).unwrap());
        response.insert("age", HeaderValue::from(age));
        response.insert(EXPIRES, HeaderValue::try_from(expires).unwrap());
        response.insert(VARY, HeaderValue::from_static("a, b"));
        let policy = Policy { keep_stale: Duration::MAX, stale_while_revalidate: secs(swr), ..Policy::default() };
        let status = StatusCode::from_u16(status).unwrap();
        let exchange = Exchange { method: &Method::GET, request: &HeaderMap::new(), status, response: &response, received: received() };
        if let Ok(storable) = exchange.storable(&policy) {
            let terms = storable.terms();
            prop_assert!(terms.initial_age < terms.end());
            prop_assert!(terms.lifetime <= secs(1 << 31) || response.contains_key(EXPIRES));
            prop_assert!(!storable.headers.contains_key("age") && storable.headers.contains_key(DATE));
        }
    }
}
