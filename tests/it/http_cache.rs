//! Caching as the provider's answers say, through `/proxy` and declared operations. The rules one by one are the suite's
//! and the library's; here is what the gateway adds: mapped replies, shared fetches, the ladder, other operations.

use crate::support::{
    Answer, Client, Gate, Gateway, Provider, RawProvider, Request, eventually, guest, read_head, reply,
};
use bytes::Bytes;
use http::{Method, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::{io::AsyncWriteExt, task::JoinSet};

fn config(url: &str, more: &str) -> String {
    format!(
        r#"
base_url = "{url}/base"
{more}
[cache]
mode = "http"
proxy = true
[retry]
max_attempts = 1
[operations.get]
path = "/things/{{id}}"
[operations.put]
method = "PUT"
path = "/things/{{id}}"
"#
    )
}

/// Answers with the number of the request, by these fields.
async fn counting(headers: &'static [(&'static str, &'static str)]) -> Provider {
    Provider::new(move |request| reply(200, headers, request.number.to_string())).await
}

async fn start(provider: &Provider) -> (Gateway, Client) {
    let gateway = Gateway::start(&[("api", &config(&provider.url(), ""))]).await;
    let client = gateway.data();
    (gateway, client)
}

fn told(answer: &Answer) -> (u16, String, &str) {
    (answer.status.as_u16(), answer.text(), answer.header("cache-status"))
}

/// 304 to the condition on this tag, else a body with the request's number.
fn tagged(request: &Request, cache_control: &str) -> Response<Full<Bytes>> {
    let headers = [("etag", "\"v1\""), ("cache-control", cache_control)];
    if request.header("if-none-match") == "\"v1\"" {
        return reply(304, &headers, "");
    }
    reply(200, &headers, format!("body {}", request.number))
}

#[tokio::test]
async fn a_lifetime_of_the_provider_s_keeps_proxied_answers() {
    let provider = counting(&[("cache-control", "max-age=600")]).await;
    let (_gateway, client) = start(&provider).await;
    let miss = client.get("/proxy/api/a?x=1").await;
    assert_eq!(told(&miss), (200, "1".into(), "bascule; fwd=miss; stored"));
    assert_eq!((miss.header("bascule-source"), miss.header("age")), ("upstream", ""));
    let hit = client.get("/proxy/api/a?x=1").await;
    assert_eq!(
        (hit.text(), hit.header("bascule-source"), hit.header("bascule-attempts")),
        ("1".into(), "cache", "0")
    );
    assert!(hit.header("cache-status").starts_with("bascule; hit; ttl="), "{hit:?}");
    assert!(hit.header("age").parse::<u64>().unwrap() < 60);
    assert_eq!(client.get("/proxy/api/a?x=2").await.text(), "2");
    let head = client.send(Method::HEAD, "/proxy/api/a?x=1", Bytes::new()).await;
    assert_eq!((head.header("bascule-source"), head.text()), ("cache", String::new()));
    assert_eq!(provider.count(), 2);
    let post = client.send(Method::POST, "/proxy/api/other", "x").await;
    assert_eq!(post.header("cache-status"), "bascule; fwd=method");
}

#[tokio::test]
async fn a_304_renews_a_mapped_reply_without_mapping_it_again() {
    let provider = Provider::new(|request| tagged(request, "no-cache")).await;
    let plugin = format!("[[plugins]]\nsource = \"{}\"\n", guest("echo"));
    let gateway = Gateway::start(&[("api", &(config(&provider.url(), "") + &plugin))]).await;
    let first = gateway.call("api", "get", json!({ "id": "1" })).await;
    assert_eq!(first.json(), json!({ "operation": "get", "echo": "body 1" }));
    let second = gateway.call("api", "get", json!({ "id": "1" })).await;
    assert_eq!(second.body, first.body);
    assert_eq!(second.header("cache-status"), "bascule; fwd=stale; fwd-status=304; stored");
    assert_eq!((second.header("bascule-source"), second.header("bascule-attempts")), ("cache", "1"));
    let called = |hook| [("plugin", "echo"), ("hook", hook)];
    assert_eq!(gateway.metric("plugin_call_duration_seconds_count", &called("response-mapper")).await, 1.0);
    assert_eq!(gateway.metric("plugin_call_duration_seconds_count", &called("request-mapper")).await, 2.0);
}

#[tokio::test]
async fn the_caller_s_conditions_and_range_are_judged_by_what_is_stored() {
    let provider = Provider::new(|request| tagged(request, "max-age=600")).await;
    let (_gateway, client) = start(&provider).await;
    for path in ["/proxy/api/things/1", "/v1/api/get?id=1"] {
        assert_eq!(client.get(path).await.status, 200);
        let same = client.clone().header("if-none-match", "\"v1\"").get(path).await;
        assert_eq!((same.status.as_u16(), same.text(), same.header("etag")), (304, String::new(), "\"v1\""));
        let part = client.clone().header("range", "bytes=0-3").get(path).await;
        assert_eq!(
            (part.status.as_u16(), part.text(), part.header("content-range")),
            (206, "body".into(), "bytes 0-3/6")
        );
        let beyond = client.clone().header("range", "bytes=90-").get(path).await;
        assert_eq!(beyond.status, 416);
    }
    // Where nothing is stored, an operation's provider never sees them, and they are judged all the same.
    let fresh = client.clone().header("if-none-match", "\"v1\"").get("/v1/api/get?id=2").await;
    assert_eq!((fresh.status.as_u16(), provider.last().header("if-none-match")), (304, ""));
    assert_eq!(provider.count(), 3);
}

#[tokio::test]
async fn only_if_cached_asks_nobody() {
    let provider = counting(&[("cache-control", "max-age=600")]).await;
    let (_gateway, client) = start(&provider).await;
    let asked = client.clone().header("cache-control", "only-if-cached");
    let refused = asked.get("/proxy/api/a").await;
    assert_eq!((refused.status.as_u16(), refused.problem(), provider.count()), (504, "not-cached".into(), 0));
    client.get("/proxy/api/a").await;
    assert_eq!(asked.get("/proxy/api/a").await.status, 200);
}

#[tokio::test]
async fn variants_are_kept_side_by_side() {
    let provider = counting(&[("cache-control", "max-age=600"), ("vary", "accept-language")]).await;
    let (_gateway, client) = start(&provider).await;
    let speaking = |language: &str| client.clone().header("accept-language", language);
    for (language, number) in [("de", "1"), ("fr", "2"), ("de", "1"), ("fr", "2")] {
        assert_eq!(speaking(language).get("/proxy/api/a").await.text(), number, "{language}");
    }
    let other = speaking("en").get("/proxy/api/a").await;
    assert_eq!(other.header("cache-status"), "bascule; fwd=vary-miss; stored");
}

#[tokio::test]
async fn answers_for_one_caller_are_kept_from_others() {
    let provider = Provider::new(|request| match request.target.as_str() {
        "/base/private" => {
            reply(200, &[("cache-control", "private, max-age=600")], request.number.to_string())
        }
        "/base/cookie" => {
            reply(200, &[("cache-control", "max-age=600"), ("set-cookie", "a=b")], request.number.to_string())
        }
        "/base/public" => reply(200, &[("cache-control", "public, max-age=600")], request.number.to_string()),
        _ => reply(200, &[("cache-control", "max-age=600")], request.number.to_string()),
    })
    .await;
    let (_gateway, client) = start(&provider).await;
    for path in ["private", "cookie"] {
        let path = format!("/proxy/api/{path}");
        assert_ne!(client.get(&path).await.text(), client.get(&path).await.text(), "{path}");
    }
    let known = client.clone().header("authorization", "Bearer one");
    let other = client.clone().header("authorization", "Bearer two");
    assert_ne!(known.get("/proxy/api/plain").await.text(), other.get("/proxy/api/plain").await.text());
    assert_eq!(known.get("/proxy/api/public").await.text(), other.get("/proxy/api/public").await.text());
}

#[tokio::test]
async fn what_changes_an_address_drops_what_is_stored_for_it_wherever_it_was_asked() {
    let provider = counting(&[("cache-control", "max-age=600")]).await;
    let (gateway, client) = start(&provider).await;
    let both = || async {
        let proxied = client.get("/proxy/api/things/1").await.text();
        (proxied, gateway.call("api", "get", json!({ "id": "1" })).await.text())
    };
    assert_eq!(both().await, ("1".into(), "2".into()));
    assert_eq!(both().await, ("1".into(), "2".into()));
    gateway.call("api", "put", json!({ "id": "1" })).await;
    assert_eq!(both().await, ("4".into(), "5".into()));
    client.send(Method::DELETE, "/proxy/api/things/1", Bytes::new()).await;
    assert_eq!(both().await, ("7".into(), "8".into()));
    gateway.call("api", "put", json!({ "id": "2" })).await;
    assert_eq!(both().await, ("7".into(), "8".into()));
}

#[tokio::test]
async fn a_stored_answer_stands_in_for_a_failure_where_the_provider_says_so() {
    let down = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&down);
    let provider = Provider::new(move |request| {
        if seen.load(Ordering::SeqCst) {
            return reply(503, &[], "down");
        }
        let terms =
            if request.target.ends_with("/may") { "max-age=0, stale-if-error=600" } else { "max-age=0" };
        reply(200, &[("cache-control", terms), ("etag", "\"1\"")], "up")
    })
    .await;
    let (_gateway, client) = start(&provider).await;
    for path in ["/proxy/api/may", "/proxy/api/mustnt"] {
        assert_eq!(client.get(path).await.text(), "up");
    }
    down.store(true, Ordering::SeqCst);
    let stale = client.get("/proxy/api/may").await;
    assert_eq!(told(&stale), (200, "up".into(), "bascule; fwd=stale; fwd-status=503; detail=transient"));
    assert_eq!(stale.header("bascule-source"), "stale");
    assert_eq!(client.get("/proxy/api/mustnt").await.status, 503);
}

