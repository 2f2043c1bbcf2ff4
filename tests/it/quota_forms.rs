//! The forms in which providers say when to come back, each as a header of an answer and as the `Retry-After` of
//! the call that is held because of it.

use crate::support::{Answer, Gateway, Provider, reply};
use serde_json::json;
use std::time::{Duration, SystemTime};

/// What every form says: come back in so many seconds.
const ASKED: u64 = 40;

fn config(url: &str, more: &str) -> String {
    format!("base_url = \"{url}\"\n[retry]\nmax_attempts = 1\n[operations.get]\npath = \"/get\"\n{more}\n")
}

async fn get(gateway: &Gateway) -> Answer {
    gateway.call("api", "get", json!({})).await
}

fn then() -> SystemTime {
    SystemTime::now() + Duration::from_secs(ASKED)
}

fn epoch(unit: Duration) -> String {
    let since = then().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    (since.as_nanos() / unit.as_nanos()).to_string()
}

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Answers once with these headers; returns for how long the next call is told to stay away.
async fn held_for(status: u16, headers: &[(&str, &str)], more: &str) -> u64 {
    let shown = format!("{status} {headers:?}");
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let provider = Provider::new(move |_| {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        reply(status, &headers, "")
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), more))]).await;
    assert_eq!(get(&gateway).await.status, status, "{shown}");
    let held = get(&gateway).await;
    assert_eq!(held.code(), (429, "rate-limited".to_owned()), "{shown}");
    assert_eq!(provider.count(), 1, "{shown}: it was not asked again");
    held.header("retry-after").parse().expect("seconds")
}

/// The gateway may be slow to come to the second call, and dates know whole seconds.
fn assert_about(held: u64, shown: &str) {
    assert!((ASKED / 2..=ASKED).contains(&held), "{shown}: {held}");
}

#[tokio::test]
async fn a_429_says_when_in_every_form() {
    for (name, value) in [
        ("retry-after", ASKED.to_string()),
        ("retry-after", format!(" {ASKED} ")),
        ("retry-after", format!("{ASKED}.0")),
        ("retry-after", httpdate::fmt_http_date(then())),
        ("retry-after", epoch(SECOND)),
        ("retry-after", epoch(MILLISECOND)),
        ("retry-after", format!("{ASKED}s")),
        ("retry-after", format!("0m{ASKED}.0s")),
        ("retry-after-ms", format!("{ASKED}000")),
        ("x-ms-retry-after-ms", format!("{ASKED}000")),
    ] {
        let held = held_for(429, &[(name, &value)], "").await;
        assert_about(held, &format!("{name}: {value}"));
    }
}

#[tokio::test]
async fn a_time_that_has_passed_holds_nobody() {
    for value in ["0", "-5", "Fri, 31 Dec 1999 23:59:59 GMT"] {
        let provider = Provider::new(move |request| {
            reply(if request.number == 1 { 429 } else { 200 }, &[("retry-after", value)], "")
        })
        .await;
        let gateway = Gateway::start(&[("api", &config(&provider.url(), ""))]).await;
        assert_eq!(get(&gateway).await.status, 429, "{value}");
        assert_eq!(get(&gateway).await.status, 200, "{value}");
    }
}

/// A quota of which nothing is left: the headers that say so, and more configuration.
type Form = (Vec<(&'static str, String)>, &'static str);

fn forms() -> Vec<Form> {
    let text = |pairs: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    };
    let asked = ASKED.to_string();
    let named = "[rate_limit]\nrequests = 100\nwindow = \"1h\"\nheader = \"X-Calls-Remaining\"";
    // Points in time, in each of their notations.
    let times = [
        asked.clone(),
        format!("{ASKED}.0"),
        format!("{ASKED}s"),
        format!("{ASKED}000ms"),
        epoch(SECOND),
        epoch(MILLISECOND),
        httpdate::fmt_http_date(then()),
    ];
    let mut forms: Vec<Form> = times
        .iter()
        .map(|time| (text(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", time)]), ""))
        .collect();
    // Families of names.
    forms.extend(
        [
            ("ratelimit-remaining", "ratelimit-reset"),
            ("x-rate-limit-remaining", "x-rate-limit-reset"),
            ("x-ratelimit-remaining", "x-ratelimit-reset-after"),
            ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
            ("x-ratelimit-remaining-minute", "x-ratelimit-reset-minute"),
            ("x-ratelimit-remaining-day", "ratelimit-reset"),
        ]
        .map(|(remaining, reset)| (text(&[(remaining, "0"), (reset, &asked)]), "")),
    );
    forms.push((text(&[("x-calls-remaining", "0"), ("x-calls-reset", &asked)]), named));
    // One quota of several.
    let tokens = [("x-ratelimit-remaining-tokens", "149984"), ("x-ratelimit-reset-tokens", "6ms")];
    let requests = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", &asked)];
    forms.push((text(&[tokens, requests].concat()), ""));
    // The drafts of the IETF.
    let fields = [
        format!("\"default\";r=0;t={asked}"),
        format!("\"burst\";r=5;t=1, \"day\";r=0;t={asked}"),
        format!("limit=100, remaining=0, reset={asked}"),
    ];
    forms.extend(fields.iter().map(|field| (text(&[("ratelimit", field)]), "")));
    let policy = ("ratelimit-policy", "\"day\";q=1000;w=86400");
    forms.push((text(&[policy, ("ratelimit", &format!("\"day\";r=0;t={asked}"))]), ""));
    let limit = ("ratelimit-limit", "100, 100;w=3600");
    forms.push((text(&[limit, ("ratelimit-remaining", "0"), ("ratelimit-reset", &asked)]), ""));
    forms
}

#[tokio::test]
async fn a_spent_quota_says_when_in_every_form() {
    for (headers, more) in forms() {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // A success that leaves nothing holds the next call; so does a refusal for that reason.
        for status in [200, 429, 403, 503] {
            let held = held_for(status, &headers, more).await;
            assert_about(held, &format!("{status} {headers:?}"));
        }
    }
}
