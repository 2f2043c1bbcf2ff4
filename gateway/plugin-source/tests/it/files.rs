//! Files and builtins: nothing is fetched, pins and signatures hold all the same.

use bascule_plugin_source::*;

use crate::support::*;

#[tokio::test]
async fn a_file_is_read_pinned_and_bounded() {
    let place = Place::with(|config| config.limits.content = PLUGIN.len() as u64);
    let path = place.dir.path().join("p.wasm");
    let reference = path.to_str().unwrap().to_owned();
    assert!(place.error(&wanted(&reference)).await.contains("cannot be read"));
    std::fs::write(&path, PLUGIN).unwrap();
    let obtained = place.obtain(&pinned(&reference, PLUGIN)).await.unwrap();
    assert_eq!((obtained.content.as_ref(), obtained.floats), (PLUGIN, false));
    assert!(place.error(&pinned(&reference, b"other")).await.ends_with("is pinned"));
    std::fs::write(&path, [PLUGIN, b"!"].concat()).unwrap();
    assert!(place.error(&wanted(&reference)).await.ends_with("octets allowed"));
}

#[tokio::test]
async fn a_builtin_is_the_callers() {
    let error = Place::new().obtain(&wanted("builtin:github")).await.unwrap_err();
    assert!(matches!(error, SourceError::Builtin { .. }));
}

#[tokio::test]
async fn a_file_needs_a_signature_by_a_configured_key() {
    let place = Place::new();
    let path = place.dir.path().join("p.wasm");
    std::fs::write(&path, PLUGIN).unwrap();
    let sig = place.dir.path().join("p.wasm.sig");
    let (mallory, _) = ed25519("mallory.pem");
    for (private, public) in [ed25519("acme.pem"), p256("acme.pem")] {
        let wanted = Wanted { signed_by: vec![public.clone()], ..wanted(path.to_str().unwrap()) };
        let _ = std::fs::remove_file(&sig);
        let error = place.error(&wanted).await;
        let expected = format!(
            "`{}` ({}) has no valid signature by `acme.pem` ({}); signatures found: 0",
            path.display(),
            Digest::of(PLUGIN),
            public.id()
        );
        assert_eq!(error, expected);
        std::fs::write(&sig, mallory.sign_file(PLUGIN).unwrap() + "not base64\n").unwrap();
        assert!(place.error(&wanted).await.ends_with("signatures found: 2"));
        std::fs::write(&sig, private.sign_file(b"other").unwrap()).unwrap();
        assert!(place.error(&wanted).await.ends_with("signatures found: 1"));
        // Among others, as when a publisher changes keys.
        let both = mallory.sign_file(PLUGIN).unwrap() + &private.sign_file(PLUGIN).unwrap();
        std::fs::write(&sig, both).unwrap();
        assert_eq!(place.obtain(&wanted).await.unwrap().signer.as_deref(), Some(public.id()));
    }
}