#[tokio::test]
async fn the_rung_cache_answers_when_the_provider_is_gone() {
    let down = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&down);
    let provider = Provider::new(move |request| {
        if seen.load(Ordering::SeqCst) {
            return reply(500, &[], "down");
        }
        let terms =
            if request.target.ends_with("/strict") { "max-age=0, must-revalidate" } else { "max-age=0" };
        reply(200, &[("cache-control", terms), ("etag", "\"1\"")], "up")
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "fallback = \"cache\""))]).await;
    let client = gateway.data();
    for path in ["/proxy/api/a", "/proxy/api/strict", "/v1/api/get?id=1"] {
        assert_eq!(client.get(path).await.text(), "up");
    }
    down.store(true, Ordering::SeqCst);
    for path in ["/proxy/api/a", "/v1/api/get?id=1"] {
        let answer = client.get(path).await;
        assert_eq!((answer.text(), answer.header("bascule-source")), ("up".into(), "stale"), "{path}");
        assert!(answer.header("cache-status").ends_with("detail=transient"), "{answer:?}");
        assert!(!answer.header("age").is_empty());
    }
    assert_eq!(client.get("/proxy/api/strict").await.status, 500);
}

#[tokio::test]
async fn one_request_renews_what_many_wait_for() {
    let gate = Arc::new(Gate::closed());
    let provider = {
        let gate = Arc::clone(&gate);
        Provider::slow(move |request| {
            let gate = Arc::clone(&gate);
            async move {
                gate.pass().await;
                tagged(&request, "no-cache")
            }
        })
        .await
    };
    gate.admit(1);
    let (gateway, client) = start(&provider).await;
    assert_eq!(client.get("/proxy/api/a").await.text(), "body 1");
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        callers.spawn(async move { client.get("/proxy/api/a").await });
    }
    let waiting = || async {
        gateway.metric("cache_requests_total", &[("service", "api"), ("result", "revalidated")]).await == 8.0
    };
    eventually("all callers look", waiting).await;
    gate.open();
    let answers = callers.join_all().await;
    assert!(answers.iter().all(|answer| answer.text() == "body 1"));
    let collapsed =
        answers.iter().filter(|answer| answer.header("cache-status").ends_with("collapsed")).count();
    assert_eq!(collapsed + provider.count(), 9);
    assert_eq!(provider.count(), 2);
}

