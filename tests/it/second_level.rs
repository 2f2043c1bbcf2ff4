//! The cache's second level: gateways that share a Redis, and what they do without it.

use crate::support::{Answer, Gateway, Provider, reply, until_async};
use bascule_shared::{Command, Options, Server, Shared, testing::RedisServer};
use http::Method;
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

fn config(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
forward_headers = ["accept-language"]
[retry]
max_attempts = 1
[operations.rule]
path = "/rule/{{id}}"
cache = "1h"
[operations.own]
path = "/own/{{id}}"
cache = {{ ttl = "1h", vary_by = ["param:id", "caller"] }}
[operations.http]
path = "/http/{{id}}"
cache = "http"
[operations.change]
method = "POST"
path = "/change/{{id}}"
cache = {{ purges = ["rule"] }}
"#
    )
}

/// Answers with the number of the request.
async fn provider() -> Provider {
    Provider::new(|request| {
        let headers = [("cache-control", "max-age=3600"), ("age", "100"), ("vary", "accept-language")];
        reply(200, &headers, request.number.to_string())
    })
    .await
}

async fn gateway(redis: &RedisServer, provider: &Provider) -> Gateway {
    // A busy machine is not what is tested.
    let base = format!(
        r#"
[server]
listen = "127.0.0.1:0"
auth.api_keys = [{{ name = "a", key = "key-of-a" }}, {{ name = "b", key = "key-of-b" }}]
[admin]
listen = "127.0.0.1:0"
[telemetry]
completion_log = false
[cache]
shared = "{}"
shared_key = "a key that is long enough"
shared_timeout = "5s"
"#,
        redis.url()
    );
    let gateway = Gateway::with(&base, &[("api", &config(&provider.url()))], &[]).await;
    connected(&gateway).await;
    gateway
}

/// Waits until a look at the server has an answer.
async fn connected(gateway: &Gateway) {
    /// No look finds what another one left.
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    let made = AtomicU64::new(0);
    until_async("the server answers", async || {
        made.fetch_add(1, Ordering::Relaxed);
        let number = LOOKS.fetch_add(1, Ordering::Relaxed);
        let before = shared(gateway, "misses").await;
        call(gateway, "b", "rule", &format!("probe {number}")).await;
        (shared(gateway, "misses").await > before).then_some(())
    })
    .await;
    // What the looks stored has gone its way, too.
    let looks = made.into_inner() as f64;
    until_async("sent", async || {
        let done = shared(gateway, "sent").await + shared(gateway, "skipped").await;
        (done >= looks).then_some(())
    })
    .await;
}

async fn shared(gateway: &Gateway, figure: &str) -> f64 {
    gateway.metric(&format!("cache_shared_{figure}"), &[]).await
}

