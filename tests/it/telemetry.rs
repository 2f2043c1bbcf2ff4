//! Traces and metrics on their way out: trace context, export, and what a bad collector may not do.

use crate::support::{Gateway, Provider, Request, reply, until};
use serde_json::json;
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn shop(url: &str) -> String {
    format!(
        "base_url = \"{url}\"\n[retry]\nmax_attempts = 3\nbase_delay = \"1ms\"\n[operations.get]\npath = \"/x\"\n"
    )
}

/// Trace id, span id and flags.
fn parsed(traceparent: &str) -> (String, String, String) {
    let parts: Vec<&str> = traceparent.split('-').collect();
    let hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
    };
    assert!(
        parts.len() == 4 && parts[0] == "00" && hex(parts[1], 32) && hex(parts[2], 16) && hex(parts[3], 2),
        "{traceparent}"
    );
    assert!(parts[1].bytes().any(|c| c != b'0') && parts[2].bytes().any(|c| c != b'0'), "{traceparent}");
    (parts[1].into(), parts[2].into(), parts[3].into())
}

/// A gateway that exports to that collector.
async fn exporting(collector: &Provider, provider: &Provider) -> Gateway {
    let more = format!("service_name = \"bascule-under-test\"\notlp_endpoint = \"{}\"\n", collector.url());
    Gateway::with(&Gateway::base(&more), &[("shop", &shop(&provider.url()))], &[]).await
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

fn to(collector: &Provider, target: &str) -> Vec<Request> {
    collector.seen().into_iter().filter(|request| request.target == target).collect()
}

#[tokio::test]
async fn the_callers_trace_goes_on_with_a_child_span_per_attempt() {
    let provider = Provider::new(|request| match request.number {
        1 | 2 => reply(503, &[], ""),
        _ => reply(200, &[], ""),
    })
    .await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url()))]).await;
    let sent = format!("00-{TRACE_ID}-{PARENT}-01");
    let answer = gateway.data().header("traceparent", &sent).get("/v1/shop/get").await;
    let (trace, span, flags) = parsed(answer.header("traceparent"));
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE_ID, "01"));
    assert_ne!(span, PARENT, "the gateway's own span");
    let mut spans = HashSet::from([PARENT.to_owned(), span]);
    assert_eq!(provider.count(), 3);
    for request in provider.seen() {
        let (trace, span, flags) = parsed(request.header("traceparent"));
        assert_eq!((trace.as_str(), flags.as_str()), (TRACE_ID, "01"));
        assert!(spans.insert(span), "every attempt has a span of its own");
    }
}

#[tokio::test]
async fn an_invalid_trace_is_replaced_and_its_state_dropped() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url()))]).await;
    let mut traces = HashSet::new();
    for sent in [
        String::new(),
        "nonsense".to_owned(),
        format!("ff-{TRACE_ID}-{PARENT}-01"),
        format!("00-{}-{PARENT}-01", "0".repeat(32)),
        format!("00-{TRACE_ID}-{}-01", "0".repeat(16)),
        format!("00-{}-{PARENT}-01", TRACE_ID.to_uppercase()),
        format!("00-{TRACE_ID}-{PARENT}-01-more"),
    ] {
        let client = gateway.data().header("traceparent", &sent).header("tracestate", "vendor=1");
        let answer = client.get("/v1/shop/get").await;
        let (outer, ..) = parsed(answer.header("traceparent"));
        let (inner, ..) = parsed(provider.last().header("traceparent"));
        assert_eq!(outer, inner);
        assert_ne!(outer, TRACE_ID, "{sent}");
        assert_eq!(provider.last().header("tracestate"), "", "{sent}");
        assert!(traces.insert(outer), "a new trace each");
    }
}

#[tokio::test]
async fn state_and_baggage_pass() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url()))]).await;
    for path in ["/v1/shop/get", "/proxy/shop/x"] {
        let client = gateway
            .data()
            .header("traceparent", &format!("00-{TRACE_ID}-{PARENT}-00"))
            .header("tracestate", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
            .header("baggage", "tenant=acme,k=v");
        assert_eq!(client.get(path).await.status, 200);
        let seen = provider.last();
        assert_eq!(seen.header("tracestate"), "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", "{path}");
        assert_eq!(seen.header("baggage"), "tenant=acme,k=v", "{path}");
        let (trace, span, flags) = parsed(seen.header("traceparent"));
        assert_eq!((trace.as_str(), flags.as_str()), (TRACE_ID, "00"), "not sampled stays not sampled");
        assert_ne!(span, PARENT);
    }
}

