//! Circuits that several integrations and operations share: `[breakers.NAME]`.

use crate::support::{Gateway, Provider, eventually, reply};
use http::Method;
use serde_json::{Value, json};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

const ACME: &str = "[breakers.acme]\nfailures = 2\nreset_after = \"1h\"\n";

fn shop(url: &str, more: &str) -> String {
    format!(
        "base_url = \"{url}\"\ncircuit_breaker = \"acme\"\nretry = {{ max_attempts = 1 }}\n[operations.get]\npath = \"/get\"\n{more}"
    )
}

/// An integration with a circuit of its own, one of whose operations shares.
fn apart(url: &str) -> String {
    format!(
        "base_url = \"{url}\"\nretry = {{ max_attempts = 1 }}\n[operations.get]\npath = \"/get\"\n\
         [operations.joined]\npath = \"/joined\"\ncircuit_breaker = \"acme\"\n"
    )
}

async fn switched() -> (Provider, Arc<AtomicBool>) {
    let down = Arc::new(AtomicBool::new(true));
    let read = Arc::clone(&down);
    let provider =
        Provider::new(move |_| reply(if read.load(Ordering::SeqCst) { 500 } else { 200 }, &[], "")).await;
    (provider, down)
}

/// Three integrations of one provider that is down: `a` and `b` share wholly, `c` with one operation.
async fn three() -> (Gateway, Provider, Arc<AtomicBool>) {
    let (provider, down) = switched().await;
    let files =
        [("a", shop(&provider.url(), "")), ("b", shop(&provider.url(), "")), ("c", apart(&provider.url()))];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    (Gateway::with(&Gateway::base(ACME), &files, &[]).await, provider, down)
}

async fn code(gateway: &Gateway, integration: &str, operation: &str) -> String {
    let answer = gateway.call(integration, operation, json!({})).await;
    if answer.header("content-type") == "application/problem+json" {
        answer.problem()
    } else {
        answer.status.to_string()
    }
}

async fn circuit(gateway: &Gateway, name: &str) -> Value {
    gateway.health(name).await["circuit_state"].take()
}

async fn act(gateway: &Gateway, name: &str, action: &str) {
    let path = format!("/integrations/{name}/circuit/{action}");
    assert_eq!(gateway.admin().send(Method::POST, &path, "").await.status, 204);
}

#[tokio::test]
async fn the_failures_of_one_open_it_for_all() {
    let (gateway, provider, _) = three().await;
    assert_eq!(code(&gateway, "a", "get").await, "500 Internal Server Error");
    assert_eq!(code(&gateway, "b", "get").await, "500 Internal Server Error");
    for (integration, operation) in [("a", "get"), ("b", "get"), ("c", "joined")] {
        assert_eq!(code(&gateway, integration, operation).await, "circuit-open");
    }
    assert_eq!(gateway.data().get("/proxy/a/any").await.problem(), "circuit-open");
    assert_eq!(provider.count(), 2);
    assert_eq!(code(&gateway, "c", "get").await, "500 Internal Server Error", "it has a circuit of its own");
    // Each shows the shared circuit.
    for name in ["a", "b"] {
        let health = gateway.health(name).await;
        assert_eq!((&health["circuit_state"], &health["status"]), (&json!("open"), &json!("unhealthy")));
        assert!(health["next_probe_at"].is_string(), "{health}");
    }
    assert_eq!(circuit(&gateway, "c").await, "closed");
    assert_eq!(gateway.health("c").await["status"], "degraded");
}

#[tokio::test]
async fn every_user_shows_the_state_and_what_happened_is_counted_once() {
    let (gateway, _, _) = three().await;
    assert_eq!(gateway.metric("circuit_breaker_state", &[("service", "b")]).await, 0.0);
    code(&gateway, "a", "get").await;
    code(&gateway, "b", "get").await;
    for service in ["a", "b", "c.joined", "breaker:acme"] {
        assert_eq!(gateway.metric("circuit_breaker_state", &[("service", service)]).await, 1.0, "{service}");
    }
    assert_eq!(gateway.metric("circuit_breaker_state", &[("service", "c")]).await, 0.0);
    let acme = ("service", "breaker:acme");
    assert_eq!(gateway.metric("circuit_breaker_failures_total", &[acme]).await, 2.0);
    assert_eq!(gateway.metric("circuit_breaker_failures_total", &[]).await, 2.0);
    let opened = [acme, ("from", "closed"), ("to", "open")];
    assert_eq!(gateway.metric("circuit_breaker_state_changes_total", &opened).await, 1.0);
    assert_eq!(gateway.metric("circuit_breaker_state_changes_total", &[]).await, 1.0);
}