#[tokio::test]
async fn an_expired_answer_is_given_while_it_is_refreshed() {
    let provider =
        counting(&[("cache-control", "max-age=0, stale-while-revalidate=600"), ("etag", "\"1\"")]).await;
    let (_gateway, client) = start(&provider).await;
    client.get("/proxy/api/a").await;
    let stale = client.get("/proxy/api/a").await;
    assert_eq!(
        (stale.text(), stale.header("bascule-source"), stale.header("bascule-attempts")),
        ("1".into(), "stale", "0")
    );
    eventually("the refresh", || async { client.get("/proxy/api/a").await.text() != "1" }).await;
}

#[tokio::test]
async fn a_refresh_whose_answer_outgrows_the_store_ends_and_leaves_the_way_to_the_next() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let provider = RawProvider::new(move |mut stream| {
        let asked = Arc::clone(&counted);
        async move {
            read_head(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\netag: \"1\"\r\n\
                        cache-control: max-age=0, stale-while-revalidate=600\r\n";
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                let small = format!("{head}content-length: 5\r\n\r\nsmall");
                stream.write_all(small.as_bytes()).await.unwrap();
                return;
            }
            // Without a length: that it is too large shows only when it is read.
            stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
            for _ in 0..64 {
                if stream.write_all(&[b'x'; 64 * 1024]).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), ""))]).await;
    let client = gateway.data();
    client.get("/proxy/api/a").await;
    for requests in 2..5 {
        eventually("another refresh", || async {
            assert_eq!(client.get("/proxy/api/a").await.text(), "small");
            asked.load(Ordering::SeqCst) >= requests
        })
        .await;
    }
}

