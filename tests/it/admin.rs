//! The admin plane: exact shapes, roles, actions (`contract.md` §4).

use crate::support::{Answer, Client, Gateway, Provider, RawProvider, reply, until_async};
use http::Method;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

const TOKENS: &str = r#"
[server]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
tokens = [{ name = "ops", role = "admin", token = "adm1n-t0ken" }, { name = "grafana", role = "viewer", token = "v1ewer-t0ken" }]
[telemetry]
completion_log = false
"#;

fn shop(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 1
[circuit_breaker]
failures = 2
reset_after = "200ms"
half_open_successes = 1
[operations.get]
path = "/x"
query = {{ n = "{{n}}" }}
params.n = {{ type = "integer" }}
cache = "off"
[operations.kept]
path = "/kept"
query = {{ n = "{{n}}" }}
params.n = {{ type = "integer" }}
cache = "1h"
"#
    )
}

/// A provider whose status can be changed.
async fn switched(status: u16) -> (Provider, Arc<AtomicU16>) {
    let switch = Arc::new(AtomicU16::new(status));
    let shown = Arc::clone(&switch);
    let provider = Provider::new(move |_| reply(shown.load(Ordering::Relaxed), &[], "{}")).await;
    (provider, switch)
}

async fn status_of(gateway: &Gateway, name: &str) -> Value {
    let answer = gateway.admin().get("/integrations/status").await.json();
    let list = answer["integrations"].as_array().unwrap().clone();
    list.into_iter().find(|one| one["name"] == name).unwrap()
}

async fn health(gateway: &Gateway) -> Value {
    gateway.admin().get("/integrations/shop/health").await.json()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn action(gateway: &Gateway, action: &str) {
    let path = format!("/integrations/shop/circuit/{action}");
    let answer = gateway.admin().send(Method::POST, &path, "").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (204, ""), "{action}");
}

#[tokio::test]
async fn status_has_exactly_the_promised_shape() {
    let (provider, _) = switched(200).await;
    let gateway =
        Gateway::start(&[("shop", &shop(&provider.url())), ("other", &shop(&provider.url()))]).await;
    gateway.call("shop", "get", json!({})).await;
    let answer = gateway.admin().get("/integrations/status").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    let row = |name: &str| json!({"name": name, "type": "rest", "status": "healthy", "circuit_state": "closed", "error_rate": 0.0});
    assert_eq!(answer.json(), json!({"integrations": [row("other"), row("shop")]}));
    let document = answer.json();
    assert_eq!(keys(&document["integrations"][0]), ["name", "type", "status", "circuit_state", "error_rate"]);
    assert!(document["integrations"][0]["error_rate"].is_f64());
}

#[tokio::test]
async fn health_has_exactly_the_promised_shape() {
    let (provider, switch) = switched(200).await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url()))]).await;
    let fresh = health(&gateway).await;
    assert_eq!(
        keys(&fresh),
        [
            "name",
            "status",
            "circuit_state",
            "latency_p50",
            "latency_p99",
            "success_rate",
            "last_error",
            "retry_phase",
            "next_probe_at",
            "rate_limit_remaining",
            "in_flight",
            "plugins",
            "failures",
            "last_failure",
            "last_success",
            "rate_limits",
            "rate_limit_forecast",
            "waiting",
            "concurrency_limit",
            "cache"
        ]
    );
    assert_eq!((&fresh["name"], &fresh["status"]), (&json!("shop"), &json!("healthy")));
    assert_eq!((&fresh["success_rate"], &fresh["last_error"]), (&json!(1.0), &Value::Null));
    assert_eq!((&fresh["next_probe_at"], &fresh["in_flight"]), (&Value::Null, &json!(0)));
    assert_eq!(fresh["plugins"], json!([]));
    gateway.call("shop", "get", json!({})).await;
    let after = health(&gateway).await;
    for latency in ["latency_p50", "latency_p99"] {
        let millis = after[latency].as_f64().unwrap_or_else(|| panic!("{latency} is a number: {after}"));
        assert!(millis > 0.0 && millis < 10_000.0, "{latency} in ms: {after}");
    }
    assert!(after["latency_p50"].as_f64() <= after["latency_p99"].as_f64());
    switch.store(503, Ordering::Relaxed);
    gateway.call("shop", "get", json!({})).await;
    let failed = health(&gateway).await;
    assert_eq!(failed["success_rate"], 0.5);
    assert!(failed["last_error"].as_str().unwrap().contains("503"), "{failed}");
}

