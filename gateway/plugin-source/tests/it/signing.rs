//! Publishers' signatures of artifacts: made by a push, found by a pull, and worth nothing for others.

use bascule_plugin_source::*;

use crate::registry::{Registry, digest};
use crate::support::*;

fn signed_by(reference: &str, keys: &[&PublicKey]) -> Wanted {
    Wanted { signed_by: keys.iter().map(|key| (*key).clone()).collect(), ..wanted(reference) }
}

async fn publish(registry: &Registry, tag: &str, content: &[u8], key: Option<&SigningKey>) -> Pushed {
    let fetcher = Fetcher::new(Place::new().config);
    fetcher.push(&oci(&registry.reference(tag)), &push(content), key).await.unwrap()
}

#[tokio::test]
async fn what_is_pushed_with_a_key_is_taken_with_it_and_with_no_other() {
    let registry = Registry::start().await;
    let (_, mallory) = p256("mallory.pem");
    for (tag, (private, public)) in [(":1", ed25519("acme.pem")), (":2", p256("acme.pem"))] {
        let pushed = publish(&registry, tag, tag.as_bytes(), Some(&private)).await;
        assert_eq!(pushed.signer.as_deref(), Some(public.id()));
        let reference = registry.reference(tag);
        let obtained = Place::new().obtain(&signed_by(&reference, &[&mallory, &public])).await.unwrap();
        assert_eq!(obtained.signer.as_deref(), Some(public.id()));
        assert_eq!(Place::new().obtain(&wanted(&reference)).await.unwrap().signer, None, "not checked");
        let place = Place::new();
        let error = place.error(&signed_by(&reference, &[&mallory])).await;
        let expected =
            format!("has no valid signature by `mallory.pem` ({}); signatures found: 1", mallory.id());
        assert!(error.ends_with(&expected), "{error}");
        let kept = std::fs::read_dir(place.dir.path().join("store")).unwrap().count();
        assert_eq!(kept, 0, "what was refused is not stored");
    }
}

#[tokio::test]
async fn an_artifact_without_a_signature_is_refused_when_a_key_is_configured() {
    let registry = Registry::start().await;
    publish(&registry, ":1", PLUGIN, None).await;
    let (_, public) = ed25519("acme.pem");
    let error = Place::new().error(&signed_by(&registry.reference(":1"), &[&public])).await;
    assert!(error.ends_with("signatures found: 0"), "{error}");
}

#[tokio::test]
async fn a_second_publisher_signs_beside_the_first() {
    let registry = Registry::start().await;
    let (first, second) = (ed25519("first.pem"), p256("second.pem"));
    let pushed = publish(&registry, ":1", PLUGIN, Some(&first.0)).await;
    assert_eq!(publish(&registry, ":1", PLUGIN, Some(&second.0)).await.manifest, pushed.manifest);
    for key in [&first.1, &second.1] {
        Place::new().obtain(&signed_by(&registry.reference(":1"), &[key])).await.unwrap();
    }
}

#[tokio::test]
async fn a_signature_of_another_artifact_vouches_for_nothing() {
    let registry = Registry::start().await;
    let (private, public) = ed25519("acme.pem");
    let good = publish(&registry, ":good", PLUGIN, Some(&private)).await;
    let bad = publish(&registry, ":bad", b"bad", None).await;
    let tag = |pushed: &Pushed| format!("sha256-{}.sig", pushed.manifest.hex());
    let signature = registry.state().manifests[&tag(&good)].clone();
    registry.state().manifests.insert(tag(&bad), signature);
    let error = Place::new().error(&signed_by(&registry.reference(":bad"), &[&public])).await;
    assert!(error.ends_with("signatures found: 1"), "{error}");
}

#[tokio::test]
async fn signatures_have_the_form_that_cosign_reads() {
    let registry = Registry::start().await;
    let (private, _) = p256("acme.pem");
    let pushed = publish(&registry, ":1", PLUGIN, Some(&private)).await;
    let state = registry.state();
    let manifest = &state.manifests[&format!("sha256-{}.sig", pushed.manifest.hex())];
    let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.dev.cosign.simplesigning.v1+json");
    assert!(layer["annotations"]["dev.cosignproject.cosign/signature"].is_string());
    let payload: serde_json::Value =
        serde_json::from_slice(&state.blobs[layer["digest"].as_str().unwrap()]).unwrap();
    let expected = serde_json::json!({
        "critical": {
            "identity": { "docker-reference": format!("{}/acme/signer", registry.host()) },
            "image": { "docker-manifest-digest": digest(&state.manifests["1"]) },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    assert_eq!(payload, expected);
}

#[tokio::test]
async fn signatures_are_checked_again_without_a_network() {
    let (registry, place) = (Registry::start().await, Place::new());
    let (private, public) = ed25519("acme.pem");
    let pushed = publish(&registry, ":1", PLUGIN, Some(&private)).await;
    let reference = registry.reference(&format!(":1@{}", pushed.manifest));
    place.obtain(&signed_by(&reference, &[&public])).await.unwrap();
    drop(registry);
    let obtained = place.obtain(&signed_by(&reference, &[&public])).await.unwrap();
    assert_eq!(obtained.signer.as_deref(), Some(public.id()));
    let (_, other) = ed25519("other.pem");
    place.obtain(&signed_by(&reference, &[&other])).await.unwrap_err();
}
