//! The command line of the real binary: what it prints where, and its exit statuses (`contract.md` §1).

use crate::support::{
    Client, Provider, Served, command, config_folder, guest, reply, run, until, until_async,
};
use http::Method;
use serde_json::{Value, json};
use std::{process::Output, time::Duration};
use tempfile::TempDir;
use tokio::{net::TcpListener, net::TcpStream, sync::Notify};

const BASE: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";

fn shop(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[auth]
type = "bearer"
token = "cl1-t0ken"
[retry]
max_attempts = 2
base_delay = "1ms"
[operations.get]
path = "/things/{{id}}"
query = {{ n = "{{n}}" }}
params.n = {{ type = "integer", maximum = 9 }}
[operations.make]
method = "POST"
path = "/things"
params.name = {{ type = "string", required = true }}
"#
    )
}

fn folder(url: &str) -> TempDir {
    config_folder(BASE, &[("shop", &shop(url))])
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

async fn ran(arguments: &[&str]) -> (Option<i32>, String, String) {
    texts(&run(arguments, &[]).await)
}

#[tokio::test]
async fn usage_errors_exit_with_2_and_help_with_0() {
    for arguments in [&["explode"][..], &["serve", "--nonsense"], &["call", "shop"], &[]] {
        let (code, stdout, stderr) = ran(arguments).await;
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains("Usage"), "{stderr}");
    }
    let (code, stdout, _) = ran(&["--help"]).await;
    assert_eq!(code, Some(0));
    for verb in ["serve", "check", "call", "demo", "plugin", "status", "cache", "schema"] {
        assert!(stdout.contains(verb), "{verb}: {stdout}");
    }
    let (code, stdout, _) = ran(&["--version"]).await;
    assert!(code == Some(0) && stdout.starts_with("bascule "), "{stdout}");
}

#[tokio::test]
async fn a_bad_configuration_exits_with_78_and_says_where() {
    let bad = config_folder(BASE, &[("shop", "base_url = \"https://x\"\ntimeuot = \"5s\"\n")]);
    for arguments in
        [&["serve", "--config", path(&bad)][..], &["call", "--config", path(&bad), "shop", "get"]]
    {
        let (code, stdout, stderr) = ran(arguments).await;
        assert_eq!((code, stdout.as_str()), (Some(78), ""), "{arguments:?}");
        assert!(stderr.contains("integrations/shop.toml:2:1"), "{stderr}");
        assert!(stderr.contains("did you mean `timeout`?"), "{stderr}");
    }
    let (code, _, stderr) = ran(&["serve", "--config", "/nowhere/at/all"]).await;
    assert_eq!(code, Some(78), "{stderr}");
    let open = config_folder("[admin]\nlisten = \"0.0.0.0:0\"\n", &[]);
    let (code, _, stderr) = ran(&["serve", "--config", path(&open)]).await;
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("loopback"), "{stderr}");
}

#[tokio::test]
async fn a_taken_port_exits_with_69() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    for base in [
        BASE.replacen("127.0.0.1:0", &address.to_string(), 1),
        format!("[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"{address}\"\n"),
    ] {
        let folder = config_folder(&base, &[]);
        let (code, _, stderr) = ran(&["serve", "--config", path(&folder)]).await;
        assert_eq!(code, Some(69), "{stderr}");
        assert!(stderr.contains(&address.to_string()), "{stderr}");
    }
}

/// A provider that answers when it is told to, and its switch.
async fn waiting() -> (Provider, std::sync::Arc<Notify>) {
    let go = std::sync::Arc::new(Notify::new());
    let held = std::sync::Arc::clone(&go);
    let provider = Provider::slow(move |_| {
        let held = std::sync::Arc::clone(&held);
        async move {
            held.notified().await;
            reply(200, &[], "\"finished\"")
        }
    })
    .await;
    (provider, go)
}

