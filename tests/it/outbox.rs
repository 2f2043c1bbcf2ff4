//! Queueing for later: what is kept, when it is delivered, and what keys and crashes mean for it.

use crate::support::{
    Answer, Client, Gateway, Metrics, Provider, Request, Served, config_folder, reply, run, until,
    until_async,
};
use http::Method;
use serde_json::{Value, json};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

const OUTBOX: &str = "[outbox]\npath = \"calls.db\"\n";
const BASE: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
/// Stands for a provider that takes a request and never answers it.
const SILENT: u16 = 0;

/// A provider that answers with the status that it is told.
async fn provider(status: u16) -> (Provider, Arc<AtomicU16>) {
    let told = Arc::new(AtomicU16::new(status));
    let tell = Arc::clone(&told);
    let provider = Provider::slow(move |request: Request| {
        let status = told.load(Ordering::SeqCst);
        async move {
            if status == SILENT {
                std::future::pending::<()>().await;
            }
            let body = format!("{{\"number\":{}}}", request.number);
            reply(status, &[("content-type", "application/json")], body)
        }
    })
    .await;
    (provider, tell)
}

/// An operation that is queued, with a circuit that one failure opens.
fn shop(url: &str, reset_after: &str, more: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 1
[circuit_breaker]
failures = 1
reset_after = "{reset_after}"
half_open_successes = 1
[operations.pay]
method = "POST"
path = "/pay"
params.amount = {{ type = "integer", required = true }}
params.currency = {{ default = "EUR" }}
headers = {{ x-source = "shop" }}
forward_headers = ["x-order"]
idempotency = {{ generate = true }}
fallback = [{{ queue = true }}, {{ default = {{ sorry = true }}, status = 503 }}]
{more}"#
    )
}

async fn gateway(outbox: &str, integration: &str) -> Gateway {
    Gateway::with(&Gateway::base(outbox), &[("shop", integration)], &[]).await
}

async fn pay(client: &Client, key: &str, amount: u64) -> Answer {
    client.clone().header("idempotency-key", key).post("/v1/shop/pay", &json!({ "amount": amount })).await
}

/// The URL of the entry that an answer tells of.
fn queued(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("bascule-source"), "queued");
    let told = answer.json();
    assert_eq!(told["status_url"].as_str(), Some(answer.header("location")));
    assert_eq!(answer.header("location"), format!("/outbox/{}", told["id"].as_str().unwrap()));
    answer.header("location").to_owned()
}

/// Waits until the entry is in the state.
async fn becomes(client: &Client, url: &str, status: &str) -> Value {
    until_async(&format!("{url} is {status}"), async || {
        let answer = client.get(url).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let entry = answer.json();
        (entry["status"] == status).then_some(entry)
    })
    .await
}