#[tokio::test]
async fn by_rule_the_proxy_keeps_nothing_that_the_provider_says_is_for_one() {
    for headers in [
        &[("cache-control", "private")] as &[(&str, &str)],
        &[("cache-control", "max-age=60, no-store")],
        &[("vary", "accept, x-api-key")],
    ] {
        let provider = Provider::new(move |request| reply(200, headers, request.number.to_string())).await;
        let rule = config(&provider.url(), "").replace("mode = \"http\"", "ttl = \"1h\"");
        let gateway = Gateway::start(&[("api", &rule)]).await;
        for caller in ["1", "2"] {
            let answer = gateway.data().header("x-api-key", caller).get("/proxy/api/a").await;
            assert_eq!(answer.text(), caller, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_over_max_entry_streams_past_the_store() {
    let provider =
        Provider::new(|_| reply(200, &[("cache-control", "max-age=600")], vec![b'x'; 64 * 1024])).await;
    let small = Gateway::base("[cache]\nmax_entry = \"16KiB\"\n");
    let gateway = Gateway::with(&small, &[("api", &config(&provider.url(), ""))], &[]).await;
    for _ in 0..2 {
        let answer = gateway.data().get("/proxy/api/a").await;
        assert_eq!((answer.body.len(), answer.header("cache-status")), (64 * 1024, "bascule; fwd=miss"));
    }
    assert_eq!(provider.count(), 2);
}

#[tokio::test]
async fn by_rule_the_proxy_keeps_what_is_the_same_for_everybody() {
    let provider = counting(&[]).await;
    let rule = config(&provider.url(), "").replace("mode = \"http\"", "ttl = \"1h\"");
    let gateway = Gateway::start(&[("api", &rule)]).await;
    let client = gateway.data();
    let path = "/proxy/api/a";
    assert_eq!(client.get(path).await.text(), "1");
    assert_eq!(client.get(path).await.text(), "1");
    assert_eq!(client.clone().header("accept", "text/html").get(path).await.text(), "2");
    assert_eq!(client.clone().header("cookie", "a=b").get(path).await.text(), "3");
    assert_eq!(client.clone().header("authorization", "Bearer x").get(path).await.text(), "4");
    assert_eq!(client.send(Method::POST, path, "x").await.text(), "5");
    assert_eq!(client.get(path).await.text(), "1");
}

#[tokio::test]
async fn operators_see_and_drop_what_is_stored() {
    let provider = counting(&[("cache-control", "max-age=600"), ("cache-tag", "red, blue")]).await;
    let (gateway, client) = start(&provider).await;
    let admin = gateway.admin();
    let drop = async |query: &str| {
        let path = format!("/integrations/api/cache{query}");
        admin.send(Method::DELETE, &path, Bytes::new()).await.status.as_u16()
    };
    let both = async || {
        let proxied = client.get("/proxy/api/a?x=1").await.text();
        (proxied, gateway.call("api", "get", json!({ "id": "1" })).await.text())
    };
    let get = "?operation=get&params=%7B%22id%22:%221%22%7D";
    assert_eq!(admin.get(&format!("/integrations/api/cache{get}")).await.status, 404);
    assert_eq!(both().await, ("1".into(), "2".into()));
    let found = admin.get(&format!("/integrations/api/cache{get}")).await.json();
    assert_eq!(
        (&found["status"], &found["length"], &found["headers"]["cache-tag"]),
        (&json!(200), &json!(1), &json!("red, blue"))
    );
    let stats = admin.get("/cache").await.json();
    assert_eq!((&stats["entries"], &stats["integrations"][0]["name"]), (&json!(2), &json!("api")));
    assert_eq!((&stats["misses"], &stats["hits"], &stats["hit_ratio"]), (&json!(2), &json!(0), &json!(0.0)));
    assert_eq!(both().await, ("1".into(), "2".into()));
    let health = gateway.health("api").await;
    assert_eq!((&health["cache"]["hits"], &health["cache"]["hit_ratio"]), (&json!(2), &json!(0.5)));
    assert!(gateway.metric("cache_bytes", &[("service", "api")]).await > 100.0);

    assert_eq!(drop(get).await, 204);
    assert_eq!(both().await, ("1".into(), "3".into()));
    assert_eq!(drop("?operation=proxy&params=%7B%22path%22:%22/a%22,%22query%22:%22x=1%22%7D").await, 204);
    assert_eq!(both().await, ("4".into(), "3".into()));
    assert_eq!(drop("?tag=green").await, 204);
    assert_eq!(both().await, ("4".into(), "3".into()));
    assert_eq!(drop("?tag=blue").await, 204);
    assert_eq!(both().await, ("5".into(), "6".into()));
    assert_eq!(drop("?operation=proxy").await, 204);
    assert_eq!(both().await, ("7".into(), "6".into()));
    assert_eq!(
        (drop("?operation=put&params=%7B%22id%22:%221%22%7D").await, drop("?operation=nope").await),
        (404, 404)
    );
}

/// The length of a body that is not waited for.
const LARGE: usize = 300 * 1024;

/// Sends a large storable answer, half of it behind the gate; the rest only if it is to be whole.
async fn halves(gate: &Arc<Gate>, whole: bool) -> RawProvider {
    let gate = Arc::clone(gate);
    RawProvider::new(move |mut stream| {
        let gate = Arc::clone(&gate);
        async move {
            read_head(&mut stream).await;
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\ncache-control: max-age=600\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&[b'x'; LARGE / 2]).await.unwrap();
            gate.pass().await;
            if whole {
                stream.write_all(&[b'y'; LARGE / 2]).await.unwrap();
            }
        }
    })
    .await
}

/// Reads until that many octets are there.
async fn read(body: &mut Incoming, wanted: usize) -> usize {
    let mut octets = 0;
    while octets < wanted {
        octets += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    octets
}

#[tokio::test]
async fn a_large_answer_reaches_all_who_wait_while_it_is_being_stored() {
    let gate = Arc::new(Gate::closed());
    let provider = halves(&gate, true).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), ""))]).await;
    let client = gateway.data();
    let begin = async || client.begin(Method::GET, "/proxy/api/large", Bytes::new()).await;
    let (mut first, mut second) = (begin().await, begin().await);
    assert_eq!(first.headers()["bascule-source"], "upstream");
    assert_eq!(second.headers()["bascule-source"], "coalesced");
    let read_first = read(first.body_mut(), LARGE / 2).await;
    let read_second = read(second.body_mut(), LARGE / 2).await;
    // Whoever began the fetch may leave.
    drop(first);
    gate.open();
    assert_eq!(read_first, LARGE / 2);
    read(second.body_mut(), LARGE - read_second).await;
    assert!(second.body_mut().frame().await.is_none());
    eventually("it is stored", || async {
        client.get("/proxy/api/large").await.header("bascule-source") == "cache"
    })
    .await;
    assert_eq!(provider.connections(), 1);
}

