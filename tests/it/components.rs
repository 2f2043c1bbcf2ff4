//! Integrations that a component answers: in a server's place, with all that surrounds a server.

use crate::support::{Gateway, Metrics, Provider, guest, reply};
use bascule::app::StartError;
use http::Method;
use serde_json::{Value, json};
use std::fs;

/// An integration that the test component answers.
fn shop(component: &str, more: &str) -> String {
    format!(
        r#"
type = "wasm"
retry = {{ max_attempts = 2, base_delay = "1ms" }}
circuit_breaker = {{ failures = 3 }}
component = {{ source = "{}", grants = ["random"], {component} }}
{more}
"#,
        guest("backend")
    )
}

/// One that goes out to that address with a secret.
fn github(url: &str) -> String {
    format!(
        "base_url = \"{url}/api\"\nretry = {{ max_attempts = 1 }}\ncircuit_breaker = {{ failures = 2 }}\n\
         [auth]\ntype = \"bearer\"\ntoken = \"geheim\"\n"
    )
}

async fn alone(component: &str, more: &str) -> Gateway {
    Gateway::start(&[("shop", &shop(component, more))]).await
}

#[tokio::test]
async fn operations_and_the_proxy_are_answered_by_the_component() {
    let operation = "[operations.show]\npath = \"/echo\"\nquery = { id = \"{id}\" }\nheaders = { x-kind = \"{kind}\" }\n\
                     params.id = {}\nparams.kind = {}\n";
    let gateway = alone("config = { UNIT = \"m\" }", operation).await;
    let answer = gateway.call("shop", "show", json!({ "id": "a b", "kind": "big" })).await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-source")), (200, "upstream"));
    assert_eq!(answer.header("bascule-attempts"), "1");
    let text = answer.text();
    assert!(!text.contains("authorization") && !text.contains("bascule-"), "{text}");
    assert!(text.starts_with("Method::Get /echo?id=a%20b shop.internal\n"), "{text}");
    assert!(text.contains("\nx-kind: big\n") && text.contains("\ntraceparent: 00-"), "{text}");

    let client = gateway.data().header("x-mine", "yes");
    let answer = client.send(Method::PUT, "/proxy/shop/echo?q", "a body").await;
    let text = answer.text();
    assert!(
        text.starts_with("Method::Put /echo?q shop.internal\n") && text.contains("\nx-mine: yes\n"),
        "{text}"
    );
    assert!(text.ends_with("\n\na body"), "{text}");
    assert_eq!(client.get("/proxy/shop/environment").await.text(), "UNIT=m\n");
    assert_eq!(client.send(Method::HEAD, "/proxy/shop/environment", "").await.status, 200);
    assert_eq!(client.get("/proxy/shop/nowhere").await.status, 404);

    let status = gateway.admin().get("/integrations/status").await.json();
    assert_eq!(status["integrations"][0]["type"], "wasm");
}

#[tokio::test]
async fn large_bodies_stream_through_it() {
    let gateway = alone("", "").await;
    let answer = gateway.data().send(Method::POST, "/proxy/shop/echo", vec![b'x'; 3 << 20]).await;
    assert!(answer.text().ends_with(&"x".repeat(3 << 20)));
    assert_eq!(gateway.data().get("/proxy/shop/large?40").await.text().len(), 40 * (64 << 10));
}

#[tokio::test]
async fn its_own_calls_are_those_of_the_proxy() {
    let provider = Provider::new(|request| match request.target.as_str() {
        "/api/down" => reply(500, &[], "no"),
        _ => reply(201, &[("x-of", "provider")], "made"),
    })
    .await;
    let shop = shop("calls = [\"github\"], limits = { side_requests = 5 }", "");
    let gateway = Gateway::start(&[("shop", &shop), ("github", &github(&provider.url()))]).await;
    let ask = async |target: &str| {
        gateway.data().send(Method::POST, &format!("/proxy/shop{target}"), "payload").await
    };

    let answer = ask("/post?http://github.internal/users/x?y=z").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (201, "made"));
    assert_eq!(answer.header("bascule-attempts"), "2", "its own, and the one that it made");
    let sent = provider.last();
    assert_eq!((sent.target.as_str(), sent.header("authorization")), ("/api/users/x?y=z", "Bearer geheim"));
    assert_eq!((sent.header("x-from-guest"), &sent.body[..]), ("yes", &b"payload"[..]));

    // Limits, breaker and problems are the integration's.
    let answer = ask("/calls?http://github.internal/down").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("urn:bascule:problem:circuit-open"), "{}", answer.text());
    let health = gateway.health("github").await;
    assert_eq!(health["circuit_state"], "open");
    assert_eq!(gateway.health("shop").await["circuit_state"], "closed");
    for path in ["/../x", "/%2e%2e/x"] {
        let refused = ask(&format!("/call?http://github.internal{path}")).await;
        assert_eq!(
            (refused.status.as_u16(), refused.text().as_str()),
            (599, "ErrorCode::HttpRequestUriInvalid")
        );
    }
}