#[tokio::test]
async fn term_lets_calls_finish_and_exits_with_0() {
    let (provider, go) = waiting().await;
    let folder = folder(&provider.url());
    let served = Served::start(folder.path(), &[], &[]).await;
    let data = served.data();
    assert_eq!(data.get("/readyz").await.status, 200);
    let call = tokio::spawn(async move { data.get("/v1/shop/get?id=7").await });
    until("the call is upstream", || (provider.count() == 1).then_some(())).await;
    served.signal("TERM").await;
    // Probes are told, new calls are refused, what is under way goes on.
    // A probe whose connection is still idle at the very moment is closed with the other idle ones.
    until_async("it is not ready any more", async || {
        let data = served.data();
        let probe = tokio::spawn(async move { data.get("/readyz").await.status });
        probe.await.is_ok_and(|status| status == 503).then_some(())
    })
    .await;
    assert_eq!(served.data().get("/livez").await.status, 200);
    assert_eq!(served.data().get("/v1/shop/get?id=8").await.status, 503);
    assert_eq!(provider.count(), 1);
    go.notify_one();
    let answer = call.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "\"finished\""));
    let (code, printed) = served.ended().await;
    assert_eq!(code, Some(0), "{printed}");
    let record: Value = printed
        .lines()
        .find(|line| line.contains("call completed"))
        .map(|line| serde_json::from_str(line).unwrap())
        .unwrap();
    assert_eq!((&record["status"], &record["operation"]), (&json!(200), &json!("get")));
}

#[tokio::test]
async fn a_drain_that_takes_too_long_exits_with_75() {
    let (provider, _never) = waiting().await;
    let base = BASE.replacen("[admin]", "drain_timeout = \"200ms\"\n[admin]", 1);
    let folder = config_folder(&base, &[("shop", &shop(&provider.url()))]);
    let served = Served::start(folder.path(), &[], &[]).await;
    let mut stream = TcpStream::connect(served.data).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /v1/shop/get?id=7 HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    until("the call is upstream", || (provider.count() == 1).then_some(())).await;
    served.signal("INT").await;
    let (code, printed) = served.ended().await;
    assert_eq!(code, Some(75), "{printed}");
}

#[tokio::test]
async fn hup_reloads() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let folder = folder(&provider.url());
    let served = Served::start(folder.path(), &[], &[]).await;
    std::fs::write(folder.path().join("integrations/new.toml"), shop(&provider.url())).unwrap();
    served.signal("HUP").await;
    until_async("the new integration is there", async || {
        (served.data().get("/v1/new/get?id=1").await.status == 200).then_some(())
    })
    .await;
    std::fs::write(folder.path().join("integrations/new.toml"), "nonsense = 1\n").unwrap();
    served.signal("HUP").await;
    until("the refusal is told", || served.printed().contains("the old one stays").then_some(())).await;
    assert_eq!(served.data().get("/v1/new/get?id=1").await.status, 200);
    served.signal("TERM").await;
    assert_eq!(served.ended().await.0, Some(0));
}

#[tokio::test]
async fn check_says_ok_or_lists_every_problem() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let good = folder(&provider.url());
    let (code, stdout, stderr) = ran(&["check", "--config", path(&good)]).await;
    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (Some(0), "ok: 1 integration, 2 operations, 0 plugins\n", "")
    );
    let (code, stdout, _) = ran(&["check", "--config", path(&good), "--format", "json"]).await;
    assert_eq!((code, serde_json::from_str::<Value>(&stdout).unwrap()), (Some(0), json!({"problems": []})));
    // A file instead of its folder.
    let file = good.path().join("bascule.toml");
    assert_eq!(ran(&["check", "--config", file.to_str().unwrap()]).await.0, Some(0));

    let plugin = format!("base_url = \"https://x\"\n[[plugins]]\nsource = \"{}\"\n", guest("wants-random"));
    let bad = config_folder(BASE, &[("a", "base_url = 1\nproxi = true\n"), ("b", "type = \"rset\"\n")]);
    let (code, stdout, stderr) = ran(&["check", "--config", path(&bad)]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    for part in ["a.toml:1:12", "a.toml:2:1", "b.toml:1:8", "help: "] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    let (code, stdout, _) = ran(&["check", "--config", path(&bad), "--format", "json"]).await;
    assert_eq!(code, Some(1));
    let document: Value = serde_json::from_str(&stdout).unwrap();
    let first = &document["problems"][0];
    assert_eq!(
        (&first["line"], &first["column"], &first["key"]),
        (&json!(1), &json!(12), &json!("base_url"))
    );
    assert!(document["problems"].as_array().unwrap().len() >= 3, "{document}");
    // Plugins are compiled and their grants checked, without listening.
    let bad = config_folder(BASE, &[("a", &plugin)]);
    let (code, _, stderr) = ran(&["check", "--config", path(&bad)]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("a.toml:3:10") && stderr.contains("grants = [\"random\"]"), "{stderr}");
}

