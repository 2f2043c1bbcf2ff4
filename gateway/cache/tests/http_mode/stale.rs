//! Serving stale: the group `stale`, and what the configuration adds.

use std::time::Duration;

use super::proxy::{Answer, Proxy, fields};
use http::HeaderMap;

fn stale(cache_control: &'static str, keep_stale: u64, wait: u64) -> Proxy {
    let mut proxy = Proxy::new();
    proxy.policy.keep_stale = Duration::from_secs(keep_stale);
    proxy.call("GET", "/a", &HeaderMap::new(), |_| {
        Some((200, vec![("cache-control", cache_control.to_owned())], "body"))
    });
    proxy.wait(wait);
    proxy
}

fn failing(status: Option<u16>) -> impl Fn(&HeaderMap) -> Answer {
    move |_| status.map(|status| (status, Vec::new(), "error"))
}

#[test]
fn stale_if_error_covers_failures_for_as_long_as_it_says() {
    for failure in [None, Some(500), Some(502), Some(503), Some(504)] {
        let mut proxy = stale("max-age=2, stale-if-error=60", 0, 3);
        assert_eq!(
            proxy.call("GET", "/a", &HeaderMap::new(), failing(failure)).status,
            200,
            "stale-sie-503 {failure:?}"
        );
        proxy.wait(59);
        assert_ne!(proxy.call("GET", "/a", &HeaderMap::new(), failing(failure)).status, 200, "{failure:?}");
    }
    // Another error is an answer.
    let mut proxy = stale("max-age=2, stale-if-error=60", 0, 3);
    assert_eq!(proxy.call("GET", "/a", &HeaderMap::new(), failing(Some(404))).status, 404);
}

#[test]
fn a_caller_may_ask_for_it_as_well() {
    let asks = fields([("cache-control", "stale-if-error=60")]);
    let mut proxy = stale("max-age=2", 120, 3);
    assert_eq!(proxy.call("GET", "/a", &asks, failing(Some(500))).status, 200);
    assert_eq!(proxy.call("GET", "/a", &HeaderMap::new(), failing(Some(500))).status, 500);
}

#[test]
fn what_forbids_it_is_obeyed() {
    for forbidding in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=2"] {
        let line: &'static str =
            Box::leak(format!("max-age=2, stale-if-error=60, {forbidding}").into_boxed_str());
        let mut proxy = stale(line, 1000, 3);
        let asks = fields([("cache-control", "stale-if-error=60, max-stale")]);
        assert_eq!(proxy.call("GET", "/a", &asks, failing(None)).status, 502, "stale-close-{forbidding}");
    }
}

#[test]
fn stale_while_revalidate_answers_at_once_within_its_window_and_not_after_it() {
    let mut proxy = stale("max-age=1, stale-while-revalidate=4", 0, 3);
    let outcome = proxy.call("GET", "/a", &HeaderMap::new(), |_| panic!("stale-while-revalidate"));
    assert!(outcome.is_cached() && outcome.refreshes && outcome.text("age") == "3");
    proxy.wait(3);
    let outcome = proxy.call("GET", "/a", &HeaderMap::new(), failing(Some(200)));
    assert!(!outcome.is_cached(), "stale-while-revalidate-window");
}
