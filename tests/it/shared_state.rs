//! Several gateways and one Redis: one budget, one provider's word, circuits that open together; and that nothing of it
//! is needed for a call.

use crate::support::{Gateway, Provider, eventually, reply};
use bascule_shared::{
    Command, Notice, Options, Server, Shared,
    testing::{RedisServer, Relay},
};
use http::Method;
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// A bound on the server's answers that a busy machine keeps.
const PATIENT: &str = "shared_timeout = \"20s\"\n";

async fn redis() -> RedisServer {
    RedisServer::start().await.expect("a server")
}

async fn gateway(redis: &RedisServer, more: &str, integration: &str) -> Gateway {
    gateway_at(&redis.url(), more, integration).await
}

async fn gateway_at(url: &str, more: &str, integration: &str) -> Gateway {
    let text = Gateway::base(&format!("[cache]\nshared = \"{url}\"\n{more}"));
    Gateway::with(&text, &[("shop", integration)], &[]).await
}

/// A connection of the test's own, to look at what gateways do.
async fn observer(redis: &RedisServer) -> Shared {
    let mut options = Options::new(|| 0.0);
    options.timeout = Duration::from_secs(20);
    let observer = Shared::start(Server::parse(&redis.url()).expect("a URL"), options);
    eventually("the observer is connected", async || observer.is_connected()).await;
    observer
}

/// Waits until so many gateways hear what is told.
async fn hearing(observer: &Shared, count: i64) {
    eventually("all gateways listen", async || {
        let command = Command::new("PUBSUB").arg("NUMSUB").arg("bascule:told");
        let reply = observer.call(command).await.expect("an answer");
        reply.into_list().expect("a list").get(1).and_then(|count| count.integer()) == Some(count)
    })
    .await;
}

async fn connected(gateway: &Gateway) {
    let status = async || gateway.admin().get("/integrations/status").await.json();
    eventually("it is connected", async || status().await["shared"]["connected"] == true).await;
}

fn limited(url: &str, limit: &str) -> String {
    format!(
        "base_url = \"{url}\"\nretry = {{ max_attempts = 1 }}\nrate_limit = {{ {limit}, shared = true }}\n\
         [operations.get]\npath = \"/get\"\n"
    )
}

fn broken(url: &str) -> String {
    format!(
        "base_url = \"{url}\"\nretry = {{ max_attempts = 1 }}\n\
         circuit_breaker = {{ failures = 2, reset_after = \"1h\", shared = true }}\n[operations.get]\npath = \"/get\"\n"
    )
}

/// A provider that answers with a status that can be changed.
async fn provider(status: u16) -> (Provider, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let now = Arc::clone(&status);
    (Provider::new(move |_| reply(now.load(Ordering::SeqCst), &[], "{}")).await, status)
}

async fn open(gateway: &Gateway) {
    eventually("the circuit is open", async || gateway.health("shop").await["circuit_state"] == "open").await;
}

#[tokio::test]
async fn two_gateways_have_one_budget() {
    let redis = redis().await;
    let (provider, _) = provider(200).await;
    let text = limited(&provider.url(), "requests = 20, window = \"1h\"");
    let gateways = [gateway(&redis, PATIENT, &text).await, gateway(&redis, PATIENT, &text).await];
    for one in &gateways {
        connected(one).await;
    }
    let [one, other] = &gateways;
    let (mut went, mut refused) = (0, 0);
    for _ in 0..4 {
        let calls: Vec<_> =
            (0..5).flat_map(|_| [one, other]).map(|one| one.call("shop", "get", json!({}))).collect();
        let mut all = Vec::new();
        for call in calls {
            all.push(call.await);
        }
        for answer in all {
            match answer.status.as_u16() {
                200 => went += 1,
                429 => refused += 1,
                other => panic!("{other}: {}", answer.text()),
            }
        }
    }
    assert_eq!((went, refused), (20, 20));
    assert_eq!(provider.count(), 20);
}

