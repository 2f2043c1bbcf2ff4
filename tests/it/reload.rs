//! Reloading: what changes, what stays, and that nobody notices.

use crate::support::{Answer, Gateway, Provider, guest, reply};
use http::Method;
use serde_json::{Value, json};
use std::{fs, time::Duration};
use tokio::task::JoinSet;

fn shop(url: &str, more: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 1
[circuit_breaker]
failures = 1
reset_after = "1h"
[rate_limit]
requests = 1000
window = "1h"
[cache]
ttl = "1h"
[operations.get]
path = "/x"
{more}"#
    )
}

const MORE: &str = "[operations.more]\npath = \"/more\"\n";

async fn reload(gateway: &Gateway) -> Answer {
    gateway.admin().send(Method::POST, "/config/reload", "").await
}

/// Reloads and expects these integrations to have changed.
async fn reloaded(gateway: &Gateway, generation: u64, changed: &[&str]) {
    let answer = reload(gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json(), json!({"generation": generation, "changed": changed}));
}

async fn status(gateway: &Gateway, path: &str) -> u16 {
    gateway.data().get(path).await.status.as_u16()
}

async fn circuit(gateway: &Gateway, name: &str) -> Value {
    gateway.admin().get(&format!("/integrations/{name}/health")).await.json()["circuit_state"].take()
}

#[tokio::test]
async fn new_operations_appear_and_removed_ones_go() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url(), ""))]).await;
    assert_eq!(status(&gateway, "/v1/shop/more").await, 404);
    gateway.rewrite("shop", &shop(&provider.url(), MORE));
    assert_eq!(status(&gateway, "/v1/shop/more").await, 404, "a file alone changes nothing");
    reloaded(&gateway, 2, &["shop"]).await;
    assert_eq!(status(&gateway, "/v1/shop/more").await, 200);
    gateway.rewrite("shop", &shop(&provider.url(), ""));
    gateway.rewrite("other", &shop(&provider.url(), ""));
    reloaded(&gateway, 3, &["other", "shop"]).await;
    let gone = gateway.data().get("/v1/shop/more").await;
    assert_eq!((gone.status.as_u16(), gone.problem().as_str()), (404, "unknown-operation"));
    assert_eq!(status(&gateway, "/v1/other/get").await, 200);
    fs::remove_file(gateway.folder().join("integrations/other.toml")).unwrap();
    reloaded(&gateway, 4, &["other"]).await;
    assert_eq!(gateway.data().get("/v1/other/get").await.problem(), "unknown-integration");
    assert_eq!(status(&gateway, "/v1/shop/get").await, 200);
    reloaded(&gateway, 5, &[]).await;
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_every_problem_and_the_old_one_stays() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url(), ""))]).await;
    gateway.rewrite(
        "shop",
        &shop(&provider.url(), "paht = \"/x\"\n[operations.more]\npath = \"/more\"\nmethod = \"FETCH IT\"\n"),
    );
    gateway.rewrite("new", "base_url = \"nonsense\"\n");
    let refused = reload(&gateway).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (422, "invalid-configuration"));
    let problem = refused.json();
    let listed = problem["problems"].as_array().unwrap();
    for one in listed {
        let mut keys: Vec<&str> = one.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["column", "file", "help", "key", "line", "message"]);
        assert!(one["line"].as_u64().unwrap() > 0 && one["column"].as_u64().unwrap() > 0, "{one}");
    }
    let keys: Vec<&str> = listed.iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["base_url", "operations.get.paht", "operations.more.method"], "{problem}");
    assert_eq!(status(&gateway, "/v1/shop/get").await, 200);
    assert_eq!(status(&gateway, "/v1/shop/more").await, 404);
    // A plugin that cannot be loaded is such a problem too.
    fs::remove_file(gateway.folder().join("integrations/new.toml")).unwrap();
    let plugin = format!("[[plugins]]\nsource = \"{}\"\n", guest("wants-random"));
    gateway.rewrite("shop", &shop(&provider.url(), &plugin));
    let refused = reload(&gateway).await;
    assert_eq!(refused.status, 422);
    assert!(refused.json()["problems"][0]["message"].as_str().unwrap().contains("grants = [\"random\"]"));
    assert_eq!(status(&gateway, "/v1/shop/get").await, 200);
    gateway.rewrite("shop", &shop(&provider.url(), MORE));
    reloaded(&gateway, 2, &["shop"]).await;
}