#[tokio::test]
async fn what_is_not_granted_is_not_called() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let gateway = Gateway::start(&[("shop", &shop("", "")), ("github", &github(&provider.url()))]).await;
    for url in ["http://github.internal/", &provider.url()] {
        let answer = gateway.data().get(&format!("/proxy/shop/call?{url}")).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (599, "ErrorCode::HttpRequestDenied"));
    }
    assert_eq!(provider.count(), 0);
}

#[tokio::test]
async fn components_that_call_each_other_come_to_an_end() {
    let ping = shop("calls = [\"pong\"]", "");
    let pong = shop("calls = [\"ping\"]", "");
    let gateway = Gateway::start(&[("ping", &ping), ("pong", &pong)]).await;
    let round = "/call?http://pong.internal/call?http://ping.internal";
    let answer = gateway.data().get(&format!("/proxy/ping{}", round.repeat(4))).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (599, "ErrorCode::LoopDetected"));
    assert_eq!(answer.header("bascule-attempts"), "4");
}

#[tokio::test]
async fn its_failures_have_codes_of_their_own_and_are_not_the_integrations() {
    let limits = "limits = { cpu = \"300ms\", wall = \"60s\", memory = \"16MiB\" }";
    let cases = [
        ("trap", 500, "plugin-trapped", "trap"),
        ("loop", 500, "plugin-timeout", "cpu"),
        ("hog", 500, "plugin-out-of-memory", "memory"),
        ("silent", 502, "plugin-failed", "bad-answer"),
    ];
    let gateway = alone(limits, "").await;
    for (path, status, code, kind) in cases {
        let answer = gateway.data().get(&format!("/proxy/shop/{path}")).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (status, code), "{path}");
        assert_eq!(answer.json()["attempts"], 1, "{path} is not repeated");
        let text = answer.text();
        assert!(!text.contains("wasm") && !text.contains("panicked"), "no internals: {text}");
        let labels = [("plugin", "backend"), ("hook", "incoming-handler"), ("kind", kind)];
        gateway.reaches("plugin_failures_total", &labels, 1.0).await;
    }
    let metrics = Metrics::of(&gateway.admin()).await;
    assert_eq!(metrics.value("circuit_breaker_failures_total", &[("service", "shop")]), 0.0);
    assert_eq!(gateway.health("shop").await["circuit_state"], "closed");
}

#[tokio::test]
async fn an_error_in_place_of_an_answer_counts_like_a_providers() {
    let gateway = alone("", "").await;
    let answer = gateway.data().get("/proxy/shop/fault").await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (502, "plugin-failed"));
    assert_eq!(
        (&answer.json()["attempts"], &answer.json()["code"]),
        (&json!(2), &json!("connection-refused"))
    );
    for _ in 0..2 {
        gateway.data().get("/proxy/shop/fault").await;
    }
    assert_eq!(gateway.data().get("/proxy/shop/status?200").await.problem(), "circuit-open");
}

#[tokio::test]
async fn retries_timeouts_ladder_and_cache_work_around_it() {
    let operations = r#"
[operations.slow]
path = "/sleep"
query = { ms = 60000 }
timeout = "100ms"
[operations.broken]
path = "/trap"
fallback = [{ default = { from = "ladder" } }]
[operations.kept]
path = "/environment"
cache = "10m"
"#;
    let gateway = alone("config = { A = 1 }", operations).await;
    let answer = gateway.data().get("/proxy/shop/status?503").await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-attempts")), (503, "2"));
    let answer = gateway.call("shop", "slow", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (504, "upstream-timeout"));
    let answer = gateway.call("shop", "broken", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "from": "ladder" })));
    for source in ["upstream", "cache"] {
        let answer = gateway.call("shop", "kept", json!({})).await;
        assert_eq!((answer.text().as_str(), answer.header("bascule-source")), ("A=1\n", source));
    }
}

