//! What holds calls back: the integration's own budget, the provider's word, and calls at a time.

use crate::support::{Answer, Gate, Gateway, Provider, RawProvider, eventually, read_head, reply};
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, task::JoinSet};

fn config(url: &str, more: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[operations.get]
path = "/get"
[operations.other]
path = "/other"
[retry]
max_attempts = 1
{more}
"#
    )
}

async fn get(gateway: &Gateway) -> Answer {
    gateway.call("api", "get", json!({})).await
}

fn limited() -> (u16, String) {
    (429, "rate-limited".to_owned())
}

fn seconds(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().expect("seconds")
}

#[tokio::test]
async fn a_spent_budget_refuses_and_says_when_to_come_back() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let limit = "[rate_limit]\nrequests = 2\nwindow = \"1h\"";
    let gateway = Gateway::start(&[("api", &config(&provider.url(), limit))]).await;
    assert_eq!(get(&gateway).await.status, 200);
    assert_eq!(gateway.call("api", "other", json!({})).await.status, 200);
    let refused = get(&gateway).await;
    assert_eq!(refused.code(), limited());
    assert!((1..=1800).contains(&seconds(&refused)), "{}", refused.header("retry-after"));
    assert!(refused.json()["retry_after_ms"].as_u64().unwrap() > 0);
    assert_eq!(refused.header("bascule-attempts"), "0");
    assert_eq!(provider.count(), 2);
    let decided = async |result| {
        gateway.metric("rate_limit_decisions_total", &[("service", "api"), ("result", result)]).await
    };
    assert_eq!((decided("allowed").await, decided("limited").await), (2.0, 1.0));
    assert_eq!(gateway.health("api").await["rate_limit_remaining"], 0);
}

#[tokio::test]
async fn every_attempt_costs_one_and_a_retry_without_a_token_ends_the_call() {
    let provider = Provider::new(|_| reply(503, &[], "down")).await;
    let limit = "base_delay = \"1ms\"\n[rate_limit]\nrequests = 2\nwindow = \"1h\"";
    let config = config(&provider.url(), limit).replace("max_attempts = 1", "max_attempts = 5");
    let gateway = Gateway::start(&[("api", &config)]).await;
    let answer = get(&gateway).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (503, "down"));
    assert_eq!(answer.header("bascule-attempts"), "2");
    assert_eq!(provider.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_queue_for_their_turn_as_long_as_max_wait_allows() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let limit = "[rate_limit]\nrequests = 1\nwindow = \"200ms\"\nmax_wait = \"20s\"";
    let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), limit))]).await);
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..5 {
        let gateway = Arc::clone(&gateway);
        calls.spawn(async move { get(&gateway).await });
    }
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().status, 200);
    }
    assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_wait_that_cannot_fit_is_refused_at_once() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let limit = "[rate_limit]\nrequests = 1\nwindow = \"1h\"\nmax_wait = \"60s\"";
    let gateway = Gateway::start(&[("api", &config(&provider.url(), limit))]).await;
    assert_eq!(get(&gateway).await.status, 200);
    let begun = Instant::now();
    assert_eq!(get(&gateway).await.code(), limited());
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_operation_may_have_a_budget_of_its_own() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let config = config(&provider.url(), "")
        .replace("path = \"/other\"", "path = \"/other\"\nrate_limit = { requests = 1, window = \"1h\" }");
    let gateway = Gateway::start(&[("api", &config)]).await;
    assert_eq!(gateway.call("api", "other", json!({})).await.status, 200);
    assert_eq!(gateway.call("api", "other", json!({})).await.code(), limited());
    assert_eq!(get(&gateway).await.status, 200);
}

#[tokio::test]
async fn a_429_without_a_time_holds_for_a_second_and_is_then_tried_again() {
    let provider = Provider::new(|request| reply(if request.number == 1 { 429 } else { 200 }, &[], "")).await;
    let config =
        config(&provider.url(), "base_delay = \"1ms\"").replace("max_attempts = 1", "max_attempts = 2");
    let gateway = Gateway::start(&[("api", &config)]).await;
    let begun = Instant::now();
    let answer = get(&gateway).await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-attempts")), (200, "2"));
    assert!(begun.elapsed() >= Duration::from_millis(990), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_403_with_a_spent_quota_is_throttling_and_without_one_a_refusal() {
    for (left, next) in [("0", 429), ("5", 403)] {
        let provider = Provider::new(move |_| {
            reply(403, &[("x-ratelimit-remaining", left), ("x-ratelimit-reset", "30")], "forbidden")
        })
        .await;
        let gateway = Gateway::start(&[("api", &config(&provider.url(), ""))]).await;
        assert_eq!(get(&gateway).await.text(), "forbidden");
        assert_eq!(get(&gateway).await.status, next);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_concurrency_limit_and_its_queue_are_refused() {
    for waiting in [0, 1] {
        let gate = Gate::closed();
        let held = gate.clone();
        let provider = Provider::slow(move |_| {
            let gate = held.clone();
            async move {
                gate.pass().await;
                reply(200, &[], "")
            }
        })
        .await;
        let limit = format!("[concurrency]\nmax = 1\nmax_waiting = {waiting}");
        let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), &limit))]).await);
        let mut calls = JoinSet::new();
        for _ in 0..waiting + 2 {
            let gateway = Arc::clone(&gateway);
            calls.spawn(async move { get(&gateway).await });
        }
        let refused = calls.join_next().await.unwrap().unwrap();
        assert_eq!(refused.code(), (503, "overloaded".to_owned()));
        assert!(seconds(&refused) >= 1);
        assert_eq!(gateway.health("api").await["in_flight"], 1);
        gate.open();
        while let Some(answer) = calls.join_next().await {
            assert_eq!(answer.unwrap().status, 200);
        }
        assert_eq!(provider.count(), waiting + 1);
    }
}

#[tokio::test]
async fn a_streamed_answer_keeps_its_place_to_the_end_whatever_its_status() {
    for status in ["200 OK", "404 Not Found", "500 Internal Server Error"] {
        let gate = Gate::closed();
        let held = gate.clone();
        let provider = RawProvider::new(move |mut stream| {
            let gate = held.clone();
            async move {
                read_head(&mut stream).await;
                let head =
                    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 100004\r\n\r\n12");
                let _ = stream.write_all(head.as_bytes()).await;
                gate.pass().await;
                let _ = stream.write_all(&[b'x'; 100_002]).await;
            }
        })
        .await;
        let limit = "[concurrency]\nmax = 1\nmax_waiting = 0";
        let gateway = Gateway::start(&[("api", &config(&provider.url(), limit))]).await;
        let response = gateway.data().begin(Method::GET, "/v1/api/get", "").await;
        assert!(status.starts_with(response.status().as_str()));
        assert_eq!(get(&gateway).await.code(), (503, "overloaded".to_owned()), "{status}");
        gate.open();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 100_004);
        eventually("the place is free again", async || get(&gateway).await.problem() != "overloaded").await;
        assert_eq!(gateway.health("api").await["in_flight"], 0);
    }
}
