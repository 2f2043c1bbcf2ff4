//! Who may call, and with what credentials the gateway calls providers.

use crate::support::{Answer, Gate, Gateway, Provider, eventually, reply};
use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use serde_json::json;
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const KEYED: &str = r#"
[server]
listen = "127.0.0.1:0"
auth.api_keys = [
    { name = "all", key = "key-all" },
    { name = "some", key = "key-some", allow = ["api.get", "other.*"] },
]
[admin]
listen = "127.0.0.1:0"
[telemetry]
completion_log = false
"#;

fn config(url: &str, auth: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 1
[operations.get]
path = "/get"
[operations.list]
path = "/list"
[operations.post]
method = "POST"
path = "/post"
[auth]
{auth}
"#
    )
}

fn oauth2(tokens: &Provider) -> String {
    format!(
        "type = \"oauth2\"\ntoken_url = \"{}/token\"\nclient_id = \"me\"\nclient_secret = \"s3cret\"\n\
         scopes = [\"a\", \"b\"]\naudience = \"them\"",
        tokens.url()
    )
}

fn granted(number: usize, life: u64) -> Response<Full<Bytes>> {
    let token = json!({"access_token": format!("t{number}"), "token_type": "Bearer", "expires_in": life});
    reply(200, &[("content-type", "application/json")], token.to_string())
}

/// Takes the tokens of these numbers.
async fn taking(numbers: &'static [usize]) -> Provider {
    Provider::new(move |request| {
        let known =
            numbers.iter().any(|number| request.header("authorization") == format!("Bearer t{number}"));
        reply(if known { 200 } else { 401 }, &[], request.header("authorization").to_owned())
    })
    .await
}

async fn get(gateway: &Gateway) -> Answer {
    gateway.call("api", "get", json!({})).await
}

#[tokio::test]
async fn callers_show_a_key_in_either_header() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let config = config(&provider.url(), "type = \"none\"");
    let gateway = Gateway::with(KEYED, &[("api", &config)], &[]).await;
    for (name, value, status) in [
        ("authorization", "Bearer key-all", 200),
        ("authorization", "bearer key-all", 200),
        ("x-api-key", "key-all", 200),
        ("authorization", "Bearer key-al", 401),
        ("authorization", "Bearer", 401),
        ("authorization", "Basic key-all", 401),
        ("x-api-key", "", 401),
        ("x-api-key", "nope", 401),
        ("x-other", "key-all", 401),
    ] {
        let answer = gateway.data().header(name, value).get("/v1/api/get").await;
        assert_eq!(answer.status, status, "{name}: {value}");
        if status == 401 {
            assert_eq!(answer.problem(), "unauthenticated");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
    }
    // What exists is nobody's business without a key; the health resources are everybody's.
    assert_eq!(gateway.data().get("/v1/nope/nope").await.status, 401);
    assert_eq!(gateway.data().get("/proxy/api/x").await.status, 401);
    assert_eq!(gateway.data().get("/livez").await.status, 200);
    assert_eq!(provider.count(), 3);
}

