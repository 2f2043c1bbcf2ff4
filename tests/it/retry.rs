//! Which calls are tried again, how often, and after what wait.

use crate::support::{Answer, Gateway, Provider, RawProvider, read_head, refused_url, reply};
use http::Method;
use parking_lot::Mutex;
use serde_json::json;
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::io::AsyncWriteExt;

/// `get`, `put` and `delete` are safe to repeat, `post` and `patch` are not, `pay` has a key.
fn config(url: &str, retry: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
{retry}
[circuit_breaker]
mode = "off"
[operations]
get = {{ path = "/get" }}
put = {{ path = "/put", method = "PUT", params.note = {{ type = "string" }} }}
delete = {{ path = "/delete", method = "DELETE" }}
post = {{ path = "/post", method = "POST", params.note = {{ type = "string" }} }}
patch = {{ path = "/patch", method = "PATCH" }}
harmless = {{ path = "/harmless", method = "POST", retry_safe = true }}
pay = {{ path = "/pay", method = "POST", idempotency = {{}} }}
keyed = {{ path = "/keyed", method = "POST", idempotency = {{ header = "X-Key", generate = false }} }}
upload = {{ path = "/upload", method = "PUT", body = "raw" }}
"#
    )
}

/// Fails this often with the status, then works.
async fn failing(times: usize, status: u16, headers: &'static [(&'static str, &'static str)]) -> Provider {
    Provider::new(
        move |request| {
            if request.number <= times { reply(status, headers, "no") } else { reply(200, &[], "yes") }
        },
    )
    .await
}

async fn call(gateway: &Gateway, operation: &str) -> Answer {
    gateway.call("api", operation, json!({})).await
}

fn attempts(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.header("bascule-attempts"))
}

const QUICK: &str = "base_delay = \"1ms\"";

#[tokio::test]
async fn a_failing_call_is_tried_until_it_works() {
    let provider = failing(3, 503, &[]).await;
    let gateway =
        Gateway::start(&[("api", &config(&provider.url(), "max_attempts = 4\nbase_delay = \"1ms\""))]).await;
    assert_eq!(attempts(&call(&gateway, "get").await), (200, "4"));
    assert_eq!(provider.count(), 4);
    let labels = [("service", "api"), ("endpoint", "get")];
    assert_eq!(gateway.metric("integration_retries_total", &labels).await, 3.0);
    assert_eq!(gateway.metric("integration_requests_total", &labels).await, 1.0);
}

#[tokio::test]
async fn three_attempts_are_made_by_default_and_the_last_answer_passes_through() {
    for status in [408, 500, 502, 503, 504] {
        let provider = failing(9, status, &[]).await;
        let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
        let answer = call(&gateway, "get").await;
        assert_eq!(attempts(&answer), (status, "3"));
        assert_eq!(answer.text(), "no");
        assert_eq!(answer.header("bascule-source"), "upstream");
        assert_eq!(provider.count(), 3);
    }
}

#[tokio::test]
async fn permanent_failures_are_not_tried_again() {
    for status in [400, 404, 409, 422, 501, 505, 507] {
        let provider = failing(9, status, &[]).await;
        let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
        assert_eq!(attempts(&call(&gateway, "get").await), (status, "1"));
    }
}

#[tokio::test]
async fn one_attempt_means_no_retry() {
    let provider = failing(9, 503, &[]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "max_attempts = 1"))]).await;
    assert_eq!(attempts(&call(&gateway, "get").await), (503, "1"));
}

#[tokio::test]
async fn only_what_is_safe_is_sent_twice() {
    for (operation, made) in [
        ("put", "2"),
        ("delete", "2"),
        ("harmless", "2"),
        ("pay", "2"),
        ("post", "1"),
        ("patch", "1"),
        ("keyed", "1"),
    ] {
        let provider = failing(1, 503, &[]).await;
        let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
        let answer = gateway.call("api", operation, json!({})).await;
        assert_eq!(answer.header("bascule-attempts"), made, "{operation}");
        assert_eq!(provider.count().to_string(), made, "{operation}");
    }
}

