//! The journal: one line per call that says what became of it, and nothing that anybody wrote.

use crate::support::{Gateway, Provider, config_folder, eventually, reply, run, until};
use bascule::telemetry::journal::{CallRecord, Journalled, read};
use http::Method;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// In everything that callers, the provider and the configuration's secrets say.
const CANARY: &str = "c4n4ry";

fn shop(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[auth]
type = "bearer"
token = "c4n4ry-token"
[retry]
max_attempts = 2
base_delay = "10ms"
jitter = 0.0
[circuit_breaker]
failures = 100
[operations.get]
path = "/ok/{{id}}"
query = {{ q = "{{q}}" }}
params.q = {{ type = "string" }}
timeout = "7s"
[operations.flaky]
path = "/flaky"
[operations.missing]
path = "/missing"
[operations.busy]
path = "/busy"
retry = {{ max_attempts = 1 }}
fallback = [{{ operation = "shop.get", params = {{ id = "c4n4ry-rung" }} }}]
[operations.kept]
path = "/ok/kept"
cache = "1h"
[operations.down]
path = "/down"
method = "POST"
circuit_breaker = {{ failures = 1 }}
[operations.slow]
path = "/slow"
"#
    )
}

async fn provider() -> Provider {
    Provider::slow(|request| async move {
        let flaky = request.target == "/flaky";
        match request.target.split('/').nth(1).unwrap_or_default() {
            "flaky" if flaky && request.number == 2 => reply(503, &[], "c4n4ry-body"),
            "missing" => reply(404, &[], "c4n4ry-body"),
            "busy" => {
                let own = ("x-ratelimit-remaining-c4n4ry", "5");
                reply(429, &[("retry-after", "7"), ("x-ratelimit-remaining", "0"), own], "c4n4ry-body")
            }
            "down" => reply(500, &[("x-odd", "c4n4ry-header")], ""),
            "slow" => std::future::pending().await,
            _ => reply(200, &[("x-odd", "c4n4ry-header")], "{}"),
        }
    })
    .await
}

fn journalling(folder: &str) -> String {
    Gateway::base(&format!("[journal]\nfolder = \"{folder}\"\n"))
}

/// The calls of a journal without a flaw.
fn calls(folder: &Path) -> Vec<CallRecord> {
    let call = |found| match found {
        Journalled::Call(record) => *record,
        other => panic!("{other:?}"),
    };
    read(folder).map(|lines| lines.map(call).collect()).unwrap_or_default()
}