#[tokio::test]
async fn an_integration_is_degraded_above_ten_percent_errors_and_unhealthy_when_open() {
    let (provider, switch) = switched(200).await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url()).replace("200ms", "60s"))]).await;
    for _ in 0..9 {
        gateway.call("shop", "get", json!({})).await;
    }
    switch.store(500, Ordering::Relaxed);
    gateway.call("shop", "get", json!({})).await;
    let row = status_of(&gateway, "shop").await;
    assert_eq!(
        (&row["status"], &row["error_rate"]),
        (&json!("healthy"), &json!(0.1)),
        "10 % is not over 10 %"
    );
    gateway.call("shop", "get", json!({})).await;
    let row = status_of(&gateway, "shop").await;
    assert_eq!((&row["status"], &row["circuit_state"]), (&json!("unhealthy"), &json!("open")));
    assert_eq!(row["error_rate"], 0.1818);
    let open = health(&gateway).await;
    assert_eq!((&open["status"], &open["circuit_state"]), (&json!("unhealthy"), &json!("open")));
    assert!(open["next_probe_at"].is_string(), "{open}");
    action(&gateway, "reset").await;
    let row = status_of(&gateway, "shop").await;
    assert_eq!(
        (&row["status"], &row["circuit_state"]),
        (&json!("degraded"), &json!("closed")),
        "18 % errors"
    );
}

#[tokio::test]
async fn a_half_open_circuit_is_degraded() {
    // The first two requests fail; the third, the probe, is not answered before the test has looked.
    let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel::<tokio::sync::oneshot::Sender<()>>();
    let provider = Provider::slow(move |request| {
        let ask = ask.clone();
        async move {
            if request.number > 2 {
                let (go, gone) = tokio::sync::oneshot::channel();
                let _ = ask.send(go);
                let _ = gone.await;
                return reply(200, &[], "{}");
            }
            reply(500, &[], "{}")
        }
    })
    .await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url()))]).await;
    for _ in 0..2 {
        gateway.call("shop", "get", json!({})).await;
    }
    let client = gateway.data();
    let probe = tokio::spawn(async move {
        until_async("a probe is admitted", async || {
            let answer = client.get("/v1/shop/get").await;
            (answer.status == 200).then_some(answer)
        })
        .await
    });
    let go = asked.recv().await.unwrap();
    let row = status_of(&gateway, "shop").await;
    assert_eq!((&row["status"], &row["circuit_state"]), (&json!("degraded"), &json!("half-open")));
    assert_eq!(health(&gateway).await["in_flight"], 1);
    go.send(()).unwrap();
    assert_eq!(probe.await.unwrap().header("bascule-attempts"), "1");
    assert_eq!(status_of(&gateway, "shop").await["circuit_state"], "closed");
}

#[tokio::test]
async fn a_circuit_can_be_opened_given_back_and_reset_by_hand() {
    let (provider, _) = switched(200).await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url()))]).await;
    action(&gateway, "open").await;
    let refused = gateway.call("shop", "get", json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (503, "circuit-open"));
    assert_eq!(refused.header("retry-after"), "1", "`reset_after` of 200 ms, rounded up");
    assert_eq!(refused.json()["retry_after_ms"], 200);
    assert_eq!(health(&gateway).await["circuit_state"], "open");
    // Forced open does not heal by itself: another three times its `reset_after`.
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_millis(600) {
        assert_eq!(gateway.call("shop", "get", json!({})).await.problem(), "circuit-open");
    }
    action(&gateway, "auto").await;
    assert_eq!(health(&gateway).await["circuit_state"], "half-open");
    assert_eq!(gateway.call("shop", "get", json!({})).await.status, 200);
    assert_eq!(health(&gateway).await["circuit_state"], "closed");
    action(&gateway, "open").await;
    action(&gateway, "reset").await;
    assert_eq!(health(&gateway).await["circuit_state"], "closed");
    assert_eq!(gateway.call("shop", "get", json!({})).await.status, 200);
}

async fn source(gateway: &Gateway, operation: &str, n: u8) -> String {
    gateway.call("shop", operation, json!({"n": n})).await.header("bascule-source").to_owned()
}

