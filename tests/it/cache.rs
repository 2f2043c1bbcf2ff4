//! The response cache: what is kept, under which key, for how long, and who shares a fetch.

use crate::support::{Answer, Gate, Gateway, Provider, eventually, reply};
use http::Method;
use serde_json::json;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{net::TcpStream, task::JoinSet};

fn config(url: &str, rule: &str) -> String {
    format!(
        r#"
base_url = "{url}"
forward_headers = ["X-Tenant"]
[retry]
max_attempts = 1
[circuit_breaker]
mode = "off"
[operations.get]
path = "/things/{{id}}"
query = {{ lang = "{{lang}}" }}
params.lang = {{ type = "string" }}
cache = {rule}
[operations.twin]
path = "/things/{{id}}"
cache = {rule}
[operations.plain]
path = "/things/{{id}}"
[operations.change]
method = "PUT"
path = "/things/{{id}}"
cache = {{ purges = ["get"] }}
"#
    )
}

/// Answers with the number of the request.
async fn counting() -> Provider {
    Provider::new(|request| reply(200, &[("x-kind", "thing")], request.number.to_string())).await
}

async fn get(gateway: &Gateway, id: &str) -> Answer {
    gateway.call("api", "get", json!({ "id": id })).await
}

fn sourced(answer: &Answer) -> (String, &str) {
    (answer.text(), answer.header("bascule-source"))
}

async fn lookups(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric("cache_requests_total", &[("service", "api"), ("result", result)]).await
}

#[tokio::test]
async fn the_second_call_is_answered_from_the_cache() {
    let provider = counting().await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "\"1h\""))]).await;
    let miss = get(&gateway, "1").await;
    assert_eq!(sourced(&miss), ("1".into(), "upstream"));
    assert_eq!(miss.header("cache-status"), "bascule; fwd=miss; stored");
    assert_eq!((miss.header("bascule-attempts"), miss.header("age")), ("1", ""));
    let hit = get(&gateway, "1").await;
    assert_eq!(sourced(&hit), ("1".into(), "cache"));
    let left: i64 = hit.header("cache-status").strip_prefix("bascule; hit; ttl=").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    assert_eq!(hit.header("bascule-attempts"), "0");
    assert!(hit.header("age").parse::<u64>().unwrap() < 60);
    assert_eq!((hit.status.as_u16(), hit.header("x-kind")), (200, "thing"));
    assert_eq!(provider.count(), 1);
    assert_eq!((lookups(&gateway, "miss").await, lookups(&gateway, "hit").await), (1.0, 1.0));
}

#[tokio::test]
async fn whatever_makes_a_difference_upstream_makes_another_key() {
    let provider = counting().await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "\"1h\""))]).await;
    let client = gateway.data();
    let tenant = |name: &str| client.clone().header("x-tenant", name);
    let calls = [
        client.post("/v1/api/get", &json!({"id": "1"})).await,
        client.post("/v1/api/get", &json!({"id": "2"})).await,
        client.post("/v1/api/get", &json!({"id": "1", "lang": "de"})).await,
        client.post("/v1/api/get", &json!({"id": "1", "lang": ""})).await,
        tenant("a").post("/v1/api/get", &json!({"id": "1"})).await,
        tenant("b").post("/v1/api/get", &json!({"id": "1"})).await,
        client.post("/v1/api/twin", &json!({"id": "1"})).await,
    ];
    let bodies: HashSet<String> = calls.iter().map(Answer::text).collect();
    assert_eq!((bodies.len(), provider.count()), (7, 7));
    assert_eq!(provider.seen()[4].header("x-tenant"), "a");
}

#[tokio::test]
async fn how_parameters_are_written_makes_none() {
    let provider = counting().await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "\"1h\""))]).await;
    let client = gateway.data().header("content-type", "application/json");
    for body in [r#"{"id":"1","lang":"de"}"#, r#"{ "lang" : "\u0064e", "id" : "1" }"#] {
        assert_eq!(client.send(Method::POST, "/v1/api/get", body).await.text(), "1");
    }
    for path in ["/v1/api/get?id=1&lang=de", "/v1/api/get?lang=d%65&id=1"] {
        assert_eq!(client.get(path).await.text(), "1");
    }
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn an_entry_ends_with_its_time() {
    let provider = counting().await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "\"100ms\""))]).await;
    assert_eq!(get(&gateway, "1").await.text(), "1");
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(sourced(&get(&gateway, "1").await), ("2".into(), "upstream"));
}

