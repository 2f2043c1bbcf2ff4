//! Fan-outs: several operations called side by side, and one answer made of theirs.

use crate::support::{Answer, Gate, Gateway, Provider, RawProvider, Request, eventually, read_head, reply};
use bascule::app::StartError;
use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};
use tokio::io::AsyncWriteExt;

const JSON: (&str, &str) = ("content-type", "application/json");

/// An integration with one attempt per call, operations `one`, `two`, `three` and what else is given.
fn api(url: &str, more: &str) -> String {
    format!(
        "base_url = \"{url}\"\nretry = {{ max_attempts = 1 }}\n\
         [operations.one]\npath = \"/one\"\n[operations.two]\npath = \"/two\"\n[operations.three]\npath = \"/three\"\n{more}"
    )
}

async fn start(provider: &Provider, more: &str) -> Gateway {
    Gateway::start(&[("api", &api(&provider.url(), more))]).await
}

/// Says which path was asked for; fails for the paths that `failing` names.
async fn telling(failing: &'static [&'static str]) -> Provider {
    Provider::new(move |request| told(request, failing)).await
}

fn told(request: &Request, failing: &[&str]) -> Response<Full<Bytes>> {
    let path = request.target.split('?').next().unwrap_or_default();
    let status = if failing.contains(&path) { 503 } else { 200 };
    reply(status, &[JSON], json!({ "asked": request.target }).to_string())
}

async fn all(gateway: &Gateway) -> Answer {
    gateway.data().get("/v1/api/all").await
}

fn operations(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["operation"].as_str().unwrap()).collect()
}

const ALL: &str = "[operations.all]\nfan_out = [\"one\", \"api.two\", \"three\"]\n";

#[tokio::test]
async fn successes_come_in_declared_order_with_status_source_and_body() {
    // The first answers last.
    let gate = Gate::closed();
    let held = gate.clone();
    let provider = Provider::slow(move |request| {
        let held = held.clone();
        async move {
            if request.target == "/one" {
                held.pass().await;
            }
            told(&request, &[])
        }
    })
    .await;
    let gateway = start(&provider, ALL).await;
    let data = gateway.data();
    let waiting = tokio::spawn(async move { data.get("/v1/api/all").await });
    eventually("all three are asked at once", || async { provider.count() == 3 }).await;
    gate.open();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let result = |name: &str| json!({"operation": format!("api.{name}"), "status": 200, "source": "upstream", "body": {"asked": format!("/{name}")}});
    assert_eq!(
        answer.json(),
        json!({"results": [result("one"), result("two"), result("three")], "failures": []})
    );
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("bascule-source"), "upstream");
    assert_eq!(answer.header("bascule-attempts"), "3");
    assert_eq!(answer.header("cache-control"), "");
    let posted = gateway.call("api", "all", json!({})).await;
    assert_eq!(posted.json()["results"].as_array().unwrap().len(), 3);
    assert_eq!(gateway.call("api", "all", json!({"x": 1})).await.code(), (422, "invalid-parameters".into()));
}

#[tokio::test]
async fn what_fails_is_listed_beside_what_succeeds() {
    let provider = telling(&["/two"]).await;
    let gateway = start(&provider, ALL).await;
    let answer = all(&gateway).await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-source")), (200, "upstream"));
    let document = answer.json();
    assert_eq!(operations(&document["results"]), ["api.one", "api.three"]);
    let missed = json!([{"operation": "api.two", "status": 503, "code": "upstream-5xx", "detail": "answered 503 Service Unavailable"}]);
    assert_eq!(document["failures"], missed);
    assert_eq!(answer.header("cache-control"), "no-store");
    let labels = [("service", "api"), ("endpoint", "two"), ("error_type", "upstream-5xx")];
    assert_eq!(gateway.metric("integration_errors_total", &labels).await, 1.0);
    assert_eq!(gateway.metric("integration_errors_total", &[("endpoint", "all")]).await, 0.0);
    assert_eq!(
        gateway.metric("integration_requests_total", &[]).await,
        1.0,
        "one call, whatever it is made of"
    );
}