#[tokio::test]
async fn the_cache_is_purged_whole_or_by_operation() {
    let (provider, _) = switched(200).await;
    let text = shop(&provider.url()).replace("cache = \"off\"", "cache = \"1h\"");
    let gateway = Gateway::start(&[("shop", &text), ("other", &text)]).await;
    let warm = async || {
        for operation in ["get", "kept"] {
            source(&gateway, operation, 1).await;
        }
        gateway.call("other", "get", json!({"n": 1})).await;
    };
    warm().await;
    let purge = async |query: &str| {
        gateway.admin().send(Method::DELETE, &format!("/integrations/shop/cache{query}"), "").await
    };
    assert_eq!(purge("?operation=get").await.status, 204);
    assert_eq!(source(&gateway, "kept", 1).await, "cache");
    assert_eq!(source(&gateway, "get", 1).await, "upstream");
    warm().await;
    assert_eq!(purge("").await.status, 204);
    assert_eq!(source(&gateway, "kept", 1).await, "upstream");
    assert_eq!(source(&gateway, "get", 1).await, "upstream");
    assert_eq!(gateway.call("other", "get", json!({"n": 1})).await.header("bascule-source"), "cache");
    let none = purge("?operation=nope").await;
    assert_eq!((none.status.as_u16(), none.problem().as_str()), (404, "unknown-operation"));
}

async fn ask(client: &Client, method: &str, path: &str) -> Answer {
    client.send(method.parse().unwrap(), path, "").await
}

#[tokio::test]
async fn viewers_look_and_admins_act() {
    let (provider, _) = switched(200).await;
    let gateway = Gateway::with(TOKENS, &[("shop", &shop(&provider.url()))], &[]).await;
    let bearer = |token: &str| gateway.admin().header("authorization", &format!("Bearer {token}"));
    let (viewer, admin) = (bearer("v1ewer-t0ken"), bearer("adm1n-t0ken"));
    let looks = ["/integrations/status", "/integrations/shop/health", "/metrics"];
    let acts = [
        ("POST", "/integrations/shop/circuit/open", 204),
        ("POST", "/integrations/shop/circuit/auto", 204),
        ("POST", "/integrations/shop/circuit/reset", 204),
        ("DELETE", "/integrations/shop/cache", 204),
        ("POST", "/config/reload", 200),
    ];
    for path in looks {
        assert_eq!(ask(&viewer, "GET", path).await.status, 200, "{path}");
        assert_eq!(ask(&admin, "GET", path).await.status, 200, "{path}");
    }
    for (method, path, status) in acts {
        let refused = ask(&viewer, method, path).await;
        assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (403, "forbidden"), "{path}");
        assert_eq!(ask(&admin, method, path).await.status, status, "{path}");
    }
    let unknown = bearer("adm1n-t0kem");
    for (method, path) in looks.map(|path| ("GET", path)).into_iter().chain(acts.map(|(m, p, _)| (m, p))) {
        for client in [&gateway.admin(), &unknown] {
            let refused = ask(client, method, path).await;
            assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (401, "unauthenticated"));
            assert_eq!(refused.header("www-authenticate"), "Bearer");
        }
    }
    // The data plane takes no admin token for anything.
    assert_eq!(gateway.data().get("/integrations/status").await.status, 404);
}

#[tokio::test]
async fn what_does_not_exist_is_told_as_a_problem() {
    let (provider, _) = switched(200).await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url()))]).await;
    let admin = gateway.admin();
    for (method, path, status, code) in [
        ("GET", "/integrations/nope/health", 404, "unknown-integration"),
        ("POST", "/integrations/nope/circuit/reset", 404, "unknown-integration"),
        ("DELETE", "/integrations/nope/cache", 404, "unknown-integration"),
        ("POST", "/integrations/shop/circuit/explode", 404, "not-found"),
        ("GET", "/nothing", 404, "not-found"),
        ("POST", "/integrations/status", 405, "method-not-allowed"),
        ("GET", "/config/reload", 405, "method-not-allowed"),
        ("GET", "/integrations/shop/circuit/reset", 405, "method-not-allowed"),
    ] {
        let answer = ask(&admin, method, path).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (status, code), "{method} {path}");
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        assert_eq!(answer.header("allow").is_empty(), status != 405, "{method} {path}");
    }
}

#[tokio::test]
async fn the_last_error_names_the_failure_and_not_the_address_of_anything_secret() {
    let raw = RawProvider::saying(b"").await;
    let text = shop(&raw.url())
        .replace("[retry]", "[auth]\ntype = \"bearer\"\ntoken = \"t0ken-0f-the-shop\"\n[retry]");
    let gateway = Gateway::start(&[("shop", &text)]).await;
    assert_eq!(gateway.call("shop", "get", json!({})).await.status, 502);
    let error = health(&gateway).await["last_error"].as_str().unwrap().to_owned();
    assert!(!error.is_empty() && !error.contains("t0ken"), "{error}");
}