#[tokio::test]
async fn only_successes_are_kept_unless_negative_answers_have_a_time_too() {
    for (status, rule, requests) in [
        (404, "\"1h\"", 2),
        (500, "\"1h\"", 2),
        (404, "{ ttl = \"1h\", negative_ttl = \"1h\" }", 1),
        (410, "{ ttl = \"1h\", negative_ttl = \"1h\" }", 1),
        (403, "{ ttl = \"1h\", negative_ttl = \"1h\" }", 2),
        (500, "{ ttl = \"1h\", negative_ttl = \"1h\" }", 2),
    ] {
        let provider = Provider::new(move |_| reply(status, &[("x-kind", "gone")], "nothing here")).await;
        let gateway = Gateway::start(&[("api", &config(&provider.url(), rule))]).await;
        for _ in 0..2 {
            let answer = get(&gateway, "1").await;
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (status, "nothing here"));
            assert_eq!(answer.header("x-kind"), "gone");
        }
        assert_eq!(provider.count(), requests, "{status} {rule}");
        if requests == 1 {
            let again = get(&gateway, "1").await;
            assert_eq!(again.header("bascule-source"), "cache");
            assert!(again.header("cache-status").starts_with("bascule; hit; ttl="));
            assert!(!again.header("age").is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stale_entry_is_answered_while_one_call_refreshes_it() {
    let gate = Gate::closed();
    let held = gate.clone();
    let provider = Provider::slow(move |request| {
        let gate = held.clone();
        async move {
            if request.number > 1 {
                gate.pass().await;
            }
            reply(200, &[], request.number.to_string())
        }
    })
    .await;
    let rule = "{ ttl = \"100ms\", stale_while_revalidate = \"1h\" }";
    let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), rule))]).await);
    assert_eq!(get(&gateway, "1").await.text(), "1");
    tokio::time::sleep(Duration::from_millis(150)).await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let gateway = Arc::clone(&gateway);
        calls.spawn(async move { get(&gateway, "1").await });
    }
    while let Some(answer) = calls.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(sourced(&answer), ("1".into(), "stale"));
        assert!(answer.header("cache-status").starts_with("bascule; hit; ttl=-"));
        assert_eq!(answer.header("bascule-attempts"), "0");
        assert!(!answer.header("age").is_empty());
    }
    eventually("it is refreshed", async || provider.count() == 2).await;
    gate.admit(1);
    eventually("the new answer is there", async || get(&gateway, "1").await.text() != "1").await;
    assert_eq!(lookups(&gateway, "miss").await, 1.0);
}

#[tokio::test]
async fn an_operator_purges_an_operation_or_all_of_an_integration() {
    let provider = counting().await;
    let config = config(&provider.url(), "\"1h\"");
    let gateway = Gateway::start(&[("api", &config), ("other", &config)]).await;
    let all = async || {
        let mut sources = String::new();
        for (integration, operation) in [("api", "get"), ("api", "twin"), ("other", "get")] {
            let answer = gateway.call(integration, operation, json!({"id": "1"})).await;
            sources.push_str(if answer.header("bascule-source") == "cache" { "hit " } else { "miss " });
        }
        sources
    };
    let purge = async |path| {
        let answer = gateway.admin().send(Method::DELETE, path, "").await;
        assert_eq!(answer.status, 204);
    };
    assert_eq!(all().await, "miss miss miss ");
    purge("/integrations/api/cache?operation=get").await;
    assert_eq!(all().await, "miss hit hit ");
    purge("/integrations/api/cache").await;
    assert_eq!(all().await, "miss miss hit ");
    assert_eq!(all().await, "hit hit hit ");
}

