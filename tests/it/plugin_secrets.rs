//! Plugins are credential-blind: no secret is found in a guest's memory, nor in anything that its work leaves behind.
//!
//! The real binary runs with canaries in every place where a secret can stand. A guest in every phase looks for them
//! in all that it is given and in its own memory; then what was logged, exported, counted, answered, journalled and
//! kept in files is searched. That the configuration's own secrets stay out of what is printed is in `secrets`.

use crate::support::{Client, Provider, Request, Served, config_folder, guest, reply, run, until};
use http::Response;
use http_body_util::Full;
use serde_json::json;
use std::{collections::BTreeSet, fs, path::Path};

/// In every secret; the guest knows it, too.
const CANARY: &[u8] = b"c4n4ry";
/// Secrets in base64: `user:c4n4ry…`, and `<c4n4ry…` as the guest has one put in.
const ENCODED: [&[u8]; 2] = [b"dXNlcjpjNG40cnk6", b"PGM0bjRyeS"];

const ENV: [(&str, &str); 7] = [
    ("INBOUND_KEY", "c4n4ry-inbound"),
    ("ADMIN_TOKEN", "c4n4ry-admin"),
    ("SECRET", "c4n4ry/secret+1"),
    ("PASSWORD", "c4n4ry:password"),
    ("HIDDEN", "c4n4ry-hidden/+="),
    ("QUERY", "c4n4ry query"),
    (
        "RUST_LOG",
        "trace,cranelift=off,regalloc2=off,wasmtime=off,wasmparser=off,wit_component=off,wit_parser=off",
    ),
];

fn integration(url: &str, top: &str, auth: &str, more: &str) -> String {
    format!(
        r#"
base_url = "{url}"
timeout = "400ms"
headers = {{ x-tenant = "${{SECRET}}" }}
{top}
[retry]
max_attempts = 2
base_delay = "1ms"
{auth}
{more}
[[plugins]]
source = "{}"
grants = ["body-read"]
credentials = {{ hidden = "${{HIDDEN}}", unused = "c4n4ry-unused" }}
attributes = {{ tenant = "t1" }}
config = {{ token = {}, public = "yes" }}
[operations.ok]
path = "/ok"
query = {{ n = "{{n}}", tenant = "${{QUERY}}" }}
params.n = {{ type = "integer" }}
[operations.kept]
path = "/ok"
cache = "1h"
[operations.send]
method = "POST"
path = "/ok"
params.text = {{ type = "string" }}
idempotency = {{ header = "Idempotency-Key", generate = true }}
[operations.down]
path = "/down"
[operations.slow]
path = "/slow"
[operations.none]
path = "/none"
"#,
        guest("spy"),
        !more.is_empty()
    )
}

fn answer(request: &Request) -> Option<Response<Full<bytes::Bytes>>> {
    let json =
        |body: &serde_json::Value| reply(200, &[("content-type", "application/json")], body.to_string());
    let target = request.target.split('?').next().unwrap_or_default();
    Some(match target {
        "/slow" => return None,
        "/down" => reply(500, &[], ""),
        "/none" => reply(404, &[], "{}"),
        "/token" => {
            json(&json!({"access_token": "c4n4ry-access", "token_type": "bearer", "expires_in": 3600}))
        }
        "/session" => json(&json!({"ok": true, "data": {"sid": "c4n4ry-session", "valid_minutes": "30"}})),
        _ => json(&json!({"fine": true})),
    })
}

async fn provider() -> Provider {
    Provider::slow(|request| async move {
        match answer(&request) {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    })
    .await
}

/// The lines of that which hold a secret.
fn leaks(what: &str, octets: &[u8]) -> Vec<String> {
    let found = |line: &&[u8]| {
        let has = |word: &[u8]| line.windows(word.len()).any(|window| window == word);
        has(CANARY) || ENCODED.into_iter().any(has)
    };
    let lines = octets.split(|octet| *octet == b'\n').filter(found);
    lines.map(|line| format!("{what}: {}", String::from_utf8_lossy(&line[..line.len().min(300)]))).collect()
}

fn files(folder: &Path, found: &mut Vec<String>) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += files(&path, found);
        } else {
            found.extend(leaks(&path.display().to_string(), &fs::read(&path).unwrap()));
            count += 1;
        }
    }
    count
}