#[tokio::test]
async fn keys_open_what_their_patterns_allow() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let config = config(&provider.url(), "type = \"none\"");
    let gateway = Gateway::with(KEYED, &[("api", &config), ("other", &config)], &[]).await;
    let client = gateway.data().header("x-api-key", "key-some");
    for (path, status) in [
        ("/v1/api/get", 200),
        ("/v1/api/list", 403),
        ("/proxy/api/get", 403),
        ("/v1/other/list", 200),
        ("/proxy/other/anything", 200),
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        if status == 403 {
            assert_eq!(answer.problem(), "forbidden");
        }
    }
    // With keys, nobody may skip anything unless the configuration says so.
    let skipping = gateway.data().header("x-api-key", "key-all").header("bascule-skip", "cache");
    assert_eq!(skipping.get("/v1/api/get").await.code(), (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn the_key_that_was_used_stays_with_the_gateway() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let config = config(&provider.url(), "type = \"none\"");
    let gateway = Gateway::with(KEYED, &[("api", &config)], &[]).await;
    let calls = [
        vec![("x-api-key", "key-all")],
        vec![("authorization", "Bearer key-all")],
        vec![("authorization", "Bearer key-all"), ("x-api-key", "key-all")],
    ];
    for headers in calls {
        let client = headers.iter().fold(gateway.data(), |client, (name, value)| client.header(name, value));
        assert_eq!(client.get("/proxy/api/x").await.status, 200);
        let seen = provider.last();
        for (name, value) in &seen.headers {
            assert!(!value.to_str().unwrap_or_default().contains("key-all"), "{headers:?}: {name}");
        }
    }
    // The other header is the caller's own affair.
    let client = gateway.data().header("x-api-key", "key-all").header("authorization", "Bearer theirs");
    assert_eq!(client.get("/proxy/api/x").await.status, 200);
    assert_eq!(provider.last().header("authorization"), "Bearer theirs");
}

#[tokio::test]
async fn fixed_credentials_go_with_every_request() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    for (auth, header, value) in [
        ("type = \"bearer\"\ntoken = \"tok\"", "authorization", "Bearer tok"),
        (
            "type = \"basic\"\nusername = \"user\"\npassword = \"pass:word\"",
            "authorization",
            "Basic dXNlcjpwYXNzOndvcmQ=",
        ),
        ("type = \"api_key\"\nkey = \"k\"", "x-api-key", "k"),
        ("type = \"api_key\"\nkey = \"k\"\nin = \"header\"\nname = \"X-Auth\"", "x-auth", "k"),
    ] {
        let gateway = Gateway::start(&[("api", &config(&provider.url(), auth))]).await;
        assert_eq!(get(&gateway).await.status, 200);
        assert_eq!(provider.last().header(header), value);
        assert_eq!(gateway.data().get("/proxy/api/x").await.status, 200);
        assert_eq!(provider.last().header(header), value);
    }
}

#[tokio::test]
async fn a_key_in_the_query_is_sent_and_never_shown() {
    let provider = Provider::new(|_| reply(503, &[], "")).await;
    let auth = "type = \"api_key\"\nin = \"query\"\nname = \"appid\"\nkey = \"qu&ry key\"";
    let gateway = Gateway::start(&[("api", &config(&provider.url(), auth))]).await;
    let answer = get(&gateway).await;
    assert_eq!(provider.last().target, "/get?appid=qu%26ry%20key");
    gateway.data().get("/proxy/api/x?a=1").await;
    assert_eq!(provider.last().target, "/x?a=1&appid=qu%26ry%20key");
    let health = gateway.health("api").await;
    assert!(health["last_error"].is_string());
    for text in [health.to_string(), format!("{answer:?}"), gateway.admin().get("/metrics").await.text()] {
        assert!(!text.contains("qu&ry") && !text.contains("qu%26ry"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_calls_without_a_token_make_one_token_request() {
    let gate = Gate::closed();
    let held = gate.clone();
    let tokens = Provider::slow(move |request| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            granted(request.number, 3600)
        }
    })
    .await;
    let provider = taking(&[1]).await;
    let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), &oauth2(&tokens)))]).await);
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let gateway = Arc::clone(&gateway);
        calls.spawn(async move { get(&gateway).await });
    }
    eventually("all calls are under way", async || gateway.health("api").await["in_flight"] == 20).await;
    gate.open();
    assert!(calls.join_all().await.iter().all(|answer| answer.status == 200));
    assert_eq!((tokens.count(), provider.count()), (1, 20));
    let asked = tokens.last();
    assert_eq!((asked.method, asked.target.as_str()), (Method::POST, "/token"));
    let form: HashSet<&str> = std::str::from_utf8(&asked.body).unwrap().split('&').collect();
    let expected = [
        "grant_type=client_credentials",
        "client_id=me",
        "client_secret=s3cret",
        "scope=a+b",
        "audience=them",
    ];
    assert_eq!(form, HashSet::from(expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_calls_with_a_revoked_token_renew_it_once() {
    let tokens = Provider::new(|request| granted(request.number, 3600)).await;
    let provider = taking(&[2]).await;
    let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), &oauth2(&tokens)))]).await);
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let gateway = Arc::clone(&gateway);
        calls.spawn(async move { get(&gateway).await });
    }
    for answer in calls.join_all().await {
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "Bearer t2"));
    }
    assert_eq!(tokens.count(), 2);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_even_for_what_is_not_safe_to_repeat() {
    let tokens = Provider::new(|request| granted(request.number, 3600)).await;
    let provider = taking(&[2]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), &oauth2(&tokens)))]).await;
    let answer = gateway.call("api", "post", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-attempts")), (200, "2"));
    // A provider that takes none at all is asked twice, no more, and has the last word.
    let provider = taking(&[]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), &oauth2(&tokens)))]).await;
    let answer = gateway.call("api", "post", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-attempts")), (401, "2"));
    assert_eq!(gateway.health("api").await["circuit_state"], "closed");
}

