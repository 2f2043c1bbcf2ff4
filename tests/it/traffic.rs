//! Who goes first and how many go: hedging, priorities, costs, several windows, the reserve, adaptive limits, learnt
//! quotas with their forecast, and the limits of callers.

use crate::support::{Gate, Gateway, Provider, eventually, reply};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const GET: &str = "[operations.get]\npath = \"/\"\nretry = { max_attempts = 1 }\n";

fn integration(url: &str, more: &str) -> String {
    format!("base_url = \"{url}\"\n{more}\n{GET}")
}

/// Answers at once, but for its first request, which is held until the gate opens.
async fn dawdling(gate: &Gate) -> (Provider, Arc<AtomicUsize>) {
    let (gate, seen) = (gate.clone(), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&seen);
    let provider = Provider::slow(move |_| {
        let (gate, first) = (gate.clone(), count.fetch_add(1, Ordering::SeqCst) == 0);
        async move {
            if first {
                gate.pass().await;
            }
            reply(200, &[], if first { "slow" } else { "quick" })
        }
    })
    .await;
    (provider, seen)
}

#[tokio::test]
async fn a_hedge_answers_while_the_first_attempt_hangs_and_both_are_counted() {
    let gate = Gate::closed();
    let (provider, seen) = dawdling(&gate).await;
    let config = integration(&provider.url(), "hedge = { after = \"50ms\" }");
    let gateway = Gateway::start(&[("api", &config)]).await;
    let answer = gateway.data().get("/v1/api/get").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "quick"));
    assert_eq!(answer.header("bascule-attempts"), "2");
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    let labels = [("service", "api"), ("endpoint", "get"), ("result", "won")];
    gateway.reaches("hedges_total", &labels, 1.0).await;
    let phase = [("service", "api"), ("endpoint", "get"), ("phase", "hedge")];
    assert!(gateway.metric("deadline_spent_seconds_count", &phase).await >= 1.0);
    // The slow one was given up, so its place is free again.
    eventually("no call is under way", || async { gateway.health("api").await["in_flight"] == 0 }).await;
    gate.open();
}

#[tokio::test]
async fn hedges_stop_when_the_retry_budget_is_spent() {
    let provider = Provider::slow(|_| async {
        tokio::time::sleep(Duration::from_millis(80)).await;
        reply(200, &[], "ok")
    })
    .await;
    let more =
        "hedge = { after = \"10ms\" }\n[retry]\nbudget = { ratio = 0.0, floor = 2, window = \"1h\" }\n";
    let gateway = Gateway::start(&[("api", &integration(&provider.url(), more))]).await;
    for _ in 0..5 {
        assert_eq!(gateway.data().get("/v1/api/get").await.status, 200);
    }
    assert_eq!(provider.count(), 5 + 2);
}

#[tokio::test]
async fn a_cost_takes_as_many_tokens_and_a_reserve_is_kept_for_those_that_matter() {
    let provider = Provider::new(|_| reply(200, &[], "ok")).await;
    let config = format!(
        "base_url = \"{}\"\n[rate_limit]\nrequests = 10\nwindow = \"1h\"\nreserve = 0.2\n\
         [operations.get]\npath = \"/\"\ncost = 4\n[operations.urgent]\npath = \"/urgent\"\npriority = \"high\"\n",
        provider.url()
    );
    let gateway = Gateway::start(&[("api", &config)]).await;
    for expected in [200, 200, 429] {
        assert_eq!(gateway.data().get("/v1/api/get").await.status.as_u16(), expected);
    }
    let health = gateway.health("api").await;
    assert_eq!(health["rate_limit_remaining"], 2, "{health}");
    assert_eq!(health["rate_limits"][0]["limit"], 10, "{health}");
    for expected in [200, 200, 429] {
        assert_eq!(gateway.data().get("/v1/api/urgent").await.status.as_u16(), expected);
    }
}

#[tokio::test]
async fn every_window_of_a_budget_must_allow() {
    let provider = Provider::new(|_| reply(200, &[], "ok")).await;
    let limit =
        "[rate_limit]\nrequests = 1000\nwindow = \"1h\"\nwindows = [{ requests = 3, window = \"1h\" }]\n";
    let gateway = Gateway::start(&[("api", &integration(&provider.url(), limit))]).await;
    for expected in [200, 200, 200, 429] {
        assert_eq!(gateway.data().get("/v1/api/get").await.status.as_u16(), expected);
    }
    let forecast = &gateway.health("api").await["rate_limit_forecast"];
    assert_eq!(forecast["name"], "window 2", "{forecast}");
}