#[tokio::test]
async fn a_change_purges_what_it_makes_obsolete_once_it_succeeds() {
    let provider = Provider::new(|request| {
        let refused = request.method == Method::PUT && request.number == 3;
        reply(if refused { 409 } else { 200 }, &[], request.number.to_string())
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "\"1h\""))]).await;
    let change = async || gateway.call("api", "change", json!({"id": "1"})).await.status.as_u16();
    let twin = async || gateway.call("api", "twin", json!({"id": "1"})).await.text();
    assert_eq!((get(&gateway, "1").await.text(), twin().await), ("1".into(), "2".into()));
    assert_eq!(change().await, 409);
    assert_eq!(get(&gateway, "1").await.text(), "1");
    assert_eq!(change().await, 200);
    assert_eq!((get(&gateway, "1").await.text(), twin().await), ("5".into(), "2".into()));
}

#[tokio::test]
async fn an_answer_with_a_cookie_is_for_its_caller_alone() {
    for (status, rule) in [(200, "\"1h\""), (404, "{ ttl = \"1h\", negative_ttl = \"1h\" }"), (500, "\"1h\"")]
    {
        let gate = Gate::closed();
        let held = gate.clone();
        let provider = Provider::slow(move |request| {
            let gate = held.clone();
            async move {
                gate.pass().await;
                let cookie = format!("session={}", request.number);
                reply(status, &[("set-cookie", cookie.as_str())], "")
            }
        })
        .await;
        let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), rule))]).await);
        let mut calls = JoinSet::new();
        for _ in 0..10 {
            let gateway = Arc::clone(&gateway);
            calls.spawn(async move { get(&gateway, "1").await.header("set-cookie").to_owned() });
        }
        gateway.reaches("cache_requests_total", &[("result", "miss")], 10.0).await;
        gate.open();
        let cookies: HashSet<String> = calls.join_all().await.into_iter().collect();
        assert_eq!((cookies.len(), provider.count()), (10, 10), "{status}: {cookies:?}");
        assert_ne!(get(&gateway, "1").await.header("bascule-source"), "cache", "{status}");
    }
}

#[tokio::test]
async fn an_answer_too_large_to_be_kept_is_passed_on_whole() {
    let provider = Provider::new(|_| reply(200, &[], vec![b'x'; 100_000])).await;
    let gateway = Gateway::base("[cache]\nmax_entry = \"4KiB\"\n");
    let gateway = Gateway::with(&gateway, &[("api", &config(&provider.url(), "\"1h\""))], &[]).await;
    for requests in [1, 2] {
        let answer = get(&gateway, "1").await;
        assert_eq!(answer.body.len(), 100_000);
        assert_eq!(answer.header("cache-status"), "bascule; fwd=miss");
        assert_eq!(provider.count(), requests);
    }
}

#[tokio::test]
async fn who_waits_still_gets_the_answer_when_the_first_caller_leaves() {
    let gate = Gate::closed();
    let held = gate.clone();
    let provider = Provider::slow(move |request| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            reply(200, &[], request.number.to_string())
        }
    })
    .await;
    let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), "\"1h\""))]).await);
    let mut leader = TcpStream::connect(gateway.data().address()).await.unwrap();
    let request = b"GET /v1/api/get?id=1 HTTP/1.1\r\nhost: x\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut leader, request).await.unwrap();
    eventually("the leader's request is out", async || provider.count() == 1).await;
    let waiter = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { get(&gateway, "1").await }
    });
    gateway.reaches("cache_requests_total", &[("result", "miss")], 2.0).await;
    drop(leader);
    gateway.reaches("integration_requests_total", &[("service", "api"), ("status", "499")], 1.0).await;
    gate.open();
    assert_eq!(sourced(&waiter.await.unwrap()), ("1".into(), "coalesced"));
    assert_eq!(sourced(&get(&gateway, "1").await), ("1".into(), "cache"));
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn callers_may_skip_it() {
    let provider = counting().await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "\"1h\""))]).await;
    let skipping = gateway.data().header("bascule-skip", "cache");
    for number in ["1", "2"] {
        let answer = skipping.get("/v1/api/get?id=1").await;
        assert_eq!(sourced(&answer), (number.into(), "upstream"));
        assert!(answer.header("cache-status").starts_with("bascule; fwd="));
        assert!(!answer.header("cache-status").contains("stored"));
    }
    assert_eq!(sourced(&get(&gateway, "1").await), ("3".into(), "upstream"));
}