async fn call(gateway: &Gateway, caller: &str, operation: &str, id: &str) -> Answer {
    let client = gateway.data().header("authorization", &format!("Bearer key-of-{caller}"));
    let answer = client.post(&format!("/v1/api/{operation}"), &json!({ "id": id })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// Looks into the server.
struct Inside(Shared);

impl Inside {
    async fn of(redis: &RedisServer) -> Self {
        let mut options = Options::new(|| 0.5);
        options.timeout = Duration::from_secs(5);
        let shared = Shared::start(Server::parse(&redis.url()).unwrap(), options);
        until_async("connected", async || shared.is_connected().then_some(())).await;
        Self(shared)
    }

    async fn keys(&self) -> i64 {
        self.0.call(Command::new("DBSIZE")).await.unwrap().integer().unwrap()
    }

    /// Waits until so many more keys than before are there.
    async fn more(&self, before: i64, more: i64) {
        until_async("sent", async || (self.keys().await >= before + more).then_some(())).await;
    }
}

fn source(answer: &Answer) -> &str {
    answer.header("bascule-source")
}

#[tokio::test]
async fn what_one_gateway_stored_another_answers_with() {
    let (redis, provider) = (RedisServer::start().await.unwrap(), provider().await);
    let (one, two) = (gateway(&redis, &provider).await, gateway(&redis, &provider).await);
    let inside = Inside::of(&redis).await;
    let before = inside.keys().await;
    let mut texts = Vec::new();
    for operation in ["rule", "own", "http"] {
        texts.push(call(&one, "a", operation, "x").await.text());
    }
    inside.more(before, 3).await;
    let count = provider.count();
    for (operation, text) in ["rule", "own", "http"].into_iter().zip(&texts) {
        for _ in 0..2 {
            let hit = call(&two, "a", operation, "x").await;
            assert_eq!((&hit.text(), source(&hit)), (text, "cache"), "{operation}");
            assert!(hit.header("cache-status").contains("bascule; hit; ttl="), "{operation}");
            let age: u64 = hit.header("age").parse().unwrap();
            assert!(
                if operation == "http" { (100..160).contains(&age) } else { age < 60 },
                "{operation}: {age}"
            );
        }
    }
    assert_eq!(provider.count(), count);
    assert_eq!(shared(&two, "hits").await, 3.0, "the second time it is in its own store");
    assert_eq!(source(&call(&two, "b", "own", "x").await), "upstream", "an answer of another caller");
}

#[tokio::test]
async fn many_misses_of_a_key_are_one_look() {
    let (redis, provider) = (RedisServer::start().await.unwrap(), provider().await);
    let (one, two) = (gateway(&redis, &provider).await, gateway(&redis, &provider).await);
    let (inside, two) = (Inside::of(&redis).await, Arc::new(two));
    let before = inside.keys().await;
    call(&one, "a", "rule", "x").await;
    inside.more(before, 1).await;
    let count = provider.count();
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let two = Arc::clone(&two);
        calls.spawn(async move { call(&two, "a", "rule", "x").await });
    }
    while let Some(answer) = calls.join_next().await {
        assert_eq!(source(&answer.unwrap()), "cache");
    }
    assert_eq!(provider.count(), count);
}

#[tokio::test]
async fn a_purge_on_one_gateway_is_one_on_all() {
    let (redis, provider) = (RedisServer::start().await.unwrap(), provider().await);
    let (one, two) = (gateway(&redis, &provider).await, gateway(&redis, &provider).await);
    let inside = Inside::of(&redis).await;
    for (id, mutation) in [("x", false), ("y", true)] {
        let before = inside.keys().await;
        let old = call(&one, "a", "rule", id).await.text();
        inside.more(before, 1).await;
        assert_eq!(call(&two, "a", "rule", id).await.text(), old);
        if mutation {
            call(&one, "a", "change", "x").await;
        } else {
            let path = "/integrations/api/cache?operation=rule";
            assert_eq!(one.admin().send(Method::DELETE, path, "").await.status, 204);
        }
        let new = until_async("purged there, too", async || {
            let answer = call(&two, "a", "rule", id).await.text();
            (answer != old).then_some(answer)
        })
        .await;
        // It is the second gateway's answer, or a later one of its own: never the old one again.
        let number = |text: &str| text.parse::<u64>().unwrap();
        assert!(number(&new) > number(&old));
        assert!(number(&call(&one, "a", "rule", id).await.text()) > number(&old));
    }
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_costs_no_call() {
    let (mut redis, provider) = (RedisServer::start().await.unwrap(), provider().await);
    let (one, two) = (gateway(&redis, &provider).await, gateway(&redis, &provider).await);
    let (one, two, stop) = (Arc::new(one), Arc::new(two), Arc::new(AtomicBool::new(false)));
    let mut load = JoinSet::new();
    for worker in 0..4 {
        let (gateway, stop) = (Arc::clone(if worker % 2 == 0 { &one } else { &two }), Arc::clone(&stop));
        load.spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::SeqCst) {
                // Every call is answered with 200: `call` looks.
                call(&gateway, "a", "rule", &format!("{} {}", worker / 2, number / 2)).await;
                number += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            number
        });
    }
    until_async("found", async || {
        (shared(&two, "hits").await + shared(&one, "hits").await > 0.0).then_some(())
    })
    .await;
    redis.stop();
    until_async("missed", async || (shared(&two, "unanswered").await > 0.0).then_some(())).await;
    let before = shared(&two, "hits").await + shared(&one, "hits").await;
    redis.restart().await.unwrap();
    until_async("used again", async || {
        (shared(&two, "hits").await + shared(&one, "hits").await > before).then_some(())
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    while let Some(calls) = load.join_next().await {
        assert!(calls.unwrap() > 0);
    }
}