#[tokio::test]
async fn call_prints_the_body_alone_on_stdout() {
    let provider = Provider::new(|request| match &*request.target {
        "/things/7?n=3" => reply(200, &[("content-type", "application/json")], "{\"id\":7}"),
        "/things" => reply(201, &[], request.body.clone()),
        _ => reply(404, &[], "{\"error\":\"none\"}"),
    })
    .await;
    let folder = folder(&provider.url());
    let call = async |more: &[&str]| {
        let mut arguments = vec!["call", "--config", path(&folder)];
        arguments.extend(more);
        ran(&arguments).await
    };
    assert_eq!(call(&["shop", "get", "id=7", "n=3"]).await, (Some(0), "{\"id\":7}".into(), String::new()));
    assert_eq!(provider.last().header("authorization"), "Bearer cl1-t0ken");
    let (code, stdout, _) = call(&["shop", "make", "--json", "{\"name\":\"x\"}"]).await;
    assert_eq!((code, stdout.as_str()), (Some(0), "{\"name\":\"x\"}"));
    let (code, stdout, _) = call(&["shop", "get", "id=8"]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), "{\"error\":\"none\"}"), "the provider's 404");
    let (code, stdout, _) = call(&["shop", "get", "id=8", "n=99"]).await;
    let problem: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &problem["type"]), (Some(1), &json!("urn:bascule:problem:invalid-parameters")));
    assert_eq!(problem["errors"][0]["pointer"], "/n");
    let (code, stdout, _) = call(&["shop", "nope"]).await;
    assert!(code == Some(1) && stdout.contains("unknown-operation"), "{stdout}");
    let (code, stdout, stderr) = call(&["-v", "shop", "get", "id=7", "n=3"]).await;
    assert_eq!((code, stdout.as_str()), (Some(0), "{\"id\":7}"), "nothing else on stdout");
    assert!(stderr.contains("status 200") && stderr.contains("attempts 1"), "{stderr}");
    assert!(!stderr.contains("cl1-t0ken"), "{stderr}");
}

#[tokio::test]
async fn call_retries_and_reports_what_it_did() {
    let provider =
        Provider::new(|request| reply(if request.number == 1 { 503 } else { 200 }, &[], "\"x\"")).await;
    let folder = folder(&provider.url());
    let (code, stdout, stderr) = ran(&["call", "-v", "--config", path(&folder), "shop", "get", "id=7"]).await;
    assert_eq!((code, stdout.as_str()), (Some(0), "\"x\""));
    assert!(stderr.contains("attempts 2"), "{stderr}");
    assert_eq!(provider.count(), 2);
}

#[tokio::test]
async fn schema_is_a_json_schema_of_the_configuration() {
    let (code, stdout, stderr) = ran(&["schema"]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&stdout).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{}", schema["$schema"]);
    for key in ["base_url", "circuit_breaker", "operations", "drain_timeout", "otlp_endpoint"] {
        assert!(stdout.contains(&format!("\"{key}\"")), "{key}");
    }
}

