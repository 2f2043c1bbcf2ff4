//! The deadline ledger: whatever becomes of a call, its phases add up to its time.

use crate::support::{Gate, Gateway, Metrics, Provider, eventually, reply};
use serde_json::json;
use std::sync::Arc;
use tokio::{io::AsyncWriteExt, net::TcpStream};

const PHASES: [&str; 13] = [
    "accept",
    "cache",
    "coalesced",
    "queue",
    "limiter",
    "token",
    "plugin",
    "attempt",
    "backoff",
    "hedge",
    "fan_out",
    "fallback",
    "body",
];

fn config(url: &str, more: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 2
base_delay = "40ms"
jitter = 0.0
[circuit_breaker]
failures = 100
[operations.get]
path = "/ok"
[operations.flaky]
path = "/flaky"
[operations.kept]
path = "/held"
cache = "1h"
[operations.slow]
path = "/slow"
[operations.raw]
path = "/large"
[operations.down]
path = "/down"
circuit_breaker = {{ failures = 1 }}
retry = {{ max_attempts = 1 }}
[operations.laddered]
path = "/down"
retry = {{ max_attempts = 1 }}
fallback = [{{ operation = "api.get" }}]
{more}"#
    )
}

async fn provider(gate: &Gate) -> Provider {
    let gate = gate.clone();
    Provider::slow(move |request| {
        let gate = gate.clone();
        async move {
            match request.target.as_str() {
                "/flaky" if request.number == 1 => reply(503, &[], ""),
                "/down" => reply(500, &[], ""),
                "/held" => {
                    gate.pass().await;
                    reply(200, &[], "{}")
                }
                "/slow" => std::future::pending().await,
                "/large" => reply(200, &[], vec![b'x'; 1 << 20]),
                _ => reply(200, &[], "{}"),
            }
        }
    })
    .await
}

/// Waits until an operation's calls are counted, checks that their phases add up to their time, and returns the
/// phases that took any, with how much.
async fn phases(gateway: &Gateway, endpoint: &str, calls: u32) -> Vec<(&'static str, f64)> {
    let labels = [("service", "api"), ("endpoint", endpoint)];
    gateway.reaches("integration_request_duration_seconds_count", &labels, f64::from(calls)).await;
    let metrics = Metrics::of(&gateway.admin()).await;
    let whole = metrics.value("integration_request_duration_seconds_sum", &labels);
    let spent = metrics.sum("deadline_spent_seconds_sum", &labels);
    assert!(
        (whole - spent).abs() < 1e-9,
        "{endpoint}: {whole} s in all, {spent} s in phases\n{}",
        metrics.text()
    );
    let on = |phase: &'static str| {
        (phase, metrics.sum("deadline_spent_seconds_sum", &[labels[0], labels[1], ("phase", phase)]))
    };
    let found: Vec<_> = PHASES.into_iter().map(on).filter(|(_, seconds)| *seconds > 0.0).collect();
    let listed: f64 = found.iter().map(|(_, seconds)| seconds).sum();
    assert!((listed - spent).abs() < 1e-9, "{endpoint}: a phase that is not in the list");
    found
}

fn names(phases: &[(&'static str, f64)]) -> Vec<&'static str> {
    phases.iter().map(|(name, _)| *name).collect()
}

fn on(phases: &[(&'static str, f64)], phase: &str) -> f64 {
    phases.iter().find(|(name, _)| *name == phase).map_or(0.0, |(_, seconds)| *seconds)
}

#[tokio::test]
async fn the_phases_of_a_call_add_up_to_its_time() {
    let provider = provider(&Gate::closed()).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), ""))]).await;
    assert_eq!(gateway.call("api", "flaky", json!({})).await.status, 200);
    let flaky = phases(&gateway, "flaky", 1).await;
    assert_eq!(names(&flaky), ["accept", "queue", "limiter", "attempt", "backoff", "body"]);
    assert!(on(&flaky, "backoff") >= 0.04, "{flaky:?}");
    assert_eq!(gateway.call("api", "get", json!({})).await.status, 200);
    // What is passed on is read by the caller, and that takes its time too.
    let plain = ["accept", "queue", "limiter", "attempt", "body"];
    assert_eq!(names(&phases(&gateway, "get", 1).await), plain);
    assert_eq!(gateway.data().get("/v1/api/raw").await.body.len(), 1 << 20);
    assert_eq!(names(&phases(&gateway, "raw", 1).await), plain);
    // Refused by the ingress: nothing but its reading.
    assert_eq!(gateway.call("api", "get", json!({"no": 1})).await.status, 422);
    assert_eq!(gateway.call("api", "slow", json!({"no": 1})).await.status, 422);
    assert_eq!(names(&phases(&gateway, "slow", 1).await), ["accept"]);
    phases(&gateway, "get", 2).await;
}

#[tokio::test]
async fn an_open_circuit_costs_hardly_any_time_and_a_ladder_its_own() {
    let provider = provider(&Gate::closed()).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), ""))]).await;
    assert_eq!(gateway.call("api", "down", json!({})).await.status, 500);
    let before = phases(&gateway, "down", 1).await;
    assert_eq!(gateway.call("api", "down", json!({})).await.problem(), "circuit-open");
    let after = phases(&gateway, "down", 2).await;
    assert_eq!(on(&before, "attempt"), on(&after, "attempt"), "a refusal attempts nothing");
    assert!(on(&after, "queue") > on(&before, "queue"));
    // The rung's operation spends in its own phases; the ladder's share is the rest.
    assert_eq!(
        gateway.call("api", "laddered", json!({})).await.header("bascule-source"),
        "operation:api.get"
    );
    let laddered = phases(&gateway, "laddered", 1).await;
    assert_eq!(names(&laddered), ["accept", "queue", "limiter", "attempt", "fallback", "body"]);
}