#[tokio::test]
async fn one_that_keeps_failing_is_left_alone() {
    let gateway = alone("limits = { breaker = { failures = 2 } }", "").await;
    for _ in 0..2 {
        assert_eq!(gateway.data().get("/proxy/shop/trap").await.problem(), "plugin-trapped");
    }
    let answer = gateway.data().get("/proxy/shop/status?200").await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (503, "plugin-unavailable"));
    assert_eq!(answer.header("retry-after"), "10");
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_caller() {
    let gateway = alone("", "").await;
    let response = gateway.data().begin(Method::GET, "/proxy/shop/late?32", "").await;
    assert_eq!(response.status(), 200);
    let error = http_body_util::BodyExt::collect(response.into_body()).await;
    assert!(error.is_err(), "the caller does not take half of it for all of it");
}

#[tokio::test]
async fn a_reload_takes_up_a_changed_file() {
    let gateway = Gateway::with(&Gateway::base(""), &[], &[]).await;
    let file = gateway.folder().join("shop.wasm");
    let mut octets = fs::read(guest("backend")).unwrap();
    fs::write(&file, &octets).unwrap();
    gateway.rewrite("shop", "type = \"wasm\"\n[component]\nsource = \"shop.wasm\"\ngrants = [\"random\"]\n");
    let reload = async || gateway.admin().send(Method::POST, "/config/reload", "").await.json();
    assert_eq!(reload().await["changed"], json!(["shop"]));
    assert_eq!(reload().await["changed"], json!([]));
    let before: Value = gateway.health("shop").await["plugins"][0]["digest"].take();
    // A custom section: the same code as another file.
    octets.extend_from_slice(b"\0\x05\x04note");
    fs::write(&file, &octets).unwrap();
    assert_eq!(reload().await["changed"], json!(["shop"]));
    assert_ne!(gateway.health("shop").await["plugins"][0]["digest"], before);
    assert_eq!(gateway.data().get("/proxy/shop/status?200").await.status, 200);
}

#[tokio::test]
async fn a_file_that_is_no_backend_is_refused_with_a_word_on_what_it_is() {
    let refused = async |text: &str| match Gateway::try_with(&Gateway::base(""), &[("shop", text)], &[]).await
    {
        Err(StartError::Configuration(problems)) => problems.render_human(false),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it is not refused"),
    };
    let plugin = format!("type = \"wasm\"\ncomponent = {{ source = \"{}\" }}\n", guest("pass"));
    assert!(refused(&plugin).await.contains("does not export `wasi:http/incoming-handler@0.2`"));
    let backend =
        format!("base_url = \"http://127.0.0.1:1\"\nplugins = [{{ source = \"{}\" }}]\n", guest("backend"));
    assert!(refused(&backend).await.contains("type = \"wasm\""));
}

#[tokio::test]
async fn the_example_makes_one_answer_of_two() {
    let provider = Provider::new(|request| match request.target.as_str() {
        "/current?city=Oslo" => reply(200, &[], r#"{"temp":3}"#),
        "/index?city=Oslo" => reply(200, &[], "17"),
        _ => reply(500, &[], ""),
    })
    .await;
    let report = format!(
        "type = \"wasm\"\n[retry]\nbase_delay = \"1ms\"\n[component]\nsource = \"{}\"\ncalls = [\"weather\", \"air\"]\n\
         [operations.report]\npath = \"/report\"\nquery = {{ city = \"{{city}}\" }}\nparams.city = {{ required = true }}\n",
        guest("report")
    );
    let other = format!("base_url = \"{}\"\nretry = {{ max_attempts = 1 }}\n", provider.url());
    let gateway = Gateway::start(&[("reports", &report), ("weather", &other), ("air", &other)]).await;
    let answer = gateway.call("reports", "report", json!({ "city": "Oslo" })).await;
    assert_eq!(answer.json(), json!({ "weather": { "temp": 3 }, "air": 17 }));
    let answer = gateway.call("reports", "report", json!({ "city": "Rome" })).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (502, &json!("destination-unavailable")));
}
