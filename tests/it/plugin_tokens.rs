//! Tokens that a plugin obtains by a login of the provider's own, and that the gateway holds.

use crate::support::{
    Answer, Gate, Gateway, Provider, Request, eventually, guest, reply,
    wat::{FETCH_TOKEN, Image, RUNTIME, write_guest, write_trapping},
};
use bascule::app::StartError;
use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use tokio::task::JoinSet;

/// An integration whose plugin logs in; `auth` and `plugin` are further keys of those tables.
fn with_login(url: &str, logins: &str, auth: &str, plugin: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 1
[circuit_breaker]
failures = 1
[auth]
type = "plugin"
{auth}
[endpoints.login]
base_url = "{logins}"
[[plugins]]
source = "{}"
credentials = {{ password = "p&ss=w/rd" }}
grants = ["http:login"]
{plugin}
[operations.get]
path = "/get"
[operations.post]
method = "POST"
path = "/post"
fallback = [{{ default = {{ rung = true }} }}]
fallback_on = ["auth"]
"#,
        guest("session-login")
    )
}

/// A session of that life in minutes, as this odd provider tells it.
fn session(number: usize, minutes: &str) -> Response<Full<Bytes>> {
    let answer = json!({"ok": true, "data": {"sid": format!("s{number}"), "valid_minutes": minutes}});
    reply(200, &[("content-type", "application/json")], answer.to_string())
}

/// Echoes the sessions and bearer tokens of these numbers, and refuses all others.
async fn taking(numbers: &'static [usize]) -> Provider {
    Provider::new(move |request: &Request| {
        let shown =
            [request.header("x-session"), request.header("authorization").trim_start_matches("Bearer ")];
        let known = numbers.iter().any(|number| shown.contains(&format!("s{number}").as_str()));
        reply(if known { 200 } else { 401 }, &[], shown.concat())
    })
    .await
}

async fn get(gateway: &Gateway) -> Answer {
    gateway.call("api", "get", json!({})).await
}

#[tokio::test]
async fn a_signer_puts_in_a_session_that_neither_it_nor_the_caller_sees() {
    let logins = Provider::new(|request| session(request.number, "30")).await;
    let provider = taking(&[1]).await;
    let text = with_login(&provider.url(), &logins.url(), "", "");
    let gateway = Gateway::start(&[("api", &text)]).await;
    for _ in 0..3 {
        assert_eq!(get(&gateway).await.text(), "s1");
    }
    assert_eq!(provider.last().header("authorization"), "", "the signer says where it goes");
    let asked = logins.last();
    assert_eq!((asked.method, asked.target.as_str()), (Method::POST, "/session"));
    assert_eq!(asked.body, "scope=&pass=p%26ss%3Dw%2Frd", "encoded by the host");
    assert_eq!(logins.count(), 1, "it is held");
    // The proxy authenticates alike.
    assert_eq!(gateway.data().get("/proxy/api/get").await.text(), "s1");
    assert_eq!(logins.count(), 1);
}

#[tokio::test]
async fn without_a_signer_the_token_goes_as_a_bearers() {
    let logins = Provider::new(|request| session(request.number, "30")).await;
    let provider = taking(&[1]).await;
    let text =
        with_login(&provider.url(), &logins.url(), "scopes = [\"read\"]", "phases = [\"token-source\"]");
    let gateway = Gateway::start(&[("api", &text)]).await;
    assert_eq!(get(&gateway).await.text(), "s1");
    assert_eq!(provider.last().header("authorization"), "Bearer s1");
    assert_eq!(logins.last().body, "scope=read&pass=p%26ss%3Dw%2Frd");
}

#[tokio::test]
async fn twenty_calls_without_a_token_make_one_login() {
    let gate = Gate::closed();
    let held = gate.clone();
    let logins = Provider::slow(move |request| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            session(request.number, "30")
        }
    })
    .await;
    let provider = taking(&[1]).await;
    let text = with_login(&provider.url(), &logins.url(), "", "limits.wall = \"60s\"");
    let gateway = Arc::new(Gateway::start(&[("api", &text)]).await);
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let gateway = Arc::clone(&gateway);
        calls.spawn(async move { get(&gateway).await.status.as_u16() });
    }
    gateway.reaches("concurrency_in_flight", &[("service", "api")], 20.0).await;
    gate.open();
    assert!(calls.join_all().await.iter().all(|status| *status == 200));
    assert_eq!((logins.count(), provider.count()), (1, 20));
    // They waited for the token, and the time that took is told apart.
    assert_eq!(gateway.metric("deadline_spent_seconds_count", &[("phase", "token")]).await, 20.0);
}

