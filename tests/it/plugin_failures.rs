//! The table of failures: what the sandbox ends, in every phase, by every limit.
//!
//! Each case shows the caller's status and code, the metric, that nothing was sent where nothing may be, and that the
//! provider's breaker, which would open at the first failure, did not move. Faults that a plugin answers with are in
//! `plugin_faults`, plugins that cannot be loaded in `plugins` and `reload`.

use crate::support::{
    Answer, Gate, Gateway, Metrics, Provider, guest, reply, until,
    wat::{
        CLASSIFY, FETCH_TOKEN, KEY_MATERIAL, MAP_ERROR, MAP_REQUEST, MAP_RESPONSE, RUNTIME, SIGN, write_guest,
    },
};
use serde_json::{Value, json};
use std::path::Path;

/// What the caller gets when the phase ends so.
#[derive(Clone, Copy, PartialEq)]
enum Gets {
    /// The sandbox's own code with status 500; the provider was not asked.
    Refusal,
    /// That code with status 502: it has happened.
    Committed,
    /// What there would be without the plugin.
    Default,
}

const PHASES: [(&str, &str, Gets); 7] = [
    ("cache-policy", KEY_MATERIAL, Gets::Default),
    ("request-mapper", MAP_REQUEST, Gets::Refusal),
    ("token-source", FETCH_TOKEN, Gets::Refusal),
    ("signer", SIGN, Gets::Refusal),
    ("classifier", CLASSIFY, Gets::Default),
    ("response-mapper", MAP_RESPONSE, Gets::Committed),
    ("error-mapper", MAP_ERROR, Gets::Default),
];

/// Kind in metrics, problem code, the guest's misdeed, the limits that end it.
const ENDS: [(&str, &str, &str, &str); 4] = [
    ("trap", "plugin-trapped", "unreachable", ""),
    ("cpu", "plugin-timeout", "(loop $on (br $on)) unreachable", "cpu = \"10ms\"\nwall = \"60s\""),
    ("wall", "plugin-timeout", "(loop $on (br $on)) unreachable", "cpu = \"60s\"\nwall = \"20ms\""),
    (
        "memory",
        "plugin-out-of-memory",
        "(loop $on (drop (memory.grow (i32.const 16))) (br $on)) unreachable",
        "memory = \"2MiB\"\ncpu = \"10s\"\nwall = \"60s\"",
    ),
];

/// An integration whose plugin misbehaves in that phase. The plugin's own breaker opens at its first failure.
fn hostile(folder: &Path, url: &str, phase: &str, function: &str, misdeed: &str, limits: &str) -> String {
    let world = format!("export bascule:plugin/{phase}@0.1.0;");
    let name = format!("hostile-{phase}");
    write_guest(folder, &name, &world, &format!("{RUNTIME} (func {function} {misdeed})"));
    let auth = if matches!(phase, "token-source" | "signer") { "plugin" } else { "none" };
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 3
base_delay = "1ms"
[circuit_breaker]
failures = 1
[auth]
type = "{auth}"
[[plugins]]
source = "{}"
[plugins.limits]
{limits}
breaker = {{ failures = 1, open = "1h", open_max = "1h" }}
[operations.get]
path = "/get"
cache = "10m"
[operations.wrong]
path = "/wrong"
"#,
        folder.join(format!("{name}.wasm")).display()
    )
}

