//! Traps around the cache and the coalescer.

use super::Bascule;
use crate::support::{Gate, Provider, eventually, reply};
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;

fn config(url: &str) -> String {
    let operations: String = ["get", "private", "missing", "failing"]
        .iter()
        .map(|name| {
            format!(
                "[operations.{name}]\npath = \"/{name}/{{id}}\"\ncache = {{ ttl = \"1h\", negative_ttl = \"1h\" }}\n"
            )
        })
        .collect();
    format!(
        "base_url = \"{url}\"\n[retry]\nmax_attempts = 3\nbase_delay = \"1ms\"\n[circuit_breaker]\nmode = \"off\"\n{operations}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_concurrent_misses_make_one_upstream_call() {
    // A failure is one fetch for all of them too, its retries included.
    for (operation, status, requests) in [("get", 200, 1), ("failing", 500, 3)] {
        let gate = Gate::closed();
        let held = gate.clone();
        let provider = Provider::slow(move |request| {
            let gate = held.clone();
            async move {
                gate.pass().await;
                reply(status, &[], request.number.to_string())
            }
        })
        .await;
        let bascule = Arc::new(Bascule::start(&config(&provider.url())).await);
        let mut calls = JoinSet::new();
        for _ in 0..50 {
            let bascule = Arc::clone(&bascule);
            calls.spawn(async move { bascule.call(operation, json!({"id": "1"})).await });
        }
        eventually("all have missed", async || {
            bascule.metrics().await.sum("cache_requests_total", &[("result", "miss")]) >= 50.0
        })
        .await;
        gate.open();
        let answers = calls.join_all().await;
        let from = |source: &str| answers.iter().filter(|a| a.header("bascule-source") == source).count();
        assert!(answers.iter().all(|a| a.status == status && a.text() == requests.to_string()));
        assert_eq!((from("upstream"), from("coalesced")), (1, 49));
        let collapsed = answers.iter().filter(|a| a.header("cache-status").contains("; collapsed")).count();
        assert_eq!(collapsed, 49);
        assert_eq!(provider.count(), requests);
    }
}

/// What an answer weighs, so that each that is kept for good shows.
const BODY: usize = 32 * 1024;
const KEYS: usize = 1200;
const MIB: usize = 1024 * 1024;

/// Calls an operation once for each of these keys.
async fn crawl(bascule: &Arc<Bascule>, operation: &'static str, keys: std::ops::Range<usize>) {
    let mut calls = JoinSet::new();
    for worker in 0..4 {
        let (bascule, keys) = (Arc::clone(bascule), keys.clone());
        calls.spawn(async move {
            for id in keys.skip(worker).step_by(4) {
                let answer = bascule.call(operation, json!({"id": id.to_string()})).await;
                assert_eq!(answer.body.len(), BODY, "{operation} {id}: {}", answer.status);
            }
        });
    }
    calls.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn per_key_maps_are_swept() {
    let provider = Provider::new(|request| {
        let body = vec![b'x'; BODY];
        match request.target.split('/').nth(1) {
            Some("private") => reply(200, &[("set-cookie", "a=b")], body),
            Some("missing") => reply(404, &[], body),
            Some("failing") => reply(501, &[], body),
            _ => reply(200, &[], body),
        }
    })
    .await;
    let bascule = Arc::new(Bascule::with("[cache]\nmax_size = \"4MiB\"\n", &config(&provider.url())).await);
    let operations = ["get", "private", "missing", "failing"];
    for operation in operations {
        crawl(&bascule, operation, 0..100).await;
    }
    let before = bascule.memory("VmRSS:");
    for operation in operations {
        crawl(&bascule, operation, 100..100 + KEYS).await;
    }
    // One map that kept what it had for every key would hold 37 MiB.
    let growth = bascule.memory("VmRSS:").saturating_sub(before);
    assert!(growth < 24 * MIB, "grew by {} KiB over {} keys", growth / 1024, KEYS * operations.len());
    // And what was swept is fetched anew: the store knows its bound.
    let asked = provider.count();
    crawl(&bascule, "get", 0..100).await;
    assert!(provider.count() > asked, "the first entries have made way");
}
