//! Metrics: the names, labels and values that `contract.md` §5 promises, after known traffic.

use crate::support::{Gateway, Metrics, Provider, guest, reply, until_async};
use serde_json::json;

const DECLARED: [(&str, &str, &[&str]); 14] = [
    ("integration_requests_total", "counter", &["endpoint", "service", "status"]),
    ("integration_request_duration_seconds", "histogram", &["endpoint", "service"]),
    ("deadline_spent_seconds", "histogram", &["endpoint", "phase", "service"]),
    ("integration_errors_total", "counter", &["endpoint", "error_type", "service"]),
    ("integration_retries_total", "counter", &["endpoint", "service"]),
    ("circuit_breaker_state", "gauge", &["service"]),
    ("circuit_breaker_failures_total", "counter", &["service"]),
    ("circuit_breaker_state_changes_total", "counter", &["from", "service", "to"]),
    ("cache_requests_total", "counter", &["endpoint", "result", "service"]),
    ("rate_limit_decisions_total", "counter", &["result", "service"]),
    ("fallback_total", "counter", &["endpoint", "rung", "service"]),
    ("plugin_call_duration_seconds", "histogram", &["hook", "plugin"]),
    ("plugin_failures_total", "counter", &["hook", "kind", "plugin"]),
    ("timeouts_total", "counter", &["endpoint", "kind", "service"]),
];

/// Every target fails in its own way; `/ok` does not.
async fn provider() -> Provider {
    Provider::slow(|request| async move {
        match request.target.split('?').next().unwrap_or_default() {
            "/down" => reply(500, &[], ""),
            "/missing" => reply(404, &[], ""),
            "/slow" => std::future::pending().await,
            _ => reply(200, &[], "{}"),
        }
    })
    .await
}

fn shop(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 2
base_delay = "1ms"
[circuit_breaker]
failures = 2
reset_after = "1h"
[rate_limit]
requests = 1000
window = "1s"
[[plugins]]
source = "{}"
phases = ["request-mapper"]
operations = ["faulty"]
[operations.ok]
path = "/ok"
query = {{ n = "{{n}}" }}
params.n = {{ type = "integer" }}
cache = "1h"
[operations.missing]
path = "/missing"
[operations.slow]
path = "/slow"
timeout = "100ms"
retry = {{ max_attempts = 1 }}
circuit_breaker = {{ mode = "off" }}
[operations.down]
path = "/down"
fallback = [{{ default = {{ a = 1 }} }}]
[operations.faulty]
path = "/ok"
query = {{ phase = "{{phase}}", kind = "{{kind}}" }}
params.phase = {{ type = "string" }}
params.kind = {{ type = "string" }}
"#,
        guest("faulty")
    )
}

#[tokio::test]
async fn every_metric_has_its_name_kind_labels_and_right_value() {
    let provider = provider().await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url()))]).await;
    let call = async |operation: &str, params| gateway.call("shop", operation, params).await.status.as_u16();
    assert_eq!(call("ok", json!({"n": 1})).await, 200);
    assert_eq!(call("ok", json!({"n": 1})).await, 200);
    assert_eq!(call("ok", json!({"n": 2})).await, 200);
    assert_eq!(call("ok", json!({"n": "x"})).await, 422);
    assert_eq!(call("missing", json!({})).await, 404);
    assert_eq!(call("slow", json!({})).await, 504);
    assert_eq!(call("faulty", json!({"phase": "request-mapper", "kind": "conflict"})).await, 409);
    assert_eq!(gateway.data().get("/proxy/shop/ok").await.status, 200);
    // Two failures, which open the circuit; then a refusal. The ladder answers all three.
    for _ in 0..3 {
        assert_eq!(call("down", json!({})).await, 200);
    }
    assert_eq!(gateway.data().get("/v1/shop/nope").await.status, 404);
    assert_eq!(gateway.data().get("/v1/nope/nope").await.status, 404);
    let metrics = until_async("all calls are counted", async || {
        let metrics = Metrics::of(&gateway.admin()).await;
        (metrics.sum("integration_requests_total", &[("service", "shop")]) >= 11.0).then_some(metrics)
    })
    .await;
    for (name, kind, labels) in DECLARED {
        assert_eq!(metrics.kind(name), kind, "{name}");
        let series = if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
        assert_eq!(metrics.labels(&series), labels, "{name}");
    }
    let requests = |endpoint, status| {
        let labels = [("service", "shop"), ("endpoint", endpoint), ("status", status)];
        metrics.value("integration_requests_total", &labels)
    };
    for (endpoint, status, count) in [
        ("ok", "200", 3.0),
        ("ok", "422", 1.0),
        ("missing", "404", 1.0),
        ("slow", "504", 1.0),
        ("faulty", "409", 1.0),
        ("proxy", "200", 1.0),
        ("down", "200", 3.0),
    ] {
        assert_eq!(requests(endpoint, status), count, "{endpoint} {status}");
    }
    assert_eq!(
        metrics.sum("integration_requests_total", &[]),
        11.0,
        "one observation per call, none for no operation"
    );
    let of = |name: &str, labels: &[(&str, &str)]| metrics.value(name, labels);
    let down = [("service", "shop"), ("endpoint", "down")];
    assert_eq!(of("integration_retries_total", &down), 2.0);
    assert_eq!(of("integration_request_duration_seconds_count", &down), 3.0);
    assert!(of("integration_request_duration_seconds_sum", &[("endpoint", "slow")]) >= 0.1, "in seconds");
    assert_eq!(
        metrics.sum("integration_errors_total", &down),
        3.0,
        "answered by the ladder, errors all the same"
    );
    assert_eq!(
        of("integration_errors_total", &[("endpoint", "slow"), ("error_type", "upstream-timeout")]),
        1.0
    );
    assert_eq!(of("integration_errors_total", &[("endpoint", "down"), ("error_type", "circuit-open")]), 1.0);
    assert_eq!(metrics.sum("integration_errors_total", &[("endpoint", "ok")]), 1.0, "the 422");
    assert_eq!(of("circuit_breaker_state", &[("service", "shop")]), 1.0);
    assert_eq!(of("circuit_breaker_failures_total", &[("service", "shop")]), 2.0);
    assert_eq!(of("circuit_breaker_state_changes_total", &[("from", "closed"), ("to", "open")]), 1.0);
    let cache =
        |result| of("cache_requests_total", &[("service", "shop"), ("endpoint", "ok"), ("result", result)]);
    assert_eq!((cache("hit"), cache("miss")), (1.0, 2.0));
    assert_eq!(
        metrics.sum("fallback_total", &[("service", "shop"), ("endpoint", "down"), ("rung", "default")]),
        3.0
    );
    assert!(of("rate_limit_decisions_total", &[("service", "shop"), ("result", "allowed")]) >= 9.0);
    assert_eq!(of("timeouts_total", &[("service", "shop"), ("endpoint", "slow"), ("kind", "whole")]), 1.0);
    assert_eq!(
        of("plugin_failures_total", &[("plugin", "faulty"), ("hook", "request-mapper"), ("kind", "fault")]),
        1.0
    );
    assert_eq!(
        of("plugin_call_duration_seconds_count", &[("plugin", "faulty"), ("hook", "request-mapper")]),
        1.0
    );
}