#[tokio::test]
async fn what_has_no_rule_is_not_kept_and_the_integrations_rule_is_for_safe_operations() {
    let provider = counting().await;
    let config = config(&provider.url(), "\"off\"") + "[cache]\nttl = \"1h\"\n";
    let gateway = Gateway::start(&[("api", &config)]).await;
    let mut bodies = Vec::new();
    for operation in ["plain", "plain", "get", "get", "change", "change"] {
        bodies.push(gateway.call("api", operation, json!({"id": "1"})).await.text());
    }
    assert_eq!(bodies, ["1", "1", "2", "3", "4", "5"]);
    let proxied = async || gateway.data().get("/proxy/api/things/1").await.text();
    assert_eq!((proxied().await, proxied().await), ("6".into(), "7".into()));
}

#[tokio::test]
async fn new_credentials_never_see_answers_to_old_ones() {
    let provider = counting().await;
    let keyed = |key: &str| {
        config(&provider.url(), "\"1h\"") + &format!("[auth]\ntype = \"bearer\"\ntoken = \"{key}\"\n")
    };
    let gateway = Gateway::start(&[("api", &keyed("old"))]).await;
    assert_eq!(get(&gateway, "1").await.text(), "1");
    gateway.rewrite("api", &keyed("new"));
    assert_eq!(gateway.admin().send(Method::POST, "/config/reload", "").await.status, 200);
    assert_eq!(get(&gateway, "1").await.text(), "2");
}

#[tokio::test]
async fn answers_are_told_apart_by_what_vary_by_names() {
    let provider = counting().await;
    let text = format!(
        r#"
base_url = "{}"
forward_headers = ["X-Tenant", "X-Trace"]
[operations.get]
path = "/things/{{id}}"
query = {{ lang = "{{lang}}" }}
params.lang = {{ type = "string" }}
cache = {{ ttl = "1h", vary_by = ["param:id", "header:X-Tenant", "caller"] }}
[operations.both]
fan_out = ["get"]
params.id = {{ required = true }}
cache = "1h"
"#,
        provider.url()
    );
    let keys =
        "auth.api_keys = [{ name = \"a\", key = \"key-of-a\" }, { name = \"b\", key = \"key-of-b\" }]\n";
    let base = Gateway::base("").replace("[admin]", &format!("{keys}[admin]"));
    let gateway = Gateway::with(&base, &[("api", &text)], &[]).await;
    let caller = |key: &str| gateway.data().header("x-api-key", key);
    let path = "/v1/api/get?id=1";
    assert_eq!(caller("key-of-a").get(path).await.text(), "1");
    assert_eq!(caller("key-of-a").get("/v1/api/get?id=1&lang=de").await.text(), "1");
    assert_eq!(caller("key-of-a").header("x-trace", "t").get(path).await.text(), "1");
    assert_eq!(caller("key-of-a").header("x-tenant", "t").get(path).await.text(), "2");
    assert_eq!(caller("key-of-a").get("/v1/api/get?id=2").await.text(), "3");
    assert_eq!(caller("key-of-b").get(path).await.text(), "4");
    // What parameters alone do not name is not dropped by them, in whole or in part.
    let named = "/integrations/api/cache?operation=get&params=%7B%22id%22%3A%221%22%7D";
    let refused = gateway.admin().send(Method::DELETE, named, "").await;
    assert_eq!(refused.code(), (422, "invalid-parameters".into()));
    assert!(refused.text().contains("told apart by callers too"), "{}", refused.text());
    // A fan-out over it is no way around that.
    let both = async |key: &str| caller(key).get("/v1/api/both?id=1").await.text();
    assert!(both("key-of-a").await.contains('1') && both("key-of-b").await.contains('4'));
}

#[tokio::test]
async fn a_change_reaches_the_answers_of_all_callers() {
    let provider =
        Provider::new(|request| reply(200, &[("cache-control", "max-age=60")], request.number.to_string()))
            .await;
    let keys =
        "auth.api_keys = [{ name = \"a\", key = \"key-of-a\" }, { name = \"b\", key = \"key-of-b\" }]\n";
    let base = Gateway::base("").replace("[admin]", &format!("{keys}[admin]"));
    let text = format!(
        "base_url = \"{}\"\ncache = {{ mode = \"http\", proxy = true, vary_by = [\"caller\"] }}\n",
        provider.url()
    );
    let gateway = Gateway::with(&base, &[("api", &text)], &[]).await;
    let caller = |key: &str| gateway.data().header("x-api-key", key);
    let get = async |key: &str| caller(key).get("/proxy/api/things/1").await.text();
    for _ in 0..2 {
        assert_eq!((get("key-of-a").await, get("key-of-b").await), ("1".into(), "2".into()));
    }
    assert_eq!(caller("key-of-a").send(Method::PUT, "/proxy/api/things/1", "x").await.text(), "3");
    assert_eq!((get("key-of-a").await, get("key-of-b").await), ("4".into(), "5".into()));
}