async fn journalled(folder: &Path, count: usize) -> Vec<CallRecord> {
    until("the calls are in the journal", || Some(calls(folder)).filter(|calls| calls.len() >= count)).await
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn outcomes(record: &CallRecord) -> Vec<(&str, Option<u16>)> {
    record.attempts.iter().map(|attempt| (&*attempt.outcome, attempt.status)).collect()
}

#[tokio::test]
async fn every_call_is_a_line_that_says_what_became_of_it() {
    let provider = provider().await;
    let folder = tempfile::tempdir().unwrap();
    let toml = journalling(folder.path().to_str().unwrap());
    let toml = toml.replacen(
        "[admin]",
        "auth.api_keys = [{ name = \"c4n4ry-caller\", key = \"c4n4ry-key\" }]\n[admin]",
        1,
    );
    let gateway = Gateway::with(&toml, &[("shop", &shop(&provider.url()))], &[]).await;
    let client = gateway.data().header("x-api-key", "c4n4ry-key").header("idempotency-key", "c4n4ry-once");
    let get = json!({"id": "c4n4ry-id", "q": "c4n4ry-q"});
    assert_eq!(client.post("/v1/shop/get", &get).await.status, 200);
    assert_eq!(client.get("/v1/shop/flaky").await.status, 200);
    assert_eq!(client.get("/v1/shop/missing").await.status, 404);
    for source in ["upstream", "cache"] {
        assert_eq!(client.get("/v1/shop/kept").await.header("bascule-source"), source);
    }
    assert_eq!(client.post("/v1/shop/down", &json!({})).await.status, 500);
    assert_eq!(client.post("/v1/shop/down", &json!({})).await.problem(), "circuit-open");
    let answer = client.send(Method::POST, "/proxy/shop/ok/c4n4ry-path?c4n4ry=1", "c4n4ry-body").await;
    assert_eq!(answer.status, 200);
    assert_eq!(client.get("/v1/shop/get").await.status, 422);
    assert_eq!(gateway.data().get("/v1/shop/get").await.status, 401);
    assert_eq!(client.get("/v1/shop/c4n4ry-operation").await.status, 404);
    let asked = provider.count();
    let mut caller = TcpStream::connect(gateway.data().address()).await.unwrap();
    let request = "GET /v1/shop/slow HTTP/1.1\r\nhost: x\r\nx-api-key: c4n4ry-key\r\n\r\n";
    caller.write_all(request.as_bytes()).await.unwrap();
    eventually("the provider is asked", async || provider.count() > asked).await;
    drop(caller);
    gateway.reaches("integration_requests_total", &[("status", "499")], 1.0).await;
    // Last, since the limiter holds the integration's calls from then on.
    assert_eq!(client.get("/v1/shop/busy").await.status, 429);
    assert!(gateway.stop().await);

    let calls = calls(folder.path());
    let places: Vec<_> =
        calls.iter().map(|call| (call.operation.as_str(), call.status, &*call.ended)).collect();
    assert_eq!(
        places,
        [
            ("get", 200, "success"),
            ("flaky", 200, "success"),
            ("missing", 404, "upstream-4xx"),
            ("kept", 200, "success"),
            ("kept", 200, "success"),
            ("down", 500, "upstream-5xx"),
            ("down", 503, "circuit-open"),
            ("proxy", 200, "success"),
            ("get", 422, "invalid-parameters"),
            ("slow", 499, "cancelled"),
            ("busy", 429, "upstream-429"),
        ],
        "calls of no operation are of no interest"
    );
    for call in &calls {
        assert_eq!((call.v, call.integration.as_str(), &*call.priority), (1, "shop", "normal"));
        assert!(call.time > 1_700_000_000_000 && call.elapsed_ms > 0.0 && call.queued_ms <= call.elapsed_ms);
        assert_eq!(call.timeout_ms, if call.operation == "get" { 7000 } else { 30_000 });
        for attempt in &call.attempts {
            assert!(attempt.sent && !attempt.hedge && !attempt.timed_out && attempt.of.is_none());
            assert!(attempt.at_ms > 0.0 && attempt.at_ms + attempt.ms <= call.elapsed_ms + 0.001, "{call:?}");
        }
    }
    let [get, flaky, missing, miss, hit, down, refused, proxy, invalid, gone, busy] = &calls[..] else {
        panic!("{calls:#?}")
    };
    assert_eq!((outcomes(get), get.safe, &*get.cache), (vec![("success", Some(200))], true, "bypass"));
    assert_eq!(outcomes(flaky), [("transient", Some(503)), ("success", Some(200))]);
    assert!(flaky.attempts[1].at_ms >= flaky.attempts[0].at_ms + flaky.attempts[0].ms + 10.0, "{flaky:?}");
    assert_eq!(outcomes(missing), [("rejected", Some(404))]);
    assert_eq!((&*miss.cache, miss.source.as_deref(), miss.attempts.len()), ("miss", Some("upstream"), 1));
    assert_eq!((&*hit.cache, hit.source.as_deref(), hit.attempts.len()), ("hit", Some("cache"), 0));
    assert_eq!((outcomes(down), down.safe), (vec![("transient", Some(500))], false));
    assert_eq!((refused.refused.as_deref(), refused.source.as_deref()), (Some("circuit-open"), None));
    assert!(refused.attempts.is_empty());
    assert_eq!((outcomes(proxy), proxy.safe), (vec![("success", Some(200))], false));
    assert!(invalid.attempts.is_empty() && invalid.refused.is_none());
    assert_eq!(outcomes(gone), [("cancelled", None)]);
    assert_eq!((outcomes(busy), busy.refused.as_deref()), (vec![("throttled", Some(429))], None));
    assert_eq!(busy.attempts[0].retry_after_ms, Some(7000));
    let left: Vec<_> = busy.attempts[0].quotas.iter().map(|quota| (quota.number, quota.remaining)).collect();
    assert_eq!(left, [(0, 0), (1, 5)]);
    let text: String = files(folder.path()).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert!(!text.contains(CANARY), "{text}");
}

#[tokio::test]
async fn attempts_of_a_rung_and_refusals_of_the_limiter_are_told() {
    let provider = Provider::new(|request| match request.target.as_str() {
        "/down" => reply(500, &[], ""),
        _ => reply(200, &[], "{}"),
    })
    .await;
    let (url, folder) = (provider.url(), tempfile::tempdir().unwrap());
    let main = format!(
        "base_url = \"{url}\"\n[retry]\nmax_attempts = 1\n[operations.get]\npath = \"/down\"\n\
         fallback = [{{ operation = \"spare.get\" }}]\n[operations.limited]\npath = \"/ok\"\n\
         rate_limit = {{ requests = 1, window = \"1h\" }}\nfallback = [{{ default = {{}} }}]\n"
    );
    let spare = format!("base_url = \"{url}\"\n[operations.get]\npath = \"/ok\"\n");
    let toml = journalling(folder.path().to_str().unwrap());
    let gateway = Gateway::with(&toml, &[("main", &main), ("spare", &spare)], &[]).await;
    for (operation, source) in
        [("get", "operation:spare.get"), ("limited", "upstream"), ("limited", "default")]
    {
        assert_eq!(gateway.call("main", operation, json!({})).await.header("bascule-source"), source);
    }
    assert!(gateway.stop().await);
    let calls = calls(folder.path());
    let [laddered, first, second] = &calls[..] else { panic!("{calls:#?}") };
    assert_eq!((&*laddered.ended, laddered.status), ("upstream-5xx", 200));
    assert_eq!(laddered.source.as_deref(), Some("operation"));
    let whose: Vec<_> = laddered.attempts.iter().map(|attempt| attempt.of.as_deref()).collect();
    assert_eq!(whose, [None, Some("spare.get")]);
    assert_eq!(first.refused, None);
    assert_eq!(
        (second.refused.as_deref(), second.source.as_deref()),
        (Some("rate-limited"), Some("default"))
    );
}

#[tokio::test]
async fn files_stay_within_their_bounds_and_a_restart_begins_a_new_one() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let shop = format!("base_url = \"{}\"\n[operations.get]\npath = \"/ok\"\n", provider.url());
    let folder = tempfile::tempdir().unwrap();
    let bounds = "max_file = \"16KiB\"\nmax_files = 2\n";
    let toml = format!("{}{bounds}", journalling(folder.path().to_str().unwrap()));
    let mut newest = PathBuf::new();
    for _ in 0..2 {
        let gateway = Gateway::with(&toml, &[("shop", &shop)], &[]).await;
        for _ in 0..150 {
            assert_eq!(gateway.call("shop", "get", json!({})).await.status, 200);
        }
        assert!(gateway.stop().await);
        let files = files(folder.path());
        assert_eq!(files.len(), 2);
        for file in &files {
            assert!(fs::metadata(file).unwrap().len() <= 16 << 10);
        }
        assert!(files[1] > newest, "names are in the order of time");
        newest.clone_from(&files[1]);
        assert!(calls(folder.path()).windows(2).all(|pair| pair[0].time <= pair[1].time));
    }
}

