//! Headers as providers send them.

use super::*;
use http::HeaderValue;

const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect()
}

fn found(lines: &[(&'static str, &str)]) -> Vec<Report> {
    quotas(&headers(lines), None, now()).0
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn retry_after_is_seconds_a_date_or_milliseconds() {
    let after = |value| retry_after(&headers(&[("retry-after", value)]), now());
    assert_eq!(after("120"), seconds(120));
    let date = httpdate::fmt_http_date(now() + Duration::from_secs(30));
    assert_eq!(after(&date), seconds(30));
    assert_eq!(after("Fri, 31 Dec 1999 23:59:59 GMT"), seconds(0));
    assert_eq!(after("soon"), None);
    assert_eq!(after("-5"), seconds(0));
    assert_eq!(after(&(NOW + 7).to_string()), seconds(7), "an epoch where seconds belong");
    let both = [("retry-after", "2"), ("retry-after-ms", "1500")];
    assert_eq!(retry_after(&headers(&both), now()), Some(Duration::from_millis(1500)));
}

#[test]
fn a_reset_is_read_in_all_its_forms() {
    let reset = |value: &str| found(&[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", value)])[0].reset;
    assert_eq!(reset("60"), seconds(60));
    assert_eq!(reset(&(NOW + 90).to_string()), seconds(90));
    assert_eq!(reset(&((NOW + 90) * 1000).to_string()), seconds(90));
    assert_eq!(reset(&httpdate::fmt_http_date(now() + Duration::from_secs(5))), seconds(5));
    assert_eq!(reset("6m0s"), seconds(360));
    assert_eq!(reset("1h0m1.5s"), Some(Duration::from_millis(3_601_500)));
    assert_eq!(reset("20ms"), Some(Duration::from_millis(20)));
    for nonsense in ["nan", "inf", "", "s", "5parsecs", "1.2.3s"] {
        assert_eq!(reset(nonsense), None, "{nonsense}");
    }
}

#[test]
fn a_configured_header_brings_its_siblings() {
    let name = HeaderName::from_static("x-quota-remaining");
    let lines = [("x-quota-remaining", "7"), ("x-quota-reset", "5"), ("x-quota-limit", "50")];
    let found = quotas(&headers(&lines), Some(&name), now());
    let expected = Report { remaining: 7, limit: Some(50), reset: seconds(5), ..Report::default() };
    assert_eq!(found.0, [expected]);
}

#[test]
fn a_configured_header_is_not_counted_twice() {
    let name = HeaderName::from_static("x-ratelimit-remaining");
    let lines = [("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "5")];
    assert_eq!(quotas(&headers(&lines), Some(&name), now()).0.len(), 1);
}

#[test]
fn the_ietf_fields_name_their_policies() {
    let found = found(&[
        ("ratelimit", "\"burst\";r=9;t=1, \"day\";r=2;t=3600"),
        ("ratelimit-policy", "\"burst\";q=10;w=1,\"day\";q=1000;w=86400"),
    ]);
    let burst =
        Report { name: "burst".into(), remaining: 9, limit: Some(10), window: seconds(1), reset: seconds(1) };
    let day = Report {
        name: "day".into(),
        remaining: 2,
        limit: Some(1000),
        window: seconds(86400),
        reset: seconds(3600),
    };
    assert_eq!(found, [burst, day]);
}

#[test]
fn earlier_drafts_are_read_too() {
    let expected = Report { remaining: 50, limit: Some(100), reset: seconds(30), ..Report::default() };
    assert_eq!(found(&[("ratelimit", "limit=100, remaining=50, reset=30")]), std::slice::from_ref(&expected));
    let lines =
        [("ratelimit-limit", "100, 100;w=60"), ("ratelimit-remaining", "50"), ("ratelimit-reset", "30")];
    assert_eq!(found(&lines), [Report { window: seconds(60), ..expected }]);
}

#[test]
fn several_windows_are_told_apart_by_their_suffix() {
    let mut found = found(&[
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-reset-requests", "1s"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "6m0s"),
    ]);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].name.as_str(), found[0].limit, found[0].reset), ("requests", Some(60), seconds(1)));
    let quotas = Quotas(found);
    assert!(quotas.is_spent());
    assert_eq!(quotas.renewed_in(), seconds(360), "of those that are spent");
}

#[test]
fn a_suffix_may_say_how_long_the_window_is() {
    let found = found(&[("x-ratelimit-remaining-minute", "3"), ("x-ratelimit-limit-minute", "10")]);
    assert_eq!((found[0].window, found[0].limit, found[0].reset), (seconds(60), Some(10), None));
    assert_eq!(found[0].renewed_in(), seconds(60), "at the latest");
}

#[test]
fn two_families_of_headers_speak_of_one_quota() {
    let lines = [
        ("ratelimit-remaining", "7"),
        ("ratelimit-reset", "5"),
        ("x-ratelimit-remaining", "6"),
        ("x-ratelimit-reset", "5"),
    ];
    let found = found(&lines);
    assert_eq!((found.len(), found[0].remaining), (1, 6));
    let name = HeaderName::from_static("x-quota-remaining");
    let lines = [("x-quota-remaining", "9"), ("x-quota-reset", "5"), ("x-ratelimit-remaining", "0")];
    let configured = quotas(&headers(&lines), Some(&name), now()).0;
    assert_eq!((configured.len(), configured[0].remaining), (1, 9), "the configured one is believed");
}

#[test]
fn nonsense_is_no_quota() {
    for line in
        [("ratelimit", "garbage"), ("x-ratelimit-remaining", "many"), ("x-ratelimit-remainingly", "3")]
    {
        assert_eq!(found(&[line]), [], "{line:?}");
    }
    assert!(!Quotas::default().is_spent());
}