#[tokio::test]
async fn status_shows_a_table_and_exits_with_1_unless_all_are_healthy() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let base = BASE.to_owned() + "tokens = [{ name = \"ops\", role = \"admin\", token = \"0ps-t0ken\" }]\n";
    let folder = config_folder(&base, &[("shop", &shop(&provider.url()))]);
    let served = Served::start(folder.path(), &[], &[]).await;
    let admin = format!("http://{}", served.admin);
    let status = async |more: &[&str]| {
        let mut arguments = vec!["status", "--admin", &admin];
        arguments.extend(more);
        ran(&arguments).await
    };
    let (code, stdout, stderr) = status(&["--token", "0ps-t0ken"]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let row = stdout.lines().find(|line| line.starts_with("shop")).unwrap();
    assert!(row.contains("healthy") && row.contains("closed"), "{stdout}");
    let (code, stdout, stderr) = status(&["--token", "wrong"]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("401"), "{stderr}");
    let client = Client::new(served.admin).header("authorization", "Bearer 0ps-t0ken");
    client.send(Method::POST, "/integrations/shop/circuit/open", "").await;
    let (code, stdout, _) = status(&["--token", "0ps-t0ken"]).await;
    assert!(code == Some(1) && stdout.contains("unhealthy") && stdout.contains("open"), "{stdout}");
    drop(served);
    let (code, _, stderr) = status(&["--token", "0ps-t0ken"]).await;
    assert!(code == Some(1) && stderr.contains("no answer"), "{stderr}");
}

#[tokio::test]
async fn what_is_stored_is_shown_and_dropped_from_the_command_line() {
    let provider = Provider::new(|request| reply(200, &[], request.number.to_string())).await;
    let text = shop(&provider.url()).replace("[operations.make]", "cache = \"1h\"\n[operations.make]");
    let folder = config_folder(BASE, &[("shop", &text)]);
    let served = Served::start(folder.path(), &[], &[]).await;
    let admin = format!("http://{}", served.admin);
    let cache = async |more: &[&str]| {
        let mut arguments = vec!["cache"];
        arguments.extend(more);
        arguments.extend(["--admin", &admin]);
        ran(&arguments).await
    };
    let data = served.data();
    let get = async || data.get("/v1/shop/get?id=7&n=1").await.text();
    let (code, _, stderr) = cache(&["get", "shop", "get", "id=7", "n=1"]).await;
    assert!(code == Some(1) && stderr.contains("nothing is stored"), "{stderr}");
    assert_eq!(get().await, "1");
    let (code, stdout, _) = cache(&["get", "shop", "get", "n=1", "id=7"]).await;
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &found["status"], &found["length"]), (Some(0), &json!(200), &json!(1)));
    let (code, stdout, _) = cache(&["stats"]).await;
    let row = stdout.lines().find(|line| line.starts_with("shop")).unwrap();
    assert_eq!((code, row.split_whitespace().nth(1)), (Some(0), Some("1")), "{stdout}");
    assert_eq!(cache(&["purge", "shop", "get", "id=8", "n=1"]).await.0, Some(0));
    assert_eq!(get().await, "1");
    assert_eq!(
        cache(&["purge", "shop", "get", "id=7", "n=1"]).await,
        (Some(0), String::new(), String::new())
    );
    assert_eq!(get().await, "2");
    assert_eq!(cache(&["purge", "shop"]).await.0, Some(0));
    assert_eq!(get().await, "3");
    let (code, _, stderr) = cache(&["purge", "nope"]).await;
    assert!(code == Some(1) && stderr.contains("no integration"), "{stderr}");
}

