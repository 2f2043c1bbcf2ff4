//! Many callers of one answer: one fetch at its expiry, one failure for all who wait, and nobody who comes after a purge
//! gets what was fetched before it.

use crate::support::{Answer, Gate, Gateway, Provider, eventually, reply};
use http::Method;
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The callers of a hot key: fewer than may wait for one answer.
const CROWD: usize = 1_000;

fn config(url: &str, cache: &str) -> String {
    format!(
        "base_url = \"{url}\"\n[retry]\nmax_attempts = 1\n[circuit_breaker]\nmode = \"off\"\n[operations.get]\n\
         path = \"/things/{{id}}\"\ncache = {cache}\nfallback = [{{ default = {{ from = \"the ladder\" }} }}]\n"
    )
}

/// A provider that is held back, and answers with the number of the request.
async fn held(gate: &Gate, status: u16, headers: &'static [(&'static str, &'static str)]) -> Provider {
    let gate = gate.clone();
    Provider::slow(move |request| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            reply(status, headers, request.number.to_string())
        }
    })
    .await
}

fn crowd(gateway: &Arc<Gateway>) -> JoinSet<Answer> {
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let gateway = Arc::clone(gateway);
        crowd.spawn(async move { gateway.call("api", "get", json!({ "id": "1" })).await });
    }
    crowd
}

#[tokio::test]
async fn a_thousand_callers_at_the_expiry_of_an_answer_make_one_request() {
    for (cache, headers) in [
        ("\"100ms\"", &[][..]),
        ("\"http\"", &[("cache-control", "max-age=0, must-revalidate"), ("etag", "\"1\"")][..]),
    ] {
        let gate = Gate::closed();
        let provider = held(&gate, 200, headers).await;
        let other = Provider::new(|_| reply(200, &[], "")).await;
        let change = format!(
            "base_url = \"{}\"\n[cache]\nmode = \"http\"\n[operations.change]\nmethod = \"POST\"\npath = \"/\"\n",
            other.url()
        );
        let api = config(&provider.url(), cache);
        let gateway = Arc::new(Gateway::start(&[("api", &api), ("other", &change)]).await);
        gate.admit(1);
        assert_eq!(gateway.call("api", "get", json!({ "id": "1" })).await.text(), "1");
        let stored = "/integrations/api/cache?operation=get&params=%7B%22id%22%3A%221%22%7D";
        eventually("its time is over", async || {
            let stored = gateway.admin().get(stored).await;
            stored.status == 404 || stored.json()["ttl"].as_i64().is_some_and(|ttl| ttl < 0)
        })
        .await;
        let mut callers = crowd(&gateway);
        let looks = async |number: usize| {
            gateway.reaches("cache_requests_total", &[("service", "api")], number as f64).await;
        };
        looks(CROWD + 1).await;
        eventually("the crowd's request is out", async || provider.count() == 2).await;
        // What others change meanwhile is nothing to those who wait, nor to who comes to wait.
        assert_eq!(gateway.call("other", "change", json!({})).await.status, 200);
        let late = Arc::clone(&gateway);
        callers.spawn(async move { late.call("api", "get", json!({ "id": "1" })).await });
        looks(CROWD + 2).await;
        gate.open();
        while let Some(answer) = callers.join_next().await {
            let answer = answer.unwrap();
            assert_eq!((answer.status.as_u16(), answer.text()), (200, "2".into()));
        }
        assert_eq!(provider.count(), 2, "{cache}");
    }
}

#[tokio::test]
async fn a_failed_fetch_fails_for_all_who_wait_and_no_second_wave_follows() {
    let gate = Gate::closed();
    let provider = held(&gate, 503, &[]).await;
    let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), "\"1h\""))]).await);
    let mut callers = crowd(&gateway);
    eventually("all wait", async || {
        gateway.metric("cache_requests_total", &[("service", "api")]).await >= CROWD as f64
    })
    .await;
    gate.open();
    while let Some(answer) = callers.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(
            (answer.header("bascule-source"), answer.text().as_str()),
            ("default", r#"{"from":"the ladder"}"#)
        );
    }
    assert_eq!(provider.count(), 1, "each ran its ladder, and the provider was asked once");
}

#[tokio::test]
async fn who_comes_after_a_purge_does_not_wait_for_what_was_fetched_before_it() {
    let purges = ["?operation=get", "", "?operation=get&params=%7B%22id%22%3A%221%22%7D", "?tag=whatever"];
    for (cache, purge) in purges.iter().map(|purge| ("\"1h\"", purge)).chain([("\"http\"", &purges[2])]) {
        let gate = Gate::closed();
        let provider = held(&gate, 200, &[("cache-control", "max-age=60")]).await;
        let gateway = Arc::new(Gateway::start(&[("api", &config(&provider.url(), cache))]).await);
        let ask = || {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move { gateway.call("api", "get", json!({ "id": "1" })).await.text() })
        };
        let before = ask();
        eventually("the first is out", async || provider.count() == 1).await;
        let path = format!("/integrations/api/cache{purge}");
        assert_eq!(gateway.admin().send(Method::DELETE, &path, "").await.status, 204);
        let after = ask();
        eventually("so is a second one", async || provider.count() == 2).await;
        gate.open();
        assert_eq!(
            (before.await.unwrap(), after.await.unwrap()),
            ("1".into(), "2".into()),
            "{cache} {purge}"
        );
    }
}
