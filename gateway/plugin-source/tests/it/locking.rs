//! The lock file decides what a tag is; the store makes starts possible without a network.

use bascule_plugin_source::*;

use crate::registry::Registry;
use crate::support::*;

async fn locked(place: &Place, wanted: &Wanted) -> Lock {
    let mut lock = Lock::default();
    let entry = place.sources().resolve(wanted).await.unwrap().unwrap();
    lock.insert(&wanted.reference, entry);
    lock
}

#[tokio::test]
async fn a_tag_that_moved_is_not_followed_and_verify_says_so() {
    let (registry, place) = (Registry::start().await, Place::new());
    let first = registry.put_plugin("1", PLUGIN);
    let wanted = wanted(&registry.reference(":1"));
    let lock = locked(&place, &wanted).await;
    let entry = lock.get(&wanted.reference).unwrap();
    assert_eq!((entry.content, entry.size), (Digest::of(PLUGIN), PLUGIN.len() as u64));
    assert!(place.sources().verify(std::slice::from_ref(&wanted), &lock).await.is_empty());

    let second = registry.put_plugin("1", b"moved");
    for place in [&place, &Place::new()] {
        let obtained = place.sources().obtain(&wanted, &lock, Floating::Refuse).await.unwrap();
        assert_eq!((obtained.content.as_ref(), obtained.floats), (PLUGIN, false));
        assert_eq!(obtained.manifest.unwrap().to_string(), first);
    }
    let findings = place.sources().verify(std::slice::from_ref(&wanted), &lock).await;
    let reference = registry.reference(":1");
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].to_string(), format!("`{reference}` was locked as {first} and is {second} now"));
    let anew = locked(&place, &wanted).await;
    let obtained = place.sources().obtain(&wanted, &anew, Floating::Refuse).await.unwrap();
    assert_eq!(obtained.content, b"moved".as_slice());
}

#[tokio::test]
async fn a_floating_tag_is_marked_or_refused() {
    let (registry, place) = (Registry::start().await, Place::new());
    registry.put_plugin("1", PLUGIN);
    let tag = wanted(&registry.reference(":1"));
    assert!(place.obtain(&tag).await.unwrap().floats);
    let error = place.sources().obtain(&tag, &Lock::default(), Floating::Refuse).await.unwrap_err();
    assert!(matches!(error, SourceError::NotLocked { .. }), "{error}");
    let pin = pinned(&registry.reference(":1"), PLUGIN);
    let obtained = place.sources().obtain(&pin, &Lock::default(), Floating::Refuse).await.unwrap();
    assert!(!obtained.floats, "a pin holds it");
    registry.put_plugin("1", b"moved");
    assert!(Place::new().error(&pin).await.ends_with("is pinned"));
}

#[tokio::test]
async fn whatever_has_a_known_digest_starts_without_a_network() {
    let (registry, place) = (Registry::start().await, Place::new());
    let manifest = registry.put_plugin("1", PLUGIN);
    let tag = wanted(&registry.reference(":1"));
    let pin = pinned(&registry.reference(":1"), PLUGIN);
    let by_digest = wanted(&registry.reference(&format!("@{manifest}")));
    let lock = locked(&place, &tag).await;
    registry.take_asked();
    for (wanted, lock) in [(&tag, &lock), (&pin, &Lock::default()), (&by_digest, &Lock::default())] {
        let obtained = place.sources().obtain(wanted, lock, Floating::Refuse).await.unwrap();
        assert_eq!(obtained.content, PLUGIN);
    }
    assert!(registry.take_asked().is_empty(), "the registry was not even asked");
    // What is stored and torn is fetched again, or refused when it cannot be.
    let file = place.dir.path().join("store").join(Digest::of(PLUGIN).hex());
    std::fs::write(&file, b"torn").unwrap();
    place.sources().obtain(&tag, &lock, Floating::Refuse).await.unwrap();
    std::fs::write(&file, b"torn").unwrap();
    drop(registry);
    place.sources().obtain(&tag, &lock, Floating::Refuse).await.unwrap_err();
}

#[tokio::test]
async fn a_lock_entry_that_says_otherwise_than_the_registry_or_the_pin_refuses() {
    let (registry, place) = (Registry::start().await, Place::new());
    registry.put_plugin("1", PLUGIN);
    registry.put_plugin("2", b"other");
    let tag = wanted(&registry.reference(":1"));
    let mut lock = locked(&place, &tag).await;
    let mut forged = lock.get(&tag.reference).unwrap().clone();
    forged.content = Digest::of(b"forged");
    lock.insert(&tag.reference, forged);
    let error = place.sources().obtain(&tag, &lock, Floating::Refuse).await.unwrap_err();
    assert!(error.to_string().ends_with("is locked"), "{error}");
    let lock = locked(&place, &tag).await;
    let pin = pinned(&registry.reference(":1"), b"other");
    place.sources().obtain(&pin, &lock, Floating::Refuse).await.unwrap_err();
}

#[tokio::test]
async fn a_signer_that_is_known_to_one_table_only_is_no_move() {
    let (registry, place) = (Registry::start().await, Place::new());
    registry.put_plugin("kept", PLUGIN);
    let kept = wanted(&registry.reference(":kept"));
    let mut lock = locked(&place, &kept).await;
    let mut signed = lock.get(&kept.reference).unwrap().clone();
    signed.signer = Some("a key of another table".into());
    lock.insert(&kept.reference, signed.clone());
    assert!(place.sources().verify(std::slice::from_ref(&kept), &lock).await.is_empty());
    signed.size += 1;
    lock.insert(&kept.reference, signed);
    let found = place.sources().verify(&[kept], &lock).await;
    assert!(matches!(found.as_slice(), [Finding::Moved { .. }]), "{found:?}");
}

#[tokio::test]
async fn verify_finds_everything_at_once() {
    let (registry, place) = (Registry::start().await, Place::new());
    for tag in ["kept", "gone", "new"] {
        registry.put_plugin(tag, tag.as_bytes());
    }
    let [kept, gone, new] = [":kept", ":gone", ":new"].map(|tag| wanted(&registry.reference(tag)));
    let mut lock = locked(&place, &kept).await;
    let entry = lock.get(&kept.reference).unwrap().clone();
    lock.insert(&gone.reference, entry.clone());
    lock.insert(&Reference::parse("oci://registry.example/unused:1").unwrap(), entry);
    registry.state().manifests.remove("gone");
    let path = place.dir.path().join("p.wasm");
    std::fs::write(&path, PLUGIN).unwrap();
    let changed = pinned(path.to_str().unwrap(), b"before");
    let builtin = wanted("builtin:github");
    let findings = place.sources().verify(&[kept, gone, new, changed, builtin], &lock).await;
    let kinds: Vec<_> = findings
        .iter()
        .map(|finding| match finding {
            Finding::Source(SourceError::Fetch { .. }) => "gone",
            Finding::NotLocked { .. } => "new",
            Finding::Source(SourceError::Digest { .. }) => "changed",
            Finding::Unused { .. } => "unused",
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(kinds, ["gone", "new", "changed", "unused"]);
}