#[tokio::test]
async fn unchanged_integrations_keep_circuit_cache_and_budget() {
    let provider = Provider::new(|request| match &*request.target {
        "/more" => reply(500, &[], ""),
        _ => reply(200, &[], "{}"),
    })
    .await;
    let text = shop(&provider.url(), MORE);
    let gateway = Gateway::start(&[("shop", &text), ("other", &shop(&provider.url(), ""))]).await;
    assert_eq!(status(&gateway, "/v1/shop/get").await, 200);
    assert_eq!(status(&gateway, "/v1/shop/more").await, 500);
    let before = gateway.admin().get("/integrations/shop/health").await.json();
    assert_eq!(before["circuit_state"], "open");
    gateway.rewrite("other", &shop(&provider.url(), MORE));
    reloaded(&gateway, 2, &["other"]).await;
    let after = gateway.admin().get("/integrations/shop/health").await.json();
    for key in ["circuit_state", "success_rate", "last_error", "rate_limit_remaining", "next_probe_at"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(gateway.data().get("/v1/shop/more").await.problem(), "circuit-open");
    assert_eq!(gateway.data().get("/v1/shop/get").await.header("bascule-source"), "cache");
    assert_eq!(provider.count(), 2);
}

#[tokio::test]
async fn a_changed_integration_keeps_the_state_whose_settings_stayed() {
    let provider = Provider::new(|_| reply(500, &[], "")).await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url(), ""))]).await;
    assert_eq!(status(&gateway, "/v1/shop/get").await, 500);
    assert_eq!(circuit(&gateway, "shop").await, "open");
    gateway.rewrite("shop", &shop(&provider.url(), MORE));
    reloaded(&gateway, 2, &["shop"]).await;
    assert_eq!(circuit(&gateway, "shop").await, "open", "another operation is no news of the provider");
    assert_eq!(gateway.data().get("/v1/shop/more").await.problem(), "circuit-open");
    gateway.rewrite("shop", &shop(&provider.url(), "").replace("failures = 1", "failures = 2"));
    reloaded(&gateway, 3, &["shop"]).await;
    assert_eq!(circuit(&gateway, "shop").await, "closed", "a new rule begins anew");
}