#[tokio::test]
async fn calls_at_the_same_time_do_not_exceed_the_budget_either() {
    let redis = redis().await;
    let (provider, _) = provider(200).await;
    let text = limited(&provider.url(), "requests = 30, window = \"1h\"");
    let gateways = [gateway(&redis, PATIENT, &text).await, gateway(&redis, PATIENT, &text).await];
    let mut calls = JoinSet::new();
    for one in &gateways {
        connected(one).await;
        let client = one.data();
        for _ in 0..40 {
            let client = client.clone();
            calls.spawn(async move { client.post("/v1/shop/get", &json!({})).await.status.as_u16() });
        }
    }
    let statuses = calls.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 30, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)));
}

#[tokio::test]
async fn a_budget_that_is_leased_is_exceeded_by_no_more_than_the_leases() {
    let redis = redis().await;
    let (provider, _) = provider(200).await;
    // The lease: a 32nd of the burst.
    let (rate, burst, lease) = (64.0, 128.0, 4.0);
    let text = limited(&provider.url(), "requests = 64, window = \"1s\", burst = 128");
    let gateways = [gateway(&redis, PATIENT, &text).await, gateway(&redis, PATIENT, &text).await];
    for one in &gateways {
        connected(one).await;
    }
    let since = Instant::now();
    let mut calls = JoinSet::new();
    for one in &gateways {
        for _ in 0..150 {
            let client = one.data();
            calls.spawn(async move { client.post("/v1/shop/get", &json!({})).await.status == 200 });
        }
    }
    let went = calls.join_all().await.into_iter().filter(|went| *went).count() as f64;
    let allowed = burst + rate * since.elapsed().as_secs_f64();
    assert!(went >= burst && went <= allowed + 2.0 * lease, "{went} of {allowed}");
}

#[tokio::test]
async fn every_window_counts_and_the_reserve_is_kept_for_high_priority() {
    let redis = redis().await;
    let (provider, _) = provider(200).await;
    let limit =
        "requests = 20, window = \"1h\", windows = [{ requests = 5, window = \"1h\" }], reserve = 0.4";
    let text = format!(
        "{}[operations.urgent]\npath = \"/urgent\"\npriority = \"high\"\n",
        limited(&provider.url(), limit)
    );
    let (one, other) = (gateway(&redis, PATIENT, &text).await, gateway(&redis, PATIENT, &text).await);
    let mut went = [0, 0];
    for (kind, operation) in ["get", "urgent"].into_iter().enumerate() {
        for one in [&one, &other] {
            connected(one).await;
            for _ in 0..5 {
                went[kind] += usize::from(one.call("shop", operation, json!({})).await.status == 200);
            }
        }
    }
    assert_eq!(went, [3, 2]);
}

#[tokio::test]
async fn a_server_that_hangs_fails_no_call_either() {
    let redis = redis().await;
    let relay = Relay::start(&redis).await.expect("a free port");
    let (provider, _) = provider(200).await;
    let text = limited(&provider.url(), "requests = 1000, window = \"1s\"");
    let one = gateway_at(&relay.url(), "", &text).await;
    connected(&one).await;
    relay.hold(true);
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let client = one.data();
        calls.spawn(async move { client.post("/v1/shop/get", &json!({})).await.status.as_u16() });
    }
    assert!(calls.join_all().await.into_iter().all(|status| status == 200));
    relay.hold(false);
    connected(&one).await;
}

