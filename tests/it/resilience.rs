//! The circuit breaker: what trips it, whom it refuses, how it recovers.

use crate::support::{Answer, Gate, Gateway, Provider, RawProvider, eventually, read_head, reply};
use http::Method;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::{io::AsyncWriteExt, task::JoinSet};

fn config(url: &str, breaker: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 1
[circuit_breaker]
{breaker}
[operations.get]
path = "/get"
[operations.fragile]
path = "/fragile"
circuit_breaker = {{ failures = 1 }}
"#
    )
}

/// A provider that fails for as long as the switch says so.
async fn switched(failing: &Arc<AtomicBool>) -> Provider {
    let failing = Arc::clone(failing);
    Provider::new(move |_| {
        let status = if failing.load(Ordering::SeqCst) { 500 } else { 200 };
        reply(status, &[], "from the provider")
    })
    .await
}

async fn get(gateway: &Gateway) -> Answer {
    gateway.call("api", "get", json!({})).await
}

fn circuit_open() -> (u16, String) {
    (503, "circuit-open".to_owned())
}

async fn state(gateway: &Gateway) -> (String, String) {
    let health = gateway.health("api").await;
    let text = |member: &str| health[member].as_str().expect("a text").to_owned();
    (text("status"), text("circuit_state"))
}

fn is(status: &str, circuit: &str) -> (String, String) {
    (status.to_owned(), circuit.to_owned())
}

#[tokio::test]
async fn it_opens_after_failed_calls_not_attempts_and_refuses_until_the_next_probe() {
    let provider = Provider::new(|_| reply(503, &[], "down")).await;
    let config = config(&provider.url(), "failures = 3\nreset_after = \"20s\"")
        .replace("max_attempts = 1", "max_attempts = 2\nbase_delay = \"1ms\"");
    let gateway = Gateway::start(&[("api", &config)]).await;
    for _ in 0..3 {
        let answer = get(&gateway).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (503, "down"));
        assert_eq!(answer.header("bascule-attempts"), "2");
    }
    let refused = get(&gateway).await;
    assert_eq!(refused.code(), circuit_open());
    assert_eq!(refused.header("bascule-attempts"), "0");
    let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=20).contains(&seconds), "{seconds}");
    let document = refused.json();
    assert!((1..=20_000).contains(&document["retry_after_ms"].as_u64().expect("milliseconds")));
    assert_eq!(document["attempts"], 0);
    assert_eq!(provider.count(), 6);
    assert_eq!(state(&gateway).await, is("unhealthy", "open"));
    let service = [("service", "api")];
    assert_eq!(gateway.metric("circuit_breaker_state", &service).await, 1.0);
    assert_eq!(gateway.metric("circuit_breaker_failures_total", &service).await, 3.0);
    let change = [("service", "api"), ("from", "closed"), ("to", "open")];
    assert_eq!(gateway.metric("circuit_breaker_state_changes_total", &change).await, 1.0);
}

#[tokio::test]
async fn it_recovers_after_enough_probes_have_succeeded() {
    let failing = Arc::new(AtomicBool::new(true));
    let provider = switched(&failing).await;
    let breaker = "failures = 1\nreset_after = \"200ms\"\nhalf_open_successes = 2";
    let gateway = Gateway::start(&[("api", &config(&provider.url(), breaker))]).await;
    assert_eq!(get(&gateway).await.status, 500);
    // The gauge follows events, and so shows the opening also when the time for a probe has come meanwhile.
    assert_eq!(gateway.metric("circuit_breaker_state", &[("service", "api")]).await, 1.0);
    assert!(gateway.health("api").await["next_probe_at"].is_string());
    failing.store(false, Ordering::SeqCst);
    eventually("a probe is let through", async || get(&gateway).await.status == 200).await;
    assert_eq!(state(&gateway).await, is("degraded", "half-open"));
    assert_eq!(gateway.metric("circuit_breaker_state", &[("service", "api")]).await, 2.0);
    assert_eq!(get(&gateway).await.status, 200);
    assert_eq!(state(&gateway).await.1, "closed");
    assert_eq!(gateway.metric("circuit_breaker_state", &[("service", "api")]).await, 0.0);
    assert_eq!(provider.count(), 3);
}

#[tokio::test]
async fn a_failed_probe_opens_it_again() {
    let provider = Provider::new(|_| reply(500, &[], "")).await;
    let breaker = "failures = 1\nreset_after = \"100ms\"\nhalf_open_successes = 1";
    let gateway = Gateway::start(&[("api", &config(&provider.url(), breaker))]).await;
    assert_eq!(get(&gateway).await.status, 500);
    eventually("a probe is let through", async || get(&gateway).await.status == 500).await;
    // The gauge moves on with the next call only.
    assert_eq!(gateway.metric("circuit_breaker_state", &[("service", "api")]).await, 1.0);
    let change = [("service", "api"), ("from", "half-open"), ("to", "open")];
    assert_eq!(gateway.metric("circuit_breaker_state_changes_total", &change).await, 1.0);
}

#[tokio::test]
async fn an_operation_may_have_its_own() {
    let provider =
        Provider::new(|request| reply(if request.target == "/fragile" { 500 } else { 200 }, &[], "")).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "failures = 5"))]).await;
    let fragile = async || gateway.call("api", "fragile", json!({})).await;
    assert_eq!(fragile().await.status, 500);
    assert_eq!(fragile().await.code(), circuit_open());
    assert_eq!(get(&gateway).await.status, 200);
    assert_eq!(state(&gateway).await.1, "closed");
}