#[tokio::test]
async fn a_changed_answer_is_never_served_from_the_old_cache() {
    let provider = Provider::new(|request| reply(200, &[], format!("\"{}\"", request.target))).await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url(), ""))]).await;
    assert_eq!(gateway.data().get("/v1/shop/get").await.text(), "\"/x\"");
    gateway.rewrite("shop", &shop(&provider.url(), "").replace("path = \"/x\"", "path = \"/y\""));
    reloaded(&gateway, 2, &["shop"]).await;
    let answer = gateway.data().get("/v1/shop/get").await;
    assert_eq!((answer.text().as_str(), answer.header("bascule-source")), ("\"/y\"", "upstream"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_flight_during_twenty_reloads_all_succeed() {
    let provider = Provider::slow(|_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        reply(200, &[], "{}")
    })
    .await;
    // Nothing is cached or coalesced: every call is one of the provider's.
    let text = |more: &str| shop(&provider.url(), more).replace("[cache]\nttl = \"1h\"\n", "");
    let gateway = Gateway::start(&[("shop", &text(""))]).await;
    let mut calls = JoinSet::new();
    for generation in 0..20_u64 {
        for _ in 0..10 {
            let client = gateway.data();
            calls.spawn(async move { client.get("/v1/shop/get").await });
        }
        gateway.rewrite("shop", &text(if generation % 2 == 0 { MORE } else { "" }));
        reloaded(&gateway, generation + 2, &["shop"]).await;
    }
    let mut answers = 0;
    while let Some(answer) = calls.join_next().await {
        let answer = answer.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "{}"));
        answers += 1;
    }
    assert_eq!((answers, provider.count()), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_at_the_same_time_take_turns() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let plugin = format!("[[plugins]]\nsource = \"{}\"\n", guest("echo"));
    let gateway = Gateway::start(&[("shop", &shop(&provider.url(), ""))]).await;
    gateway.rewrite("shop", &shop(&provider.url(), &plugin));
    let mut reloads = JoinSet::new();
    for _ in 0..10 {
        let admin = gateway.admin();
        reloads.spawn(async move { admin.send(Method::POST, "/config/reload", "").await });
    }
    let (mut generations, mut changes) = (Vec::new(), 0);
    while let Some(answer) = reloads.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let document = answer.json();
        generations.push(document["generation"].as_u64().unwrap());
        changes += document["changed"].as_array().unwrap().len();
    }
    generations.sort_unstable();
    assert_eq!(generations, (2..=11).collect::<Vec<u64>>(), "each has its own generation");
    assert_eq!(changes, 1, "the first of them saw the change");
    assert_eq!(gateway.data().get("/v1/shop/get").await.json(), json!({"operation": "get", "echo": "{}"}));
}

#[tokio::test]
async fn a_plugin_file_that_changed_is_loaded_anew() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let text = shop(&provider.url(), "[[plugins]]\nsource = \"mine.wasm\"\ngrants = [\"random\"]\n");
    let gateway = Gateway::start(&[("shop", &shop(&provider.url(), ""))]).await;
    let file = gateway.folder().join("mine.wasm");
    fs::copy(guest("echo"), &file).unwrap();
    gateway.rewrite("shop", &text);
    reloaded(&gateway, 2, &["shop"]).await;
    assert_eq!(
        gateway.call("shop", "get", json!({})).await.json(),
        json!({"operation": "get", "echo": "{}"})
    );
    fs::copy(guest("wants-random"), &file).unwrap();
    reloaded(&gateway, 3, &["shop"]).await;
    let answer = gateway.call("shop", "get", json!({})).await;
    assert_eq!(
        (answer.text().as_str(), answer.header("bascule-source")),
        ("{}", "upstream"),
        "another plugin, another key"
    );
    assert_eq!(provider.last().header("x-random").len(), 16);
    // Rubbish is refused, and the good one goes on.
    fs::write(&file, "no plugin").unwrap();
    assert_eq!(reload(&gateway).await.status, 422);
    assert_eq!(gateway.data().header("bascule-skip", "cache").get("/v1/shop/get").await.status, 200);
    assert_eq!(provider.last().header("x-random").len(), 16);
}

#[tokio::test]
async fn secrets_are_rotated_by_a_reload() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    fs::write(&secret, "first-secret\n").unwrap();
    let auth = format!("[auth]\ntype = \"bearer\"\ntoken = \"${{file:{}}}\"\n", secret.display());
    let text = format!("base_url = \"{}\"\n{auth}[operations.get]\npath = \"/x\"\n", provider.url());
    let gateway = Gateway::start(&[("shop", &text)]).await;
    assert_eq!(status(&gateway, "/v1/shop/get").await, 200);
    assert_eq!(provider.last().header("authorization"), "Bearer first-secret");
    fs::write(&secret, "second-secret\n").unwrap();
    reloaded(&gateway, 2, &["shop"]).await;
    assert_eq!(status(&gateway, "/v1/shop/get").await, 200);
    assert_eq!(provider.last().header("authorization"), "Bearer second-secret");
}
