//! Signing with secrets that the signer cannot read.

use bascule_plugin_host::{HostBody, Mapping, OutgoingBody, PluginError, PluginSpec};
use data_encoding::HEXLOWER;

use crate::support::*;

const WORLD: &str = "import bascule:plugin/types@0.1.0; import bascule:plugin/crypto@0.1.0;
    export bascule:plugin/signer@0.1.0;";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const IMPORTS: &str = r#"
  (import "bascule:plugin/crypto@0.1.0" "[static]key.open" (func $open (param i32 i32 i32 i32 i32 i32)))
  (import "bascule:plugin/crypto@0.1.0" "[method]key.derive" (func $derive (param i32 i32 i32 i32 i32)))
  (import "bascule:plugin/crypto@0.1.0" "[method]key.derive-path"
    (func $derive_path (param i32 i32 i32 i32 i32)))
  (import "bascule:plugin/crypto@0.1.0" "[method]key.mac" (func $mac (param i32 i32 i32 i32 i32)))"#;

/// How a guest goes down a chain of keys.
#[derive(Clone, Copy)]
enum Way {
    StepByStep,
    AtOnce,
}

/// Opens `secret` with that prefix, derives by every step, and puts the MAC of the data into the header
/// `x-mac`; if the MAC is refused, the header is "refused N", N the crypto-error.
fn chain(prefix: &str, steps: &[&str], data: &str) -> Vec<u8> {
    chain_by(Way::StepByStep, prefix, steps, data)
}

fn chain_by(way: Way, prefix: &str, steps: &[&str], data: &str) -> Vec<u8> {
    let mut image = Image::new();
    let (secret, prefix, data) = (image.text("secret"), image.text(prefix), image.text(data));
    let (name, refused) = (image.text("X-Mac"), image.text("refused 0"));
    let value = image.words(&[name[0], name[1], 0, refused[0], refused[1], 0, 0, 0, 0, 0, 0]);
    let patch = image.words(&[0, value, 1, 4096, 0]);
    let texts: Vec<[u32; 2]> = steps.iter().map(|step| image.text(step)).collect();
    let derive: String = match way {
        Way::StepByStep => texts.iter().map(|text| derive("$derive", *text)).collect(),
        Way::AtOnce => derive("$derive_path", [image.words(&texts.concat()), texts.len() as u32]),
    };
    let wat = format!(
        r#"(module {IMPORTS} {RUNTIME} {}
          (func (export "bascule:plugin/signer@0.1.0#sign")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (call $open (i32.const {}) (i32.const {}) (i32.const 0) (i32.const {}) (i32.const {})
              (i32.const 2048))
            {derive}
            (call $mac (i32.load (i32.const 2052)) (i32.const 0) (i32.const {}) (i32.const {})
              (i32.const 2048))
            (if (i32.load8_u (i32.const 2048))
              (then (i32.store8 (i32.const {})
                (i32.add (i32.const 48) (i32.load8_u (i32.const 2052)))))
              (else
                (i32.store (i32.const {}) (i32.load (i32.const 2052)))
                (i32.store (i32.const {}) (i32.load (i32.const 2056)))))
            (i32.const {patch})))"#,
        image.segment(),
        secret[0],
        secret[1],
        prefix[0],
        prefix[1],
        data[0],
        data[1],
        refused[0] + 8,
        value + 12,
        value + 16,
    );
    guest(WORLD, &wat)
}

/// Derives from the key at 2052 by a text, or by a list of texts, and leaves the new key there.
fn derive(function: &str, [at, len]: [u32; 2]) -> String {
    format!(
        "(call {function} (i32.load (i32.const 2052)) (i32.const 0)
           (i32.const {at}) (i32.const {len}) (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then unreachable))"
    )
}

async fn header(module: Vec<u8>) -> Result<Vec<u8>, PluginError> {
    let (plugin, _) = loaded_with(module, |spec: &mut PluginSpec| {
        spec.credentials.insert("secret".into(), SECRET.into());
    });
    let first = plugin.sign(&context(), get("/"), "host", None).await?;
    let second = plugin.sign(&context(), get("/"), "host", None).await?;
    assert_eq!(first.headers, second.headers, "kept keys give the same signature");
    assert_eq!(first.headers[0].0, "x-mac");
    Ok(first.headers[0].1.bytes.to_vec())
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    aws_lc_rs::hmac::sign(&key, data).as_ref().to_vec()
}

