//! Registries that lie: nothing of what they send is taken, read on for ever or waited for.

use std::time::Duration;

use crate::registry::{Lie, Registry, digest};
use crate::support::*;
use bascule_plugin_source::*;

/// What pulling from a registry that lies like that ends with, and whether anything was stored.
async fn lied_to(lie: Lie, change: impl FnOnce(&mut FetcherConfig)) -> (FetchError, bool) {
    let registry = Registry::start().await;
    registry.put_plugin("1", PLUGIN);
    registry.state().lie = lie;
    let place = Place::with(change);
    let error = place.obtain(&wanted(&registry.reference(":1"))).await.unwrap_err();
    let stored = std::fs::read_dir(place.dir.path().join("store")).unwrap().count() > 0;
    let SourceError::Fetch { source, .. } = error else { panic!("{error}") };
    (source, stored)
}

#[tokio::test]
async fn other_octets_than_the_digest_says_are_refused() {
    let (error, stored) = lied_to(Lie::WrongBlob, |_| {}).await;
    assert!(matches!(&error, FetchError::Digest { expected, .. } if *expected == Digest::of(PLUGIN)));
    assert!(!stored);
    let (error, _) = lied_to(Lie::WrongManifest, |_| {}).await;
    assert!(matches!(error, FetchError::Digest { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_that_is_not_the_one_asked_for_by_digest_is_refused() {
    let (registry, place) = (Registry::start().await, Place::new());
    let one = registry.put_plugin("1", PLUGIN);
    registry.put_plugin("2", b"other");
    let other = registry.state().manifests["2"].clone();
    registry.state().manifests.insert(one.clone(), other.clone());
    let error = place.error(&wanted(&registry.reference(&format!("@{one}")))).await;
    assert!(error.ends_with(&format!("has {}, but {one} was asked for", digest(&other))), "{error}");
}

#[tokio::test]
async fn a_body_that_does_not_end_is_read_up_to_its_size_and_no_further() {
    let (error, stored) = lied_to(Lie::EndlessBlob, |_| {}).await;
    assert!(matches!(error, FetchError::TooLarge { limit, .. } if limit == PLUGIN.len() as u64));
    assert!(!stored);
    let (error, _) = lied_to(Lie::HugeManifest, |_| {}).await;
    assert!(matches!(error, FetchError::TooLarge { limit: 1_048_576, .. }), "{error}");
}

#[tokio::test]
async fn a_plugin_over_the_limit_is_not_even_asked_for() {
    let registry = Registry::start().await;
    registry.put_plugin("1", PLUGIN);
    let place = Place::with(|config| config.limits.content = 10);
    let error = place.error(&wanted(&registry.reference(":1"))).await;
    assert!(error.ends_with("has more than the 10 octets allowed"), "{error}");
    assert!(registry.take_asked().iter().all(|asked| !asked.contains("/blobs/")));
}

#[tokio::test]
async fn a_body_that_stops_is_waited_for_until_the_limit() {
    let limit = Duration::from_millis(300);
    let (error, _) = lied_to(Lie::StuckBlob, |config| config.limits.total = limit).await;
    assert!(matches!(error, FetchError::Timeout { limit: said } if said == limit), "{error}");
}

#[tokio::test]
async fn other_documents_than_a_manifest_are_refused_by_name() {
    let index = "application/vnd.oci.image.index.v1+json";
    let (error, _) = lied_to(Lie::ManifestType(index), |_| {}).await;
    assert!(matches!(error, FetchError::MediaType { found, .. } if found == index));
}

#[tokio::test]
async fn layers_beside_the_plugin_are_refused_by_name() {
    let (registry, place) = (Registry::start().await, Place::new());
    let layers = [("application/wasm", PLUGIN), ("application/vnd.acme.policy", b"deny".as_slice())];
    registry.put("1", "application/vnd.wasm.config.v0+json", &layers);
    let error = place.error(&wanted(&registry.reference(":1"))).await;
    let expected = format!("would be ignored: application/vnd.acme.policy {}", digest(b"deny"));
    assert!(error.ends_with(&expected), "{error}");
}

#[tokio::test]
async fn an_endless_chain_of_redirects_ends() {
    let registry = Registry::start().await;
    registry.put_plugin("1", PLUGIN);
    let round = format!("http://{}/v2/acme/signer/blobs/round", registry.host());
    registry.state().lie = Lie::Redirect("/blobs/", round);
    let error = Place::new().error(&wanted(&registry.reference(":1"))).await;
    assert!(error.contains("which is not followed"), "{error}");
    let followed = registry.take_asked().iter().filter(|asked| asked.contains("/blobs/")).count();
    assert_eq!(followed, 4, "one request and three redirects");
}

#[tokio::test]
async fn an_upload_goes_nowhere_but_to_the_registry() {
    let (registry, place) = (Registry::start().await, Place::new());
    registry.state().lie = Lie::UploadElsewhere;
    let fetcher = Fetcher::new(place.config.clone());
    let error = fetcher.push(&oci(&registry.reference(":1")), &push(PLUGIN), None).await.unwrap_err();
    assert!(chain(&error).ends_with("it wants the upload elsewhere"), "{}", chain(&error));
    assert!(registry.state().manifests.is_empty(), "no tag without its blobs");
}