fn write_gateway(gateway: &Gateway, text: &str) {
    fs::write(gateway.folder().join("bascule.toml"), text).unwrap();
}

#[tokio::test]
async fn a_reload_switches_the_journal_on_moves_it_and_switches_it_off() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let shop = format!("base_url = \"{}\"\n[operations.get]\npath = \"/ok\"\n", provider.url());
    let gateway = Gateway::start(&[("shop", &shop)]).await;
    let call = async || assert_eq!(gateway.call("shop", "get", json!({})).await.status, 200);
    let reload = async |text: &str| {
        write_gateway(&gateway, text);
        gateway.admin().send(Method::POST, "/config/reload", "").await.status.as_u16()
    };
    call().await;
    assert_eq!(reload(&journalling("calls")).await, 200);
    call().await;
    let calls_folder = gateway.folder().join("calls");
    journalled(&calls_folder, 1).await;
    // A folder that cannot be is refused, and nothing changes.
    assert_eq!(reload(&journalling("bascule.toml/calls")).await, 422);
    call().await;
    journalled(&calls_folder, 2).await;
    assert_eq!(reload(&journalling("other")).await, 200);
    call().await;
    let other = gateway.folder().join("other");
    journalled(&other, 1).await;
    assert_eq!(reload(&Gateway::base("")).await, 200);
    call().await;
    assert_eq!((calls(&calls_folder).len(), calls(&other).len()), (2, 1));
    assert_eq!(files(&calls_folder).len(), 1);
    assert!(gateway.stop().await);
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

#[tokio::test]
async fn an_unusable_folder_is_a_problem_of_the_configuration() {
    let listen = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    let in_the_way = config_folder(&format!("{listen}[journal]\nfolder = \"bascule.toml/calls\"\n"), &[]);
    let output = run(&["serve", "--config", path(&in_the_way)], &[]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{stderr}");
    assert!(stderr.contains("journal.folder") && stderr.contains("cannot be used"), "{stderr}");
    // What can be seen without writing is seen by `check`, which makes no folder.
    let good = config_folder(&format!("{listen}[journal]\nfolder = \"calls\"\n"), &[]);
    let output = run(&["check", "--config", path(&good)], &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!good.path().join("calls").exists());
    let bad =
        config_folder(&format!("{listen}[journal]\nmax_file = \"1KiB\"\nfolder = \"bascule.toml\"\n"), &[]);
    let output = run(&["check", "--config", path(&bad)], &[]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("`bascule.toml` is not a folder") && stderr.contains("at least 16KiB"),
        "{stderr}"
    );
}
