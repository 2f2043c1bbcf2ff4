//! Files behind `https://`: pinned, typed, bounded, and from the host that was named.

use std::sync::Arc;

use bascule_plugin_source::*;

use crate::server::{self, Server, answer};
use crate::support::*;

/// A server that has `/p.wasm`, and a place that trusts it.
async fn served() -> (Server, Place, String) {
    let (tls, client) = server::tls();
    let server = server::serve(
        |request| match request.uri().path() {
            "/p.wasm" => answer(200, &[("content-type", "application/wasm")], PLUGIN),
            "/file" => answer(200, &[("content-type", "application/octet-stream")], PLUGIN),
            "/page" => answer(200, &[("content-type", "text/html; charset=utf-8")], PLUGIN),
            "/moved" => answer(302, &[("location", "/p.wasm")], ""),
            "/elsewhere" => answer(302, &[("location", "https://example.com/p.wasm?token=x")], ""),
            "/nowhere" => answer(302, &[], ""),
            _ => answer(404, &[], ""),
        },
        Some(tls),
    )
    .await;
    let base = format!("https://localhost:{}", server.address.port());
    (server, Place::with(|config| config.tls = client), base)
}

#[tokio::test]
async fn a_pinned_file_is_taken_and_an_unpinned_one_is_not_asked_for() {
    let (_server, place, base) = served().await;
    for path in ["/p.wasm", "/file", "/moved"] {
        let obtained = Place { dir: tempfile::tempdir().unwrap(), config: place.config.clone() }
            .obtain(&pinned(&format!("{base}{path}"), PLUGIN))
            .await
            .unwrap();
        assert_eq!((obtained.content.as_ref(), obtained.manifest, obtained.floats), (PLUGIN, None, false));
    }
    let error = place.error(&wanted(&format!("{base}/p.wasm"))).await;
    let expected = format!("`{base}/p.wasm` is not pinned; add `sha256 = \"…\"` of the file that you trust");
    assert_eq!(error, expected);
}

#[tokio::test]
async fn other_content_than_the_pinned_is_refused_and_not_kept() {
    let (_server, place, base) = served().await;
    let url = format!("{base}/p.wasm");
    let error = place.error(&pinned(&url, b"other")).await;
    let (actual, pin) = (Digest::of(PLUGIN), Digest::of(b"other"));
    assert_eq!(error, format!("`{url}` has {actual}, but {pin} is pinned"));
    assert_eq!(std::fs::read_dir(place.dir.path().join("store")).unwrap().count(), 0);
}

#[tokio::test]
async fn redirects_to_other_hosts_other_types_and_other_statuses_are_refused() {
    let (_server, place, base) = served().await;
    let error = async |path: &str| place.error(&pinned(&format!("{base}{path}"), PLUGIN)).await;
    let elsewhere = error("/elsewhere").await;
    let expected =
        format!("`{base}/elsewhere` redirects to `https://example.com/p.wasm`, which is not followed");
    assert!(elsewhere.ends_with(&expected), "{elsewhere}");
    assert!(error("/nowhere").await.ends_with("redirects to ``, which is not followed"));
    assert!(error("/page").await.ends_with("is of type `text/html`, not application/wasm"));
    assert!(error("/none").await.ends_with("answered 404 Not Found"));
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused() {
    let (_server, mut place, base) = served().await;
    place.config.limits.content = PLUGIN.len() as u64 - 1;
    let error = place.error(&pinned(&format!("{base}/p.wasm"), PLUGIN)).await;
    assert!(error.ends_with("octets allowed"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_not_listened_to() {
    let (_server, mut place, base) = served().await;
    place.config.tls = server::client(rustls::RootCertStore::empty());
    let error = place.obtain(&pinned(&format!("{base}/p.wasm"), PLUGIN)).await.unwrap_err();
    assert!(matches!(error, SourceError::Fetch { source: FetchError::Tls { .. }, .. }), "{error}");
}

#[tokio::test]
async fn signatures_lie_beside_the_file() {
    let (private, public) = ed25519("acme.pem");
    let signature = private.sign_file(PLUGIN).unwrap();
    let (tls, client) = server::tls();
    let server = server::serve(
        move |request| match request.uri().path() {
            "/p.wasm" => answer(200, &[("content-type", "application/wasm")], PLUGIN),
            "/p.wasm.sig" if request.uri().query() == Some("v=1") => answer(200, &[], signature.clone()),
            _ => answer(404, &[], ""),
        },
        Some(tls),
    )
    .await;
    let place = Place::with(|config| config.tls = Arc::clone(&client));
    let url = format!("https://localhost:{}/p.wasm", server.address.port());
    let signed = Wanted { signed_by: vec![public.clone()], ..pinned(&format!("{url}?v=1"), PLUGIN) };
    assert_eq!(place.obtain(&signed).await.unwrap().signer.as_deref(), Some(public.id()));
    drop(server);
    assert_eq!(place.obtain(&signed).await.unwrap().signer.as_deref(), Some(public.id()), "from the store");
}
