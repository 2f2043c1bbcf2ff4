//! Every kind of time limit: what it bounds, what the caller reads, what is counted.

use crate::support::{Answer, Gate, Gateway, Provider, RawProvider, eventually, read_head, reply};
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

fn config(url: &str, limits: &str) -> String {
    format!(
        r#"
base_url = "{url}"
{limits}
[retry]
max_attempts = 1
[circuit_breaker]
mode = "off"
[operations.get]
path = "/get"
[operations.kept]
path = "/kept"
cache = "1h"
[operations.upload]
method = "PUT"
path = "/upload"
body = "raw"
"#
    )
}

/// Reads what it is sent and never answers.
async fn silent() -> RawProvider {
    RawProvider::new(|mut stream| async move {
        let mut octets = [0; 4096];
        while stream.read(&mut octets).await.is_ok_and(|count| count > 0) {}
    })
    .await
}

/// Sends a head and half of a body, and the rest when the gate is opened.
async fn halfway(gate: &Gate) -> RawProvider {
    let held = gate.clone();
    RawProvider::new(move |mut stream| {
        let gate = held.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n12").await;
            gate.pass().await;
            let _ = stream.write_all(b"34").await;
            let _ = stream.read_u8().await;
        }
    })
    .await
}

async fn get(gateway: &Gateway) -> Answer {
    gateway.call("api", "get", json!({})).await
}

fn assert_timed_out(answer: &Answer, kind: &str) {
    assert_eq!(answer.code(), (504, "upstream-timeout".to_owned()));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(kind), "{detail}");
}

async fn counted(gateway: &Gateway, kind: &str) -> f64 {
    gateway.metric("timeouts_total", &[("service", "api"), ("kind", kind)]).await
}

#[tokio::test]
async fn silence_is_a_read_timeout() {
    let provider = silent().await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "read_timeout = \"200ms\""))]).await;
    assert_timed_out(&get(&gateway).await, "read");
    assert_eq!(counted(&gateway, "read").await, 1.0);
    assert_eq!(gateway.metric("timeouts_total", &[]).await, 1.0);
}

#[tokio::test]
async fn the_whole_call_is_bounded() {
    let provider = silent().await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "timeout = \"300ms\""))]).await;
    let begun = Instant::now();
    assert_timed_out(&get(&gateway).await, "whole");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(counted(&gateway, "whole").await, 1.0);
}

#[tokio::test]
async fn each_attempt_is_bounded_and_timeouts_are_tried_again() {
    let provider = silent().await;
    let config = config(&provider.url(), "attempt_timeout = \"150ms\"")
        .replace("max_attempts = 1", "max_attempts = 3\nbase_delay = \"1ms\"");
    let gateway = Gateway::start(&[("api", &config)]).await;
    let answer = get(&gateway).await;
    assert_timed_out(&answer, "attempt");
    assert_eq!((answer.header("bascule-attempts"), provider.connections()), ("3", 3));
    assert_eq!(counted(&gateway, "attempt").await, 3.0);
}

#[tokio::test]
async fn the_callers_timeout_caps_the_call() {
    let provider = silent().await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), ""))]).await;
    let client = gateway.data().header("bascule-timeout", "200ms");
    for path in ["/v1/api/get", "/v1/api/kept", "/proxy/api/any"] {
        let begun = Instant::now();
        assert_timed_out(&client.get(path).await, "whole");
        assert!(begun.elapsed() < Duration::from_secs(15), "{path}");
    }
    assert_eq!(counted(&gateway, "whole").await, 3.0);
    // It never lengthens what the operation allows.
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "timeout = \"200ms\""))]).await;
    let client = gateway.data().header("bascule-timeout", "1h");
    assert_timed_out(&client.get("/v1/api/get").await, "whole");
}

#[tokio::test]
async fn an_unfinished_handshake_is_a_connect_timeout() {
    let provider = silent().await;
    let url = provider.url().replace("http:", "https:");
    let gateway = Gateway::start(&[("api", &config(&url, "connect_timeout = \"200ms\""))]).await;
    assert_timed_out(&get(&gateway).await, "connect");
    assert_eq!(counted(&gateway, "connect").await, 1.0);
}