#[tokio::test]
async fn what_the_provider_said_to_one_holds_the_other() {
    let redis = redis().await;
    let provider = Provider::new(|_| reply(429, &[("retry-after", "3000")], "")).await;
    let limit = "requests = 1000, window = \"1h\", quota_reset_max = \"1h\"";
    let text =
        format!("{}[operations.get.retry]\nretry_after_max = \"1h\"\n", limited(&provider.url(), limit));
    let (one, other) = (gateway(&redis, PATIENT, &text).await, gateway(&redis, PATIENT, &text).await);
    hearing(&observer(&redis).await, 2).await;
    assert_eq!(one.call("shop", "get", json!({})).await.status, 429);
    eventually("the other one is held", async || other.health("shop").await["rate_limit_remaining"] == 0)
        .await;
    let answer = other.call("shop", "get", json!({})).await;
    assert_eq!(answer.code(), (429, "rate-limited".to_owned()));
    assert_eq!(provider.count(), 1, "the provider was not asked again");
    // Who starts later asks the server for tokens, and is given none.
    let late = gateway(&redis, PATIENT, &text).await;
    connected(&late).await;
    assert_eq!(late.call("shop", "get", json!({})).await.code(), (429, "rate-limited".to_owned()));
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn a_quota_that_is_spent_for_one_is_spent_for_the_other() {
    let redis = redis().await;
    let quota = [("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "3000")];
    let provider = Provider::new(move |_| reply(200, &quota, "{}")).await;
    let text = limited(&provider.url(), "requests = 1000, window = \"1h\"");
    let (one, other) = (gateway(&redis, PATIENT, &text).await, gateway(&redis, PATIENT, &text).await);
    hearing(&observer(&redis).await, 2).await;
    assert_eq!(one.call("shop", "get", json!({})).await.status, 200);
    eventually("the other one knows", async || other.health("shop").await["rate_limit_remaining"] == 0).await;
    assert_eq!(other.call("shop", "get", json!({})).await.code(), (429, "rate-limited".to_owned()));
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn a_circuit_that_opens_opens_everywhere_and_is_told_once() {
    let redis = redis().await;
    let (provider, _) = provider(500).await;
    let text = broken(&provider.url());
    let (one, other) = (gateway(&redis, PATIENT, &text).await, gateway(&redis, PATIENT, &text).await);
    let observer = observer(&redis).await;
    hearing(&observer, 2).await;
    let mut told = observer.subscribe("bascule:told");
    assert_eq!(told.next().await, Some(Notice::Gap));
    for _ in 0..2 {
        one.call("shop", "get", json!({})).await;
    }
    open(&one).await;
    open(&other).await;
    assert_eq!(provider.count(), 2);
    assert_eq!(other.call("shop", "get", json!({})).await.code(), (503, "circuit-open".to_owned()));
    assert_eq!(one.health("shop").await["opened_by"], json!(null));
    assert_eq!(other.health("shop").await["opened_by"], "another gateway");
    // A gateway that starts now learns of it from what is kept.
    let late = gateway(&redis, PATIENT, &text).await;
    open(&late).await;
    assert_eq!(provider.count(), 2, "nobody else had to find out");
    // Whatever else were told would come before this.
    observer.publish("bascule:told", "the end").await.expect("an answer");
    let Some(Notice::Message(opened)) = told.next().await else { panic!("nothing was told") };
    assert!(String::from_utf8_lossy(&opened).contains("\"about\":\"shop\",\"what\":{\"opened\""));
    assert_eq!(told.next().await, Some(Notice::Message("the end".into())));
}

#[tokio::test]
async fn what_operators_do_is_not_told_and_a_closed_circuit_is_not_kept() {
    let redis = redis().await;
    let (provider, _) = provider(500).await;
    let text = broken(&provider.url());
    let (one, other) = (gateway(&redis, PATIENT, &text).await, gateway(&redis, PATIENT, &text).await);
    let observer = observer(&redis).await;
    hearing(&observer, 2).await;
    let act = async |action: &str| {
        let path = format!("/integrations/shop/circuit/{action}");
        assert_eq!(one.admin().send(Method::POST, &path, "").await.status, 204);
    };
    let kept = async || {
        let reply = observer.call(Command::new("EXISTS").arg("bascule:{circuits}:shop")).await;
        reply.expect("an answer").integer() == Some(1)
    };
    act("open").await;
    act("reset").await;
    for _ in 0..2 {
        one.call("shop", "get", json!({})).await;
    }
    open(&other).await;
    assert!(kept().await);
    assert_eq!(provider.count(), 2, "the operator's opening was not told, or this would have been refused");
    act("reset").await;
    eventually("nothing is kept", async || !kept().await).await;
    open(&other).await;
}

#[tokio::test]
async fn a_circuit_that_only_observes_opens_nobody_elses() {
    let redis = redis().await;
    let (provider, status) = provider(500).await;
    let circuit = "[circuit_breaker]\nfailures = 2\nmode = \"observe\"\nshared = true\n";
    let text = format!("{}{circuit}", limited(&provider.url(), "requests = 1000, window = \"1h\""));
    let one = gateway(&redis, PATIENT, &text).await;
    let observer = observer(&redis).await;
    hearing(&observer, 1).await;
    let mut told = observer.subscribe("bascule:told");
    assert_eq!(told.next().await, Some(Notice::Gap));
    for _ in 0..2 {
        one.call("shop", "get", json!({})).await;
    }
    open(&one).await;
    // Words are told in their order: this one is the first.
    status.store(429, Ordering::SeqCst);
    one.call("shop", "get", json!({})).await;
    let Some(Notice::Message(held)) = told.next().await else { panic!("nothing was told") };
    assert!(String::from_utf8_lossy(&held).contains("\"held\""), "{held:?}");
}

#[tokio::test]
async fn a_server_that_dies_under_load_fails_no_call_and_is_used_again() {
    let mut redis = redis().await;
    let (provider, _) = provider(200).await;
    let text = limited(&provider.url(), "requests = 1000000, window = \"1s\"");
    let gateways = [gateway(&redis, "", &text).await, gateway(&redis, "", &text).await];
    let over = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for one in &gateways {
        connected(one).await;
        for _ in 0..4 {
            let (client, over) = (one.data(), Arc::clone(&over));
            load.spawn(async move {
                let mut calls = 0;
                while !over.load(Ordering::SeqCst) {
                    let answer = client.post("/v1/shop/get", &json!({})).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    calls += 1;
                }
                calls
            });
        }
    }
    let shared = async |one: &Gateway| one.admin().get("/integrations/status").await.json()["shared"].take();
    for one in &gateways {
        eventually("it is used", async || shared(one).await["answered"].as_u64() > Some(0)).await;
    }
    redis.stop();
    for one in &gateways {
        eventually("it is away", async || shared(one).await["connected"] == false).await;
    }
    let before = provider.count();
    eventually("calls go on", async || provider.count() > before + 50).await;
    redis.restart().await.expect("a server");
    for one in &gateways {
        connected(one).await;
        let answered = shared(one).await["answered"].as_u64();
        eventually("it is used again", async || shared(one).await["answered"].as_u64() > answered).await;
    }
    over.store(true, Ordering::SeqCst);
    assert!(load.join_all().await.into_iter().all(|calls: usize| calls > 0));
}

#[tokio::test]
async fn without_the_server_budgets_and_circuits_are_each_gateways_own() {
    let mut redis = redis().await;
    redis.stop();
    let (provider, status) = provider(200).await;
    let limit = "requests = 2, window = \"1h\"";
    let text = format!(
        "{}[circuit_breaker]\nfailures = 1\nreset_after = \"1h\"\nshared = true\n",
        limited(&provider.url(), limit)
            .replace("[operations.get]\npath = \"/get\"\n", "operations.get.path = \"/get\"\n")
    );
    let (one, other) = (gateway(&redis, "", &text).await, gateway(&redis, "", &text).await);
    for one in [&one, &other] {
        assert_eq!(one.call("shop", "get", json!({})).await.status, 200);
    }
    status.store(500, Ordering::SeqCst);
    one.call("shop", "get", json!({})).await;
    assert_eq!(one.call("shop", "get", json!({})).await.code(), (503, "circuit-open".to_owned()));
    status.store(200, Ordering::SeqCst);
    assert_eq!(other.call("shop", "get", json!({})).await.status, 200);
    assert_eq!(other.call("shop", "get", json!({})).await.code(), (429, "rate-limited".to_owned()));
    let found = one.admin().get("/integrations/status").await.json();
    assert_eq!(found["shared"]["connected"], false);
    assert!(found["shared"]["problem"].as_str().is_some_and(|problem| problem.contains("no connection")));
    assert_eq!(one.metric("shared_server_connected", &[]).await, 0.0);
    // Its word of the circuit found nobody.
    eventually("it is turned away", async || {
        one.metric("shared_server_calls_total", &[("result", "turned-away")]).await >= 1.0
    })
    .await;
}

#[tokio::test]
async fn a_hold_on_the_server_that_is_longer_than_may_be_is_made_shorter() {
    let redis = redis().await;
    let (provider, _) = provider(200).await;
    let text = limited(&provider.url(), "requests = 1000, window = \"1h\", quota_reset_max = \"2s\"");
    let one = gateway(&redis, PATIENT, &text).await;
    connected(&one).await;
    let observer = observer(&redis).await;
    let hold = Command::new("SET").arg("bascule:hold:{shop}").arg("somebody").arg("PX").number(86_400_000);
    observer.call(hold).await.expect("an answer");
    let refused = one.call("shop", "get", json!({})).await;
    assert_eq!(refused.code(), (429, "rate-limited".to_owned()));
    eventually("the hold ends", async || one.call("shop", "get", json!({})).await.status == 200).await;
}

#[tokio::test]
async fn a_circuit_that_closes_leaves_the_word_of_a_gateway_that_it_did_not_heed() {
    let redis = redis().await;
    let (provider, _) = provider(500).await;
    let one = gateway(&redis, PATIENT, &broken(&provider.url())).await;
    let observer = observer(&redis).await;
    hearing(&observer, 1).await;
    let mut told = observer.subscribe("bascule:told");
    assert_eq!(told.next().await, Some(Notice::Gap));
    let opens = async || {
        for _ in 0..2 {
            one.call("shop", "get", json!({})).await;
        }
        open(&one).await;
    };
    opens().await;
    assert!(matches!(told.next().await, Some(Notice::Message(_))));
    let key = "bascule:{circuits}:shop";
    let newer = Command::new("SET").arg(key).arg("another").arg("PX").number(86_400_000);
    observer.call(newer).await.expect("an answer");
    assert_eq!(one.admin().send(Method::POST, "/integrations/shop/circuit/reset", "").await.status, 204);
    // Words go in their order: when this one is told, the circuit's closing has been.
    opens().await;
    assert!(matches!(told.next().await, Some(Notice::Message(_))));
    let kept = observer.call(Command::new("GET").arg(key)).await.expect("an answer");
    assert_eq!(kept.into_bytes().as_deref(), Some(&b"another"[..]));
}

#[tokio::test]
async fn a_circuit_that_opens_ends_the_wait_for_a_shared_budget() {
    let redis = redis().await;
    let (provider, _) = provider(200).await;
    let limit = "requests = 1, window = \"1h\", max_wait = \"2h\"";
    let text = format!("timeout = \"2h\"\n{}", limited(&provider.url(), limit));
    let one = gateway(&redis, PATIENT, &text).await;
    connected(&one).await;
    let observer = observer(&redis).await;
    let questions = async || {
        let answer = observer.call(Command::new("INFO").arg("commandstats")).await.expect("an answer");
        let text = String::from_utf8_lossy(&answer.into_bytes().expect("a text")).into_owned();
        text.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap_or_default().to_owned()
    };
    assert_eq!(one.call("shop", "get", json!({})).await.status, 200);
    let before = questions().await;
    let client = one.data();
    let waiting = tokio::spawn(async move { client.post("/v1/shop/get", &json!({})).await });
    eventually("it has asked for a token", async || questions().await != before).await;
    assert_eq!(one.admin().send(Method::POST, "/integrations/shop/circuit/open", "").await.status, 204);
    let answer = tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it waits on");
    assert_eq!(answer.expect("an answer").code(), (503, "circuit-open".to_owned()));
}
