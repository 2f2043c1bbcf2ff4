//! Versions of plugins that take each other's place: what stays, what comes back, and what is noticed by itself.

use crate::support::{
    Gate, Gateway, Provider, eventually, reply,
    wat::{CLASSIFY, SIGN, write_trapping, write_version},
};
use bascule_plugin_host::PluginHost;
use http::Method;
use serde_json::{Value, json};
use std::{fs, path::Path, sync::Arc};

const MINE: &str = "[[plugins]]\nsource = \"mine.wasm\"\n";

fn shop(url: &str, plugins: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 2
base_delay = "1ms"
{plugins}
[operations.get]
path = "/x"
"#
    )
}

/// A gateway whose plugin `mine.wasm` is version 1.
async fn with_version_1(provider: &Provider, gateway: &str) -> Gateway {
    let gateway = Gateway::with(gateway, &[], &[]).await;
    write_version(gateway.folder(), "mine", "1");
    gateway.rewrite("shop", &shop(&provider.url(), MINE));
    assert_eq!(reload(&gateway).await, ["shop"]);
    gateway
}

/// Reloads; the integrations that changed.
async fn reload(gateway: &Gateway) -> Vec<String> {
    let answer = gateway.admin().send(Method::POST, "/config/reload", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_value(answer.json()["changed"].take()).unwrap()
}

/// The status of a call and the version that signed it.
async fn call(gateway: &Gateway, provider: &Provider) -> (u16, String) {
    let answer = gateway.data().get("/v1/shop/get").await;
    (answer.status.as_u16(), provider.last().header("x-version").to_owned())
}

fn digest(folder: &Path) -> String {
    PluginHost::digest_of(&fs::read(folder.join("mine.wasm")).unwrap())
}

async fn plugin(gateway: &Gateway) -> Value {
    gateway.health("shop").await["plugins"][0].take()
}

/// Swaps in a version that traps, and calls until its breaker opens.
async fn swap_in_a_bad_one(gateway: &Gateway) -> String {
    write_trapping(gateway.folder(), "mine", "signer", SIGN);
    assert_eq!(reload(gateway).await, ["shop"]);
    for _ in 0..5 {
        assert_eq!(gateway.data().get("/v1/shop/get").await.problem(), "plugin-trapped");
    }
    digest(gateway.folder())
}

async fn rolled_back(gateway: &Gateway, times: f64) {
    gateway.reaches("plugin_rollbacks_total", &[("plugin", "mine")], times).await;
}

#[tokio::test]
async fn a_version_that_keeps_failing_gives_way_to_the_one_before() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = with_version_1(&provider, &Gateway::base("")).await;
    let good = digest(gateway.folder());
    let first = plugin(&gateway).await;
    assert_eq!((&first["swapped_at"], &first["rolled_back_from"]), (&Value::Null, &Value::Null));
    let bad = swap_in_a_bad_one(&gateway).await;
    rolled_back(&gateway, 1.0).await;
    assert_eq!(call(&gateway, &provider).await, (200, "1".into()));
    let health = plugin(&gateway).await;
    assert_eq!((&health["digest"], &health["rolled_back_from"]), (&json!(good), &json!(bad)));
    assert!(health["swapped_at"].as_str().unwrap().ends_with("GMT"), "{health}");

    // The bad file is still there: it stays out, also when something else of the integration changes.
    assert_eq!(reload(&gateway).await, [""; 0]);
    assert_eq!(call(&gateway, &provider).await, (200, "1".into()));
    gateway.rewrite("shop", &(shop(&provider.url(), MINE) + "[operations.more]\npath = \"/more\"\n"));
    assert_eq!(reload(&gateway).await, ["shop"]);
    assert_eq!(call(&gateway, &provider).await, (200, "1".into()));
    assert_eq!(plugin(&gateway).await["rolled_back_from"], bad);

    write_version(gateway.folder(), "mine", "2");
    assert_eq!(reload(&gateway).await, ["shop"]);
    assert_eq!(call(&gateway, &provider).await, (200, "2".into()));
    assert_eq!(plugin(&gateway).await["rolled_back_from"], Value::Null);
    rolled_back(&gateway, 1.0).await;
}

#[tokio::test]
async fn a_version_that_would_leave_calls_unsigned_does_not_come_back() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = Gateway::with(&Gateway::base(""), &[], &[]).await;
    write_trapping(gateway.folder(), "mine", "classifier", CLASSIFY);
    gateway.rewrite("shop", &shop(&provider.url(), MINE));
    assert_eq!(reload(&gateway).await, ["shop"]);
    // The plugin's table stays as it is; what the integration wants of it does not.
    gateway.rewrite("shop", &shop(&provider.url(), &format!("[auth]\ntype = \"plugin\"\n{MINE}")));
    let bad = swap_in_a_bad_one(&gateway).await;
    for _ in 0..20 {
        // A reload waits for a rollback that is under way.
        assert_eq!(reload(&gateway).await, [""; 0]);
        assert_eq!(gateway.data().get("/v1/shop/get").await.problem(), "plugin-unavailable");
    }
    assert_eq!(plugin(&gateway).await["digest"], bad);
    assert_eq!(provider.count(), 0, "nothing went out unsigned");
}

