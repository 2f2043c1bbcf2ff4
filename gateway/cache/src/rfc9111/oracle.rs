//! The rules against another implementation of them: `http-cache-semantics`, over generated exchanges.
//!
//! Where the two differ on purpose, the generator stays away from it, or the comparison says so:
//!
//! | the other one | here |
//! | --- | --- |
//! | takes no part of an answer's age from `Date` | does (RFC 9111 §4.2.3) |
//! | never stores a status code that it does not know | does, unless `must-understand` forbids it (§3) |
//! | takes `proxy-revalidate` for `max-age=0` | takes it for `must-revalidate` (§5.2.2.8) |
//! | lets `max-stale` override `no-cache`, `s-maxage` and `proxy-revalidate` | does not (§4.2.4) |
//! | ends `max-stale` a second early | at its last second (§5.2.1.2) |
//! | stores what it cannot use without a validator | does not ([`NotStored::Useless`]) |
//! | shares what has to do with cookies, or asks for `public` | asks for `public` or `s-maxage` |
//! | rounds a guessed lifetime down to seconds, and does not cap it | does not, and does |
//! | knows no `CDN-Cache-Control`, `must-understand`, and no fields of `private` and `no-cache` | does |
//! | has other rules for what is said twice or cannot be read | see `directives` |

use std::time::{Duration, Instant, SystemTime};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{AGE, AUTHORIZATION, CACHE_CONTROL, DATE, ETAG, EXPIRES, LAST_MODIFIED, VARY},
};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use proptest::prelude::*;

use super::{
    Exchange, NotStored, Policy, Received, RequestDirectives, ResponseDirectives, Storable, Use,
    dates::format,
};

const RECEIVED_ON: u64 = 1_700_000_000;

#[derive(Debug)]
struct Case {
    request: HeaderMap,
    status: StatusCode,
    response: HeaderMap,
    /// Seconds between the answer and the next request.
    later: u64,
    next: HeaderMap,
}

fn on(offset: i64) -> HeaderValue {
    let on = Duration::from_secs(RECEIVED_ON.saturating_add_signed(offset));
    format(SystemTime::UNIX_EPOCH + on).unwrap()
}

/// Directives of a response, each at most once.
fn demands() -> impl Strategy<Value = Option<HeaderValue>> {
    let flags = vec!["no-store", "no-cache", "private", "public", "must-revalidate"];
    (prop::sample::subsequence(flags, 0..3), prop::option::of(0_u64..200), prop::option::of(0_u64..200))
        .prop_map(|(flags, max_age, s_maxage)| {
            let mut all: Vec<String> = flags.into_iter().map(str::to_owned).collect();
            all.extend(max_age.map(|age| format!("max-age={age}")));
            all.extend(s_maxage.map(|age| format!("s-maxage={age}")));
            (!all.is_empty()).then(|| HeaderValue::try_from(all.join(", ")).unwrap())
        })
}

fn response() -> impl Strategy<Value = HeaderMap> {
    (
        demands(),
        prop::option::of(-100_i64..300),
        prop::option::of(0_u64..200),
        prop::option::of(1_i64..500),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(demands, expires, age, modified, etag, vary)| {
            let mut headers: HeaderMap = [(DATE, on(0))].into_iter().collect();
            let fields = [
                (CACHE_CONTROL, demands),
                (EXPIRES, expires.map(on)),
                (AGE, age.map(HeaderValue::from)),
                (LAST_MODIFIED, modified.map(|before| on(-10 * before))),
                (ETAG, etag.then(|| HeaderValue::from_static("\"1\""))),
                (VARY, vary.then(|| HeaderValue::from_static("foo"))),
            ];
            headers.extend(fields.into_iter().filter_map(|(name, value)| Some((name, value?))));
            headers
        })
}

