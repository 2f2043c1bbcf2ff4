//! Artifacts come from registries, whichever way they want to be asked.

use std::collections::BTreeMap;

use bascule_plugin_source::*;

use crate::registry::{Lie, Login, Registry};
use crate::server;
use crate::support::*;

fn ada(host: String, password: &str) -> BTreeMap<String, Credentials> {
    let credentials = Credentials { username: "ada".into(), password: password.to_owned().into() };
    BTreeMap::from([(host, credentials)])
}

#[tokio::test]
async fn what_was_pushed_is_pulled_by_tag_and_by_digest() {
    let (registry, place) = (Registry::start().await, Place::new());
    let fetcher = Fetcher::new(place.config.clone());
    let pushed = fetcher.push(&oci(&registry.reference(":1")), &push(PLUGIN), None).await.unwrap();
    assert_eq!((pushed.content, pushed.signer), (Digest::of(PLUGIN), None));
    for tail in [":1".to_owned(), format!("@{}", pushed.manifest), format!(":moved@{}", pushed.manifest)] {
        let obtained = Place::new().obtain(&wanted(&registry.reference(&tail))).await.unwrap();
        assert_eq!(obtained.content, PLUGIN);
        assert_eq!((obtained.sha256, obtained.manifest), (Digest::of(PLUGIN), Some(pushed.manifest)));
        assert_eq!(obtained.floats, tail == ":1");
    }
    let state = registry.state();
    let manifest: serde_json::Value = serde_json::from_slice(&state.manifests["1"]).unwrap();
    assert_eq!(manifest["annotations"]["org.opencontainers.image.version"], "1.0.0");
    let config = &state.blobs[manifest["config"]["digest"].as_str().unwrap()];
    let config: serde_json::Value = serde_json::from_slice(config).unwrap();
    let expected = serde_json::json!({
        "created": "2026-11-21T18:00:00Z", "architecture": "wasm", "os": "wasip2",
        "layerDigests": [Digest::of(PLUGIN)], "component": { "exports": ["acme:x/y@1.0.0"], "imports": [] },
    });
    assert_eq!(config, expected);
}

#[tokio::test]
async fn what_is_there_is_not_sent_again() {
    let (registry, place) = (Registry::start().await, Place::new());
    let fetcher = Fetcher::new(place.config.clone());
    fetcher.push(&oci(&registry.reference(":1")), &push(PLUGIN), None).await.unwrap();
    registry.take_asked();
    fetcher.push(&oci(&registry.reference(":2")), &push(PLUGIN), None).await.unwrap();
    let sent: Vec<_> = registry.take_asked().into_iter().filter(|asked| !asked.starts_with("HEAD")).collect();
    assert_eq!(sent, ["PUT /v2/acme/signer/manifests/2"]);
}

#[tokio::test]
async fn artifacts_of_older_tools_are_taken() {
    let (registry, place) = (Registry::start().await, Place::new());
    let layer = ("application/vnd.wasm.content.layer.v1+wasm", PLUGIN);
    registry.put("old", "application/vnd.wasm.config.v1+json", &[layer]);
    assert_eq!(place.obtain(&wanted(&registry.reference(":old"))).await.unwrap().content, PLUGIN);
}

#[tokio::test]
async fn tokens_are_asked_for_once_and_with_the_scope_that_is_needed() {
    let (registry, place) = (Registry::start().await, Place::new());
    registry.put_plugin("1", PLUGIN);
    registry.state().login = Login::Token;
    place.obtain(&wanted(&registry.reference(":1"))).await.unwrap();
    let tokens = registry.take_asked().into_iter().filter(|asked| asked == "GET /token").count();
    assert_eq!(tokens, 1);
    // The registry of these tests takes a token for writing only if it was asked for that.
    let fetcher = Fetcher::new(place.config.clone());
    fetcher.push(&oci(&registry.reference(":2")), &push(b"other"), None).await.unwrap();
}

#[tokio::test]
async fn credentials_log_in_directly_and_for_a_token() {
    let registry = Registry::start().await;
    registry.put_plugin("1", PLUGIN);
    for login in [Login::Basic, Login::TokenForAda] {
        registry.state().login = login;
        let reference = wanted(&registry.reference(":1"));
        let place = Place::with(|config| config.credentials = ada(registry.host(), "lovelace"));
        assert_eq!(place.obtain(&reference).await.unwrap().content, PLUGIN);
        let wrong = Place::with(|config| config.credentials = ada(registry.host(), "wrong"));
        assert!(wrong.error(&reference).await.contains("answered 401"));
        let elsewhere = Place::with(|config| config.credentials = ada("registry.example".into(), "lovelace"));
        elsewhere.obtain(&reference).await.unwrap_err();
    }
    registry.state().login = Login::Basic;
    let error = Place::new().error(&wanted(&registry.reference(":1"))).await;
    assert!(error.contains("it wants credentials, none are set"), "{error}");
    let shown = format!("{:?}", ada("x".into(), "lovelace"));
    assert!(!shown.contains("lovelace"), "{shown}");
}

#[tokio::test]
async fn blobs_may_lie_elsewhere_where_the_login_is_not_told() {
    let registry = Registry::start().await;
    registry.put_plugin("1", PLUGIN);
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = told.clone();
    let elsewhere = server::serve(
        move |request| {
            keep.lock().unwrap().push(request.headers().contains_key("authorization"));
            server::answer(200, &[], PLUGIN)
        },
        None,
    )
    .await;
    registry.state().login = Login::Token;
    let blob = format!("http://{}/blob", elsewhere.address);
    registry.state().lie = Lie::Redirect("/blobs/", blob.clone());
    let place = Place::new();
    assert_eq!(place.obtain(&wanted(&registry.reference(":1"))).await.unwrap().content, PLUGIN);
    assert_eq!(*told.lock().unwrap(), [false]);
    // A manifest is the registry's own word.
    registry.state().lie = Lie::Redirect("/manifests/", blob);
    let error = Place::new().error(&wanted(&registry.reference(":1"))).await;
    assert!(error.contains("which is not followed"), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_said_with_its_place() {
    let (registry, place) = (Registry::start().await, Place::new());
    let error = place.error(&wanted(&registry.reference(":1"))).await;
    let host = registry.host();
    let expected = format!(
        "`oci://{host}/acme/signer:1` cannot be fetched: `http://{host}/v2/acme/signer/manifests/1` answered 404 Not Found"
    );
    assert_eq!(error, expected);
    let fetcher = Fetcher::new(place.config.clone());
    let digest = registry.put_plugin("1", PLUGIN);
    let error = fetcher.push(&oci(&registry.reference(&format!("@{digest}"))), &push(PLUGIN), None).await;
    assert!(matches!(error, Err(PushError::Reference { .. })));
}
