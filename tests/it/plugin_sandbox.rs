//! Guests that misbehave: each ends at its limit, and nobody else notices.

use crate::support::{Client, Gateway, Metrics, Provider, Served, config_folder, guest, reply, until};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// An integration with that guest: the operations `loop` and `calm`, of which the guests spare `calm`.
fn naughty(url: &str, name: &str) -> String {
    // Each is to meet its own limit, however busy the machine is.
    let limits = match name {
        "hog" => "limits = { cpu = \"10s\", wall = \"60s\" }",
        _ => "limits = { wall = \"60s\" }",
    };
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 3
base_delay = "1ms"
[circuit_breaker]
failures = 1
[[plugins]]
source = "{}"
{limits}
[operations.loop]
path = "/x"
[operations.calm]
path = "/x"
query = {{ n = "{{n}}" }}
params.n = {{ type = "integer" }}
cache = "10m"
"#,
        guest(name)
    )
}

const GUESTS: [(&str, &str, &str); 3] = [
    ("loop", "plugin-timeout", "cpu"),
    ("hog", "plugin-out-of-memory", "memory"),
    ("trap", "plugin-trapped", "trap"),
];

#[tokio::test]
async fn each_limit_has_its_code_and_moves_nothing_of_the_providers() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    for (sent, (name, code, kind)) in GUESTS.into_iter().enumerate() {
        let gateway = Gateway::start(&[("bad", &naughty(&provider.url(), name))]).await;
        let begun = Instant::now();
        let answer = gateway.call("bad", "loop", json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (500, code), "{name}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{name} took {:?}", begun.elapsed());
        assert_eq!(answer.json()["attempts"], 0);
        let text = answer.text();
        assert!(!text.contains("wasm") && !text.contains("panicked"), "no internals: {text}");
        assert_eq!(provider.count(), sent, "{name}");
        let health = gateway.admin().get("/integrations/bad/health").await.json();
        assert_eq!((&health["circuit_state"], &health["success_rate"]), (&json!("closed"), &json!(1.0)));
        let metrics = Metrics::of(&gateway.admin()).await;
        let labels = [("plugin", name), ("hook", "request-mapper"), ("kind", kind)];
        assert_eq!(metrics.value("plugin_failures_total", &labels), 1.0, "{}", metrics.text());
        assert_eq!(metrics.value("circuit_breaker_failures_total", &[("service", "bad")]), 0.0);
        // The next instance is a fresh one.
        assert_eq!(gateway.call("bad", "calm", json!({})).await.status, 200, "{name}");
        assert_eq!(metrics.labels("plugin_failures_total"), ["hook", "kind", "plugin"]);
    }
}

#[tokio::test]
async fn limits_are_configurable() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let text =
        naughty(&provider.url(), "loop").replace("{ wall = \"60s\" }", "{ cpu = \"10s\", wall = \"20ms\" }");
    let gateway = Gateway::start(&[("bad", &text)]).await;
    assert_eq!(gateway.call("bad", "loop", json!({})).await.problem(), "plugin-timeout");
    let metrics = Metrics::of(&gateway.admin()).await;
    assert_eq!(metrics.value("plugin_failures_total", &[("plugin", "loop"), ("kind", "wall")]), 1.0);
}