#[tokio::test]
async fn putting_the_old_file_back_ends_the_matter() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = with_version_1(&provider, &Gateway::base("")).await;
    swap_in_a_bad_one(&gateway).await;
    rolled_back(&gateway, 1.0).await;
    write_version(gateway.folder(), "mine", "1");
    assert_eq!(reload(&gateway).await, ["shop"]);
    let health = plugin(&gateway).await;
    assert_eq!(
        (&health["digest"], &health["rolled_back_from"]),
        (&json!(digest(gateway.folder())), &Value::Null)
    );
    assert_eq!(call(&gateway, &provider).await, (200, "1".into()));
    // And should the bad one come again, it is tried again, and goes again.
    swap_in_a_bad_one(&gateway).await;
    rolled_back(&gateway, 2.0).await;
    assert_eq!(call(&gateway, &provider).await, (200, "1".into()));
}

#[tokio::test]
async fn a_version_that_came_with_another_table_has_nothing_to_go_back_to() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = with_version_1(&provider, &Gateway::base("")).await;
    gateway.rewrite("shop", &shop(&provider.url(), &format!("{MINE}attributes = {{ a = \"b\" }}\n")));
    swap_in_a_bad_one(&gateway).await;
    for _ in 0..3 {
        assert_eq!(gateway.data().get("/v1/shop/get").await.problem(), "plugin-unavailable");
    }
    assert_eq!(gateway.metric("plugin_rollbacks_total", &[]).await, 0.0);
}

#[tokio::test]
async fn the_other_plugins_of_an_integration_stay_as_they_are() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = Gateway::start(&[]).await;
    write_version(gateway.folder(), "mine", "1");
    write_trapping(gateway.folder(), "judge", "classifier", CLASSIFY);
    let both = format!("{MINE}[[plugins]]\nsource = \"judge.wasm\"\n");
    gateway.rewrite("shop", &shop(&provider.url(), &both));
    reload(&gateway).await;
    for _ in 0..6 {
        assert_eq!(call(&gateway, &provider).await, (200, "1".into()));
    }
    let judged = async |kind: &str| {
        gateway.metric("plugin_failures_total", &[("plugin", "judge"), ("kind", kind)]).await
    };
    assert_eq!((judged("trap").await, judged("unavailable").await), (5.0, 1.0));
    write_version(gateway.folder(), "mine", "2");
    assert_eq!(reload(&gateway).await, ["shop"]);
    assert_eq!(call(&gateway, &provider).await, (200, "2".into()));
    assert_eq!((judged("trap").await, judged("unavailable").await), (5.0, 2.0), "its breaker is still open");
    assert_eq!(gateway.metric("plugin_rollbacks_total", &[]).await, 0.0, "it was there from the start");
}

#[tokio::test]
async fn a_call_in_flight_keeps_the_version_that_it_began_with() {
    let gate = Gate::closed();
    let held = gate.clone();
    let provider = Provider::slow(move |request| {
        let gate = held.clone();
        async move {
            if request.number == 1 {
                gate.pass().await;
                return reply(503, &[], "");
            }
            reply(200, &[], "{}")
        }
    })
    .await;
    let gateway = Arc::new(with_version_1(&provider, &Gateway::base("")).await);
    let calling = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.data().get("/v1/shop/get").await.status.as_u16() }
    });
    eventually("the provider has the call", async || provider.count() == 1).await;
    write_version(gateway.folder(), "mine", "2");
    reload(&gateway).await;
    assert_eq!(call(&gateway, &provider).await, (200, "2".into()));
    gate.open();
    assert_eq!(calling.await.unwrap(), 200);
    let versions: Vec<String> =
        provider.seen().iter().map(|request| request.header("x-version").to_owned()).collect();
    assert_eq!(versions, ["1", "2", "1"], "its second attempt is signed by the first version");
}

#[tokio::test]
async fn watched_files_are_loaded_by_themselves() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let watching = Gateway::base("").replace("[server]\n", "[server]\nwatch = true\n");
    let gateway = with_version_1(&provider, &watching).await;
    let comes = async |version: &str| {
        let what = format!("version {version}");
        eventually(&what, async || call(&gateway, &provider).await == (200, version.to_owned())).await;
    };
    comes("1").await;
    write_version(gateway.folder(), "mine", "2");
    comes("2").await;
    // Half a file is never taken, and what is refused leaves the old version at work.
    let whole = fs::read(gateway.folder().join("mine.wasm")).unwrap();
    fs::write(gateway.folder().join("mine.wasm"), &whole[..whole.len() / 2]).unwrap();
    gateway.rewrite("other", &shop(&provider.url(), ""));
    comes("2").await;
    write_version(gateway.folder(), "mine", "3");
    comes("3").await;
    eventually("the new integration", async || gateway.data().get("/v1/other/get").await.status == 200).await;
}