fn asks() -> impl Strategy<Value = Option<HeaderValue>> {
    let spans = vec!["max-age=50", "max-age=0", "min-fresh=30", "max-stale=60", "max-stale", "no-cache"];
    prop::sample::subsequence(spans, 0..2)
        .prop_map(|asked| (!asked.is_empty()).then(|| HeaderValue::try_from(asked.join(", ")).unwrap()))
}

fn case() -> impl Strategy<Value = Case> {
    let foo = || prop::sample::select(vec!["1", "2"]);
    let status = prop::sample::select(vec![200_u16, 203, 204, 301, 302, 404, 410, 501]);
    (foo(), any::<bool>(), status, response(), 0_u64..400, foo(), asks()).prop_map(
        |(first, authorized, status, response, later, second, asks)| {
            let with = |foo, more: Option<(HeaderName, HeaderValue)>| {
                let foo = (HeaderName::from_static("foo"), HeaderValue::from_static(foo));
                std::iter::once(foo).chain(more).collect::<HeaderMap>()
            };
            let credentials = authorized.then(|| (AUTHORIZATION, HeaderValue::from_static("x")));
            Case {
                request: with(first, credentials),
                status: StatusCode::from_u16(status).unwrap(),
                response,
                later,
                next: with(second, asks.map(|asks| (CACHE_CONTROL, asks))),
            }
        },
    )
}

fn request(headers: &HeaderMap) -> Request<()> {
    let mut request = Request::new(());
    *request.headers_mut() = headers.clone();
    request
}

/// The other implementation's verdict: stored, its lifetime left when it was, its age later, and whether it is used then.
fn theirs(case: &Case) -> (bool, Duration, Duration, bool) {
    let mut response = Response::new(());
    *response.headers_mut() = case.response.clone();
    *response.status_mut() = case.status;
    let stored_on = SystemTime::UNIX_EPOCH + Duration::from_secs(RECEIVED_ON);
    let options = CacheOptions { shared: true, cache_heuristic: 0.1, ..CacheOptions::default() };
    let policy = CachePolicy::new_options(&request(&case.request), &response, stored_on, options);
    let later = stored_on + Duration::from_secs(case.later);
    let used = matches!(policy.before_request(&request(&case.next), later), BeforeRequest::Fresh(_));
    (policy.is_storable(), policy.time_to_live(stored_on), policy.age(later), used)
}

fn ours(case: &Case) -> Result<Storable, NotStored> {
    let now = Instant::now();
    let received_on = SystemTime::UNIX_EPOCH + Duration::from_secs(RECEIVED_ON);
    let exchange = Exchange {
        method: &Method::GET,
        request: &case.request,
        status: case.status,
        response: &case.response,
        received: Received { requested_at: now, received_at: now, received_on },
    };
    exchange.storable(&Policy::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_come_to_the_same_verdict(case in case()) {
        let (storable, ttl, age, used) = theirs(&case);
        match ours(&case) {
            // Somebody who takes anything, however stale, could have used it.
            Err(NotStored::Useless) => prop_assert!(!used || RequestDirectives::of(&case.next).max_stale.is_some()),
            Err(refused) => prop_assert!(!storable, "not stored here: {refused}"),
            Ok(stored) => {
                prop_assert!(storable, "stored here alone");
                let terms = stored.terms();
                let age_here = terms.initial_age + Duration::from_secs(case.later);
                prop_assert_eq!(age_here, age);
                prop_assert_eq!(terms.lifetime.saturating_sub(terms.initial_age), ttl);
                let selected = stored.selecting.matches(&case.next);
                let asked = RequestDirectives::of(&case.next);
                let use_here = terms.use_at(age_here, &asked);
                if let Some(most) = asked.max_stale {
                    let demanded = ResponseDirectives::of(&case.response);
                    prop_assume!(demanded.never_stale() == demanded.must_revalidate);
                    prop_assume!(age_here.checked_sub(terms.lifetime) != Some(most));
                }
                prop_assert_eq!(selected && !matches!(use_here, Use::Validate(_)), used);
            }
        }
    }
}
