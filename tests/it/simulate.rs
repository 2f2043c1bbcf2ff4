//! `bascule simulate`: journals replayed against other configurations, and against the one they were made with.

use crate::support::{Gateway, Metrics, Provider, config_folder, eventually, reply, run};
use serde_json::{Value, json};
use std::{fmt::Write, fs, path::Path, time::Duration};
use tempfile::TempDir;

/// 2026-11-21T12:00:00Z in milliseconds.
const NOON: u64 = 1_795_262_400_000;

const FATES: [&str; 8] =
    ["succeeded", "rejected", "failed", "timed_out", "circuit_open", "rate_limited", "overloaded", "left"];

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

/// A call of `shop.get` with one attempt of 100 ms.
fn line(second: u64, good: bool) -> String {
    let (outcome, status, ended) =
        if good { ("success", 200, "success") } else { ("transient", 503, "upstream-5xx") };
    json!({
        "v": 1, "time": NOON + second * 1000, "integration": "shop", "operation": "get", "priority": "normal",
        "safe": true, "timeout_ms": 30_000, "status": status, "source": "upstream", "ended": ended, "refused": null,
        "cache": "bypass", "elapsed_ms": 100.0, "queued_ms": 0.0,
        "attempts": [{ "at_ms": 0.0, "ms": 100.0, "outcome": outcome, "status": status }],
    })
    .to_string()
}

/// A call a second for a minute; from the tenth to the thirty-ninth the provider is down.
fn outage() -> String {
    (0..60).fold(String::new(), |mut text, second| {
        let _ = writeln!(text, "{}", line(second, !(10..40).contains(&second)));
        text
    })
}

fn shop(breaker: &str) -> TempDir {
    let shop = format!(
        "base_url = \"https://shop.example\"\n[retry]\nmax_attempts = 1\n[rate_limit]\nrequests = 100\n\
         window = \"10s\"\n[circuit_breaker]\n{breaker}\n[operations.get]\npath = \"/get\"\n"
    );
    config_folder("", &[("shop", &shop)])
}

fn journal(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("journal-20261121T120000Z-0001.jsonl"), text).unwrap();
    folder
}