#[tokio::test]
async fn a_refused_token_is_asked_for_anew_once_even_for_what_is_not_safe_to_repeat() {
    let logins = Provider::new(|request| session(request.number, "30")).await;
    let provider = taking(&[2]).await;
    let gateway = Gateway::start(&[("api", &with_login(&provider.url(), &logins.url(), "", ""))]).await;
    let answer = gateway.call("api", "post", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-attempts")), (200, "2"));
    assert_eq!((logins.count(), provider.count()), (2, 2));
    let provider = taking(&[9]).await;
    let gateway = Gateway::start(&[("api", &with_login(&provider.url(), &logins.url(), "", ""))]).await;
    assert_eq!(get(&gateway).await.status, 401, "and then it is the caller's to know");
    assert_eq!(provider.count(), 2);
    assert_eq!(gateway.health("api").await["circuit_state"], "closed");
}

#[tokio::test]
async fn a_token_that_ends_at_once_is_used_once_and_renewed() {
    // No life time at all is believed to be an hour; none of a second or less to be one.
    let logins = Provider::new(|request| session(request.number, "0")).await;
    let provider = taking(&[1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
    let gateway = Gateway::start(&[("api", &with_login(&provider.url(), &logins.url(), "", ""))]).await;
    assert_eq!(get(&gateway).await.text(), "s1");
    eventually("it is renewed", async || get(&gateway).await.text() != "s1").await;
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_ladder_may_answer() {
    let refused = Provider::new(|_| reply(200, &[], r#"{"ok":false,"why":"wrong password"}"#)).await;
    let provider = taking(&[1]).await;
    let gateway = Gateway::start(&[("api", &with_login(&provider.url(), &refused.url(), "", ""))]).await;
    let answer = get(&gateway).await;
    assert_eq!(answer.code(), (502, "upstream-auth".to_owned()));
    let problem = answer.json();
    assert_eq!((&problem["code"], &problem["detail"]), (&json!("login-refused"), &json!("wrong password")));
    let answer = gateway.call("api", "post", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-source")), (200, "default"));
    assert_eq!(provider.count(), 0);
    let labels = [("plugin", "session-login"), ("hook", "token-source"), ("kind", "fault")];
    assert_eq!(gateway.metric("plugin_failures_total", &labels).await, 2.0);
    assert_eq!(gateway.health("api").await["circuit_state"], "closed", "the provider was not asked");
}

/// A token source that answers with this token, whatever the scope.
fn answering(folder: &Path, token: &str) -> String {
    let mut image = Image::new();
    let text = image.text(token);
    // ok({ value, none })
    let answer = image.words(&[0, text[0], text[1], 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let module = format!("{RUNTIME} {} (func {FETCH_TOKEN} (i32.const {answer}))", image.segment());
    write_guest(folder, "answering", "export bascule:plugin/token-source@0.1.0;", &module);
    folder.join("answering.wasm").display().to_string()
}

fn with_source(url: &str, source: &str, auth: &str) -> String {
    format!(
        "base_url = \"{url}\"\n[auth]\n{auth}\n[[plugins]]\nsource = \"{source}\"\n[operations.get]\npath = \"/get\"\n"
    )
}

#[tokio::test]
async fn a_token_of_no_use_or_a_broken_source_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let provider = taking(&[1]).await;
    let gateway_with = async |source: &str| {
        Gateway::start(&[("api", &with_source(&provider.url(), source, "type = \"plugin\""))]).await
    };
    let gateway = gateway_with(&answering(folder.path(), "s1")).await;
    assert_eq!(get(&gateway).await.text(), "s1");
    assert_eq!(provider.count(), 1);
    let gateway = gateway_with(&answering(folder.path(), "two\nlines")).await;
    assert_eq!(get(&gateway).await.code(), (502, "upstream-auth".to_owned()));
    write_trapping(folder.path(), "trapping", "token-source", FETCH_TOKEN);
    let gateway = gateway_with(&folder.path().join("trapping.wasm").display().to_string()).await;
    assert_eq!(get(&gateway).await.code(), (500, "plugin-trapped".to_owned()), "it keeps its own code");
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn what_does_not_fit_the_auth_table_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = answering(folder.path(), "s1");
    let refused =
        async |text: String| match Gateway::try_with(&Gateway::base(""), &[("api", &text)], &[]).await {
            Err(StartError::Configuration(problems)) => {
                let found: Vec<String> =
                    problems.iter().map(|found| format!("{} {}", found.line(), found.message)).collect();
                found.join("\n")
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("this configuration should be refused:\n{text}"),
        };
    let found = refused(with_source("http://127.0.0.1:9", &source, "type = \"none\"")).await;
    assert!(found.starts_with("5 ") && found.contains("`token-source` is only asked where"), "{found}");
    let found =
        refused(with_source("http://127.0.0.1:9", &source, "type = \"plugin\"\nscopes = [\"a\", \"b\"]"))
            .await;
    assert!(
        found.contains("no signer says where the tokens of several scopes go in `get`, `proxy`"),
        "{found}"
    );
    let found = refused(with_source("http://127.0.0.1:9", &guest("loop"), "type = \"plugin\"")).await;
    assert!(found.contains("no plugin exports `signer` or `token-source`"), "{found}");
    let missing = with_login("http://127.0.0.1:9", "http://127.0.0.1:9", "", "").replacen(
        "grants = [\"http:login\"]",
        "",
        1,
    );
    assert!(refused(missing).await.contains("add `grants = [\"http:default\"]`"));
    let undeclared =
        with_login("http://127.0.0.1:9", "http://127.0.0.1:9", "", "").replacen("http:login", "http:logn", 1);
    assert!(refused(undeclared).await.contains("there is no endpoint `logn`"));
}

#[tokio::test]
async fn a_signer_has_the_tokens_of_the_scopes_that_are_named_and_no_others() {
    let logins = Provider::new(|request| session(request.number, "30")).await;
    let provider = taking(&[1, 2]).await;
    // The signer names the empty scope, which is not among these.
    let text = with_login(&provider.url(), &logins.url(), "scopes = [\"read\"]", "");
    let gateway = Gateway::start(&[("api", &text)]).await;
    let answer = get(&gateway).await;
    assert_eq!(answer.code(), (500, "signing-failed".to_owned()));
    assert!(
        answer.json()["detail"].as_str().unwrap().contains("no token for the scope ``"),
        "{}",
        answer.text()
    );
    assert_eq!((provider.count(), logins.count()), (0, 1));
    let problem: Value = answer.json();
    assert!(!problem.to_string().contains("s1"));
}