#[tokio::test]
async fn the_gauge_follows_the_circuit() {
    let (provider, gateway) = {
        let provider = Provider::new(|request| match request.number {
            1 | 2 => reply(500, &[], ""),
            _ => reply(200, &[], ""),
        })
        .await;
        let text = format!(
            "base_url = \"{}\"\n[retry]\nmax_attempts = 1\n[circuit_breaker]\nfailures = 2\nreset_after = \"50ms\"\n\
             half_open_successes = 2\n[operations.get]\npath = \"/x\"\n",
            provider.url()
        );
        let gateway = Gateway::start(&[("shop", &text)]).await;
        (provider, gateway)
    };
    let state =
        async || Metrics::of(&gateway.admin()).await.value("circuit_breaker_state", &[("service", "shop")]);
    assert_eq!(state().await, 0.0);
    for _ in 0..2 {
        gateway.call("shop", "get", json!({})).await;
    }
    assert_eq!(state().await, 1.0);
    until_async("a probe succeeds", async || {
        (gateway.call("shop", "get", json!({})).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(state().await, 2.0, "one success of two");
    gateway.call("shop", "get", json!({})).await;
    assert_eq!(state().await, 0.0);
    assert_eq!(provider.count(), 4);
    let metrics = Metrics::of(&gateway.admin()).await;
    for (from, to) in [("closed", "open"), ("open", "half-open"), ("half-open", "closed")] {
        let labels = [("service", "shop"), ("from", from), ("to", to)];
        assert_eq!(metrics.value("circuit_breaker_state_changes_total", &labels), 1.0, "{from} {to}");
    }
}

#[tokio::test]
async fn an_operations_own_breaker_has_series_of_its_own() {
    let provider = Provider::new(|_| reply(500, &[], "")).await;
    let text = format!(
        "base_url = \"{}\"\n[retry]\nmax_attempts = 1\n[operations.own]\npath = \"/x\"\n\
         circuit_breaker = {{ failures = 1 }}\n[operations.shared]\npath = \"/x\"\n",
        provider.url()
    );
    let gateway = Gateway::start(&[("shop", &text)]).await;
    assert_eq!(gateway.call("shop", "own", json!({})).await.status, 500);
    assert_eq!(gateway.call("shop", "own", json!({})).await.problem(), "circuit-open");
    let metrics = Metrics::of(&gateway.admin()).await;
    for (service, failures, state) in [("shop.own", 1.0, 1.0), ("shop", 0.0, 0.0)] {
        let labels = [("service", service)];
        assert_eq!(metrics.value("circuit_breaker_failures_total", &labels), failures, "{service}");
        assert_eq!(metrics.value("circuit_breaker_state", &labels), state, "{service}");
    }
    assert_eq!(gateway.call("shop", "shared", json!({})).await.status, 500);
    let metrics = Metrics::of(&gateway.admin()).await;
    assert_eq!(metrics.value("circuit_breaker_failures_total", &[("service", "shop")]), 1.0);
}

#[tokio::test]
async fn labels_are_names_of_the_configuration_only() {
    let provider = provider().await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url()))]).await;
    for number in 0..20 {
        gateway.data().get(&format!("/v1/shop/ok?n={number}")).await;
        gateway.data().get(&format!("/proxy/shop/ok/path{number}?secret={number}")).await;
        gateway.data().get(&format!("/v1/unknown{number}/op")).await;
        gateway.data().get(&format!("/v1/shop/unknown{number}")).await;
    }
    let metrics = Metrics::of(&gateway.admin()).await;
    assert!(!metrics.text().contains("unknown") && !metrics.text().contains("path1"), "{}", metrics.text());
    let series =
        metrics.text().lines().filter(|line| line.starts_with("integration_requests_total{")).count();
    assert_eq!(series, 2);
}