/// Data whose MAC can stand in a header as it is, since WAT is no place to write a hex encoder.
fn printable(key: &[u8]) -> (String, Vec<u8>) {
    let macs = (0..).map(|number| format!("data {number}")).map(|data| {
        let mac = hmac(key, data.as_bytes());
        (data, mac)
    });
    macs.into_iter().find(|(_, mac)| mac.iter().all(|octet| *octet >= b' ' && *octet != 0x7f)).unwrap()
}

#[tokio::test]
async fn a_sigv4_chain_ends_in_the_mac_that_the_provider_expects() {
    let steps = ["20120215", "us-east-1", "iam", "aws4_request"];
    let root = format!("AWS4{SECRET}").into_bytes();
    let key = steps.iter().fold(root, |key, step| hmac(&key, step.as_bytes()));
    assert_eq!(HEXLOWER.encode(&key[..4]), "f4780e2d", "the key of the AWS documentation");
    let (data, mac) = printable(&key);
    for way in [Way::StepByStep, Way::AtOnce] {
        assert_eq!(header(chain_by(way, "AWS4", &steps, &data)).await.unwrap(), mac);
    }
}

#[tokio::test]
async fn a_path_of_keys_is_as_bounded_as_its_steps() {
    for steps in [&["a"; 5][..], &[]] {
        let error = header(chain_by(Way::AtOnce, "AWS4", steps, "data")).await.unwrap_err();
        assert!(matches!(error, PluginError::Trapped { .. }), "the guest gives up: {error:?}");
    }
    let half_way = chain_by(Way::AtOnce, "AWS4", &["a", "b"], "data");
    assert_eq!(header(half_way).await.unwrap(), b"refused 0", "denied");
}

#[tokio::test]
async fn a_webhook_hmac_uses_the_secret_itself() {
    let (data, mac) = printable(SECRET.as_bytes());
    assert_eq!(header(chain("", &[], &data)).await.unwrap(), mac);
}

#[tokio::test]
async fn a_mac_in_the_middle_of_a_chain_is_refused() {
    for steps in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
        assert_eq!(header(chain("AWS4", steps, "data")).await.unwrap(), b"refused 0", "denied");
        assert_eq!(header(chain("", steps, "data")).await.unwrap(), b"refused 0", "denied");
    }
    assert_eq!(header(chain("AWS4", &[], "data")).await.unwrap(), b"refused 0", "prefixed, not derived");
}

/// A signer that answers with what lies at that address.
fn answering(image: &Image, answer: u32) -> Vec<u8> {
    let wat = format!(
        r#"(module {RUNTIME} {}
          (func (export "bascule:plugin/signer@0.1.0#sign")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (i32.const {answer})))"#,
        image.segment()
    );
    guest("export bascule:plugin/signer@0.1.0;", &wat)
}

/// `ok(patch)` with one header that has `Bearer ` and that secret.
fn insert(image: &mut Image, name: &str, secret: &str) -> u32 {
    let (name, lead, secret) = (image.text(name), image.text("Bearer "), image.text(secret));
    // field { name, secret({ lead, prefix, secret, suffix, no base64, no percent-encoding }) }
    let insert = [&name[..], &[1], &lead, &[4096, 0], &secret, &[4096, 0], &[0]].concat();
    let field = image.words(&insert);
    image.words(&[0, field, 1, 4096, 0])
}

#[tokio::test]
async fn a_secret_is_put_in_after_the_phase_and_never_shown() {
    let mut image = Image::new();
    let answer = insert(&mut image, "Authorization", "token");
    let (plugin, _) = loaded_with(answering(&image, answer), |spec| {
        spec.credentials.insert("token".into(), "abc123".into());
    });
    let patch = plugin.sign(&context(), get("/"), "host", None).await.unwrap();
    let (name, value) = &patch.headers[0];
    assert_eq!(
        (name.as_str(), &value.bytes[..], value.secret),
        ("authorization", &b"Bearer abc123"[..], true)
    );
    assert!(!format!("{patch:?}").contains("abc123"));
}

