//! Traps around reading configuration.

use super::Bascule;
use crate::support::{Gate, Provider, config_folder, eventually, reply, run};
use serde_json::Value;
use std::sync::Arc;

const BASE: &str = "base_url = \"http://127.0.0.1:9\"\n";
const OPERATION: &str = "[operations.get]\npath = \"/get\"\n";

/// Limits of an integration, all of them zero.
const ZEROS: [&str; 24] = [
    "timeout = \"0s\"",
    "attempt_timeout = \"0s\"",
    "connect_timeout = \"0s\"",
    "read_timeout = \"0s\"",
    "write_timeout = \"0s\"",
    "body_timeout = \"0s\"",
    "retry.max_attempts = 0",
    "retry.max_delay = \"0s\"",
    "retry.retry_after_max = \"0s\"",
    "retry.budget.window = \"0s\"",
    "circuit_breaker.failures = 0",
    "circuit_breaker.window = \"0s\"",
    "circuit_breaker.reset_after = \"0s\"",
    "circuit_breaker.half_open_probes = 0",
    "circuit_breaker.half_open_successes = 0",
    "rate_limit = { requests = 0, window = \"1s\" }",
    "rate_limit = { requests = 1, window = \"0s\" }",
    "rate_limit = { requests = 1, window = \"1s\", burst = 0 }",
    "rate_limit = { requests = 1, window = \"1s\", quota_reset_max = \"0s\" }",
    "cache.ttl = \"0s\"",
    "concurrency.max = 0",
    "operations.zero = { path = \"/\", timeout = \"0s\" }",
    "operations.zero = { path = \"/\", rate_limit = { requests = 0, window = \"1s\" } }",
    "operations.zero = { path = \"/\", cache = { ttl = \"1s\", negative_ttl = \"0s\" } }",
];

/// And of the gateway.
const GATEWAY_ZEROS: [&str; 4] = [
    "[server]\nmax_body = \"0B\"\n",
    "[server]\ndrain_timeout = \"0s\"\n",
    "[cache]\nmax_size = \"0B\"\n",
    "[cache]\nmax_entry = \"0B\"\n",
];

/// What is wrong with a configuration, by `bascule check`: file, key, message.
async fn problems(gateway: &str, integrations: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let folder = config_folder(gateway, integrations);
    let path = folder.path().to_str().unwrap();
    let checked = run(&["check", "--config", path, "--format", "json"], &[]).await;
    let document: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let problems = document["problems"].as_array().expect("a list");
    assert_eq!(checked.status.code(), Some(i32::from(!problems.is_empty())));
    // What is refused here is refused by the gateway itself.
    if !problems.is_empty() {
        let served = run(&["serve", "--config", path], &[]).await;
        assert_eq!(served.status.code(), Some(78), "{}", String::from_utf8_lossy(&served.stderr));
    }
    let text = |problem: &Value, member: &str| problem[member].as_str().unwrap_or_default().to_owned();
    problems
        .iter()
        .map(|problem| (text(problem, "file"), text(problem, "key"), text(problem, "message")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zero_limit_never_means_unlimited() {
    let names: Vec<String> = (0..ZEROS.len()).map(|number| format!("z{number}")).collect();
    let texts: Vec<String> = ZEROS.iter().map(|line| format!("{BASE}{line}\n{OPERATION}")).collect();
    let integrations: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let found = problems("", &integrations).await;
    assert_eq!(found.len(), ZEROS.len(), "one each: {found:#?}");
    for (name, line) in names.iter().zip(ZEROS) {
        let file = format!("{name}.toml");
        let told = found.iter().find(|(at, ..)| at.ends_with(&file));
        let (_, _, message) = told.unwrap_or_else(|| panic!("{line} is taken"));
        assert!(
            message.contains("must not be zero") || message.contains("must lie between 1"),
            "{line}: {message}"
        );
    }
    for text in GATEWAY_ZEROS {
        let found = problems(text, &[]).await;
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
    // Where zero is allowed it means none: nobody waits for a place.
    let gate = Gate::closed();
    let held = gate.clone();
    let provider = Provider::slow(move |_| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            reply(200, &[], "")
        }
    })
    .await;
    let text =
        format!("base_url = \"{}\"\n{OPERATION}[concurrency]\nmax = 1\nmax_waiting = 0\n", provider.url());
    let bascule = Arc::new(Bascule::start(&text).await);
    let first = tokio::spawn({
        let bascule = Arc::clone(&bascule);
        async move { bascule.get().await }
    });
    eventually("the first is under way", async || provider.count() == 1).await;
    assert_eq!(bascule.get().await.code(), (503, "overloaded".to_owned()));
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
}

/// A word that is no key, in every table that there is.
const TYPOS: [(&str, &str); 14] = [
    ("timeuot = \"5s\"", "timeuot"),
    ("retry.max_atempts = 2", "retry.max_atempts"),
    ("retry.budget.ration = 0.5", "retry.budget.ration"),
    ("circuit_breaker.failure = 3", "circuit_breaker.failure"),
    ("circuit_breaker.reopen.fixt = 3", "circuit_breaker.reopen.fixt"),
    ("rate_limit = { requests = 1, window = \"1s\", brust = 2 }", "rate_limit.brust"),
    ("cache.tll = \"1s\"", "cache.tll"),
    ("concurrency.maximum = 3", "concurrency.maximum"),
    ("auth = { type = \"bearer\", token = \"x\", scheme = \"y\" }", "auth.scheme"),
    ("fallback = [{ default = 1, statuss = 200 }]", "fallback[0].statuss"),
    ("errors.404 = { code = \"x\", detials = \"y\" }", "errors.404.detials"),
    ("operations.o = { path = \"/\", methode = \"GET\" }", "operations.o.methode"),
    ("operations.o = { path = \"/\", retry.tries = 1 }", "operations.o.retry.tries"),
    ("operations.o = { path = \"/\", params.n.typ = \"string\" }", "operations.o.params.n.typ"),
];

#[tokio::test]
async fn unknown_configuration_keys_are_never_ignored() {
    let names: Vec<String> = (0..TYPOS.len()).map(|number| format!("t{number}")).collect();
    let texts: Vec<String> = TYPOS.iter().map(|(line, _)| format!("{BASE}{line}\n{OPERATION}")).collect();
    let integrations: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let found = problems("", &integrations).await;
    for (name, (line, key)) in names.iter().zip(TYPOS) {
        let file = format!("{name}.toml");
        assert!(found.iter().any(|(at, told, _)| at.ends_with(&file) && told == key), "{line}: {found:#?}");
    }
    for text in [
        "[sever]\nlisten = \"127.0.0.1:0\"\n",
        "[server]\nlisen = \"127.0.0.1:0\"\n",
        "[telemetry]\nsampel = 1.0\n",
    ] {
        let found = problems(text, &[]).await;
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
    // Nor does a reload: the configuration that runs stays.
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let good = format!("base_url = \"{}\"\n{OPERATION}", provider.url());
    let bascule = Bascule::start(&good).await;
    let answer = bascule.reload(&format!("{good}timeot = \"1s\"\n")).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("timeot"), "{}", answer.text());
    assert_eq!(bascule.get().await.status, 200);
}
