//! Token sources and what signers do with tokens, and cache policies.

use bascule_plugin_host::{CallContext, PluginError, SecretBytes, Token};

use crate::support::*;

const SOURCE: &str = "export bascule:plugin/token-source@0.1.0;";

/// A token source that answers with what lies at that address.
fn source(image: &Image, answer: u32) -> Vec<u8> {
    let wat = format!(
        r#"(module {RUNTIME} {}
          (func (export "bascule:plugin/token-source@0.1.0#fetch-token") (param i32 i32) (result i32)
            (i32.const {answer})))"#,
        image.segment()
    );
    guest(SOURCE, &wat)
}

async fn fetch(text: impl AsRef<[u8]>, expires: [u32; 2]) -> Result<Token, PluginError> {
    let mut image = Image::new();
    let text = image.text(text);
    let answer = image.words(&[&[0][..], &text, &expires, &[0; 6]].concat());
    let (plugin, recorder) = loaded(source(&image, answer));
    let token = plugin.fetch_token(&context(), "read").await;
    let failure = token.as_ref().err().map(PluginError::kind);
    assert_eq!(*recorder.calls.lock(), [("token-source".to_owned(), failure)]);
    token
}

/// A context that holds a token for the scope `read`.
fn holding(token: &str) -> CallContext {
    let tokens = [("read".to_owned(), SecretBytes::from(token))];
    CallContext { tokens: tokens.into_iter().collect(), ..context() }
}

#[tokio::test]
async fn a_token_comes_with_its_life_time_and_is_not_printed() {
    let token = fetch("eyJhbGciOi", [1, 1500]).await.unwrap();
    assert_eq!(token.value.expose(), b"eyJhbGciOi");
    assert_eq!(token.expires_in.unwrap().as_millis(), 1500);
    assert!(!format!("{token:?}").contains("eyJ"));
    assert!(fetch("eyJhbGciOi", [0, 0]).await.unwrap().expires_in.is_none());
}

#[tokio::test]
async fn what_cannot_be_a_token_is_refused_without_being_shown() {
    let long = "x".repeat((16 << 10) + 1);
    for text in ["", "canary\r\nx: y", "canary\0", &long] {
        let error = fetch(text, [0, 0]).await.unwrap_err();
        assert!(matches!(error, PluginError::BadAnswer { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    assert!(fetch("x".repeat(16 << 10), [0, 0]).await.is_ok());
}

#[tokio::test]
async fn a_fault_of_a_token_source_tells_no_secret() {
    let mut image = Image::new();
    let (code, message) = (image.text("invalid_client"), image.text("client-secret-1 is wrong"));
    let fault = image.words(&[&[1, 1][..], &code, &message, &[0; 5]].concat());
    let (plugin, _) = loaded_with(source(&image, fault), |spec| {
        spec.credentials.insert("secret".into(), "client-secret-1".into());
    });
    let error = plugin.fetch_token(&context(), "read").await.unwrap_err();
    let PluginError::Fault(fault) = error else { panic!("{error:?}") };
    assert_eq!((fault.code.as_str(), fault.message.as_str()), ("invalid_client", "[redacted] is wrong"));
}

/// A signer that puts `Bearer ` and the token for that scope into `authorization`.
fn bearer(scope: &str) -> Vec<u8> {
    let mut image = Image::new();
    let (name, lead) = (image.text("Authorization"), image.text("Bearer "));
    let secret = image.text(format!("token:{scope}"));
    let field = [&name[..], &[1], &lead, &[4096, 0], &secret, &[4096, 0], &[0]].concat();
    let field = image.words(&field);
    let patch = image.words(&[0, field, 1, 4096, 0]);
    let wat = format!(
        r#"(module {RUNTIME} {}
          (func (export "bascule:plugin/signer@0.1.0#sign")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (i32.const {patch})))"#,
        image.segment()
    );
    guest("export bascule:plugin/signer@0.1.0;", &wat)
}

#[tokio::test]
async fn a_signer_puts_in_the_token_of_this_call() {
    let (plugin, _) = loaded(bearer("read"));
    for token in ["first-token", "second-token"] {
        let patch = plugin.sign(&holding(token), get("/"), "host", None).await.unwrap();
        let value = &patch.headers[0].1;
        assert_eq!(value.bytes, format!("Bearer {token}"));
        assert!(value.secret && !format!("{patch:?}").contains(token));
    }
}

#[tokio::test]
async fn a_token_that_is_not_held_is_named() {
    let (plugin, _) = loaded(bearer("write"));
    let error = plugin.sign(&holding("first-token"), get("/"), "host", None).await.unwrap_err();
    let PluginError::BadAnswer { reason } = error else { panic!("{error:?}") };
    assert_eq!(reason, "no token for the scope `write` is held for this call");
}

#[tokio::test]
async fn a_token_can_be_hashed_and_not_read() {
    let mut image = Image::new();
    let (lead, name) = (image.text("access "), image.text("token:read"));
    // list<field-value> of one: secret({ lead, "", token:read, "", false, false })
    let part = [&[1][..], &lead, &[4096, 0], &name, &[4096, 0], &[0]].concat();
    let part = image.words(&part);
    let imports = r#"(import "bascule:plugin/crypto@0.1.0" "hash-parts"
        (func $hash (param i32 i32 i32 i32)))"#;
    // The digest, or nothing when there was an error.
    let body = format!(
        r#"(call $hash (i32.const 0) (i32.const {part}) (i32.const 1) (i32.const 2048))
           (i32.store8 (i32.const 2048) (i32.eqz (i32.load8_u (i32.const 2048))))
           (i32.const 2048)"#
    );
    let world = "import bascule:plugin/crypto@0.1.0;";
    let module = cache_policy(world, imports, &image, &body);
    let (plugin, _) = loaded(module);
    let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"access first-token");
    assert_eq!(answer(&plugin, &holding("first-token")).await.as_deref(), Some(expected.as_ref()));
    assert_eq!(answer(&plugin, &context()).await, None, "no token is held: unknown-key");
}

#[tokio::test]
async fn a_cache_policy_names_its_part_of_the_key_within_bounds() {
    let policy = |len: u32| {
        let body = format!(
            "(i32.store8 (i32.const 2048) (i32.const 1)) (i32.store (i32.const 2052) (i32.const 4096))
             (i32.store (i32.const 2056) (i32.const {len})) (i32.const 2048)"
        );
        loaded(cache_policy("", "", &Image::new(), &body))
    };
    let (plugin, recorder) = policy(4 << 10);
    assert_eq!(answer(&plugin, &context()).await.unwrap().len(), 4 << 10);
    assert_eq!(recorder.calls.lock()[0].0, "cache-policy");
    let input = bascule_plugin_host::HostBody::bytes("");
    let error = policy((4 << 10) + 1).0.key_material(&context(), input).await.unwrap_err();
    assert!(matches!(error, PluginError::BadAnswer { .. }), "{error:?}");
    let (plugin, _) = loaded(cache_policy("", "", &Image::new(), "(i32.const 2048)"));
    assert_eq!(answer(&plugin, &context()).await, None, "do not cache");
}
