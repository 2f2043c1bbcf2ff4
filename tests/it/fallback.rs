//! The fallback ladder: which failures start it, which rung answers, and how answers say so.

use crate::support::{Answer, Gateway, Provider, RawProvider, Request, read_head, refused_url, reply};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::io::AsyncWriteExt;

fn config(url: &str, top: &str, operations: &str) -> String {
    format!(
        r#"
base_url = "{url}"
{top}
[retry]
max_attempts = 1
{operations}
"#
    )
}

const GET: &str =
    "[operations.get]\npath = \"/get\"\nparams.city = { type = \"string\" }\nquery = { q = \"{city}\" }\n";

async fn failing() -> Provider {
    Provider::new(|_| reply(503, &[], "down")).await
}

async fn get(gateway: &Gateway) -> Answer {
    gateway.call("api", "get", json!({})).await
}

async fn answered(gateway: &Gateway, rung: &str) -> f64 {
    gateway.metric("fallback_total", &[("service", "api"), ("rung", rung)]).await
}

/// Answers, keeps silent, or hangs up, as the switch says; every connection serves one request.
async fn moody(mood: &Arc<AtomicU8>) -> RawProvider {
    let mood = Arc::clone(mood);
    RawProvider::new(move |mut stream| {
        let mood = mood.load(Ordering::SeqCst);
        async move {
            read_head(&mut stream).await;
            let answer: &[u8] = match mood {
                0 => b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ngood",
                1 => b"HTTP/1.1 503 Down\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbad",
                2 => b"rubbish\r\n\r\n",
                3 => b"",
                _ => std::future::pending().await,
            };
            let _ = stream.write_all(answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn the_last_good_answer_serves_while_the_provider_is_down() {
    let mood = Arc::new(AtomicU8::new(0));
    let provider = moody(&mood).await;
    let top = "fallback = [\"cache\"]\nattempt_timeout = \"300ms\"";
    let config = config(&provider.url(), top, GET) + "cache = \"50ms\"\n[circuit_breaker]\nfailures = 4\n";
    let gateway = Gateway::start(&[("api", &config)]).await;
    assert_eq!(get(&gateway).await.text(), "good");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let causes = [(1, "transient"), (2, "protocol"), (3, "connect"), (4, "timeout"), (4, "circuit-open")];
    for (now, cause) in causes {
        mood.store(now, Ordering::SeqCst);
        let answer = get(&gateway).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "good"), "{cause}");
        assert_eq!(answer.header("bascule-source"), "stale");
        let status = answer.header("cache-status");
        assert!(status.starts_with("bascule; hit; ttl=-"), "{status}");
        assert!(status.ends_with(&format!("; detail={cause}")), "{status}");
        assert!(!answer.header("age").is_empty());
        assert_eq!(answer.header("bascule-attempts"), if cause == "circuit-open" { "0" } else { "1" });
    }
    assert_eq!(provider.connections(), 5);
    assert_eq!(answered(&gateway, "cache").await, 5.0);
    // Another key has no entry, so its failure is the caller's.
    let other = gateway.call("api", "get", json!({"city": "x"})).await;
    assert_eq!(other.code(), (503, "circuit-open".to_owned()));
}

#[tokio::test]
async fn entries_do_not_serve_beyond_keep_stale() {
    let mood = Arc::new(AtomicU8::new(0));
    let provider = moody(&mood).await;
    let cache = "cache = { ttl = \"50ms\", keep_stale = \"100ms\" }\n";
    let config = config(&provider.url(), "fallback = [\"cache\"]", GET) + cache;
    let gateway = Gateway::start(&[("api", &config)]).await;
    assert_eq!(get(&gateway).await.text(), "good");
    mood.store(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((get(&gateway).await.text(), answered(&gateway, "cache").await), ("bad".into(), 0.0));
}

#[tokio::test]
async fn another_operation_answers_with_the_calls_parameters() {
    let provider = failing().await;
    let backup =
        Provider::new(|request: &Request| reply(200, &[("x-by", "backup")], request.target.clone())).await;
    let top = "fallback = [{ operation = \"backup.find\", params = { place = \"{city}, DE\", limit = 1 } }]";
    let find = "[operations.find]\npath = \"/find/{place}\"\nparams.limit = { type = \"integer\" }\nquery = { n = \"{limit}\" }\n";
    let gateway = Gateway::start(&[
        ("api", &config(&provider.url(), top, GET)),
        ("backup", &config(&backup.url(), "", find)),
    ])
    .await;
    let answer = gateway.call("api", "get", json!({"city": "Bonn"})).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "/find/Bonn%2C%20DE?n=1"));
    assert_eq!(answer.header("bascule-source"), "operation:backup.find");
    assert_eq!(answer.header("x-by"), "backup");
    assert_eq!(answered(&gateway, "operation").await, 1.0);
    let labels = [("service", "api"), ("endpoint", "get"), ("status", "200")];
    assert_eq!(gateway.metric("integration_requests_total", &labels).await, 1.0);
    assert_eq!(gateway.metric("integration_requests_total", &[]).await, 1.0);
}

#[tokio::test]
async fn a_default_answers_with_its_status() {
    let provider = failing().await;
    let top = "fallback = [{ default = { status = \"unavailable\" }, status = 203 }]";
    let gateway = Gateway::start(&[("api", &config(&provider.url(), top, GET))]).await;
    let answer = get(&gateway).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (203, json!({"status": "unavailable"})));
    assert_eq!(answer.header("bascule-source"), "default");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("bascule-attempts"), "1");
    // Without a status it is a plain success; and /proxy has the integration's ladder.
    let top = "fallback = [{ default = [] }]";
    let gateway = Gateway::start(&[("api", &config(&provider.url(), top, GET))]).await;
    let answer = gateway.data().get("/proxy/api/any").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "[]"));
}