#[tokio::test]
async fn each_branch_has_its_own_breaker_ladder_and_retries() {
    let provider = telling(&["/one", "/two"]).await;
    let other = telling(&[]).await;
    let more = "circuit_breaker = { failures = 1 }\n\
                [operations.all]\nfan_out = [\"one\", \"two\", \"other.one\"]\n";
    let text = format!(
        "base_url = \"{}\"\nretry = {{ max_attempts = 1 }}\n[operations.one]\npath = \"/one\"\n{more}",
        provider.url()
    ) + "[operations.two]\npath = \"/two\"\nretry = { max_attempts = 3, base_delay = \"0s\" }\n\
         fallback = [{ default = { from = \"the ladder\" } }]\n";
    let gateway = Gateway::start(&[("api", &text), ("other", &api(&other.url(), ""))]).await;
    let first = all(&gateway).await;
    assert_eq!(first.header("bascule-attempts"), "5", "one, three and one");
    let document = first.json();
    assert_eq!(operations(&document["results"]), ["api.two", "other.one"]);
    assert_eq!(document["results"][0]["source"], "default");
    assert_eq!(document["results"][0]["body"], json!({"from": "the ladder"}));
    assert_eq!(document["failures"][0]["code"], "upstream-5xx");
    assert_eq!(first.header("cache-control"), "no-store");
    let second = all(&gateway).await.json();
    assert_eq!(
        (&second["failures"][0]["status"], &second["failures"][0]["code"]),
        (&json!(503), &json!("circuit-open"))
    );
    assert_eq!(gateway.metric("fallback_total", &[("endpoint", "two"), ("rung", "default")]).await, 2.0);
}

#[tokio::test]
async fn without_a_success_there_is_no_data_and_then_its_own_ladder() {
    let provider = telling(&["/one", "/two", "/three"]).await;
    let rung = "[operations.rescued]\nfan_out = [\"one\", \"two\"]\nfallback = [{ default = [] }]\n\
                [operations.strict]\nfan_out = [\"one\", \"two\"]\nfallback = [{ default = [] }]\nfallback_on = [\"timeout\"]\n\
                [operations.gone]\npath = \"/gone\"\n[operations.rejected]\nfan_out = [\"gone\"]\nfallback = [{ default = [] }]\n";
    let gateway = start(&provider, &format!("{ALL}{rung}")).await;
    let answer = all(&gateway).await;
    assert_eq!(answer.code(), (502, "no-data".to_owned()));
    let document = answer.json();
    assert_eq!(operations(&document["failures"]), ["api.one", "api.two", "api.three"]);
    assert_eq!((&document["attempts"], &document["operation"]), (&json!(3), &json!("all")));
    let rescued = gateway.data().get("/v1/api/rescued").await;
    assert_eq!((rescued.status.as_u16(), rescued.text().as_str()), (200, "[]"));
    assert_eq!(rescued.header("bascule-source"), "default");
    assert_eq!(gateway.data().get("/v1/api/strict").await.problem(), "no-data");
    let labels = [("service", "api"), ("endpoint", "all"), ("error_type", "no-data")];
    assert_eq!(gateway.metric("integration_errors_total", &labels).await, 1.0);
    // What providers reject starts no ladder, as everywhere.
    let rejecting = Provider::new(|_| reply(404, &[], "")).await;
    let gateway = start(&rejecting, rung).await;
    let answer = gateway.data().get("/v1/api/rejected").await;
    assert_eq!(answer.code(), (502, "no-data".to_owned()));
    assert_eq!(answer.json()["failures"][0]["code"], "upstream-4xx");
}

#[tokio::test]
async fn refused_branches_say_when_to_come_back() {
    let provider = telling(&[]).await;
    let more = "circuit_breaker = { mode = \"forced-open\", reset_after = \"30s\" }\n[operations.all]\nfan_out = [\"three\"]\n";
    let gateway = start(&provider, more).await;
    let answer = all(&gateway).await;
    assert_eq!(answer.code(), (502, "no-data".to_owned()));
    assert_eq!(answer.header("retry-after"), "30");
    assert_eq!(answer.json()["failures"][0]["code"], "circuit-open");
    assert_eq!(provider.count(), 0);
}

/// Never answers `/two`.
async fn hanging() -> Provider {
    Provider::slow(|request| async move {
        if request.target == "/two" {
            std::future::pending::<()>().await;
        }
        told(&request, &[])
    })
    .await
}