#[tokio::test]
async fn an_integration_may_keep_answers_for_each_caller() {
    let provider = counting().await;
    let keys =
        "auth.api_keys = [{ name = \"a\", key = \"key-of-a\" }, { name = \"b\", key = \"key-of-b\" }]\n";
    let base = Gateway::base("").replace("[admin]", &format!("{keys}[admin]"));
    let of = |mode: &str| {
        format!(
            "base_url = \"{}\"\n[cache]\n{mode}\nproxy = true\nvary_by = [\"caller\"]\n\
             [operations.get]\npath = \"/things/{{id}}\"\ncache = \"1h\"\n",
            provider.url()
        )
    };
    let integrations = [("rule", of("ttl = \"1h\"")), ("http", of("mode = \"http\""))];
    let integrations = integrations.each_ref().map(|(name, text)| (*name, text.as_str()));
    let gateway = Gateway::with(&base, &integrations, &[]).await;
    let caller = |key: &str| gateway.data().header("x-api-key", key);
    for (count, path) in
        ["/v1/rule/get?id=1", "/proxy/rule/things/1", "/v1/http/get?id=1"].into_iter().enumerate()
    {
        let (a, b) = (2 * count + 1, 2 * count + 2);
        for _ in 0..2 {
            assert_eq!(caller("key-of-a").get(path).await.text(), a.to_string(), "{path}");
            assert_eq!(caller("key-of-b").get(path).await.text(), b.to_string(), "{path}");
        }
    }
    // By rule, what goes through `/proxy` is told apart by more than an operator can name.
    let named = "/integrations/rule/cache?operation=proxy&params=%7B%22path%22%3A%22%2Fthings%2F1%22%7D";
    assert_eq!(gateway.admin().send(Method::DELETE, named, "").await.status, 422);
}

#[tokio::test]
async fn listed_answers_are_fetched_at_the_start_and_when_a_reload_changes_them() {
    let provider = Provider::new(|request| match request.target.as_str() {
        "/things/broken" => reply(500, &[], ""),
        target => reply(200, &[("cache-control", "max-age=600")], target.to_owned()),
    })
    .await;
    let text = |cache: &str| {
        format!(
            "base_url = \"{}\"\nretry = {{ max_attempts = 1 }}\n[operations.get]\npath = \"/things/{{id}}\"\n\
             cache = {cache}\nfallback = [{{ default = {{}} }}]\n",
            provider.url()
        )
    };
    let warm = r#"{ ttl = "1h", warm_up = [{ id = "broken" }, { id = "a" }, { id = "b" }] }"#;
    let gateway = Gateway::start(&[("api", &text(warm))]).await;
    eventually("three calls", async || provider.count() == 3).await;
    let stats = async || gateway.admin().get("/cache").await.json();
    eventually("two are kept", async || stats().await["entries"] == 2).await;
    for id in ["a", "b"] {
        assert_eq!(sourced(&get(&gateway, id).await), (format!("/things/{id}"), "cache"));
    }
    assert_eq!(sourced(&get(&gateway, "broken").await).1, "default", "its ladder is for callers");

    let reload = async || {
        assert_eq!(gateway.admin().send(Method::POST, "/config/reload", "").await.status, 200);
    };
    provider.forget();
    reload().await;
    gateway.rewrite("api", &text(r#"{ mode = "http", warm_up = [{ id = "c" }] }"#));
    reload().await;
    eventually("it is fetched", async || provider.count() == 1).await;
    eventually("and kept", async || get(&gateway, "c").await.header("bascule-source") == "cache").await;
    let seen: Vec<String> = provider.seen().iter().map(|request| request.target.clone()).collect();
    assert_eq!(seen, ["/things/c"], "what did not change was not fetched again");
}