#[tokio::test]
async fn rungs_are_tried_in_their_order_until_one_answers() {
    let provider = failing().await;
    let top = "fallback = [\"cache\", { operation = \"second\" }, { default = \"last\" }]";
    let operations = format!("{GET}cache = \"1h\"\n[operations.second]\npath = \"/second\"\nfallback = []\n");
    let config = config(&provider.url(), top, &operations).replace(
        "path = \"/second\"",
        "path = \"/second\"\nparams.city = { type = \"string\" }\nquery = { q = \"{city}\" }",
    );
    let gateway = Gateway::start(&[("api", &config)]).await;
    assert_eq!(get(&gateway).await.text(), "\"last\"");
    let asked: Vec<String> = provider.seen().into_iter().map(|request| request.target).collect();
    assert_eq!(asked, ["/get", "/second"]);
}

#[tokio::test]
async fn fallback_on_narrows_what_starts_the_ladder() {
    let (_reserved, refused) = refused_url();
    let provider = failing().await;
    let top = "fallback = [{ default = 1 }]\nfallback_on = [\"connect\", \"timeout\"]";
    let gateway =
        Gateway::start(&[("api", &config(&provider.url(), top, GET)), ("dead", &config(&refused, top, GET))])
            .await;
    assert_eq!(get(&gateway).await.text(), "down");
    assert_eq!(gateway.call("dead", "get", json!({})).await.text(), "1");
}

#[tokio::test]
async fn what_the_provider_rejects_or_the_caller_got_wrong_starts_no_ladder() {
    let top = "fallback = [{ default = 1 }]";
    for status in [400, 401, 404, 409, 422, 501] {
        let provider = Provider::new(move |_| reply(status, &[], "no")).await;
        let gateway = Gateway::start(&[("api", &config(&provider.url(), top, GET))]).await;
        let answer = get(&gateway).await;
        assert_eq!((answer.status.as_u16(), answer.header("bascule-source")), (status, "upstream"));
        assert_eq!(gateway.call("api", "get", json!({"city": 1})).await.status, 422);
    }
}

#[tokio::test]
async fn refusals_of_the_gateways_own_start_it_too() {
    let top = "fallback = [{ default = \"instead\" }]";
    let spent = "[rate_limit]\nrequests = 1\nwindow = \"1h\"\n";
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let gateway = Gateway::start(&[("api", &(config(&provider.url(), top, GET) + spent))]).await;
    assert_eq!(get(&gateway).await.text(), "");
    assert_eq!(get(&gateway).await.text(), "\"instead\"");
    let throttling = Provider::new(|_| reply(429, &[], "")).await;
    let gateway = Gateway::start(&[("api", &config(&throttling.url(), top, GET))]).await;
    assert_eq!(get(&gateway).await.text(), "\"instead\"");
    assert_eq!(get(&gateway).await.text(), "\"instead\"");
    assert_eq!(throttling.count(), 1);
    let auth = format!(
        "[auth]\ntype = \"oauth2\"\ntoken_url = \"{}/token\"\nclient_id = \"a\"\nclient_secret = \"b\"\n",
        failing().await.url()
    );
    let gateway = Gateway::start(&[("api", &(config(&provider.url(), top, GET) + &auth))]).await;
    assert_eq!(get(&gateway).await.text(), "\"instead\"");
    let forced = "[circuit_breaker]\nmode = \"forced-open\"\n";
    let gateway = Gateway::start(&[("api", &(config(&provider.url(), top, GET) + forced))]).await;
    assert_eq!(get(&gateway).await.text(), "\"instead\"");
}