#[tokio::test]
async fn a_large_answer_that_breaks_off_is_not_stored() {
    let gate = Arc::new(Gate::closed());
    let provider = halves(&gate, false).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), ""))]).await;
    let client = gateway.data();
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(client.begin(Method::GET, "/proxy/api/large", Bytes::new()).await);
    }
    gate.open();
    for answer in answers {
        assert!(answer.into_body().collect().await.is_err(), "nobody takes a part for the whole");
    }
    let again = client.begin(Method::GET, "/proxy/api/large", Bytes::new()).await;
    assert_eq!(
        (again.headers()["bascule-source"].to_str().unwrap(), provider.connections()),
        ("upstream", 2)
    );
}

#[tokio::test]
async fn a_304_may_bring_other_tags() {
    let provider = Provider::new(|request| match request.number {
        1 => reply(200, &[("etag", "\"v\""), ("cache-control", "max-age=0"), ("cache-tag", "red")], "1"),
        2 => reply(304, &[("etag", "\"v\""), ("cache-control", "max-age=60"), ("cache-tag", "blue")], ""),
        number => reply(200, &[("cache-control", "max-age=60")], number.to_string()),
    })
    .await;
    let text =
        format!("base_url = \"{}\"\n[operations.get]\npath = \"/\"\ncache = \"http\"\n", provider.url());
    let gateway = Gateway::start(&[("api", &text)]).await;
    let get = async || gateway.call("api", "get", json!({})).await.text();
    let purge = async |tag: &str| {
        let path = format!("/integrations/api/cache?tag={tag}");
        assert_eq!(gateway.admin().send(Method::DELETE, &path, "").await.status, 204);
    };
    assert_eq!((get().await, get().await, provider.count()), ("1".into(), "1".into(), 2));
    purge("red").await;
    assert_eq!((get().await, provider.count()), ("1".into(), 2), "it is not red any more");
    purge("blue").await;
    assert_eq!((get().await, provider.count()), ("3".into(), 3));
}