#[tokio::test]
async fn every_attempt_carries_the_whole_body() {
    let provider = failing(2, 503, &[]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
    let answer = gateway.call("api", "put", json!({"note": "hello"})).await;
    assert_eq!(attempts(&answer), (200, "3"));
    let answer = gateway.data().send(Method::PUT, "/v1/api/upload", "octets").await;
    assert_eq!(answer.status, 200);
    let bodies: Vec<_> = provider.seen().into_iter().map(|request| request.body).collect();
    assert_eq!(
        bodies,
        [&br#"{"note":"hello"}"#[..], br#"{"note":"hello"}"#, br#"{"note":"hello"}"#, b"octets"]
    );
}

#[tokio::test]
async fn a_small_upload_of_known_length_is_held_for_another_attempt() {
    let provider = failing(1, 503, &[]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
    let answer = gateway.data().send(Method::PUT, "/v1/api/upload", "octets").await;
    assert_eq!(attempts(&answer), (200, "2"));
    assert!(provider.seen().iter().all(|request| request.body == "octets"));
    // One that is larger than the replay buffer goes once.
    let provider = failing(1, 503, &[]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
    let answer = gateway.data().send(Method::PUT, "/v1/api/upload", vec![b'x'; 1024 * 1024 + 1]).await;
    assert_eq!(attempts(&answer), (503, "1"));
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_even_if_the_call_is_not_safe() {
    let (_reserved, url) = refused_url();
    let gateway = Gateway::start(&[("api", &config(&url, QUICK))]).await;
    let answer = call(&gateway, "post").await;
    assert_eq!(answer.code(), (502, "upstream-unreachable".to_owned()));
    assert_eq!(answer.header("bascule-attempts"), "3");
    assert_eq!(answer.json()["attempts"], 3);
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_is_tried_again_only_if_that_is_safe() {
    let provider = RawProvider::new(|mut stream| async move { drop(read_head(&mut stream).await) }).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
    let answer = call(&gateway, "post").await;
    assert_eq!(answer.code(), (502, "upstream-unreachable".to_owned()));
    assert_eq!((answer.header("bascule-attempts"), provider.connections()), ("1", 1));
    let answer = call(&gateway, "get").await;
    assert_eq!(answer.code(), (502, "upstream-unreachable".to_owned()));
    assert_eq!((answer.header("bascule-attempts"), provider.connections()), ("3", 4));
}

#[tokio::test]
async fn the_list_of_statuses_replaces_the_default_one() {
    for (status, made) in [(500, "3"), (418, "1"), (503, "1"), (429, "1")] {
        let provider = failing(9, status, &[("retry-after", "0")]).await;
        let retry = format!("{QUICK}\non = [500]");
        let gateway = Gateway::start(&[("api", &config(&provider.url(), &retry))]).await;
        assert_eq!(attempts(&call(&gateway, "get").await), (status, made));
    }
}

#[tokio::test]
async fn explicit_delays_are_waited_out() {
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = Arc::clone(&times);
    let provider = Provider::new(move |_| {
        noted.lock().push(Instant::now());
        reply(503, &[], "")
    })
    .await;
    let gateway =
        Gateway::start(&[("api", &config(&provider.url(), "delays = [\"300ms\", \"100ms\"]"))]).await;
    assert_eq!(attempts(&call(&gateway, "get").await), (503, "3"));
    let times = times.lock();
    assert!(times[1] - times[0] >= Duration::from_millis(300));
    assert!(times[2] - times[1] >= Duration::from_millis(100));
}

#[tokio::test]
async fn retry_after_wins_when_it_is_longer() {
    for status in [503, 429] {
        let provider = failing(1, status, &[("retry-after", "1")]).await;
        let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
        let begun = Instant::now();
        assert_eq!(attempts(&call(&gateway, "get").await), (200, "2"));
        assert!(begun.elapsed() >= Duration::from_millis(990), "{status}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_retry_after_beyond_the_limit_ends_the_call_at_once() {
    for status in [503, 429] {
        let provider = failing(1, status, &[("retry-after", "5")]).await;
        let retry = format!("{QUICK}\nretry_after_max = \"1s\"");
        let gateway = Gateway::start(&[("api", &config(&provider.url(), &retry))]).await;
        let answer = call(&gateway, "get").await;
        assert_eq!(attempts(&answer), (status, "1"));
        assert_eq!(answer.header("retry-after"), "5");
    }
}

#[tokio::test]
async fn a_retry_after_beyond_the_deadline_ends_the_call_at_once() {
    let provider = failing(1, 503, &[("retry-after", "50")]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
    let begun = Instant::now();
    assert_eq!(attempts(&call(&gateway, "get").await), (503, "1"));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn retries_stay_within_the_budget_of_the_integration() {
    let provider = failing(99, 503, &[]).await;
    let retry = format!("{QUICK}\nbudget = {{ ratio = 0.0, floor = 3, window = \"1h\" }}");
    let gateway = Gateway::start(&[("api", &config(&provider.url(), &retry))]).await;
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(call(&gateway, "get").await.header("bascule-attempts").to_owned());
    }
    assert_eq!(made, ["3", "2", "1", "1"]);
}

#[tokio::test]
async fn the_time_that_failures_took_is_no_reason_against_a_retry() {
    // Only how long *successful* attempts take says whether another one can still finish.
    let provider = Provider::slow(|request| async move {
        if request.number.is_multiple_of(2) {
            return reply(503, &[], "");
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
        reply(503, &[], "")
    })
    .await;
    let config = format!(
        "timeout = \"2500ms\"\n{}",
        config(&provider.url(), "max_attempts = 2\nbase_delay = \"1ms\"")
    );
    let gateway = Gateway::start(&[("api", &config)]).await;
    for _ in 0..2 {
        assert_eq!(attempts(&call(&gateway, "get").await), (503, "2"));
    }
}

#[tokio::test]
async fn a_generated_key_is_the_same_on_all_attempts_and_new_on_every_call() {
    let provider = failing(2, 503, &[]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
    assert_eq!(attempts(&call(&gateway, "pay").await), (200, "3"));
    assert_eq!(attempts(&call(&gateway, "pay").await), (200, "1"));
    let keys: Vec<String> =
        provider.seen().iter().map(|request| request.header("idempotency-key").to_owned()).collect();
    assert!(keys[0].len() >= 32 && keys[0] == keys[1] && keys[1] == keys[2], "{keys:?}");
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 2);
}

#[tokio::test]
async fn the_callers_key_is_kept() {
    let provider = failing(2, 503, &[]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
    let client = gateway.data().header("idempotency-key", "mine");
    assert_eq!(attempts(&client.post("/v1/api/pay", &json!({})).await), (200, "3"));
    assert!(provider.seen().iter().all(|request| request.header("idempotency-key") == "mine"));
    // A declared header, and no key of our own making: with the caller's the call is safe to repeat.
    let provider = failing(1, 503, &[]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
    let client = gateway.data().header("x-key", "theirs");
    assert_eq!(attempts(&client.post("/v1/api/keyed", &json!({})).await), (200, "2"));
    assert!(provider.seen().iter().all(|request| request.header("x-key") == "theirs"));
}

#[tokio::test]
async fn keys_make_proxied_calls_safe_too() {
    let provider = failing(1, 503, &[]).await;
    let config = format!("idempotency = {{ generate = true }}\n{}", config(&provider.url(), QUICK));
    let gateway = Gateway::start(&[("api", &config)]).await;
    let answer = gateway.data().send(Method::POST, "/proxy/api/anything", "x").await;
    assert_eq!(attempts(&answer), (200, "2"));
    let seen = provider.seen();
    assert!(!seen[0].header("idempotency-key").is_empty());
    assert_eq!(seen[0].header("idempotency-key"), seen[1].header("idempotency-key"));
    assert_eq!(seen[1].body, "x");
}

#[tokio::test]
async fn callers_may_skip_retries() {
    let provider = failing(9, 503, &[]).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
    let client = gateway.data().header("bascule-skip", "retry");
    assert_eq!(attempts(&client.get("/v1/api/get").await), (503, "1"));
}

/// Answers the first request of its first connection, and closes at the second one.
async fn closing() -> RawProvider {
    let connections = Arc::new(AtomicUsize::new(0));
    RawProvider::new(move |mut stream| {
        let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            while read_head(&mut stream).await.ends_with(b"\r\n\r\n") {
                if stream.write_all(answer).await.is_err() {
                    return;
                }
                if first {
                    drop(read_head(&mut stream).await);
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_dead_kept_connection_is_replaced_without_costing_an_attempt() {
    let provider = closing().await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), "max_attempts = 1"))]).await;
    assert_eq!(attempts(&call(&gateway, "get").await), (200, "1"));
    assert_eq!(attempts(&call(&gateway, "get").await), (200, "1"));
    assert_eq!(provider.connections(), 2);
    assert_eq!(gateway.metric("integration_retries_total", &[("service", "api")]).await, 0.0);
}

#[tokio::test]
async fn what_may_have_been_received_over_a_dead_connection_is_not_sent_again() {
    let provider = closing().await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), QUICK))]).await;
    assert_eq!(attempts(&call(&gateway, "get").await), (200, "1"));
    let answer = call(&gateway, "post").await;
    assert_eq!(answer.code(), (502, "upstream-unreachable".to_owned()));
    assert_eq!((answer.header("bascule-attempts"), provider.connections()), ("1", 1));
}