#[tokio::test]
async fn operators_act_on_it_through_any_of_its_users() {
    let (gateway, provider, down) = three().await;
    act(&gateway, "a", "open").await;
    assert_eq!(code(&gateway, "b", "get").await, "circuit-open");
    assert_eq!(circuit(&gateway, "b").await, "open");
    down.store(false, Ordering::SeqCst);
    act(&gateway, "b", "auto").await;
    assert_eq!(circuit(&gateway, "a").await, "half-open");
    assert_eq!(code(&gateway, "a", "get").await, "200 OK");
    act(&gateway, "c", "reset").await;
    assert_eq!(circuit(&gateway, "a").await, "closed");
    assert_eq!(provider.count(), 1);
}

async fn reload(gateway: &Gateway) -> Value {
    let answer = gateway.admin().send(Method::POST, "/config/reload", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["changed"].take()
}

fn declare(gateway: &Gateway, breakers: &str) {
    fs::write(gateway.folder().join("bascule.toml"), Gateway::base(breakers)).unwrap();
}

#[tokio::test]
async fn a_reload_keeps_its_state_while_its_settings_stay() {
    let (gateway, provider, _) = three().await;
    code(&gateway, "a", "get").await;
    code(&gateway, "a", "get").await;
    assert_eq!(circuit(&gateway, "b").await, "open");
    // A user that changed, and a new one.
    gateway.rewrite("a", &shop(&provider.url(), "[operations.more]\npath = \"/more\"\n"));
    gateway.rewrite("d", &shop(&provider.url(), ""));
    assert_eq!(reload(&gateway).await, json!(["a", "d"]));
    for name in ["a", "b", "d"] {
        assert_eq!(circuit(&gateway, name).await, "open", "{name}");
        assert_eq!(gateway.metric("circuit_breaker_state", &[("service", name)]).await, 1.0, "{name}");
    }
    assert_eq!(code(&gateway, "a", "more").await, "circuit-open");
    // One that leaves has a circuit of its own, which begins anew and moves by itself.
    let own = shop(&provider.url(), "").replace("circuit_breaker = \"acme\"\n", "");
    gateway.rewrite("b", &own);
    assert_eq!(reload(&gateway).await, json!(["b"]));
    assert_eq!(circuit(&gateway, "b").await, "closed");
    act(&gateway, "a", "reset").await;
    act(&gateway, "a", "open").await;
    assert_eq!(gateway.metric("circuit_breaker_state", &[("service", "b")]).await, 0.0);
    assert_eq!(circuit(&gateway, "b").await, "closed");
    // New settings: another circuit, for all who use it, though their files are the same.
    declare(&gateway, &ACME.replace("failures = 2", "failures = 1"));
    assert_eq!(reload(&gateway).await, json!(["a", "c", "d"]));
    assert_eq!(circuit(&gateway, "a").await, "closed");
    assert_eq!(code(&gateway, "d", "get").await, "500 Internal Server Error");
    for name in ["a", "d"] {
        assert_eq!(circuit(&gateway, name).await, "open", "{name}");
        assert_eq!(gateway.metric("circuit_breaker_state", &[("service", name)]).await, 1.0, "{name}");
    }
    // A refused configuration changes nothing.
    declare(&gateway, "");
    let refused = gateway.admin().send(Method::POST, "/config/reload", "").await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("there is no breaker `acme`"), "{}", refused.text());
    assert_eq!(code(&gateway, "a", "get").await, "circuit-open");
}

#[tokio::test]
async fn half_open_ends_by_itself() {
    let provider = Provider::slow(|request| async move {
        if request.number > 1 {
            std::future::pending::<()>().await;
        }
        reply(500, &[], "")
    })
    .await;
    let text = format!(
        "base_url = \"{}\"\nretry = {{ max_attempts = 1 }}\n[circuit_breaker]\nfailures = 1\nreset_after = \"100ms\"\n\
         half_open_timeout = \"150ms\"\nreopen = {{ interval = \"1h\" }}\n[operations.get]\npath = \"/get\"\n",
        provider.url()
    );
    let gateway = Gateway::start(&[("a", &text)]).await;
    assert_eq!(code(&gateway, "a", "get").await, "500 Internal Server Error");
    // A probe that never comes back does not keep the circuit half-open.
    let mut probes = JoinSet::new();
    while provider.count() < 2 {
        let data = gateway.data();
        probes.spawn(async move { data.get("/v1/a/get").await });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let reopened = [("service", "a"), ("from", "half-open"), ("to", "open")];
    eventually("the circuit opens again", || async {
        assert_eq!(code(&gateway, "a", "get").await, "circuit-open");
        gateway.metric("circuit_breaker_state_changes_total", &reopened).await == 1.0
    })
    .await;
    assert_eq!(gateway.health("a").await["retry_phase"], "fixed");
    assert_eq!(provider.count(), 2);
}