async fn provider() -> Provider {
    Provider::new(|request| match request.target.as_str() {
        "/wrong" => reply(422, &[("content-type", "application/json")], r#"{"e":"wrong"}"#),
        _ => reply(200, &[], "\"good\""),
    })
    .await
}

/// The call that meets the phase: an error mapper is asked only where no attempt succeeded.
async fn call(gateway: &Gateway, integration: &str, phase: &str) -> Answer {
    let operation = if phase == "error-mapper" { "wrong" } else { "get" };
    gateway
        .data()
        .header("bascule-skip", "cache")
        .post(&format!("/v1/{integration}/{operation}"), &json!({}))
        .await
}

fn check(answer: &Answer, phase: &str, gets: Gets, code: &str, case: &str) {
    let status = answer.status.as_u16();
    match gets {
        Gets::Default if phase == "error-mapper" => {
            assert_eq!((status, answer.json()), (422, json!({"e": "wrong"})), "{case}")
        }
        Gets::Default => assert_eq!((status, answer.text().as_str()), (200, "\"good\""), "{case}"),
        Gets::Refusal => {
            let expected = if code == "plugin-unavailable" { 503 } else { 500 };
            assert_eq!((status, answer.problem().as_str()), (expected, code), "{case}");
            assert_eq!(answer.json()["attempts"], 0, "{case}");
        }
        Gets::Committed => {
            assert_eq!((status, answer.problem().as_str()), (502, code), "{case}");
            let problem = answer.json();
            assert_eq!(
                (&problem["upstream_status"], &problem["committed"]),
                (&json!(200), &json!(true)),
                "{case}"
            );
        }
    }
    let text = answer.text();
    assert!(!text.contains("wasm") && !text.contains("unreachable"), "no internals: {text}");
}

#[tokio::test]
async fn every_phase_ends_at_every_limit_and_the_provider_is_not_to_blame() {
    for (kind, code, misdeed, limits) in ENDS {
        let folder = tempfile::tempdir().unwrap();
        let provider = provider().await;
        let texts: Vec<(&str, String)> = PHASES
            .iter()
            .map(|(phase, function, _)| {
                (*phase, hostile(folder.path(), &provider.url(), phase, function, misdeed, limits))
            })
            .collect();
        let files: Vec<(&str, &str)> = texts.iter().map(|(phase, text)| (*phase, text.as_str())).collect();
        let gateway = Gateway::start(&files).await;
        for (phase, _, gets) in PHASES {
            let case = format!("{phase} {kind}");
            // A cache policy is asked only where the cache is.
            let first = if phase == "cache-policy" {
                gateway.call(phase, "get", json!({})).await
            } else {
                call(&gateway, phase, phase).await
            };
            check(&first, phase, gets, code, &case);
            let asked = usize::from(gets != Gets::Refusal);
            assert_eq!(provider.count(), asked, "{case}: sent once, or not at all");
            let plugin = format!("hostile-{phase}");
            let metrics = Metrics::of(&gateway.admin()).await;
            let labels = |kind| [("plugin", plugin.as_str()), ("hook", phase), ("kind", kind)];
            assert_eq!(metrics.value("plugin_failures_total", &labels(kind)), 1.0, "{case}");
            assert_eq!(metrics.value("circuit_breaker_failures_total", &[("service", phase)]), 0.0, "{case}");
            assert_eq!(circuit(&gateway, phase).await, "closed", "{case}");
            // Its own breaker is open now: the same, with another code, and without running it.
            let second = if phase == "cache-policy" {
                gateway.call(phase, "get", json!({})).await
            } else {
                call(&gateway, phase, phase).await
            };
            check(&second, phase, gets, "plugin-unavailable", &format!("{case}, then left alone"));
            let metrics = Metrics::of(&gateway.admin()).await;
            assert_eq!(metrics.value("plugin_failures_total", &labels("unavailable")), 1.0, "{case}");
            assert_eq!(metrics.value("plugin_failures_total", &labels(kind)), 1.0, "{case}");
            assert_eq!(circuit(&gateway, phase).await, "closed", "{case}");
            provider.forget();
        }
    }
}

async fn circuit(gateway: &Gateway, integration: &str) -> Value {
    gateway.health(integration).await["circuit_state"].take()
}

#[tokio::test]
async fn without_a_free_instance_a_call_is_turned_away() {
    let gate = Gate::closed();
    let held = gate.clone();
    let provider = Provider::slow(move |request| {
        let gate = held.clone();
        async move {
            if request.target == "/side" {
                gate.pass().await;
            }
            reply(200, &[], "{}")
        }
    })
    .await;
    let text = format!(
        r#"
base_url = "{}"
[circuit_breaker]
failures = 1
[[plugins]]
source = "{}"
grants = ["state", "telemetry", "http:default", "reveal:shown"]
credentials = {{ shown = "may-be-seen", hidden = "never-seen" }}
limits = {{ instances = 1, wall = "60s" }}
[operations.get]
path = "/get"
params.side = {{ type = "string" }}
"#,
        provider.url(),
        guest("platform")
    );
    let gateway = std::sync::Arc::new(Gateway::start(&[("shop", &text)]).await);
    let waiting = tokio::spawn({
        let gateway = std::sync::Arc::clone(&gateway);
        async move { gateway.call("shop", "get", json!({"side": "default /side"})).await }
    });
    until("the only instance waits for its side request", || (provider.count() == 1).then_some(())).await;
    let refused = gateway.call("shop", "get", json!({})).await;
    assert_eq!(refused.code(), (503, "overloaded".to_owned()));
    assert_eq!(refused.header("retry-after"), "1");
    let labels = [("plugin", "platform"), ("hook", "request-mapper"), ("kind", "busy")];
    assert_eq!(gateway.metric("plugin_failures_total", &labels).await, 1.0);
    assert_eq!(circuit(&gateway, "shop").await, "closed");
    gate.open();
    assert_eq!(waiting.await.unwrap().status, 200);
    assert_eq!(gateway.call("shop", "get", json!({})).await.status, 200, "free again");
}
