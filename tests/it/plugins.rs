//! Plugins in the gateway: phases, grants, narrowing, pins, answers of their own.

use crate::support::{
    Answer, Gateway, Provider, guest, reply,
    wat::{Image, MAP_REQUEST, RUNTIME, write_guest},
};
use bascule::{app::StartError, config::Diagnostic};
use bascule_plugin_host::PluginHost;
use serde_json::json;

/// An integration with one operation `get` and one `put`, and what the plugin tables say.
fn with(url: &str, plugins: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 3
base_delay = "1ms"
{plugins}
[operations.get]
path = "/things/{{id}}"
[operations.put]
method = "PUT"
path = "/things/{{id}}"
params.size = {{ type = "integer" }}
"#
    )
}

fn plugin(name: &str, more: &str) -> String {
    format!("[[plugins]]\nsource = \"{}\"\n{more}\n", guest(name))
}

async fn json_provider() -> Provider {
    Provider::new(|_| reply(200, &[("content-type", "application/json")], r#"{"n":1}"#)).await
}

/// What a refused configuration says.
async fn problems(plugins: &str) -> Vec<Diagnostic> {
    let text = with("http://127.0.0.1:9", plugins);
    match Gateway::try_with(&Gateway::base(""), &[("shop", &text)], &[]).await {
        Err(StartError::Configuration(problems)) => problems.iter().cloned().collect(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("this configuration should be refused:\n{text}"),
    }
}

async fn get(gateway: &Gateway) -> Answer {
    let answer = gateway.call("shop", "get", json!({"id": "7"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

#[tokio::test]
async fn mappers_and_signer_work_on_a_call() {
    let provider = json_provider().await;
    let gateway = Gateway::start(&[("shop", &with(&provider.url(), &plugin("echo", "")))]).await;
    let answer = get(&gateway).await;
    assert_eq!(answer.json(), json!({"operation": "get", "echo": {"n": 1}}), "the carry came back");
    assert_eq!(answer.header("bascule-source"), "upstream");
    assert_eq!(answer.header("content-type"), "application/json");
    let seen = provider.last();
    assert_eq!((seen.header("x-echo"), seen.header("x-signed")), ("1", "1"));
    assert_eq!(seen.target, "/things/7");
}

#[tokio::test]
async fn the_signer_signs_every_attempt_anew() {
    let provider = Provider::new(|request| match request.number {
        1 | 2 => reply(503, &[], ""),
        _ => reply(200, &[], "\"x\""),
    })
    .await;
    let gateway = Gateway::start(&[("shop", &with(&provider.url(), &plugin("echo", "")))]).await;
    let answer = get(&gateway).await;
    assert_eq!(answer.header("bascule-attempts"), "3");
    let signed: Vec<String> =
        provider.seen().iter().map(|request| request.header("x-signed").to_owned()).collect();
    assert_eq!(signed, ["1", "2", "3"]);
    // The request mapper ran once; every attempt has what it made.
    assert!(provider.seen().iter().all(|request| request.headers.get_all("x-echo").iter().count() == 1));
}

#[tokio::test]
async fn a_missing_grant_is_refused_with_the_line_to_add() {
    let found = problems(&plugin("wants-random", "")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("bascule:plugin/random"), "{}", found[0].message);
    assert!(found[0].message.contains("grants = [\"random\"]"), "{}", found[0].message);
    assert_eq!((found[0].line(), found[0].key.as_str()), (7, "plugins[0].source"));
    assert!(found[0].file.ends_with("integrations/shop.toml"));
}

#[tokio::test]
async fn a_granted_plugin_gets_what_it_asked_for() {
    let provider = json_provider().await;
    let text = with(&provider.url(), &plugin("wants-random", "grants = [\"random\"]"));
    let gateway = Gateway::start(&[("shop", &text)]).await;
    get(&gateway).await;
    get(&gateway).await;
    let seen: Vec<String> =
        provider.seen().iter().map(|request| request.header("x-random").to_owned()).collect();
    assert!(seen.iter().all(|text| text.len() == 16 && text.bytes().all(|c| c.is_ascii_hexdigit())));
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn phases_narrow_what_a_plugin_takes_part_in() {
    let provider = json_provider().await;
    let text = with(&provider.url(), &plugin("echo", "phases = [\"signer\"]"));
    let gateway = Gateway::start(&[("shop", &text)]).await;
    assert_eq!(get(&gateway).await.json(), json!({"n": 1}));
    let seen = provider.last();
    assert_eq!((seen.header("x-echo"), seen.header("x-signed")), ("", "1"));
}

#[tokio::test]
async fn phases_that_do_not_exist_or_are_not_exported_are_refused() {
    let found = problems(&plugin("echo", "phases = [\"sign\"]")).await;
    assert!(found.iter().any(|one| one.message.contains("`sign`")), "{found:?}");
    let found = problems(&plugin("echo", "phases = [\"classifier\"]")).await;
    assert!(found[0].message.contains("`classifier`"), "{found:?}");
    assert!(found[0].message.contains("request-mapper, signer, response-mapper"), "{found:?}");
}

#[tokio::test]
async fn operations_narrow_where_a_plugin_applies() {
    let provider = json_provider().await;
    let text = with(&provider.url(), &plugin("echo", "operations = [\"put\"]"));
    let gateway = Gateway::start(&[("shop", &text)]).await;
    assert_eq!(get(&gateway).await.json(), json!({"n": 1}));
    assert_eq!(provider.last().header("x-signed"), "");
    let answer = gateway.call("shop", "put", json!({"id": "7", "size": 3})).await;
    assert_eq!(answer.json(), json!({"operation": "put", "echo": {"n": 1}}));
    assert_eq!((provider.last().header("x-signed"), &*provider.last().body), ("1", &br#"{"size":3}"#[..]));
    let found = problems(&plugin("echo", "operations = [\"gett\"]")).await;
    assert!(found[0].message.contains("`gett`"), "{found:?}");
}

#[tokio::test]
async fn two_plugins_for_one_phase_are_refused() {
    let both = plugin("echo", "phases = [\"signer\"]") + &plugin("echo", "phases = [\"signer\"]");
    let found = problems(&both).await;
    assert!(!found.is_empty());
    assert!(found.iter().any(|one| one.message.contains("`signer` for `get`")), "{found:?}");
    assert!(found.iter().all(|one| !one.help.is_empty() && one.line() == 10), "the second one: {found:?}");
    // Each phase once, or each operation once, is no conflict.
    let provider = json_provider().await;
    let apart = plugin("echo", "phases = [\"signer\"]\noperations = [\"get\"]")
        + &plugin("echo", "phases = [\"signer\"]\noperations = [\"put\"]")
        + &plugin("wants-random", "grants = [\"random\"]");
    let gateway = Gateway::start(&[("shop", &with(&provider.url(), &apart))]).await;
    get(&gateway).await;
    assert_eq!(provider.last().header("x-signed"), "1");
    assert_eq!(provider.last().header("x-random").len(), 16);
}

#[tokio::test]
async fn response_mappers_run_in_file_order() {
    let provider = json_provider().await;
    let both = plugin("echo", "") + &plugin("echo", "phases = [\"response-mapper\"]");
    let gateway = Gateway::start(&[("shop", &with(&provider.url(), &both))]).await;
    let answer = get(&gateway).await;
    assert_eq!(
        answer.json(),
        json!({"operation": "get", "echo": {"operation": "get", "echo": {"n": 1}}}),
        "the second works on what the first made"
    );
}

#[tokio::test]
async fn builtin_names_that_are_none_are_answered_with_those_that_are() {
    let found = problems("[[plugins]]\nsource = \"builtin:nothing\"\n").await;
    assert_eq!(found.len(), 1);
    for name in ["nothing", "aws-sigv4", "github", "openweather"] {
        assert!(found[0].message.contains(name), "{}", found[0].message);
    }
    let found = problems("[[plugins]]\nsource = \"no-such-file.wasm\"\n").await;
    assert!(found[0].message.contains("no-such-file.wasm"), "{found:?}");
}

#[tokio::test]
async fn a_pin_admits_one_content_only() {
    let digest = PluginHost::digest_of(&std::fs::read(guest("echo")).unwrap());
    let provider = json_provider().await;
    let text = with(&provider.url(), &plugin("echo", &format!("sha256 = \"{digest}\"")));
    let gateway = Gateway::start(&[("shop", &text)]).await;
    get(&gateway).await;
    let health = gateway.admin().get("/integrations/shop/health").await.json();
    assert_eq!(health["plugins"][0]["digest"], digest);
    let wrong = format!("{}0", &digest[..63]);
    let wrong = if wrong == digest { format!("{}1", &digest[..63]) } else { wrong };
    let found = problems(&plugin("echo", &format!("sha256 = \"{wrong}\""))).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains(&digest) && found[0].message.contains(&wrong), "{found:?}");
    let found = problems(&plugin("echo", "sha256 = \"abc\"")).await;
    assert!(found[0].help.contains("64 hexadecimal digits"), "{found:?}");
}

#[tokio::test]
async fn through_the_proxy_only_signer_and_classifier_run() {
    let provider = json_provider().await;
    let gateway = Gateway::start(&[("shop", &with(&provider.url(), &plugin("echo", "")))]).await;
    let answer = gateway.data().get("/proxy/shop/things/7?a=1").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, r#"{"n":1}"#));
    let seen = provider.last();
    assert_eq!(
        (seen.target.as_str(), seen.header("x-echo"), seen.header("x-signed")),
        ("/things/7?a=1", "", "1")
    );
}

#[tokio::test]
async fn a_plugin_that_names_the_proxy_maps_there_too() {
    let provider = json_provider().await;
    let text = with(&provider.url(), &plugin("echo", "operations = [\"proxy\"]"));
    let gateway = Gateway::start(&[("shop", &text)]).await;
    let answer = gateway.data().get("/proxy/shop/things/7").await;
    assert_eq!(answer.json(), json!({"operation": "proxy", "echo": {"n": 1}}));
    assert_eq!(get(&gateway).await.json(), json!({"n": 1}));
}

/// A request mapper that answers by itself: 203, a header, a body.
fn answering(folder: &std::path::Path) {
    let mut image = Image::new();
    let body = image.text(r#"{"from":"plugin"}"#);
    let headers = image.headers(&[
        ("Content-Type", "application/json"),
        ("Connection", "close"),
        ("bascule-source", "me"),
    ]);
    // ok(answer({ status, headers, some(body) })); the body's handle is put in when the guest runs.
    let answer = image.words(&[0, 1, 203, headers[0], headers[1], 1, 0]);
    let module = format!(
        r#"
  (import "bascule:plugin/types@0.1.0" "[constructor]body" (func $body (param i32 i32) (result i32)))
  (import "bascule:plugin/types@0.1.0" "[resource-drop]body" (func $drop (param i32)))
  {RUNTIME} {}
  (func {MAP_REQUEST}
    (call $drop (local.get 12))
    (i32.store (i32.const {}) (call $body (i32.const {}) (i32.const {})))
    (i32.const {answer}))"#,
        image.segment(),
        answer + 24,
        body[0],
        body[1]
    );
    let world = "import bascule:plugin/types@0.1.0; export bascule:plugin/request-mapper@0.1.0;";
    write_guest(folder, "answering", world, &module);
}

#[tokio::test]
async fn a_mapper_may_answer_without_the_provider() {
    let provider = json_provider().await;
    let folder = tempfile::tempdir().unwrap();
    answering(folder.path());
    let source = folder.path().join("answering.wasm");
    let text = with(&provider.url(), &format!("[[plugins]]\nsource = \"{}\"\n", source.display()));
    let gateway = Gateway::start(&[("shop", &text)]).await;
    let answer = gateway.call("shop", "get", json!({"id": "7"})).await;
    assert_eq!(answer.status, 203, "{}", answer.text());
    assert_eq!(answer.json(), json!({"from": "plugin"}));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("bascule-source"), "plugin", "a plugin cannot say where an answer is from");
    assert_eq!(answer.header("bascule-attempts"), "0");
    assert_eq!(provider.count(), 0);
}