#[tokio::test]
async fn forced_open_refuses_with_reset_after_until_it_is_given_back() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let breaker = "mode = \"forced-open\"\nreset_after = \"7s\"\nhalf_open_successes = 1";
    let gateway = Gateway::start(&[("api", &config(&provider.url(), breaker))]).await;
    let refused = get(&gateway).await;
    assert_eq!(refused.code(), circuit_open());
    assert_eq!(refused.header("retry-after"), "7");
    assert_eq!(provider.count(), 0);
    let given_back = gateway.admin().send(Method::POST, "/integrations/api/circuit/auto", "").await;
    assert_eq!(given_back.status, 204);
    assert_eq!(state(&gateway).await.1, "half-open");
    assert_eq!(get(&gateway).await.status, 200);
    assert_eq!(state(&gateway).await.1, "closed");
}

#[tokio::test]
async fn other_modes_never_refuse() {
    for (mode, shown) in [("off", "closed"), ("forced-closed", "closed"), ("observe", "open")] {
        let provider = Provider::new(|_| reply(500, &[], "")).await;
        let breaker = format!("failures = 1\nmode = \"{mode}\"");
        let gateway = Gateway::start(&[("api", &config(&provider.url(), &breaker))]).await;
        for _ in 0..5 {
            assert_eq!(get(&gateway).await.status, 500, "{mode}");
        }
        assert_eq!(provider.count(), 5, "{mode}");
        assert_eq!(state(&gateway).await.1, shown, "{mode}");
    }
}

#[tokio::test]
async fn callers_may_skip_it_where_that_is_allowed() {
    let failing = Arc::new(AtomicBool::new(true));
    let provider = switched(&failing).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "failures = 1"))]).await;
    let skipping = gateway.data().header("bascule-skip", "circuit");
    // Such a call is not counted either.
    assert_eq!(skipping.get("/v1/api/get").await.status, 500);
    assert_eq!(state(&gateway).await.1, "closed");
    assert_eq!(get(&gateway).await.status, 500);
    assert_eq!(get(&gateway).await.code(), circuit_open());
    failing.store(false, Ordering::SeqCst);
    assert_eq!(skipping.get("/v1/api/get").await.status, 200);
    assert_eq!(get(&gateway).await.code(), circuit_open());

    let strict = Gateway::base("").replace("[server]\n", "[server]\nallow_skip = [\"retry\"]\n");
    let gateway = Gateway::with(&strict, &[("api", &config(&provider.url(), ""))], &[]).await;
    let skipping = gateway.data().header("bascule-skip", "circuit");
    assert_eq!(skipping.get("/v1/api/get").await.code(), (403, "forbidden".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_in_the_queue_are_refused_when_it_opens() {
    let gate = Gate::closed();
    let held = gate.clone();
    let provider = Provider::slow(move |_| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            reply(500, &[], "")
        }
    })
    .await;
    let config = config(&provider.url(), "failures = 1") + "[concurrency]\nmax = 1\nmax_waiting = 5\n";
    let gateway = Arc::new(Gateway::start(&[("api", &config)]).await);
    let spawn = |calls: &mut JoinSet<Answer>| {
        let gateway = Arc::clone(&gateway);
        calls.spawn(async move { get(&gateway).await });
    };
    let mut first = JoinSet::new();
    spawn(&mut first);
    eventually("the first is under way", async || provider.count() == 1).await;
    let mut queued = JoinSet::new();
    (0..6).for_each(|_| spawn(&mut queued));
    // The sixth finds the queue full, which proves that the other five are in it.
    let sixth = queued.join_next().await.unwrap().unwrap();
    assert_eq!(sixth.code(), (503, "overloaded".to_owned()));
    assert!(!sixth.header("retry-after").is_empty());
    gate.open();
    assert_eq!(first.join_next().await.unwrap().unwrap().status, 500);
    while let Some(refused) = queued.join_next().await {
        assert_eq!(refused.unwrap().code(), circuit_open());
    }
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn a_streamed_answer_that_breaks_is_one_failure() {
    let provider = RawProvider::new(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789").await;
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "failures = 2"))]).await;
    for (call, shown) in [(1.0, "closed"), (2.0, "open")] {
        let response = gateway.data().begin(Method::GET, "/v1/api/get", "").await;
        assert_eq!(response.status(), 200);
        assert!(http_body_util::BodyExt::collect(response.into_body()).await.is_err());
        gateway.reaches("circuit_breaker_failures_total", &[("service", "api")], call).await;
        assert_eq!(state(&gateway).await.1, shown);
    }
    assert_eq!(get(&gateway).await.code(), circuit_open());
}

#[tokio::test]
async fn a_failed_answer_that_breaks_as_well_is_still_one_failure() {
    let provider = RawProvider::new(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 503 Down\r\ncontent-length: 100000\r\n\r\n0123456789").await;
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "failures = 2"))]).await;
    let response = gateway.data().begin(Method::GET, "/v1/api/get", "").await;
    assert_eq!(response.status(), 503);
    assert!(http_body_util::BodyExt::collect(response.into_body()).await.is_err());
    gateway.reaches("integration_requests_total", &[("service", "api")], 1.0).await;
    assert_eq!(gateway.metric("circuit_breaker_failures_total", &[]).await, 1.0);
    assert_eq!(state(&gateway).await.1, "closed");
}