#[tokio::test]
async fn an_integration_can_be_made_of_the_environment_alone() {
    let provider =
        Provider::new(|request| reply(if request.number == 1 { 503 } else { 200 }, &[], "\"x\"")).await;
    let url = provider.url() + "/v1";
    let empty = config_folder(BASE, &[]);
    let env = [
        ("STRIPE_BASE_URL", url.as_str()),
        ("STRIPE_TOKEN", "env-t0ken"),
        ("STRIPE_MAX_RETRIES", "1"),
        ("STRIPE_RETRY_DELAY", "1ms"),
        ("STRIPE_TIMEOUT", "5s"),
        ("STRIPE_CONNECT_TIMEOUT", "1s"),
        ("STRIPE_CIRCUIT_THRESHOLD", "1"),
        ("STRIPE_CIRCUIT_TIMEOUT", "1h"),
    ];
    let served = Served::start(empty.path(), &["--env", "STRIPE"], &env).await;
    let answer = served.data().get("/proxy/stripe/charges?limit=3").await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-attempts")), (200, "2"), "one retry");
    let seen = provider.last();
    assert_eq!(
        (seen.target.as_str(), seen.header("authorization")),
        ("/v1/charges?limit=3", "Bearer env-t0ken")
    );
    assert!(!served.printed().contains("env-t0ken"));
    drop(served);
    // Without the variable that it needs, and without any file.
    let (code, _, stderr) = ran(&["serve", "--env", "STRIPE"]).await;
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("STRIPE_BASE_URL"), "{stderr}");
}

#[tokio::test]
async fn inspect_shows_exactly_what_a_plugin_is() {
    let (code, stdout, stderr) = ran(&["plugin", "inspect", "builtin:aws-sigv4", "--json"]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let document: Value = serde_json::from_str(&stdout).unwrap();
    let mut exports: Vec<&str> =
        document["exports"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    exports.sort_unstable();
    assert_eq!(exports, ["bascule:plugin/lifecycle@0.1.0", "bascule:plugin/signer@0.1.0"], "{stdout}");
    let mut imports: Vec<(&str, Vec<&str>)> = document["imports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|import| {
            let functions = import["functions"].as_array().unwrap();
            (import["name"].as_str().unwrap(), functions.iter().map(|one| one.as_str().unwrap()).collect())
        })
        .collect();
    imports.sort();
    let names: Vec<&str> = imports.iter().map(|(name, _)| *name).collect();
    let expected =
        ["clock", "config", "crypto", "log", "types"].map(|name| format!("bascule:plugin/{name}@0.1.0"));
    assert_eq!(names, expected, "no reading of secrets, no network, no randomness");
    let crypto = &imports[2].1;
    assert!(crypto.iter().any(|name| name.contains("key.mac")), "{crypto:?}");
    for unused in ["sign", "mac-body", "equal"] {
        assert!(!crypto.iter().any(|name| name.ends_with(unused)), "{unused}: {crypto:?}");
    }
    let types = &imports[4].1;
    assert!(!types.iter().any(|name| name.contains("body.read")), "it never reads a body: {types:?}");
    let (code, stdout, _) = ran(&["plugin", "inspect", &guest("wants-random")]).await;
    assert!(code == Some(0) && stdout.contains("{ bytes }   needs random"), "{stdout}");
    let (code, stdout, _) = ran(&["plugin", "inspect", &guest("backend")]).await;
    assert!(code == Some(0) && stdout.contains("it can be the [component]"), "{stdout}");
    assert!(stdout.contains("wasi:http/outgoing-handler@0.2.") && !stdout.contains("warning"), "{stdout}");
    let (code, stdout, stderr) = ran(&["plugin", "inspect", "/dev/null"]).await;
    assert!(code == Some(1) && stdout.is_empty() && stderr.contains("WebAssembly"), "{stderr}");
}

#[tokio::test]
async fn the_demo_ends_well() {
    let limit = Duration::from_secs(120);
    let output =
        tokio::time::timeout(limit, command(&["demo", "--once"], &[]).output()).await.unwrap().unwrap();
    let (code, stdout, stderr) = texts(&output);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    for integration in ["GitHubAPI", "WeatherAPI", "StripeAPI", "StorageService"] {
        assert!(stdout.contains(integration), "{stdout}");
    }
}
