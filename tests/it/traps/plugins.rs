//! Traps around plugins.

use super::Bascule;
use crate::support::{Provider, eventually, guest, reply};
use serde_json::json;

/// An integration with that guest; `trap` traps in every operation but `calm`.
fn config(url: &str, name: &str) -> String {
    format!(
        "base_url = \"{url}\"\n[[plugins]]\nsource = \"{}\"\ngrants = [\"random\"]\n\
         [operations.loop]\npath = \"/x\"\n[operations.calm]\npath = \"/x\"\n",
        guest(name)
    )
}

#[tokio::test]
async fn a_trapped_plugin_does_not_stay_dead() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let bascule =
        Bascule::start(&config(&provider.url(), "trap").replace("grants = [\"random\"]\n", "")).await;
    // The instance is gone, the plugin is not: the next call has a fresh one.
    for _ in 0..3 {
        assert_eq!(bascule.call("loop", json!({})).await.problem(), "plugin-trapped");
        assert_eq!(bascule.call("calm", json!({})).await.status, 200);
    }
    // One that keeps trapping is left alone for a while, but not for ever.
    eventually("the plugin is left alone", async || {
        bascule.call("loop", json!({})).await.problem() == "plugin-unavailable"
    })
    .await;
    eventually("it is tried again", async || bascule.call("calm", json!({})).await.status == 200).await;
    assert_eq!(bascule.call("calm", json!({})).await.status, 200);
}

/// Reloads before the first look, so that what is made once has been made.
const WARM: usize = 20;
const RELOADS: usize = 100;
const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn memory_does_not_grow_with_every_plugin_reload() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let bascule = Bascule::start(&config(&provider.url(), "wants-random")).await;
    let mut before = (0, 0);
    for reload in 0..WARM + RELOADS {
        if reload == WARM {
            before = (bascule.memory("VmRSS:"), bascule.code_regions());
        }
        let plugin = ["echo", "wants-random"][reload % 2];
        let answer = bascule.reload(&config(&provider.url(), plugin)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["changed"]),
            (200, &json!(["api"])),
            "{}",
            answer.text()
        );
        // The code has run, so none of it is merely waiting to be loaded.
        assert_eq!(bascule.call("calm", json!({})).await.status, 200);
    }
    // A plugin that is kept keeps its code mapped: a leak is one region more with each reload.
    let regions = bascule.code_regions().saturating_sub(before.1);
    assert!(regions < 10, "{regions} regions of code more after {RELOADS} reloads");
    let growth = bascule.memory("VmRSS:").saturating_sub(before.0);
    assert!(growth < 24 * MIB, "grew by {} KiB over {RELOADS} reloads", growth / 1024);
}
