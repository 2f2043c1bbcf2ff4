//! Traps around the circuit breaker.

use super::{Bascule, circuit_open};
use crate::support::{Gate, Provider, eventually, reply};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// One failure opens, one success of a probe closes.
fn config(url: &str, reset_after: &str) -> String {
    format!(
        "base_url = \"{url}\"\n[retry]\nmax_attempts = 1\n\
         [circuit_breaker]\nfailures = 1\nreset_after = \"{reset_after}\"\nhalf_open_successes = 1\n\
         [operations.get]\npath = \"/get\"\n[operations.slow]\npath = \"/slow\"\n"
    )
}

/// Fails once; after that, answers come when the gate lets them.
async fn failing_once(gate: &Gate) -> Provider {
    let gate = gate.clone();
    Provider::slow(move |request| {
        let gate = gate.clone();
        async move {
            if request.number == 1 {
                return reply(500, &[], "");
            }
            gate.pass().await;
            reply(200, &[], "")
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_never_admits_every_concurrent_caller() {
    let gate = Gate::closed();
    let provider = failing_once(&gate).await;
    let bascule = Arc::new(Bascule::start(&config(&provider.url(), "100ms")).await);
    assert_eq!(bascule.get().await.status, 500);
    eventually("a probe is due", async || bascule.circuit().await == "half-open").await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let bascule = Arc::clone(&bascule);
        calls.spawn(async move { bascule.get().await });
    }
    // The probe is held back, so whoever ends meanwhile was refused: all but one.
    for _ in 0..19 {
        let refused = calls.join_next().await.unwrap().unwrap();
        assert_eq!(refused.code(), circuit_open());
        assert!(!refused.header("retry-after").is_empty());
    }
    eventually("the probe is at the provider", async || provider.count() == 2).await;
    gate.open();
    assert_eq!(calls.join_next().await.unwrap().unwrap().status, 200);
    assert_eq!(bascule.circuit().await, "closed");
}

#[tokio::test]
async fn a_dropped_probe_does_not_stall_recovery() {
    let provider = Provider::slow(|request| async move {
        match request.number {
            1 => reply(500, &[], ""),
            2 => std::future::pending().await,
            _ => reply(200, &[], ""),
        }
    })
    .await;
    let bascule = Bascule::start(&config(&provider.url(), "50ms")).await;
    assert_eq!(bascule.get().await.status, 500);
    eventually("the probe is at the provider", async || {
        if provider.count() < 2 {
            drop(tokio::time::timeout(Duration::from_millis(200), bascule.get()).await);
        }
        provider.count() == 2
    })
    .await;
    // Its caller has left and it never reports. Were its place not given back, all that follow were refused.
    eventually("the next probe succeeds", async || bascule.get().await.status == 200).await;
    assert_eq!(bascule.circuit().await, "closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_successes_never_close_an_open_circuit() {
    // While it is open, and when probes are due: a call from before the failure is no probe either.
    for (reset_after, state) in [("1h", "open"), ("100ms", "half-open")] {
        let gate = Gate::closed();
        let held = gate.clone();
        let provider = Provider::slow(move |request| {
            let gate = held.clone();
            async move {
                if request.target == "/get" {
                    return reply(500, &[], "");
                }
                gate.pass().await;
                reply(200, &[], "late")
            }
        })
        .await;
        let bascule = Arc::new(Bascule::start(&config(&provider.url(), reset_after)).await);
        let mut late = JoinSet::new();
        for _ in 0..3 {
            let bascule = Arc::clone(&bascule);
            late.spawn(async move { bascule.call("slow", json!({})).await });
        }
        eventually("three calls are under way", async || provider.count() == 3).await;
        assert_eq!(bascule.get().await.status, 500);
        eventually(state, async || bascule.circuit().await == state).await;
        gate.open();
        for answer in late.join_all().await {
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "late"));
        }
        assert_eq!(bascule.circuit().await, state);
        let to_closed = [("service", "api"), ("to", "closed")];
        assert_eq!(bascule.metrics().await.sum("circuit_breaker_state_changes_total", &to_closed), 0.0);
        if state == "open" {
            assert_eq!(bascule.get().await.code(), circuit_open());
            assert_eq!(provider.count(), 4);
        }
    }
}

#[tokio::test]
async fn a_404_never_trips_the_breaker() {
    let statuses = [404, 400, 401, 403, 410, 422, 501, 505];
    let provider =
        Provider::new(move |request| reply(statuses[(request.number - 1) % statuses.len()], &[], "no")).await;
    let bascule = Bascule::start(&config(&provider.url(), "1h")).await;
    for status in statuses {
        assert_eq!(bascule.get().await.status, status);
        assert_eq!(bascule.circuit().await, "closed", "{status}");
    }
    assert_eq!(bascule.metrics().await.sum("circuit_breaker_failures_total", &[]), 0.0);
}