#[tokio::test]
async fn what_has_not_ended_in_time_counts_as_failed() {
    let provider = hanging().await;
    let more = format!("{}timeout = \"300ms\"\n[operations.hung]\nfan_out = [\"two\"]\n", ALL);
    let gateway = start(&provider, &more).await;
    let document = all(&gateway).await.json();
    assert_eq!(operations(&document["results"]), ["api.one", "api.three"]);
    let missed = json!({"operation": "api.two", "status": 504, "code": "upstream-timeout", "detail": "the whole timeout passed"});
    assert_eq!(document["failures"], json!([missed]));
    // The same by the caller's word; and with nothing to show for it.
    let hurried = gateway.data().header("bascule-timeout", "200ms");
    assert_eq!(hurried.get("/v1/api/all").await.json()["failures"], json!([missed]));
    let answer = hurried.get("/v1/api/hung").await;
    assert_eq!(answer.code(), (502, "no-data".to_owned()));
    assert_eq!(answer.json()["failures"][0]["code"], "upstream-timeout");
    // A fan-out that is in more of a hurry than its branch has learnt nothing about the provider.
    assert_eq!(gateway.metric("circuit_breaker_failures_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_branch_that_had_its_own_time_is_a_failure_of_its_provider() {
    let provider = hanging().await;
    let text = format!("timeout = \"200ms\"\n{}", api(&provider.url(), ALL));
    let gateway = Gateway::start(&[("api", &text)]).await;
    assert_eq!(all(&gateway).await.json()["failures"][0]["code"], "upstream-timeout");
    assert_eq!(gateway.metric("circuit_breaker_failures_total", &[]).await, 1.0);
}

#[tokio::test]
async fn a_body_that_does_not_end_in_time_counts_as_failed_too() {
    let provider = RawProvider::new(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        std::future::pending::<()>().await;
    })
    .await;
    let more = "[operations.all]\nfan_out = [\"one\"]\ntimeout = \"200ms\"\n";
    let gateway = Gateway::start(&[("api", &api(&provider.url(), more))]).await;
    let answer = all(&gateway).await;
    assert_eq!(answer.json()["failures"][0]["code"], "upstream-timeout", "{}", answer.text());
}

#[tokio::test]
async fn branches_end_when_the_caller_leaves() {
    let provider = hanging().await;
    let gateway = start(&provider, "[operations.all]\nfan_out = [\"two\"]\n").await;
    let data = gateway.data();
    let leaving = tokio::spawn(async move { data.get("/v1/api/all").await });
    eventually("the branch is under way", || async { gateway.health("api").await["in_flight"] == 1 }).await;
    leaving.abort();
    eventually("its place is free again", || async { gateway.health("api").await["in_flight"] == 0 }).await;
}

#[tokio::test]
async fn branches_get_the_calls_parameters_or_their_own() {
    let provider = telling(&[]).await;
    let more = "[operations.get]\npath = \"/get/{city}\"\nquery = { n = \"{n}\" }\nparams.n = { type = \"integer\" }\n\
                [operations.all]\nparams.city = { required = true }\nparams.count = { type = \"integer\", default = 3 }\n\
                fan_out = [{ operation = \"get\", params = { city = \"{city}, DE\", n = \"{count}\" } }, { operation = \"get\", params = { city = \"Rome\" } }]\n\
                [operations.same]\nparams.city = { required = true }\nfan_out = [\"get\"]\n";
    let gateway = start(&provider, more).await;
    let answer = gateway.data().get("/v1/api/all?city=Bonn&count=7").await;
    let asked = |answer: &Answer, index: usize| answer.json()["results"][index]["body"]["asked"].clone();
    assert_eq!(asked(&answer, 0), "/get/Bonn%2C%20DE?n=7", "{}", answer.text());
    assert_eq!(asked(&answer, 1), "/get/Rome");
    assert_eq!(asked(&gateway.data().get("/v1/api/same?city=Bonn").await, 0), "/get/Bonn");
    assert_eq!(gateway.data().get("/v1/api/same").await.code(), (422, "invalid-parameters".to_owned()));
}

#[tokio::test]
async fn bodies_are_embedded_by_what_they_are() {
    let provider = Provider::new(|request| match &*request.target {
        "/one" => reply(
            200,
            &[("content-type", "application/json; charset=utf-8")],
            "{\"big\": 12345678901234567890, \"f\": 1.50}",
        ),
        "/two" => reply(201, &[("content-type", "text/plain")], "say \"hi\""),
        "/three" => reply(200, &[("content-type", "image/png")], &b"\x89PNG"[..]),
        _ => reply(204, &[], ""),
    })
    .await;
    let more = "[operations.empty]\nmethod = \"HEAD\"\npath = \"/empty\"\n[operations.all]\nfan_out = [\"one\", \"two\", \"three\", \"empty\"]\n";
    let gateway = start(&provider, more).await;
    let answer = all(&gateway).await;
    assert!(
        answer.text().contains("\"body\":{\"big\": 12345678901234567890, \"f\": 1.50}}"),
        "{}",
        answer.text()
    );
    let results = answer.json()["results"].take();
    assert_eq!((&results[1]["body"], &results[1]["status"]), (&json!("say \"hi\""), &json!(201)));
    assert_eq!(results[2]["body"], json!({"base64": "iVBORw=="}));
    assert_eq!((&results[3]["body"], &results[3]["status"]), (&Value::Null, &json!(204)));
}

#[tokio::test]
async fn bodies_that_do_not_fit_count_as_failed() {
    const SIX: usize = 6 * 1024 * 1024;
    let provider = Provider::new(|request| match &*request.target {
        "/three" => reply(200, &[JSON], "3"),
        _ => reply(200, &[("content-type", "text/plain")], "x".repeat(SIX)),
    })
    .await;
    let gateway = start(&provider, ALL).await;
    let document = all(&gateway).await.json();
    let results = document["results"].as_array().unwrap();
    assert_eq!(results.len(), 2, "one of the large ones and the small one");
    assert!(results.iter().any(|one| one["body"].as_str().is_some_and(|text| text.len() == SIX)));
    assert!(results.iter().any(|one| one["body"] == 3));
    assert_eq!(document["failures"][0]["code"], "upstream-protocol");
    assert!(document["failures"][0]["detail"].as_str().unwrap().contains("10485760 octets"));
}

#[tokio::test]
async fn a_whole_answer_is_cached_and_one_that_lacks_a_branch_is_not() {
    let status = Arc::new(AtomicU16::new(503));
    let read = Arc::clone(&status);
    let provider = Provider::new(move |request| {
        let status = if request.target == "/two" { read.load(Ordering::SeqCst) } else { 200 };
        reply(status, &[JSON], "1")
    })
    .await;
    let gateway = start(&provider, &format!("{ALL}cache = \"1h\"\n")).await;
    let lacking = all(&gateway).await;
    assert_eq!(lacking.header("cache-status"), "bascule; fwd=miss");
    status.store(200, Ordering::SeqCst);
    let whole = all(&gateway).await;
    assert_eq!(whole.json()["failures"], json!([]));
    assert_eq!(whole.header("cache-status"), "bascule; fwd=miss; stored");
    let again = all(&gateway).await;
    assert_eq!((again.header("bascule-source"), again.header("bascule-attempts")), ("cache", "0"));
    assert_eq!((again.body, provider.count()), (whole.body, 6));
}

#[tokio::test]
async fn an_answer_made_of_cached_ones_says_so_and_is_not_cached_again() {
    let provider = telling(&[]).await;
    let more = "[operations.kept]\npath = \"/kept\"\ncache = \"1h\"\n[operations.all]\nfan_out = [\"kept\"]\ncache = \"1h\"\n\
                [operations.mixed]\nfan_out = [\"kept\", \"one\"]\n";
    let gateway = start(&provider, more).await;
    assert_eq!(gateway.data().get("/v1/api/kept").await.header("cache-status"), "bascule; fwd=miss; stored");
    let answer = all(&gateway).await;
    assert_eq!(
        (answer.header("bascule-source"), answer.header("cache-status")),
        ("cache", "bascule; fwd=miss")
    );
    assert_eq!(answer.json()["results"][0]["source"], "cache");
    let mixed = gateway.data().get("/v1/api/mixed").await;
    assert_eq!((mixed.header("bascule-source"), mixed.header("bascule-attempts")), ("upstream", "1"));
    assert_eq!(provider.count(), 2);
}

#[tokio::test]
async fn cached_answers_go_with_the_settings_of_any_branch() {
    let provider = telling(&[]).await;
    let fan_out = "[operations.all]\nfan_out = [\"other.one\"]\ncache = \"1h\"\n";
    let other = api(&provider.url(), "");
    let gateway = Gateway::start(&[("api", &api(&provider.url(), fan_out)), ("other", &other)]).await;
    assert_eq!(all(&gateway).await.json()["results"][0]["body"]["asked"], "/one");
    gateway.rewrite("other", &other.replace("path = \"/one\"", "path = \"/new\""));
    let reloaded = gateway.admin().send(Method::POST, "/config/reload", "").await;
    assert_eq!(reloaded.json()["changed"], json!(["other"]));
    assert_eq!(all(&gateway).await.json()["results"][0]["body"]["asked"], "/new");
}

#[tokio::test]
async fn calls_at_the_same_time_share_one_fan_out_unless_a_cookie_is_in_it() {
    let gate = Gate::closed();
    let held = gate.clone();
    let provider = Provider::slow(move |request| {
        let held = held.clone();
        async move {
            held.pass().await;
            let with = [JSON, ("set-cookie", "a=b")];
            reply(200, if request.target == "/three" { &with } else { &with[..1] }, "1")
        }
    })
    .await;
    let more = "[operations.all]\nfan_out = [\"one\", \"two\"]\ncache = \"1h\"\n\
                [operations.baked]\nfan_out = [\"one\", \"three\"]\ncache = \"1h\"\n";
    let gateway = start(&provider, more).await;
    let both = |operation: &'static str| {
        let spawn = || {
            let data = gateway.data();
            tokio::spawn(async move { data.get(&format!("/v1/api/{operation}")).await })
        };
        (spawn(), spawn())
    };
    let waiting = [both("all"), both("baked")];
    for endpoint in ["all", "baked"] {
        let misses = [("endpoint", endpoint), ("result", "miss")];
        gateway.reaches("cache_requests_total", &misses, 2.0).await;
    }
    gate.open();
    let [(first, second), (third, fourth)] = waiting;
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first.status.as_u16(), first.body), (second.status.as_u16(), second.body));
    let (third, fourth) = (third.await.unwrap(), fourth.await.unwrap());
    assert_eq!((third.status.as_u16(), third.body), (fourth.status.as_u16(), fourth.body));
    for (headers, name) in [(&third.headers, "third"), (&fourth.headers, "fourth")] {
        assert_eq!(headers["cache-control"], "private, no-store", "{name}");
        assert!(!headers.contains_key("set-cookie"), "a cookie of one branch is not the fan-out's");
    }
    assert_eq!(provider.count(), 2 + 4, "one fan-out for both, and one for each");
}