#[tokio::test]
async fn problems_name_the_trace() {
    let gateway = Gateway::start(&[("shop", &shop("http://127.0.0.1:9"))]).await;
    let client = gateway.data().header("traceparent", &format!("00-{TRACE_ID}-{PARENT}-01"));
    for path in ["/v1/shop/nope", "/v1/shop/get"] {
        let answer = client.get(path).await;
        assert_eq!(answer.json()["trace_id"], TRACE_ID, "{path}");
        assert_eq!(parsed(answer.header("traceparent")).0, TRACE_ID, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_and_metrics_arrive_at_a_collector() {
    let collector = Provider::new(|_| reply(200, &[], "")).await;
    let provider = Provider::new(|request| match request.number {
        1 => reply(503, &[], ""),
        _ => reply(200, &[], ""),
    })
    .await;
    let gateway = exporting(&collector, &provider).await;
    let client = gateway.data().header("traceparent", &format!("00-{TRACE_ID}-{PARENT}-01"));
    assert_eq!(client.get("/v1/shop/get").await.status, 200);
    let traces = until("spans are exported", || to(&collector, "/v1/traces").into_iter().next()).await;
    assert_eq!(traces.header("content-type"), "application/x-protobuf");
    let id: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&TRACE_ID[2 * at..2 * at + 2], 16).unwrap()).collect();
    assert!(traces.body.windows(16).any(|window| window == id), "the caller's trace id");
    for text in ["bascule-under-test", "shop.get", "GET", "http.request.resend_count", "url.full", "retry"] {
        assert!(contains(&traces.body, text), "{text} is in the spans");
    }
    // Unsampled calls are not exported; the flush on shutdown brings the metrics.
    let client = gateway.data().header("traceparent", &format!("00-{}-{PARENT}-00", "ab".repeat(16)));
    assert_eq!(client.get("/v1/shop/get").await.status, 200);
    assert!(gateway.stop().await);
    let unsampled =
        to(&collector, "/v1/traces").iter().any(|request| request.body.windows(16).any(|w| w == [0xab; 16]));
    assert!(!unsampled);
    let metrics = to(&collector, "/v1/metrics");
    assert!(!metrics.is_empty(), "metrics are flushed on shutdown");
    for text in ["integration_requests_total", "circuit_breaker_state", "bascule-under-test"] {
        assert!(metrics.iter().any(|request| contains(&request.body, text)), "{text} is in the metrics");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pending_is_flushed_on_shutdown() {
    let collector = Provider::new(|_| reply(200, &[], "")).await;
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let gateway = exporting(&collector, &provider).await;
    for _ in 0..20 {
        assert_eq!(gateway.data().get("/v1/shop/get").await.status, 200);
    }
    assert!(gateway.stop().await);
    let names: usize = to(&collector, "/v1/traces")
        .iter()
        .map(|request| request.body.windows(8).filter(|window| *window == b"shop.get").count())
        .sum();
    assert_eq!(names, 20, "a call's span each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_holds_up_neither_calls_nor_the_end() {
    let collector = Provider::slow(|_| std::future::pending()).await;
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let gateway = exporting(&collector, &provider).await;
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(gateway.data().get("/v1/shop/get").await.status, 200);
    }
    until("an export has begun", || (collector.count() > 0).then_some(())).await;
    for _ in 0..100 {
        assert_eq!(gateway.data().get("/v1/shop/get").await.status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let ending = Instant::now();
    assert!(gateway.stop().await);
    assert!(
        ending.elapsed() < Duration::from_secs(8),
        "the flush is given up after 5 s: {:?}",
        ending.elapsed()
    );
}

#[tokio::test]
async fn a_collector_that_is_away_is_no_matter() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let more = "otlp_endpoint = \"http://127.0.0.1:9\"\n";
    let gateway = Gateway::with(&Gateway::base(more), &[("shop", &shop(&provider.url()))], &[]).await;
    let answer = gateway.call("shop", "get", json!({})).await;
    assert_eq!(answer.status, 200);
    assert!(gateway.stop().await);
}