#[tokio::test]
async fn secrets_that_were_not_granted_and_headers_that_are_not_a_signers_are_refused() {
    for (header, secret) in [("authorization", "other"), ("authorization", "token:a"), ("host", "token")] {
        let mut image = Image::new();
        let answer = insert(&mut image, header, secret);
        let (plugin, _) = loaded_with(answering(&image, answer), |spec| {
            spec.credentials.insert("token".into(), "abc123".into());
        });
        let error = plugin.sign(&context(), get("/"), "host", None).await.unwrap_err();
        assert!(matches!(&error, PluginError::BadAnswer { .. }), "{error:?}");
        assert!(!error.to_string().contains("abc123"));
    }
}

#[tokio::test]
async fn a_secret_with_a_line_break_cannot_split_a_header() {
    let mut image = Image::new();
    let answer = insert(&mut image, "authorization", "token");
    let (plugin, _) = loaded_with(answering(&image, answer), |spec| {
        spec.credentials.insert("token".into(), "abc\r\nx: y".into());
    });
    let error = plugin.sign(&context(), get("/"), "host", None).await.unwrap_err();
    assert!(matches!(error, PluginError::BadAnswer { .. }));
}

/// The body is put together from a secret; then the guest tries to read it, and to take its crc32c.
#[tokio::test]
async fn a_body_with_secrets_in_it_is_sealed() {
    let world = "import bascule:plugin/types@0.1.0; export bascule:plugin/request-mapper@0.1.0;";
    let mut image = Image::new();
    let secret = image.text("token");
    // list<field-value> of one: secret({ "", "", secret, "", false, false })
    let part = [&[1, 4096, 0, 4096, 0][..], &secret, &[4096, 0, 0]].concat();
    let part = image.words(&part);
    let (method, path) = (image.text("POST"), image.text("/token"));
    let request =
        [&[0, 0][..], &method, &[0, 0, 0], &path, &[0, 0, 0], &[4096, 0], &[2, 0], &[4096, 0]].concat();
    let request = image.words(&request);
    let wat = format!(
        r#"(module
          (import "bascule:plugin/types@0.1.0" "[static]body.from-parts"
            (func $join (param i32 i32) (result i32)))
          (import "bascule:plugin/types@0.1.0" "[method]body.read" (func $read (param i32 i32)))
          (import "bascule:plugin/types@0.1.0" "[method]body.digest" (func $digest (param i32 i32 i32)))
          (import "bascule:plugin/types@0.1.0" "[resource-drop]body" (func $drop (param i32)))
          {RUNTIME} {}
          (func (export "bascule:plugin/request-mapper@0.1.0#map-request")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (local $body i32)
            (call $drop (local.get 12))
            (local.set $body (call $join (i32.const {part}) (i32.const 1)))
            (call $read (local.get $body) (i32.const 2048))
            (if (i32.ne (i32.load8_u (i32.const 2056)) (i32.const 2)) (then unreachable))
            (call $digest (local.get $body) (i32.const 5) (i32.const 2048))
            (if (i32.ne (i32.load8_u (i32.const 2056)) (i32.const 2)) (then unreachable))
            (call $digest (local.get $body) (i32.const 0) (i32.const 2048))
            (if (i32.load8_u (i32.const 2048)) (then unreachable))
            (i32.store (i32.const {}) (local.get $body))
            (i32.const {request})))"#,
        image.segment(),
        request + 60,
    );
    let (plugin, _) = loaded_with(guest(world, &wat), |spec| {
        spec.credentials.insert("token".into(), "client-secret".into());
    });
    let mapping = plugin.map_request(&context(), get("/"), HostBody::bytes("")).await.unwrap();
    assert!(!format!("{mapping:?}").contains("client-secret"));
    let Mapping::Send(request) = mapping else { panic!("{mapping:?}") };
    let OutgoingBody::Replace(body) = request.body else { panic!("a body") };
    assert_eq!((&body.bytes[..], body.secret), (&b"client-secret"[..], true));
}