#[tokio::test]
async fn fan_outs_nest_and_pass_on_that_they_lack_something() {
    let provider = telling(&["/two"]).await;
    let more = "[operations.inner]\nfan_out = [\"one\", \"two\"]\n[operations.all]\nfan_out = [\"inner\", \"three\"]\ncache = \"1h\"\n";
    let gateway = start(&provider, more).await;
    let answer = all(&gateway).await;
    let document = answer.json();
    assert_eq!(operations(&document["results"]), ["api.inner", "api.three"]);
    assert_eq!(operations(&document["results"][0]["body"]["failures"]), ["api.two"]);
    assert_eq!(
        (answer.header("cache-control"), answer.header("cache-status")),
        ("no-store", "bascule; fwd=miss")
    );
    assert_eq!(answer.header("bascule-attempts"), "3");
}

#[tokio::test]
async fn circles_are_refused_with_their_place() {
    let provider = telling(&[]).await;
    let more = "[operations.a]\nfan_out = [\"one\", \"b\"]\n[operations.b]\npath = \"/b\"\nfallback = [{ operation = \"a\" }]\n";
    let refused = Gateway::try_with(&Gateway::base(""), &[("api", &api(&provider.url(), more))], &[]).await;
    let Err(StartError::Configuration(problems)) = refused else { panic!("it starts") };
    let text = problems.render_human(false);
    assert!(text.contains("this fan-out leads back to `api.a`") && text.contains("api.toml:10"), "{text}");
    assert!(text.contains("this ladder leads back to `api.b`"), "{text}");
}