#[tokio::test]
async fn a_call_is_kept_while_the_provider_is_down_and_delivered_with_its_key_when_it_is_back() {
    let (provider, status) = provider(503).await;
    let gateway = gateway(OUTBOX, &shop(&provider.url(), "100ms", "")).await;
    let client = gateway.data().header("x-order", "o-1");
    let url = queued(&pay(&client, "k-1", 5).await);
    status.store(201, Ordering::SeqCst);
    let done = becomes(&client, &url, "done").await;
    let seen = provider.seen();
    let delivered = seen.last().unwrap();
    assert_eq!(done["response"]["status"], 201);
    assert_eq!(done["response"]["body"], json!({ "number": seen.len() }));
    assert_eq!((&done["operation"], &done["next_try"]), (&json!("pay"), &Value::Null));
    for request in &seen {
        assert_eq!(request.header("idempotency-key"), "k-1", "every attempt has the same key");
        assert_eq!((request.header("x-order"), request.header("x-source")), ("o-1", "shop"));
        assert_eq!(request.body, delivered.body, "octet for octet the same");
    }
    // The first call's attempt, and deliveries: as many as were tried.
    assert_eq!(seen.len() as u64, 1 + done["tries"].as_u64().unwrap());
    assert_eq!(delivered.body, r#"{"amount":5,"currency":"EUR"}"#);
    let metrics = Metrics::of(&gateway.admin()).await;
    let shop = ("service", "shop");
    assert_eq!(metrics.value("fallback_total", &[shop, ("rung", "queued")]), 1.0);
    assert_eq!(
        metrics.value("outbox_deliveries_total", &[shop, ("endpoint", "pay"), ("result", "done")]),
        1.0
    );
    let entries = |state| metrics.value("outbox_entries", &[shop, ("state", state)]);
    assert_eq!((entries("waiting"), entries("running"), entries("done")), (0.0, 0.0, 1.0));
    assert_eq!(metrics.kind("outbox_entries"), "gauge");
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn nothing_is_delivered_through_an_open_circuit_and_all_of_it_in_order_once_it_closes() {
    let (provider, status) = provider(503).await;
    let outbox = format!("{OUTBOX}concurrency = 1\n");
    let gateway = gateway(&outbox, &shop(&provider.url(), "1h", "")).await;
    let mut urls = Vec::new();
    for amount in 1..=4 {
        urls.push(queued(&gateway.call("shop", "pay", json!({ "amount": amount })).await));
    }
    status.store(200, Ordering::SeqCst);
    assert_eq!(gateway.admin().send(Method::POST, "/integrations/shop/circuit/reset", "").await.status, 204);
    for url in &urls {
        let done = becomes(&gateway.data(), url, "done").await;
        assert_eq!(done["tries"], 1, "while the circuit was open nothing was tried");
    }
    let amounts: Vec<String> =
        provider.seen().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    let body = |amount: u32| format!(r#"{{"amount":{amount},"currency":"EUR"}}"#);
    // Only the first call met the provider before.
    assert_eq!(amounts, [body(1), body(1), body(2), body(3), body(4)]);
    let keys: Vec<_> =
        provider.seen()[1..].iter().map(|request| request.header("idempotency-key").to_owned()).collect();
    assert_eq!(keys[0], provider.seen()[0].header("idempotency-key"), "a generated key is kept, too");
    assert!(keys.iter().all(|key| !key.is_empty()) && keys[0] != keys[1]);
}

#[tokio::test]
async fn a_killed_gateway_delivers_what_it_had_accepted_and_what_it_was_delivering() {
    let (provider, status) = provider(503).await;
    let folder = config_folder(&format!("{BASE}{OUTBOX}"), &[("shop", &shop(&provider.url(), "100ms", ""))]);
    let served = Served::start(folder.path(), &[], &[]).await;
    let url = queued(&pay(&served.data(), "k-1", 7).await);
    // A delivery gets no answer; the gateway is killed while it waits for one.
    status.store(SILENT, Ordering::SeqCst);
    let before = provider.count();
    until("the provider has the delivery", || (provider.count() > before).then_some(())).await;
    served.signal("KILL").await;
    let _ = served.ended().await;
    status.store(200, Ordering::SeqCst);
    let again = Served::start(folder.path(), &[], &[]).await;
    let done = becomes(&again.data(), &url, "done").await;
    assert!(done["tries"].as_u64().unwrap() >= 2, "{done}");
    assert!(provider.seen().iter().all(|request| request.header("idempotency-key") == "k-1"));
    again.signal("TERM").await;
    assert_eq!(again.ended().await.0, Some(0));
}

#[tokio::test]
async fn two_gateways_never_share_an_outbox() {
    let (provider, _) = provider(200).await;
    let folder = config_folder(&format!("{BASE}{OUTBOX}"), &[("shop", &shop(&provider.url(), "1s", ""))]);
    let first = Served::start(folder.path(), &[], &[]).await;
    let second = run(&["serve", "--config", folder.path().to_str().unwrap()], &[]).await;
    let told = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(78), "{told}");
    assert!(told.contains("outbox.path") && told.contains("is in use by another process"), "{told}");
    // Looking at the configuration and single calls leave the outbox alone.
    let folder = folder.path().to_str().unwrap();
    assert_eq!(run(&["check", "--config", folder], &[]).await.status.code(), Some(0));
    let called = run(&["call", "--config", folder, "shop", "pay", "amount=1"], &[]).await;
    assert_eq!(called.status.code(), Some(0), "{}", String::from_utf8_lossy(&called.stderr));
    drop(first);
}

#[tokio::test]
async fn a_key_is_one_call() {
    let (provider, status) = provider(503).await;
    let gateway = gateway(OUTBOX, &shop(&provider.url(), "1h", "")).await;
    let client = gateway.data();
    let url = queued(&pay(&client, "k-1", 5).await);
    let before = provider.count();
    assert_eq!(queued(&pay(&client, "k-1", 5).await), url, "the same call is the same entry");
    let other = pay(&client, "k-1", 6).await;
    assert_eq!((other.status.as_u16(), other.problem().as_str()), (422, "idempotency-key-reused"));
    assert_eq!(provider.count(), before, "nothing was sent for either");
    // One that is under way is answered before the next one with its key may go.
    status.store(SILENT, Ordering::SeqCst);
    assert_eq!(gateway.admin().send(Method::POST, "/integrations/shop/circuit/reset", "").await.status, 204);
    let running = becomes(&client, &url, "running").await;
    assert_eq!(running["tries"], 1);
    let in_use = pay(&client, "k-1", 5).await;
    assert_eq!((in_use.status.as_u16(), in_use.problem().as_str()), (409, "idempotency-key-in-use"));
    assert_eq!(in_use.header("retry-after"), "1");
    let (first, key) = (client.clone(), "k-2");
    let first = tokio::spawn(async move { pay(&first, key, 5).await });
    until("the first call is under way", || (provider.last().header("idempotency-key") == key).then_some(()))
        .await;
    assert_eq!(pay(&client, key, 5).await.problem(), "idempotency-key-in-use");
    assert_eq!(pay(&client, key, 6).await.problem(), "idempotency-key-in-use");
    first.abort();
}

#[tokio::test]
async fn only_the_caller_who_queued_it_is_told() {
    let (provider, _) = provider(503).await;
    let keys = "[server]\nlisten = \"127.0.0.1:0\"\nauth.api_keys = [{ name = \"a\", key = \"key-a\" }, { name = \"b\", key = \"key-b\" }]\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    let base = format!("{keys}{OUTBOX}");
    let gateway = Gateway::with(&base, &[("shop", &shop(&provider.url(), "1h", ""))], &[]).await;
    let (a, b) = (gateway.data().header("x-api-key", "key-a"), gateway.data().header("x-api-key", "key-b"));
    let url = queued(&pay(&a, "k", 1).await);
    assert_eq!(a.get(&url).await.status, 200);
    assert_eq!(b.get(&url).await.problem(), "not-found");
    assert_eq!(gateway.data().get(&url).await.problem(), "unauthenticated");
    assert_eq!(a.get("/outbox/nonsense").await.problem(), "not-found");
    assert_eq!(a.send(Method::DELETE, &url, "").await.problem(), "method-not-allowed");
    assert_eq!(
        pay(&b, "k", 1).await.problem(),
        "idempotency-key-reused",
        "another caller's call is another call"
    );
}

#[tokio::test]
async fn what_cannot_be_kept_goes_to_the_next_rung() {
    let (provider, _) = provider(503).await;
    let more = "[operations.bare]\nmethod = \"POST\"\npath = \"/bare\"\nidempotency = { generate = false }\n\
                fallback = [{ queue = true }, { default = 1 }]\n\
                [operations.all]\nparams.amount = { type = \"integer\", default = 1 }\nfan_out = [\"pay\"]\n";
    let outbox = format!("{OUTBOX}max_entries = 1\nmax_body = \"64B\"\n");
    let gateway = gateway(&outbox, &shop(&provider.url(), "1h", more)).await;
    let call = async |params: Value| {
        let answer = gateway.call("shop", "pay", params).await;
        (answer.status.as_u16(), answer.header("bascule-source").to_owned())
    };
    let passed_over = (503, "default".to_owned());
    assert_eq!(call(json!({ "amount": 1, "currency": "x".repeat(64) })).await, passed_over);
    assert_eq!(call(json!({ "amount": 1 })).await, (202, "queued".to_owned()));
    assert_eq!(call(json!({ "amount": 2 })).await, passed_over);
    let bare = gateway.call("shop", "bare", json!({})).await;
    assert_eq!(bare.header("bascule-source"), "default", "without a key there is nothing to repeat by");
    let all = gateway.call("shop", "all", json!({})).await;
    assert_eq!(all.problem(), "no-data", "who asks several at once wants data now");
    let metrics = Metrics::of(&gateway.admin()).await;
    let refused = |reason| metrics.value("outbox_refusals_total", &[("service", "shop"), ("reason", reason)]);
    assert_eq!((refused("too-large"), refused("full")), (1.0, 1.0));
}

#[tokio::test]
async fn a_raw_body_is_kept_with_its_type_unless_it_is_larger_than_the_outbox_takes() {
    let (provider, status) = provider(503).await;
    let more = "[operations.upload]\nmethod = \"PUT\"\npath = \"/files/{name}\"\nbody = \"raw\"\nidempotency = {}\n\
                fallback = [{ queue = true }]\n";
    let outbox = format!("{OUTBOX}max_body = \"2MiB\"\n");
    let gateway = gateway(&outbox, &shop(&provider.url(), "1h", more)).await;
    let client = gateway.data().header("content-type", "image/png");
    // Larger than what is held to be sent again by a retry.
    let picture = vec![0x89_u8; 3 << 19];
    let url = queued(&client.send(Method::PUT, "/v1/shop/upload?name=a.png", picture.clone()).await);
    let large = client.send(Method::PUT, "/v1/shop/upload?name=b.png", vec![1_u8; (2 << 20) + 1]).await;
    assert_eq!(large.problem(), "circuit-open");
    status.store(200, Ordering::SeqCst);
    assert_eq!(gateway.admin().send(Method::POST, "/integrations/shop/circuit/reset", "").await.status, 204);
    becomes(&client, &url, "done").await;
    let delivered = provider.last();
    assert_eq!((delivered.target.as_str(), delivered.header("content-type")), ("/files/a.png", "image/png"));
    assert_eq!(delivered.body, picture);
}

#[tokio::test]
async fn a_refusal_of_the_call_is_its_answer_and_what_takes_too_long_is_dead() {
    let (provider, status) = provider(503).await;
    let gateway =
        gateway(&format!("{OUTBOX}give_up_after = \"1s\"\n"), &shop(&provider.url(), "50ms", "")).await;
    let client = gateway.data();
    let refused = queued(&pay(&client, "k-1", 1).await);
    status.store(402, Ordering::SeqCst);
    let done = becomes(&client, &refused, "done").await;
    assert_eq!(done["response"]["status"], 402);
    status.store(503, Ordering::SeqCst);
    let given_up = queued(&pay(&client, "k-2", 1).await);
    let dead = becomes(&client, &given_up, "dead").await;
    assert!(dead["last_error"].as_str().unwrap().contains("503"), "{dead}");
    // The caller may try anew; and so may an operator.
    status.store(200, Ordering::SeqCst);
    let retry = format!("{given_up}/retry");
    assert_eq!(gateway.admin().send(Method::POST, &retry, "").await.status, 204);
    becomes(&client, &given_up, "done").await;
    assert_eq!(gateway.admin().send(Method::POST, &retry, "").await.problem(), "conflict");
}

#[tokio::test]
async fn a_reload_keeps_the_queue_and_gives_up_what_no_operation_takes_any_more() {
    let (provider, status) = provider(503).await;
    let refund = "[operations.refund]\nmethod = \"POST\"\npath = \"/refund\"\nidempotency = {}\n\
                  fallback = [{ queue = true }]\n";
    let gateway = gateway(OUTBOX, &shop(&provider.url(), "1h", refund)).await;
    let paid = queued(&pay(&gateway.data(), "k-1", 1).await);
    let refunded = queued(&gateway.call("shop", "refund", json!({})).await);
    // The circuit is open, so nothing is delivered before the reload makes a new one.
    status.store(200, Ordering::SeqCst);
    gateway.rewrite("shop", &shop(&provider.url(), "2h", ""));
    let reloaded = gateway.admin().send(Method::POST, "/config/reload", "").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    let dead = becomes(&gateway.data(), &refunded, "dead").await;
    assert_eq!(dead["last_error"], "there is no operation shop.refund any more");
    becomes(&gateway.data(), &paid, "done").await;
    // Without [outbox] ladders may not queue; without such ladders the open outbox stays.
    fs::write(gateway.folder().join("bascule.toml"), Gateway::base("")).unwrap();
    let refused = gateway.admin().send(Method::POST, "/config/reload", "").await;
    assert_eq!(refused.json()["problems"][0]["key"], "operations.pay.fallback[0].queue");
}

#[tokio::test]
async fn a_reload_opens_an_outbox() {
    let (provider, _) = provider(503).await;
    let gateway = Gateway::start(&[("shop", "base_url = \"http://127.0.0.1:9\"\n")]).await;
    assert_eq!(gateway.admin().get("/outbox").await.problem(), "not-found");
    assert_eq!(
        gateway.data().get("/outbox/0192f0c0-0000-7000-8000-000000000000").await.problem(),
        "not-found"
    );
    fs::write(gateway.folder().join("bascule.toml"), Gateway::base(OUTBOX)).unwrap();
    gateway.rewrite("shop", &shop(&provider.url(), "1h", ""));
    assert_eq!(gateway.admin().send(Method::POST, "/config/reload", "").await.status, 200);
    queued(&pay(&gateway.data(), "k", 1).await);
    assert!(gateway.folder().join("calls.db").is_file());
}

#[tokio::test]
async fn operators_look_at_the_queue_and_remove_from_it() {
    let (provider, _) = provider(503).await;
    let tokens = "tokens = [{ name = \"o\", role = \"admin\", token = \"t-admin\" }, { name = \"v\", role = \"viewer\", token = \"t-view\" }]\n";
    let base = format!("{BASE}{tokens}{OUTBOX}");
    let gateway = Gateway::with(&base, &[("shop", &shop(&provider.url(), "1h", ""))], &[]).await;
    let viewer = gateway.admin().header("authorization", "Bearer t-view");
    let admin = gateway.admin().header("authorization", "Bearer t-admin");
    let mut urls = Vec::new();
    for amount in 1..=3 {
        urls.push(queued(&pay(&gateway.data(), &format!("k-{amount}"), amount).await));
    }
    let page = viewer.get("/outbox?limit=2&state=waiting").await.json();
    let ids = |page: &Value| -> Vec<String> {
        let entries = page["entries"].as_array().unwrap().iter();
        entries.map(|entry| format!("/outbox/{}", entry["id"].as_str().unwrap())).collect()
    };
    assert_eq!(ids(&page), urls[..2]);
    let shown = page["entries"][0].as_object().unwrap();
    assert!(!shown.contains_key("response") && shown["tries"] == 0, "{shown:?}");
    let rest = viewer.get(&format!("/outbox?after={}", page["next"].as_str().unwrap())).await.json();
    assert_eq!((ids(&rest), &rest["next"]), (urls[2..].to_vec(), &Value::Null));
    assert_eq!(viewer.send(Method::DELETE, &urls[0], "").await.problem(), "forbidden");
    assert_eq!(admin.send(Method::DELETE, &urls[0], "").await.status, 204);
    assert_eq!(admin.send(Method::DELETE, &urls[0], "").await.problem(), "not-found");
    assert_eq!(gateway.data().get(&urls[0]).await.problem(), "not-found");
    assert_eq!(viewer.get("/outbox?state=lost").await.problem(), "invalid-request");
}