async fn calls(data: &Client, name: &str, shown: &mut Vec<String>) -> BTreeSet<String> {
    let mut spied = BTreeSet::new();
    let mut keep = |path: &str, answer: crate::support::Answer| {
        let text = format!("{:?}\n{}", answer.headers, answer.text());
        shown.extend(leaks(path, text.as_bytes()));
        spied.insert(answer.header("x-spy").to_owned());
    };
    for operation in ["ok?n=1", "ok?n=x", "kept", "kept", "down", "slow", "none", "nope"] {
        let path = format!("/v1/{name}/{operation}");
        keep(&path, data.get(&path).await);
    }
    let path = format!("/v1/{name}/send");
    keep(&path, data.post(&path, &json!({"text": "a word"})).await);
    let path = format!("/proxy/{name}/ok?a=1");
    keep(&path, data.get(&path).await);
    spied
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_found_where_plugins_work_nor_in_what_is_left_of_it() {
    let (provider, collector) = (provider().await, Provider::new(|_| reply(200, &[], "")).await);
    let url = provider.url();
    let oauth = format!(
        "[auth]\ntype = \"oauth2\"\ntoken_url = \"{url}/token\"\nclient_id = \"me\"\nclient_secret = \"${{SECRET}}\"\n"
    );
    let login = format!(
        "[endpoints.login]\nbase_url = \"{url}\"\n[[plugins]]\nsource = \"{}\"\nphases = [\"token-source\"]\n\
         grants = [\"http:login\"]\ncredentials = {{ password = \"${{PASSWORD}}\" }}\n",
        guest("session-login")
    );
    let with_user = url.replacen("http://", "http://user:${PASSWORD}@", 1);
    let plain = |auth: &str| integration(&url, "", auth, "");
    let integrations = [
        ("bearer", plain("[auth]\ntype = \"bearer\"\ntoken = \"${SECRET}\"\n")),
        ("header", plain("[auth]\ntype = \"api_key\"\nname = \"X-Odd\"\nkey = \"${SECRET}\"\n")),
        (
            "query",
            plain("[auth]\ntype = \"api_key\"\nin = \"query\"\nname = \"appid\"\nkey = \"${SECRET}\"\n"),
        ),
        ("basic", plain("[auth]\ntype = \"basic\"\nusername = \"user\"\npassword = \"${PASSWORD}\"\n")),
        ("oauth", plain(&oauth)),
        ("user", integration(&with_user, "", "", "")),
        ("login", integration(&url, "", "[auth]\ntype = \"plugin\"\nscopes = [\"read\"]\n", &login)),
        (
            "gone",
            integration("http://127.0.0.1:9", "", "[auth]\ntype = \"bearer\"\ntoken = \"${SECRET}\"\n", ""),
        ),
    ];
    let base = format!(
        r#"
[server]
listen = "127.0.0.1:0"
server_timing = true
auth.api_keys = [{{ name = "billing", key = "${{INBOUND_KEY}}" }}]
[admin]
listen = "127.0.0.1:0"
tokens = [{{ name = "ops", role = "admin", token = "${{ADMIN_TOKEN}}" }}]
[telemetry]
otlp_endpoint = "{}"
[journal]
folder = "calls"
"#,
        collector.url()
    );
    let listed: Vec<(&str, &str)> = integrations.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let folder = config_folder(&base, &listed);
    let kept = tempfile::tempdir().unwrap();
    let cache = kept.path().to_str().unwrap();
    let env: Vec<(&str, &str)> = ENV.into_iter().chain([("XDG_CACHE_HOME", cache)]).collect();
    // Compiles the plugins, which may take long on a busy machine.
    let checked = run(&["check", "--config", folder.path().to_str().unwrap()], &env).await;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let served = Served::start(folder.path(), &[], &env).await;
    let data = served.data().header("x-api-key", "c4n4ry-inbound");
    let admin = served.admin().header("authorization", "Bearer c4n4ry-admin");
    let mut found = leaks("check", &[checked.stdout, checked.stderr].concat());
    for (name, _) in &listed {
        let spied = calls(&data, name, &mut found).await;
        if *name != "gone" {
            assert!(spied.contains("0"), "{name}: a guest looked, and {spied:?}");
        }
        assert!(spied.is_subset(&BTreeSet::from([String::new(), "0".to_owned()])), "{name}: {spied:?}");
        let health = admin.get(&format!("/integrations/{name}/health")).await;
        found.extend(leaks("health", health.text().as_bytes()));
    }
    for path in ["/integrations/status", "/metrics"] {
        let answer = admin.get(path).await;
        assert_eq!(answer.status, 200);
        found.extend(leaks(path, answer.text().as_bytes()));
    }
    // The secrets did arrive where they belong.
    let seen = provider.seen();
    for (name, value) in [
        ("authorization", "Bearer c4n4ry/secret+1"),
        ("x-odd", "c4n4ry/secret+1"),
        ("authorization", "Bearer c4n4ry-access"),
        ("authorization", "Basic dXNlcjpjNG40cnk6cGFzc3dvcmQ="),
        ("x-tenant", "c4n4ry/secret+1"),
        ("x-token", "c4n4ry-session"),
        ("x-hidden", "PGM0bjRyeS1oaWRkZW4vKz0="),
    ] {
        assert!(seen.iter().any(|request| request.header(name) == value), "{name}: {value}");
    }
    for part in ["tenant=c4n4ry%20query", "appid=c4n4ry", "signature=c4n4ry-hidden%2F%2B%3D"] {
        assert!(seen.iter().any(|request| request.target.contains(part)), "{part}");
    }
    until("spans are exported", || (collector.count() > 0).then_some(())).await;
    served.signal("TERM").await;
    let (code, printed) = served.ended().await;
    assert_eq!(code, Some(0));
    for phase in ["cache-policy", "request-mapper", "signer", "classifier", "response-mapper", "error-mapper"]
    {
        assert!(printed.contains(&format!("spy: {phase} saw 0")), "{phase} looked");
    }
    let saw: Vec<&str> =
        printed.lines().filter(|line| line.contains("spy: ") && !line.contains(" saw 0")).collect();
    assert!(saw.is_empty(), "{saw:#?}");
    found.extend(leaks("log", printed.as_bytes()));
    let exported = collector.seen();
    assert!(exported.iter().any(|request| request.target == "/v1/traces"));
    assert!(exported.iter().any(|request| request.target == "/v1/metrics"));
    for request in exported {
        found.extend(leaks(&request.target, &request.body));
    }
    assert!(files(&folder.path().join("calls"), &mut found) > 0, "there is a journal");
    assert!(files(kept.path(), &mut found) > 0, "compiled plugins are kept");
    assert!(found.is_empty(), "{} places, e.g. {:#?}", found.len(), &found[..found.len().min(5)]);
}

#[test]
fn what_is_searched_for_would_be_found() {
    assert_eq!(leaks("x", b"one\ntwo c4n4ry-x\nthree").len(), 1);
    assert_eq!(leaks("x", b"Basic dXNlcjpjNG40cnk6cGFzc3dvcmQ=\nfine").len(), 1);
}