#[tokio::test]
async fn what_changes_something_is_post_only_and_has_keys_apart() {
    let provider = telling(&[]).await;
    let more = "[operations.set]\nmethod = \"POST\"\npath = \"/set\"\nparams.n = { type = \"integer\" }\nidempotency = {}\n\
                [operations.all]\nfan_out = [{ operation = \"set\", params = { n = 1 } }, { operation = \"set\", params = { n = 2 } }]\n";
    let gateway = start(&provider, more).await;
    let got = all(&gateway).await;
    assert_eq!((got.code(), got.header("allow")), ((405, "method-not-allowed".to_owned()), "POST"));
    let client = gateway.data().header("idempotency-key", "mine");
    for _ in 0..2 {
        assert_eq!(client.post("/v1/api/all", &json!({})).await.status, 200);
    }
    let mut keys: Vec<(String, Bytes)> = provider
        .seen()
        .iter()
        .map(|request| (request.header("idempotency-key").to_owned(), request.body.clone()))
        .collect();
    keys.sort();
    let want =
        [("mine-1", "{\"n\":1}"), ("mine-1", "{\"n\":1}"), ("mine-2", "{\"n\":2}"), ("mine-2", "{\"n\":2}")];
    assert_eq!(keys, want.map(|(key, body)| (key.to_owned(), Bytes::from(body))));
}

