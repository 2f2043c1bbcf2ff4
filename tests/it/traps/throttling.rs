//! Traps around what a provider asks of its callers.

use super::{Bascule, limited, seconds};
use crate::support::{Provider, eventually, reply};
use serde_json::json;

fn config(url: &str, retry: &str) -> String {
    format!(
        "base_url = \"{url}\"\n[retry]\nmax_attempts = 1\n{retry}\n[circuit_breaker]\nfailures = 1\n\
         [operations.get]\npath = \"/get\"\n[operations.other]\npath = \"/other\"\n"
    )
}

#[tokio::test]
async fn a_429_is_a_cool_off_and_never_counted_as_a_failure() {
    let provider = Provider::new(|request| {
        reply(if request.number < 3 { 429 } else { 200 }, &[("retry-after", "1")], "from the provider")
    })
    .await;
    let bascule = Bascule::start(&config(&provider.url(), "")).await;
    for asked in [1, 2] {
        // One failure would open the circuit, and the refusals would be its own.
        eventually("the cool-off ends", async || {
            let answer = bascule.get().await;
            assert!(answer.text() == "from the provider" || answer.code() == limited(), "{answer:?}");
            provider.count() == asked
        })
        .await;
        assert_eq!(bascule.circuit().await, "closed");
    }
    eventually("calls go again", async || bascule.get().await.status == 200).await;
    let metrics = bascule.metrics().await;
    assert_eq!(metrics.sum("circuit_breaker_failures_total", &[]), 0.0);
    assert_eq!(metrics.sum("circuit_breaker_state_changes_total", &[]), 0.0);
    assert_eq!(provider.count(), 3);
}

#[tokio::test]
async fn retry_after_is_neither_ignored_nor_obeyed_without_a_clamp() {
    let clamped = "retry_after_max = \"10s\"";
    for (asked, rule, least, most) in
        [("20", "", 10, 20), ("86400", "", 50, 60), ("20", clamped, 1, 10), ("4102444800", "", 50, 60)]
    {
        let provider = Provider::new(move |_| reply(429, &[("retry-after", asked)], "slow down")).await;
        let bascule = Bascule::start(&config(&provider.url(), rule)).await;
        let first = bascule.get().await;
        assert_eq!((first.status.as_u16(), first.text().as_str()), (429, "slow down"));
        // It is the integration that is held, not the operation that was told so.
        for operation in ["get", "other", "get"] {
            let held = bascule.call(operation, json!({})).await;
            assert_eq!(held.code(), limited(), "{asked} {rule}");
            assert!((least..=most).contains(&seconds(&held)), "{asked} {rule}: {}", seconds(&held));
        }
        assert_eq!(provider.count(), 1, "{asked} {rule}: nobody was sent before the time");
    }
}