#[tokio::test]
async fn a_401_without_a_renewable_token_passes_through() {
    let provider = taking(&[]).await;
    let gateway =
        Gateway::start(&[("api", &config(&provider.url(), "type = \"bearer\"\ntoken = \"x\""))]).await;
    let answer = get(&gateway).await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-attempts")), (401, "1"));
}

#[tokio::test]
async fn a_token_is_renewed_early_and_behind_the_callers_backs() {
    let gate = Gate::closed();
    let held = gate.clone();
    let tokens = Provider::slow(move |request| {
        let gate = held.clone();
        async move {
            if request.number > 1 {
                gate.pass().await;
            }
            // A long life once it is renewed.
            granted(request.number, if request.number == 1 { 5 } else { 3600 })
        }
    })
    .await;
    let provider = taking(&[1, 2]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), &oauth2(&tokens)))]).await;
    let begun = Instant::now();
    assert_eq!(get(&gateway).await.text(), "Bearer t1");
    eventually("the renewal begins", async || {
        let used = get(&gateway).await.text();
        // Until its real end the old one serves while the new one is on its way.
        assert!(used == "Bearer t1" || begun.elapsed() >= Duration::from_secs(5), "{used}");
        tokens.count() == 2
    })
    .await;
    assert!(begun.elapsed() >= Duration::from_millis(3900), "{:?}", begun.elapsed());
    gate.open();
    eventually("the new token is used", async || get(&gateway).await.text() == "Bearer t2").await;
    assert_eq!(tokens.count(), 2);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let provider = taking(&[1]).await;
    for (status, body) in [
        (500, "boom"),
        (400, "{\"error\":\"invalid_client\",\"error_description\":\"s3cret is wrong\"}"),
        (200, "no json"),
        (200, "{\"access_token\":\"\"}"),
        (302, ""),
    ] {
        let tokens = Provider::new(move |_| reply(status, &[("location", "/elsewhere")], body)).await;
        let gateway = Gateway::start(&[("api", &config(&provider.url(), &oauth2(&tokens)))]).await;
        let answer = get(&gateway).await;
        assert_eq!(answer.code(), (502, "upstream-auth".to_owned()), "{status} {body}");
        assert_eq!(answer.header("bascule-attempts"), "0");
        assert!(!answer.text().contains("s3cret") && !answer.text().contains("127.0.0.1"));
        assert!(!gateway.health("api").await.to_string().contains("s3cret"));
    }
    assert_eq!(provider.count(), 0);
}

#[tokio::test]
async fn a_slow_token_endpoint_is_not_hedged() {
    let tokens = Provider::slow(|request| async move {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        granted(request.number, 3600)
    })
    .await;
    let provider = taking(&[1]).await;
    let text = format!("hedge = {{ after = \"1s\" }}\n{}", config(&provider.url(), &oauth2(&tokens)));
    let gateway = Gateway::start(&[("api", &text)]).await;
    let answer = get(&gateway).await;
    assert_eq!((answer.text().as_str(), answer.header("bascule-attempts")), ("Bearer t1", "1"));
    assert_eq!((tokens.count(), provider.count()), (1, 1));
    gateway.reaches("integration_request_duration_seconds_count", &[("endpoint", "get")], 1.0).await;
    let spent = async |phase| {
        gateway.metric("deadline_spent_seconds_sum", &[("endpoint", "get"), ("phase", phase)]).await
    };
    assert!(spent("token").await >= 1.4, "{}", spent("token").await);
    assert_eq!(spent("hedge").await, 0.0);
}

#[tokio::test]
async fn waiting_for_a_token_is_within_the_calls_time() {
    let tokens = Provider::slow(|_| std::future::pending()).await;
    let provider = taking(&[1]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), &oauth2(&tokens)))]).await;
    let begun = Instant::now();
    let answer = gateway.data().header("bascule-timeout", "300ms").get("/v1/api/get").await;
    assert_eq!(answer.code(), (504, "upstream-timeout".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(provider.count(), 0);
}