#[tokio::test]
async fn callers_need_to_be_allowed_the_fan_out_only() {
    let provider = telling(&[]).await;
    let server = Gateway::base("").replace(
        "[admin]",
        "auth.api_keys = [{ name = \"a\", key = \"secret-key\", allow = [\"api.all\"] }]\n[admin]",
    );
    let gateway = Gateway::with(&server, &[("api", &api(&provider.url(), ALL))], &[]).await;
    let client = gateway.data().header("x-api-key", "secret-key");
    assert_eq!(client.get("/v1/api/one").await.code(), (403, "forbidden".to_owned()));
    assert_eq!(client.get("/v1/api/all").await.json()["results"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_nest_of_fan_outs_holds_no_more_than_one_fan_out() {
    const SIX: usize = 6 * 1024 * 1024;
    let (second, last) = (Gate::closed(), Gate::closed());
    let gates = (second.clone(), last.clone());
    let provider = Provider::slow(move |request| {
        let (second, last) = gates.clone();
        async move {
            match request.target.as_str() {
                "/two" => second.pass().await,
                "/three" => last.pass().await,
                _ => {}
            }
            let large = if request.target == "/three" { "small".to_owned() } else { "x".repeat(SIX) };
            reply(200, &[("content-type", "text/plain")], large)
        }
    })
    .await;
    let more = "[operations.all]\nfan_out = [\"a\", \"b\"]\n[operations.a]\nfan_out = [\"one\", \"three\"]\n\
                [operations.b]\nfan_out = [\"two\"]\n";
    let gateway = start(&provider, more).await;
    let data = gateway.data();
    let waiting = tokio::spawn(async move { data.get("/v1/api/all").await });
    let in_flight = async || gateway.health("api").await["in_flight"].clone();
    eventually("the first body is held", async || provider.count() == 3 && in_flight().await == 2).await;
    second.open();
    eventually("the second has been refused", async || in_flight().await == 1).await;
    last.open();
    let document = waiting.await.unwrap().json();
    assert_eq!(operations(&document["results"]), ["api.a"], "{}", document["failures"]);
    assert_eq!(document["results"][0]["body"]["results"][0]["body"].as_str().map(str::len), Some(SIX));
    assert_eq!(document["failures"][0]["code"], "no-data");
}

#[tokio::test]
async fn an_integration_of_fan_outs_alone_needs_no_base_url() {
    let provider = telling(&[]).await;
    let both =
        "fallback = [{ default = \"none\" }]\n[operations.all]\nfan_out = [\"api.one\", \"api.two\"]\n";
    let gateway = Gateway::start(&[("both", both), ("api", &api(&provider.url(), ""))]).await;
    let answer = gateway.data().get("/v1/both/all").await;
    assert_eq!(operations(&answer.json()["results"]), ["api.one", "api.two"], "{}", answer.text());
    assert_eq!(gateway.data().get("/proxy/both/x").await.code(), (404, "not-found".to_owned()));
    assert_eq!(gateway.health("both").await["circuit_state"], "closed");
}