#[tokio::test]
async fn a_peer_that_accepts_nobody_is_a_connect_timeout() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // The queue is full once a connection no longer comes about.
    let mut queued = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await
    {
        queued.push(stream.unwrap());
    }
    let gateway =
        Gateway::start(&[("api", &config(&format!("http://{address}"), "connect_timeout = \"300ms\""))])
            .await;
    assert_timed_out(&get(&gateway).await, "connect");
}

#[tokio::test]
async fn a_provider_that_does_not_read_is_a_write_timeout() {
    let provider = RawProvider::new(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "write_timeout = \"300ms\""))]).await;
    let client = gateway.data();
    let upload = tokio::spawn(async move {
        client.send(Method::PUT, "/v1/api/upload", vec![b'x'; 64 * 1024 * 1024]).await
    });
    gateway.reaches("timeouts_total", &[("service", "api"), ("kind", "write")], 1.0).await;
    let status = [("service", "api"), ("endpoint", "upload"), ("status", "504")];
    gateway.reaches("integration_requests_total", &status, 1.0).await;
    upload.abort();
}

#[tokio::test]
async fn a_body_that_is_passed_through_outlives_the_calls_timeout() {
    let gate = Gate::closed();
    let provider = halfway(&gate).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "timeout = \"300ms\""))]).await;
    let response = gateway.data().begin(Method::GET, "/v1/api/get", "").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.open();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "1234");
    assert_eq!(gateway.metric("timeouts_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_body_that_stalls_or_takes_too_long_is_cut_off() {
    for (limits, kind) in [("read_timeout = \"200ms\"", "read"), ("body_timeout = \"200ms\"", "body")] {
        let provider = halfway(&Gate::closed()).await;
        let gateway = Gateway::start(&[("api", &config(&provider.url(), limits))]).await;
        let response = gateway.data().begin(Method::GET, "/v1/api/get", "").await;
        assert_eq!(response.status(), 200);
        assert!(response.into_body().collect().await.is_err(), "{kind}");
        gateway.reaches("timeouts_total", &[("service", "api"), ("kind", kind)], 1.0).await;
    }
}

#[tokio::test]
async fn a_body_that_is_held_is_within_the_calls_timeout() {
    let provider = halfway(&Gate::closed()).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "timeout = \"300ms\""))]).await;
    assert_timed_out(&gateway.call("api", "kept", json!({})).await, "whole");
}

#[tokio::test]
async fn who_waits_for_anothers_fetch_keeps_to_its_own_time() {
    let gate = Gate::closed();
    let held = gate.clone();
    let provider = Provider::slow(move |_| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            reply(200, &[], "late")
        }
    })
    .await;
    let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), ""))]).await);
    let leader = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.call("api", "kept", json!({})).await }
    });
    eventually("the leader's request is out", async || provider.count() == 1).await;
    let hurried = gateway.data().header("bascule-timeout", "200ms").get("/v1/api/kept").await;
    assert_timed_out(&hurried, "whole");
    gate.open();
    assert_eq!(leader.await.unwrap().text(), "late");
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn the_callers_timeout_bounds_fallbacks_too() {
    let provider = silent().await;
    let limits = "fallback = [{ operation = \"other.get\" }]\nattempt_timeout = \"100ms\"";
    let gateway =
        Gateway::start(&[("api", &config(&provider.url(), limits)), ("other", &config(&provider.url(), ""))])
            .await;
    let begun = Instant::now();
    let answer = gateway.data().header("bascule-timeout", "400ms").get("/v1/api/get").await;
    assert_eq!(answer.code(), (504, "upstream-timeout".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn the_attempt_after_a_timeout_may_be_given_less_or_more_time() {
    let provider = Provider::slow(|request| async move {
        let wait = if request.number == 1 { 3600 } else { 1 };
        tokio::time::sleep(Duration::from_secs(wait)).await;
        reply(200, &[], "")
    })
    .await;
    let config = config(&provider.url(), "attempt_timeout = \"200ms\"")
        .replace("max_attempts = 1", "max_attempts = 2\nbase_delay = \"1ms\"\ntimeout_factor = 50.0");
    let gateway = Gateway::start(&[("api", &config)]).await;
    let answer = get(&gateway).await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-attempts")), (200, "2"));
}
