//! A provider that answers every request with status 200: only a plugin can tell what went wrong.

use crate::support::{Gateway, Provider, guest, reply};
use serde_json::json;

const BUSY: &str = r#"{"status":"error","code":"busy"}"#;
const NONE: &str = r#"{"status":"error","code":"no_such_item","message":"there is none"}"#;
const SLOW: &str = r#"{"status":"error","code":"slow_down","retry_in":90,"message":"easy"}"#;
const GOOD: &str = r#"{"status":"ok","items":[1]}"#;

fn shop(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 3
base_delay = "1ms"
[circuit_breaker]
failures = 2
[[plugins]]
source = "{}"
grants = ["body-read"]
[operations.get]
path = "/get"
query = {{ n = "{{n}}" }}
params.n = {{ type = "integer" }}
cache = "10m"
"#,
        guest("always-200")
    )
}

async fn scripted(answers: &'static [&'static str]) -> (Provider, Gateway) {
    let provider = Provider::new(move |request| {
        let answer = answers.get(request.number - 1).or(answers.last()).copied().unwrap();
        reply(200, &[("content-type", "application/json")], answer)
    })
    .await;
    let gateway = Gateway::start(&[("shop", &shop(&provider.url()))]).await;
    (provider, gateway)
}

#[tokio::test]
async fn an_error_document_is_tried_again_and_never_cached() {
    let (provider, gateway) = scripted(&[BUSY, BUSY, GOOD]).await;
    let answer = gateway.call("shop", "get", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-attempts")), (200, "3"));
    assert_eq!(answer.text(), GOOD);
    assert_eq!(gateway.call("shop", "get", json!({})).await.header("bascule-source"), "cache");
    assert_eq!(provider.count(), 3);
}

#[tokio::test]
async fn the_breaker_counts_what_the_document_says() {
    let (provider, gateway) = scripted(&[BUSY]).await;
    for n in 0..2 {
        let answer = gateway.call("shop", "get", json!({"n": n})).await;
        assert_eq!(answer.code(), (502, "plugin-failed".to_owned()));
        assert_eq!(
            (&answer.json()["code"], &answer.json()["upstream_status"]),
            (&json!("busy"), &json!(200))
        );
    }
    assert_eq!(gateway.health("shop").await["circuit_state"], "open");
    assert_eq!(provider.count(), 6, "it counts calls, not their attempts");
    assert_eq!(gateway.call("shop", "get", json!({})).await.problem(), "circuit-open");
}

#[tokio::test]
async fn callers_read_the_providers_own_code_and_status_by_its_kind() {
    let (provider, gateway) = scripted(&[NONE]).await;
    for _ in 0..3 {
        let answer = gateway.call("shop", "get", json!({})).await;
        assert_eq!(answer.code(), (404, "plugin-rejected".to_owned()));
        assert_eq!(
            (&answer.json()["code"], &answer.json()["detail"]),
            (&json!("no_such_item"), &json!("there is none"))
        );
    }
    assert_eq!(provider.count(), 3, "rejected: neither tried again nor cached");
    assert_eq!(gateway.health("shop").await["circuit_state"], "closed");
}

#[tokio::test]
async fn a_throttle_in_the_document_holds_all_calls() {
    let (provider, gateway) = scripted(&[SLOW]).await;
    let answer = gateway.call("shop", "get", json!({})).await;
    assert_eq!(answer.code(), (429, "plugin-rejected".to_owned()));
    let next = gateway.call("shop", "get", json!({"n": 2})).await;
    assert_eq!(next.status, 429);
    assert!(
        next.json()["retry_after_ms"].as_u64().is_some_and(|millis| (1..=60_000).contains(&millis)),
        "{}",
        next.text()
    );
    assert_eq!(provider.count(), 1, "nobody waits that long, and the second was not sent");
}