/// Operations `a`, `b`, … that fail, each falling back on the next; the last one works.
fn chain(names: &[&str]) -> String {
    names
        .windows(2)
        .map(|pair| {
            let [name, next] = pair else { unreachable!() };
            format!("[operations.{name}]\npath = \"/fail\"\nfallback = [{{ operation = \"{next}\" }}]\n")
        })
        .chain(names.last().map(|last| format!("[operations.{last}]\npath = \"/work\"\n")))
        .collect()
}

#[tokio::test]
async fn ladders_nest_three_deep_and_no_deeper() {
    let provider =
        Provider::new(|request| reply(if request.target == "/work" { 200 } else { 503 }, &[], "")).await;
    let gateway =
        Gateway::start(&[("api", &config(&provider.url(), "", &chain(&["a", "b", "c", "d"])))]).await;
    let answer = gateway.call("api", "a", json!({})).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("bascule-source").starts_with("operation:api."));
    assert_eq!(answer.header("bascule-attempts"), "4");
    for names in [&["a", "b", "c", "d", "e"][..], &["a", "b", "a"]] {
        let operations = if names.len() == 3 {
            chain(&["a", "b"])
                .replace("path = \"/work\"", "path = \"/work\"\nfallback = [{ operation = \"a\" }]")
        } else {
            chain(names)
        };
        let refused =
            Gateway::try_with(&Gateway::base(""), &[("api", &config(&provider.url(), "", &operations))], &[])
                .await;
        assert!(refused.is_err(), "{names:?}");
    }
}

#[tokio::test]
async fn a_failed_answer_does_not_take_the_place_that_its_fallback_needs() {
    let provider = RawProvider::new(|mut stream| async move {
        let head = read_head(&mut stream).await;
        if head.starts_with(b"GET /get") {
            // The rest of this answer never comes.
            let _ = stream.write_all(b"HTTP/1.1 503 Down\r\ncontent-length: 100000\r\n\r\n12").await;
            std::future::pending::<()>().await;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    })
    .await;
    let operations = "[operations.get]\npath = \"/get\"\nfallback = [{ operation = \"backup\" }]\n\
                      [operations.backup]\npath = \"/backup\"\n[concurrency]\nmax = 1\nmax_waiting = 0\n";
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "", operations))]).await;
    assert_eq!(get(&gateway).await.text(), "ok");
}

#[tokio::test]
async fn statuses_may_become_problems_of_the_gateways_own() {
    let provider = Provider::new(|request| {
        reply(if request.target == "/get" { 404 } else { 503 }, &[("x-internal", "1")], "internals")
    })
    .await;
    let operations = format!(
        "{GET}errors.\"404\" = {{ status = 410, code = \"user-not-found\", detail = \"nobody has that name\" }}\n\
         [operations.other]\npath = \"/other\"\nerrors.\"503\" = {{ code = \"maintenance\" }}\n"
    );
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "", &operations))]).await;
    let answer = get(&gateway).await;
    assert_eq!(answer.code(), (410, "user-not-found".to_owned()));
    let document = answer.json();
    assert_eq!((&document["code"], &document["status"]), (&json!("user-not-found"), &json!(410)));
    assert_eq!(document["detail"], "nobody has that name");
    assert!(!document["title"].as_str().unwrap().contains("plugin"), "{document}");
    assert!(!answer.text().contains("internals") && answer.header("x-internal").is_empty());
    let answer = gateway.call("api", "other", json!({})).await;
    assert_eq!(answer.code(), (503, "maintenance".to_owned()));
    assert!(answer.json()["detail"].as_str().unwrap().contains("503"));
}