async fn simulate(config: &Path, journal: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let (config, journal) = (config.to_str().unwrap(), journal.to_str().unwrap());
    let mut arguments = vec!["simulate", "--config", config, "--from", journal];
    arguments.extend(more);
    let output = run(&arguments, &[]).await;
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn report(config: &Path, journal: &Path, more: &[&str]) -> Value {
    let mut arguments = vec!["--format", "json"];
    arguments.extend(more);
    let (code, stdout, stderr) = simulate(config, journal, &arguments).await;
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

const STRICT: &str = "failures = 3\nreset_after = \"10s\"\nhalf_open_successes = 1";

#[tokio::test]
async fn a_stricter_breaker_opens_when_it_should_and_saves_what_it_should() {
    let (config, journal) = (shop(STRICT), journal(&outage()));
    let report = report(config.path(), journal.path(), &[]).await;
    let shop = &report["integrations"][0];
    // The third failure ends at 12.1 s; probes go at 23 s and 34 s, fail, and at 45 s one succeeds.
    let circuit = &shop["circuits"][0];
    assert_eq!(circuit["openings"], 3);
    let openings: Vec<_> = circuit["first"]
        .as_array()
        .unwrap()
        .iter()
        .map(|opening| {
            (
                opening["at"].as_str().unwrap(),
                opening["open_ms"].as_f64(),
                opening["reason"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        openings,
        [
            ("2026-11-21T12:00:12.100000Z", Some(10_900.0), "tripped"),
            ("2026-11-21T12:00:23.100000Z", Some(10_900.0), "probe-failed"),
            ("2026-11-21T12:00:34.100000Z", Some(10_900.0), "probe-failed"),
        ]
    );
    assert_eq!(circuit["not_closed_ms"], 33_000.0);
    let counts = |side: &Value| FATES.map(|fate| side[fate].as_u64().unwrap());
    assert_eq!(counts(&shop["recorded"]), [30, 0, 30, 0, 0, 0, 0, 0]);
    assert_eq!(counts(&shop["simulated"]), [25, 0, 5, 0, 30, 0, 0, 0]);
    assert_eq!((&shop["saved"], &shop["lost"], &shop["won"]), (&json!(25), &json!(5), &json!(0)));
    assert_eq!((&shop["recorded"]["attempts"], &shop["simulated"]["attempts"]), (&json!(60), &json!(30)));
    assert_eq!((&shop["assumed"], &shop["simulated"]["latency_ms"]["p99"]), (&json!(0), &json!(100.0)));
    assert_eq!(shop["rate_limits"][0]["peak"], 10, "{}", shop["rate_limits"]);
    assert_eq!(report["all"]["saved"], 25);
    let (code, human, _) = simulate(config.path(), journal.path(), &[]).await;
    assert_eq!(code, Some(0));
    let sentence = "shop: circuits open 3 times; 25 failed attempts are not sent, 5 answered calls are lost, \
                    0 calls that were not answered are won; the provider gets 30 attempts instead of 60";
    for expected in [
        "60 calls from 2026-11-21T12:00:00.000000Z to 2026-11-21T12:00:59.000000Z",
        sentence,
        "2026-11-21T12:00:12.100000Z  for 10.9 s  tripped",
        "rate limit shop: at most 10 of 100 in 10s (10 %)",
    ] {
        assert!(human.contains(expected), "{human}");
    }
}

#[tokio::test]
async fn retries_that_were_never_made_are_assumed_from_what_others_got() {
    let config = shop("mode = \"off\"");
    let file = config.path().join("integrations/shop.toml");
    let text = fs::read_to_string(&file).unwrap();
    let retry = "max_attempts = 2\nbase_delay = \"300ms\"\njitter = 0.0\nbudget = { ratio = 1.0 }";
    fs::write(&file, text.replace("max_attempts = 1", retry)).unwrap();
    let journal = journal(&outage());
    let report = report(config.path(), journal.path(), &[]).await;
    let shop = &report["integrations"][0];
    // Every failed call is retried once, 400 ms after it came: nearest is the same second's own failure.
    assert_eq!((&shop["simulated"]["retries"], &shop["assumed"]), (&json!(30), &json!(30)));
    assert_eq!((&shop["simulated"]["failed"], &shop["won"]), (&json!(30), &json!(0)));
    assert_eq!(shop["assumed_share"], 0.3333);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_report_to_the_octet() {
    let schedule = "failures = 3\nreset_after = \"3s\"\n\
                    reopen = { fixed = 1, interval = \"2s\", exponential = 3, multiplier = 1.5, \
                    max_interval = \"9s\", jitter = 0.5 }";
    let (config, journal) = (shop(schedule), journal(&outage()));
    let arguments = ["--format", "json", "--seed", "7"];
    let (code, first, stderr) = simulate(config.path(), journal.path(), &arguments).await;
    assert_eq!(code, Some(0), "{stderr}");
    let (_, second, _) = simulate(config.path(), journal.path(), &arguments).await;
    assert_eq!(first, second);
    let (_, other, _) = simulate(config.path(), journal.path(), &["--format", "json", "--seed", "8"]).await;
    assert_ne!(first, other);
}

#[tokio::test]
async fn what_cannot_be_replayed_is_told_with_its_exit_status() {
    let config = shop("failures = 3");
    let none = config.path().join("none");
    let (code, stdout, stderr) = simulate(config.path(), &none, &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("the journal") && stderr.contains("cannot be read"), "{stderr}");
    let (code, _, stderr) = simulate(config.path(), journal("").path(), &[]).await;
    assert_eq!((code, stderr.as_str()), (Some(1), "error: there are no calls in the journal\n"));
    let strangers = journal(&outage().replace("\"shop\"", "\"else\""));
    let (code, stdout, stderr) = simulate(config.path(), strangers.path(), &[]).await;
    assert_eq!(code, Some(1));
    assert!(stdout.contains("else.get (60 calls)") && stderr.contains("none of the operations"), "{stderr}");
    let known = journal(&outage());
    let (code, _, stderr) = simulate(config.path(), known.path(), &["--integration", "else"]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no integration `else`"), "{stderr}");
    let bad = config_folder("", &[("shop", "base_url = 7\n")]);
    let (code, _, stderr) = simulate(bad.path(), known.path(), &[]).await;
    assert_eq!(code, Some(78));
    assert!(stderr.contains("base_url"), "{stderr}");
    let output = run(&["simulate", "--config", path(&config)], &[]).await;
    assert_eq!(output.status.code(), Some(2), "a journal has to be named");
}

#[tokio::test]
async fn flaws_of_the_journal_are_told_and_files_are_put_together() {
    let config = shop("failures = 3");
    // Out of order, a gap, a bad line, an operation that is gone, and a torn end.
    let gone = line(3, true).replace("\"get\"", "\"gone\"");
    let text =
        format!("{}\n{{\"dropped\":4}}\nnonsense\n{gone}\n{}\n{{\"v\":1,\"ti", line(2, true), line(1, true));
    let (late, early) = (journal(&text), journal(&format!("{}\n", line(0, false))));
    let report = report(config.path(), late.path(), &["--from", path(&early)]).await;
    let told = &report["journal"];
    assert_eq!((&told["calls"], &told["dropped"], &told["unreadable"]), (&json!(4), &json!(4), &json!(1)));
    assert_eq!(told["from"], "2026-11-21T12:00:00.000000Z");
    assert!(
        told["unreadable_lines"][0].as_str().unwrap().contains("jsonl:3: the line is no record"),
        "{told}"
    );
    assert_eq!(report["unknown"], json!([{ "integration": "shop", "operation": "gone", "calls": 1 }]));
    let shop = &report["integrations"][0];
    assert_eq!((&shop["simulated"]["succeeded"], &shop["simulated"]["failed"]), (&json!(2), &json!(1)));
}

/// A good call whose answer tells of these quotas.
fn told(second: u64, quotas: Value) -> String {
    let mut call: Value = serde_json::from_str(&line(second, true)).unwrap();
    call["attempts"][0]["quotas"] = quotas;
    call.to_string()
}

#[tokio::test]
async fn each_of_a_providers_quotas_is_learnt_by_itself() {
    let config = shop("failures = 3");
    let minute = json!({ "number": 1, "remaining": 2, "limit": 100, "window_ms": 60_000, "reset_ms": 9000 });
    let second = json!({ "number": 0, "remaining": 1, "window_ms": 1000, "reset_ms": 1000 });
    let calls = |quotas: Value| {
        let later: Vec<_> = (1..5).map(|n| line(2 * n, true)).collect();
        journal(&format!("{}\n{}\n", told(0, quotas), later.join("\n")))
    };
    let limited = async |quotas: Value| {
        let report = report(config.path(), calls(quotas).path(), &[]).await;
        report["integrations"][0]["simulated"]["rate_limited"].clone()
    };
    assert_eq!(limited(json!([second.clone()])).await, 0, "a new window every second");
    assert_eq!(limited(json!([second.clone(), minute])).await, 2, "two were left for nine seconds");
    let unknown = calls(json!({ "remaining": 1 }));
    let report = report(config.path(), unknown.path(), &[]).await;
    assert_eq!((&report["journal"]["calls"], &report["journal"]["unreadable"]), (&json!(4), &json!(1)));
}

#[tokio::test]
async fn an_operation_is_hedged_by_its_own_latency_and_not_by_that_of_others() {
    let shop = "base_url = \"https://shop.example\"\nhedge = { percentile = 0.9 }\n\
                [operations.get]\npath = \"/get\"\n[operations.report]\npath = \"/report\"\n";
    let config = config_folder("", &[("shop", shop)]);
    let slow =
        |second| line(second, true).replace("\"get\"", "\"report\"").replace("\"ms\":100.0", "\"ms\":2000.0");
    let quick: Vec<_> = (0..60).map(|second| line(second, true)).collect();
    let journal = journal(&format!("{}\n{}\n{}\n", quick.join("\n"), slow(40), slow(50)));
    let report = report(config.path(), journal.path(), &[]).await;
    let simulated = &report["integrations"][0]["simulated"];
    assert_eq!((&simulated["attempts"], &simulated["hedges"]), (&json!(62), &json!(0)));
    assert_eq!(simulated["latency_ms"]["p99"], 2000.0);
}

/// An integration with a bit of everything, and one whose provider has a quota.
fn mixed(url: &str) -> [(&'static str, String); 2] {
    let shop = format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 3
base_delay = "5ms"
jitter = 0.0
on = [502, 503]
[circuit_breaker]
failures = 3
reset_after = "700ms"
half_open_successes = 2
[operations.get]
path = "/ok"
[operations.flaky]
path = "/flaky"
[operations.odd]
path = "/odd"
[operations.missing]
path = "/missing"
[operations.hanging]
path = "/hanging"
timeout = "80ms"
circuit_breaker = {{ mode = "off" }}
[operations.patient]
path = "/hanging"
attempt_timeout = "30ms"
timeout = "10s"
circuit_breaker = {{ mode = "off" }}
[operations.make]
method = "POST"
path = "/down"
[operations.kept]
path = "/ok"
cache = "1h"
[operations.rare]
path = "/ok"
rate_limit = {{ requests = 2, window = "1h" }}
"#
    );
    let quota = format!(
        "base_url = \"{url}\"\n[retry]\nmax_attempts = 2\n[operations.get]\npath = \"/busy\"\n\
         [operations.paced]\npath = \"/ok\"\nrate_limit = {{ requests = 1, window = \"100ms\", max_wait = \"5s\" }}\n"
    );
    [("shop", shop), ("quota", quota)]
}

async fn provider() -> Provider {
    Provider::slow(|request| async move {
        match request.target.as_str() {
            "/flaky" if request.number % 2 == 1 => reply(503, &[], ""),
            "/odd" => reply(500, &[], ""),
            "/missing" => reply(404, &[], ""),
            "/hanging" => std::future::pending().await,
            "/down" => reply(503, &[], ""),
            "/busy" => reply(429, &[("retry-after", "3600")], ""),
            _ => reply(200, &[], "{}"),
        }
    })
    .await
}

#[tokio::test]
async fn the_configuration_that_was_recorded_reproduces_what_was_recorded() {
    let provider = provider().await;
    let folder = tempfile::tempdir().unwrap();
    let toml = Gateway::base(&format!("[journal]\nfolder = \"{}\"\n", path(&folder)));
    let integrations = mixed(&provider.url());
    let integrations = integrations.each_ref().map(|(name, text)| (*name, text.as_str()));
    let gateway = Gateway::with(&toml, &integrations, &[]).await;
    let call = async |integration: &str, operation: &str| {
        gateway.call(integration, operation, json!({})).await.status.as_u16()
    };
    for _ in 0..3 {
        for operation in ["get", "flaky", "missing", "get", "kept", "rare", "hanging", "patient"] {
            call("shop", operation).await;
        }
    }
    // Not retried, for it is not in the list; retried not, for it is unsafe: three failures.
    for operation in ["odd", "make", "make"] {
        call("shop", operation).await;
    }
    for _ in 0..4 {
        assert_eq!(call("shop", "get").await, 503, "refused by the circuit");
    }
    let half_open = async || {
        let answer = gateway.admin().get("/integrations/status").await;
        answer.text().contains("half-open")
    };
    eventually("a probe is due", half_open).await;
    assert_eq!(call("shop", "make").await, 503, "a failed probe");
    call("shop", "get").await;
    eventually("a probe is due", half_open).await;
    for _ in 0..4 {
        assert_eq!(call("shop", "get").await, 200);
    }
    assert_eq!(call("quota", "get").await, 429);
    for _ in 0..3 {
        assert_eq!(call("quota", "paced").await, 429, "held by what the provider asked for");
    }
    let metrics = Metrics::of(&gateway.admin()).await;
    let opened = metrics.sum("circuit_breaker_state_changes_total", &[("service", "shop"), ("to", "open")]);
    let config = config_folder(&toml, &integrations);
    assert!(gateway.stop().await);

    let report = report(config.path(), folder.path(), &[]).await;
    let summary = format!("{report:#}");
    for integration in report["integrations"].as_array().unwrap() {
        let (recorded, simulated) = (&integration["recorded"], &integration["simulated"]);
        for figure in FATES.iter().chain(&["attempts", "retries", "hedges", "throttled"]) {
            assert_eq!(
                recorded[*figure], simulated[*figure],
                "{figure} of {}\n{summary}",
                integration["name"]
            );
        }
        for figure in ["saved", "lost", "won", "assumed", "throttled_avoided", "throttled_provoked"] {
            assert_eq!(integration[figure], 0, "{figure}\n{summary}");
        }
        let p99 = |side: &Value| side["latency_ms"]["p99"].as_f64();
        // Virtual timers are never late, and the way to the provider takes no time.
        assert!(p99(simulated) <= p99(recorded), "{summary}");
    }
    let shop = report["integrations"].as_array().unwrap().iter().find(|part| part["name"] == "shop").unwrap();
    assert_eq!(shop["circuits"][0]["openings"].as_f64(), Some(opened), "{summary}");
    assert_eq!((opened, &shop["cached"]), (2.0, &json!(2)), "{summary}");
    let recorded = &shop["recorded"];
    assert_eq!((&recorded["rate_limited"], &recorded["rejected"]), (&json!(1), &json!(3)), "{summary}");
    assert_eq!(recorded["timed_out"], 6, "{summary}");
    assert!(recorded["circuit_open"].as_u64() >= Some(5), "{summary}");
    assert_eq!(shop["summary"], "nothing changes for callers and provider; circuits open 2 times");
}

#[tokio::test]
async fn waits_for_tokens_and_places_come_out_as_recorded() {
    let provider = Provider::slow(|_| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        reply(200, &[], "{}")
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let toml = Gateway::base(&format!("[journal]\nfolder = \"{}\"\n", path(&folder)));
    let narrow = format!(
        "base_url = \"{}\"\nconcurrency = {{ max = 1, max_waiting = 2 }}\n[operations.get]\npath = \"/\"\n\
         [operations.paced]\npath = \"/\"\nrate_limit = {{ requests = 1, window = \"200ms\", max_wait = \"30s\" }}\n",
        provider.url()
    );
    let integrations = [("narrow", narrow.as_str())];
    let gateway = Gateway::with(&toml, &integrations, &[]).await;
    for _ in 0..3 {
        assert_eq!(gateway.call("narrow", "paced", json!({})).await.status, 200);
    }
    let at_once = (0..4).map(|_| gateway.call("narrow", "get", json!({})));
    let mut statuses: Vec<_> = join_all(at_once).await.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 503]);
    let config = config_folder(&toml, &integrations);
    assert!(gateway.stop().await);
    let report = report(config.path(), folder.path(), &[]).await;
    let narrow = &report["integrations"][0];
    for figure in FATES.iter().chain(&["attempts", "retries"]) {
        assert_eq!(narrow["recorded"][*figure], narrow["simulated"][*figure], "{report:#}");
    }
    assert_eq!((&narrow["lost"], &narrow["won"], &narrow["assumed"]), (&json!(0), &json!(0), &json!(0)));
    let limit = &narrow["rate_limits"][0];
    assert_eq!((&limit["name"], &limit["requests"]), (&json!("narrow.paced"), &json!(1)));
    assert_eq!(limit["peak"], 1, "the limiter paces in the simulation, too");
}

/// Waits for all of them side by side.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|ctx| {
        for (future, done) in &mut running {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(ctx)
            {
                *done = Some(value);
            }
        }
        let all = running.iter().all(|(_, done)| done.is_some());
        if all { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}