#[tokio::test]
async fn hits_and_waits_for_anothers_fetch_are_told_apart() {
    let gate = Gate::closed();
    let provider = provider(&gate).await;
    let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), ""))]).await);
    let call = || {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move { gateway.call("api", "kept", json!({})).await })
    };
    let leader = call();
    eventually("the leader's request is out", async || provider.count() == 1).await;
    let waiter = call();
    eventually("the waiter has missed", async || {
        gateway.metric("cache_requests_total", &[("result", "miss")]).await == 2.0
    })
    .await;
    gate.open();
    assert_eq!(leader.await.unwrap().header("bascule-source"), "upstream");
    assert_eq!(waiter.await.unwrap().header("bascule-source"), "coalesced");
    let missed = phases(&gateway, "kept", 2).await;
    assert_eq!(names(&missed), ["accept", "cache", "coalesced", "queue", "limiter", "attempt"]);
    assert_eq!(gateway.call("api", "kept", json!({})).await.header("bascule-source"), "cache");
    let hit = phases(&gateway, "kept", 3).await;
    assert_eq!(names(&hit), names(&missed));
    assert!(on(&hit, "cache") > on(&missed, "cache"));
    for phase in ["coalesced", "queue", "limiter", "attempt"] {
        assert_eq!(on(&hit, phase), on(&missed, phase), "{phase}");
    }
}

#[tokio::test]
async fn who_leaves_or_stops_waiting_has_spent_what_it_waited() {
    let gate = Gate::closed();
    let provider = provider(&gate).await;
    let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), ""))]).await);
    let mut caller = TcpStream::connect(gateway.data().address()).await.unwrap();
    caller.write_all(b"GET /v1/api/slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    eventually("the provider is asked", async || provider.count() == 1).await;
    drop(caller);
    let gone = phases(&gateway, "slow", 1).await;
    assert_eq!(names(&gone), ["accept", "queue", "limiter", "attempt"]);
    assert_eq!(gateway.metric("integration_requests_total", &[("status", "499")]).await, 1.0);
    // The leader's own time is up while its fetch goes on for another: what the fetch does then is not the leader's.
    let leader = tokio::spawn({
        let client = gateway.data().header("bascule-timeout", "2s");
        async move { client.get("/v1/api/kept").await }
    });
    eventually("the leader's request is out", async || provider.count() == 2).await;
    let waiter = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.call("api", "kept", json!({})).await }
    });
    eventually("both have missed", async || {
        gateway.metric("cache_requests_total", &[("result", "miss")]).await == 2.0
    })
    .await;
    assert_eq!(leader.await.unwrap().problem(), "upstream-timeout");
    let led = phases(&gateway, "kept", 1).await;
    assert!(on(&led, "attempt") > 1.0, "{led:?}");
    gate.open();
    assert_eq!(waiter.await.unwrap().header("bascule-source"), "coalesced");
    let both = phases(&gateway, "kept", 2).await;
    assert_eq!(on(&both, "attempt"), on(&led, "attempt"));
    assert!(on(&both, "coalesced") > 0.0);
}

#[tokio::test]
async fn every_wait_is_booked_where_it_was_spent() {
    let gate = Gate::closed();
    let provider = provider(&gate).await;
    let tokens = Provider::new(|_| {
        let token = r#"{"access_token":"t","token_type":"bearer","expires_in":3600}"#;
        reply(200, &[("content-type", "application/json")], token)
    })
    .await;
    let more = format!(
        "[operations.held]\npath = \"/held\"\n[concurrency]\nmax = 1\n\
         [rate_limit]\nrequests = 1\nwindow = \"1s\"\nmax_wait = \"60s\"\n\
         [auth]\ntype = \"oauth2\"\ntoken_url = \"{}/token\"\nclient_id = \"me\"\nclient_secret = \"s3cret\"\n",
        tokens.url()
    );
    let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), &more))]).await);
    let first = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.call("api", "held", json!({})).await }
    });
    eventually("the first call is under way", async || provider.count() == 1).await;
    let second = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.call("api", "get", json!({})).await }
    });
    gate.open();
    assert_eq!((first.await.unwrap().status.as_u16(), second.await.unwrap().status.as_u16()), (200, 200));
    let held = phases(&gateway, "held", 1).await;
    assert_eq!(names(&held), ["accept", "queue", "limiter", "token", "attempt", "body"]);
    let get = phases(&gateway, "get", 1).await;
    assert!(on(&get, "queue") > 0.0 && on(&get, "token") > 0.0, "{get:?}");
    // The budget is spent: the third call waits for its turn.
    assert_eq!(gateway.call("api", "get", json!({})).await.status, 200);
    let third = phases(&gateway, "get", 2).await;
    assert!(on(&third, "limiter") > on(&get, "limiter") + 0.01, "{get:?} {third:?}");
}