/// Calls until told to stop and counts the good answers; returns every other one.
async fn hammer(client: Client, path: String, good: Arc<AtomicUsize>, stop: Arc<AtomicBool>) -> Vec<u16> {
    let mut others = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = client.get(&path).await;
        if answer.status == 200 {
            good.fetch_add(1, Ordering::Relaxed);
        } else {
            others.push(answer.status.as_u16());
        }
    }
    others
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_integration_does_not_notice_bad_ones() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    // Plugin breakers end a guest's misdeeds after five; many copies of them keep it going.
    let names: Vec<(String, &str)> =
        (0..6).flat_map(|copy| GUESTS.map(|(name, ..)| (format!("{name}{copy}"), name))).collect();
    let texts: Vec<(String, String)> =
        names.iter().map(|(copy, name)| (copy.clone(), naughty(&provider.url(), name))).collect();
    let good = format!(
        "base_url = \"{}\"\n[retry]\nmax_attempts = 1\n[[plugins]]\nsource = \"{}\"\n[operations.get]\npath = \"/x\"\n",
        provider.url(),
        guest("echo")
    );
    let mut integrations: Vec<(&str, &str)> =
        texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    integrations.push(("good", &good));
    let gateway = Gateway::start(&integrations).await;
    let (good, misdeeds) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let hammer = |_| hammer(gateway.data(), "/v1/good/get".into(), Arc::clone(&good), Arc::clone(&stop));
    let calls: Vec<_> = (0..4).map(hammer).map(tokio::spawn).collect();
    let bad: Vec<_> = names
        .iter()
        .map(|(copy, _)| {
            let (client, path) = (gateway.data(), format!("/v1/{copy}/loop"));
            let (good, misdeeds) = (Arc::clone(&good), Arc::clone(&misdeeds));
            tokio::spawn(async move {
                for _ in 0..6 {
                    // Good calls go on being answered between any two misdeeds, or this never ends.
                    let before = good.load(Ordering::Relaxed);
                    until("a good call", || (good.load(Ordering::Relaxed) > before).then_some(())).await;
                    let answer = client.get(&path).await;
                    assert!([500, 503].contains(&answer.status.as_u16()), "{}", answer.text());
                    misdeeds.fetch_add(usize::from(answer.status == 500), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in bad {
        task.await.unwrap();
    }
    until("a hundred good calls", || (good.load(Ordering::Relaxed) >= 100).then_some(())).await;
    stop.store(true, Ordering::Relaxed);
    for task in calls {
        let others = task.await.unwrap();
        assert!(others.is_empty(), "{others:?}");
    }
    let misdeeds = misdeeds.load(Ordering::Relaxed);
    assert!(misdeeds >= 18 * 5, "{misdeeds} guests misbehaved");
}

#[tokio::test]
async fn a_plugin_that_keeps_failing_is_left_alone_while_cached_answers_are_served() {
    let provider = Provider::new(|_| reply(200, &[], "{\"cached\":true}")).await;
    let gateway = Gateway::start(&[("bad", &naughty(&provider.url(), "trap"))]).await;
    assert_eq!(gateway.call("bad", "calm", json!({"n": 1})).await.status, 200);
    for _ in 0..5 {
        assert_eq!(gateway.call("bad", "loop", json!({})).await.problem(), "plugin-trapped");
    }
    let refused = gateway.call("bad", "loop", json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (503, "plugin-unavailable"));
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=10).contains(&seconds), "open for 10 s: {seconds}");
    assert!(refused.json()["retry_after_ms"].as_u64().unwrap() <= 10_000);
    // Another answer of the same plugin's cannot be had, a stored one can.
    let other = gateway.call("bad", "calm", json!({"n": 2})).await;
    assert_eq!((other.status.as_u16(), other.problem().as_str()), (503, "plugin-unavailable"));
    let cached = gateway.call("bad", "calm", json!({"n": 1})).await;
    assert_eq!((cached.status.as_u16(), cached.header("bascule-source")), (200, "cache"));
    assert_eq!(provider.count(), 1);
    let health = gateway.admin().get("/integrations/bad/health").await.json();
    assert_eq!(health["circuit_state"], "closed", "the provider's own breaker knows nothing of it");
    let metrics = Metrics::of(&gateway.admin()).await;
    assert_eq!(metrics.value("plugin_failures_total", &[("plugin", "trap"), ("kind", "unavailable")]), 2.0);
}

#[tokio::test]
async fn a_plugin_cannot_flood_the_log() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let text = format!(
        "base_url = \"{}\"\n[[plugins]]\nsource = \"{}\"\n[operations.get]\npath = \"/x\"\n",
        provider.url(),
        guest("logs")
    );
    let base = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    let folder = config_folder(base, &[("shop", &text)]);
    let served = Served::start(folder.path(), &[], &[]).await;
    assert_eq!(served.data().get("/v1/shop/get").await.status, 200);
    served.signal("TERM").await;
    let (_, printed) = served.ended().await;
    let lines: Vec<&str> = printed.lines().filter(|line| line.contains("one of many lines")).collect();
    assert!((1..=32).contains(&lines.len()), "{} of 1000 lines", lines.len());
    let octets: usize = lines.iter().map(|line| line.len()).sum();
    assert!(octets < 32 * 1024, "{octets} octets, the records' own fields included");
    assert!(
        printed.lines().any(|line| line.contains("dropped") && line.contains("logs")),
        "it is said how many were dropped:\n{printed}"
    );
}