#[tokio::test]
async fn several_quotas_are_learnt_at_once_and_foreseen() {
    let provider = Provider::new(|_| {
        let headers = [
            ("RateLimit", "\"burst\";r=50;t=10, \"day\";r=0;t=3600"),
            ("RateLimit-Policy", "\"burst\";q=100;w=10, \"day\";q=1000;w=86400"),
        ];
        reply(200, &headers, "ok")
    })
    .await;
    let gateway = Gateway::start(&[("api", &integration(&provider.url(), ""))]).await;
    assert_eq!(gateway.data().get("/v1/api/get").await.status, 200);
    let refused = gateway.data().get("/v1/api/get").await;
    assert_eq!(refused.code(), (429, "rate-limited".to_owned()));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((3500..=3600).contains(&wait), "until the day's reset: {wait}");
    let health = gateway.health("api").await;
    let names: Vec<_> =
        health["rate_limits"].as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
    assert_eq!(names, [json!("burst"), json!("day")], "{health}");
    assert_eq!(health["rate_limit_forecast"]["exhausted_in_ms"], 0, "{health}");
    assert_eq!(health["status"], "degraded");
    assert_eq!(gateway.metric("rate_limit_remaining", &[("service", "api")]).await, 0.0);
    assert_eq!(gateway.metric("rate_limit_exhaustion_seconds", &[("service", "api")]).await, 0.0);
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn a_call_of_high_priority_displaces_one_that_matters_less() {
    let gate = Gate::closed();
    let provider = Provider::slow({
        let gate = gate.clone();
        move |_| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                reply(200, &[], "ok")
            }
        }
    })
    .await;
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nauth.api_keys = [{ name = \"batch\", key = \"b\", priority = \"low\" }, \
                  { name = \"shop\", key = \"s\", priority = \"high\" }]\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    let config = integration(&provider.url(), "[concurrency]\nmax = 1\nmax_waiting = 1\n");
    let gateway = Gateway::with(server, &[("api", &config)], &[]).await;
    let call = |key: &str| {
        let client = gateway.data().header("x-api-key", key);
        tokio::spawn(async move { client.get("/v1/api/get").await })
    };
    let first = call("b");
    eventually("the place is taken", || async { provider.count() == 1 }).await;
    let waiting = call("b");
    eventually("one waits", || async { gateway.health("api").await["waiting"] == 1 }).await;
    let urgent = call("s");
    assert_eq!(waiting.await.unwrap().code(), (503, "overloaded".to_owned()), "it gave way");
    gate.open();
    assert_eq!((first.await.unwrap().status.as_u16(), urgent.await.unwrap().status.as_u16()), (200, 200));
}

#[tokio::test]
async fn an_adaptive_limit_is_shown_and_backs_off_when_calls_fail() {
    let provider = Provider::new(|_| reply(500, &[], "no")).await;
    let more = "circuit_breaker = { mode = \"off\" }\n\
                concurrency = { max = 100, adaptive = { algorithm = \"aimd\", initial = 40, backoff = 0.5 } }\n";
    let gateway = Gateway::start(&[("api", &integration(&provider.url(), more))]).await;
    assert_eq!(gateway.health("api").await["concurrency_limit"], 40);
    assert_eq!(gateway.data().get("/v1/api/get").await.status, 500);
    let limit = gateway.health("api").await["concurrency_limit"].as_u64().unwrap();
    assert_eq!(limit, 20);
    assert_eq!(gateway.metric("concurrency_limit", &[("service", "api")]).await, 20.0);
}

#[tokio::test]
async fn a_caller_has_a_limit_of_its_own() {
    let provider = Provider::new(|_| reply(200, &[], "ok")).await;
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nauth.api_keys = [\
                  { name = \"trial\", key = \"t\", rate_limit = { requests = 2, window = \"1h\" } }, \
                  { name = \"paid\", key = \"p\" }]\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    let gateway = Gateway::with(server, &[("api", &integration(&provider.url(), ""))], &[]).await;
    let trial = gateway.data().header("x-api-key", "t");
    for expected in [200, 200, 429] {
        assert_eq!(trial.get("/v1/api/get").await.status.as_u16(), expected);
    }
    let refused = trial.get("/v1/api/get").await;
    assert_eq!(refused.code(), (429, "rate-limited".to_owned()));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 1000);
    assert_eq!(gateway.data().header("x-api-key", "p").get("/v1/api/get").await.status, 200);
    assert_eq!(provider.count(), 3);
}
