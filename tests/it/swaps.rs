//! Thousands of swaps under load: no call fails, and no memory is kept.
//!
//! `cargo xtask soak` makes ten thousand; the test makes as many as take some seconds.

use crate::support::{
    Client, Provider, Served, config_folder, reply,
    wat::{append_exchanges, write_version},
};
use http::Method;
use serde_json::json;
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use tokio::task::JoinHandle;

/// Swaps unless `BASCULE_SWAPS` says otherwise.
const SWAPS: usize = 1_000;
/// Swaps before memory is looked at first: pools, caches and the allocator's arenas have found their sizes then.
const WARM_UP: usize = 300;
/// What the resident memory may have grown by at the end, in KiB. A version that is not given back costs tens of KiB,
/// so that keeping each would grow it by some times as much within the test.
const GROWTH_MAX: u64 = 8 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_swaps_under_load_fail_no_call_and_keep_no_memory() {
    let swaps =
        std::env::var("BASCULE_SWAPS").map_or(SWAPS, |count| count.parse().expect("a number of swaps"));
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let folder = config_folder(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[telemetry]\ncompletion_log = false\n",
        &[("shop", &shop(&provider.url())), ("other", &shop(&provider.url()))],
    );
    let versions = ["1", "2"].map(|version| {
        write_version(folder.path(), "mine", version);
        let expect = json!({"patch": {"headers": [["x-version", version]]}});
        let request = json!({"method": "GET", "path": "/"});
        let step = json!({"phase": "signer", "request": request, "authority": "host", "expect": expect});
        append_exchanges(folder.path(), "mine", &json!({"name": "version", "steps": [step]}));
        fs::read(folder.path().join("mine.wasm")).unwrap()
    });
    let gateway =
        Served::start(folder.path(), &[], &[("RUST_LOG", "warn,bascule=warn,bascule::cli=info")]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let traffic: Vec<_> =
        ["shop", "other"].map(|name| good_traffic(gateway.data(), name, Arc::clone(&stop))).into();

    let (begun, mut warm) = (Instant::now(), 0);
    for number in 0..swaps {
        swap(folder.path(), &versions[number % 2]);
        let answer = gateway.admin().send(Method::POST, "/config/reload", "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["changed"], json!(["other", "shop"]));
        if number == WARM_UP {
            warm = resident(gateway.id());
        }
    }
    let (took, end) = (begun.elapsed(), resident(gateway.id()));
    stop.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for traffic in traffic {
        calls += traffic.await.unwrap();
    }
    println!(
        "{swaps} swaps in {took:?}, {calls} calls, {warm} KiB after {WARM_UP} swaps, {end} KiB at the end"
    );
    assert!(calls > 0);
    let both =
        ["1", "2"].map(|version| provider.seen().iter().any(|seen| seen.header("x-version") == version));
    assert_eq!(both, [true, true], "the traffic met both versions");
    assert!(end <= warm + GROWTH_MAX, "{warm} KiB after {WARM_UP} swaps, {end} KiB after {swaps}");
}

fn shop(url: &str) -> String {
    format!(
        "base_url = \"{url}\"\n[retry]\nmax_attempts = 1\n[[plugins]]\nsource = \"mine.wasm\"\n[operations.get]\npath = \"/x\"\n"
    )
}

/// The new file in place of the old one, whole.
fn swap(folder: &Path, version: &[u8]) {
    fs::write(folder.join("next"), version).unwrap();
    fs::rename(folder.join("next"), folder.join("mine.wasm")).unwrap();
}

/// Calls until it is told to stop; every call has to succeed. Returns how many there were.
fn good_traffic(client: Client, integration: &'static str, stop: Arc<AtomicBool>) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let mut calls = 0;
        while !stop.load(Ordering::Relaxed) {
            let answer = client.get(&format!("/v1/{integration}/get")).await;
            assert_eq!(answer.status, 200, "call {calls}: {}", answer.text());
            calls += 1;
        }
        calls
    })
}

/// Resident memory of a process, in KiB.
fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
