//! Bodies: who may read them, how much of them, and what is to be had of those that cannot be read.

use bascule_plugin_host::{HostBody, Plugin, PluginSpec, Verdict};

use crate::support::*;

const WORLD: &str = "import bascule:plugin/types@0.1.0; export bascule:plugin/classifier@0.1.0;";
const DROP: &str = r#"(import "bascule:plugin/types@0.1.0" "[resource-drop]body" (func $drop (param i32)))"#;
const READ: &str =
    r#"(import "bascule:plugin/types@0.1.0" "[method]body.read" (func $read (param i32 i32)))"#;

/// Reads the body; the verdict is success when that works, else by the error:
/// transient too-large, throttled not-replayable, auth-expired denied.
fn reader() -> Vec<u8> {
    let body = r#"
      (call $read (local.get $body) (i32.const 2048))
      (if (i32.load8_u (i32.const 2048)) (then
        (i32.store8 (i32.const 1024) (i32.add (i32.const 1) (i32.load8_u (i32.const 2056))))))"#;
    using(READ, body)
}

/// A classifier that gives the borrowed body back at the end, as it must.
fn using(import: &str, body: &str) -> Vec<u8> {
    let body = format!("{body} (call $drop (local.get $body))");
    guest(WORLD, &classifier(&format!("{import} {DROP}"), &body))
}

async fn verdict(plugin: &Plugin, body: HostBody) -> Verdict {
    plugin.classify(&context(), status(200), Some(body)).await.unwrap().verdict
}

#[tokio::test]
async fn a_classifier_reads_its_body_only_with_the_grant() {
    let (plugin, _) = loaded(reader());
    assert_eq!(verdict(&plugin, HostBody::bytes("abc")).await, Verdict::AuthExpired);
    let granted = |spec: &mut PluginSpec| spec.grants.body_read = true;
    let (plugin, _) = loaded_with(reader(), granted);
    assert_eq!(verdict(&plugin, HostBody::bytes("abc")).await, Verdict::Success);
}

#[tokio::test]
async fn what_is_too_large_or_a_stream_cannot_be_read() {
    let (plugin, _) = loaded_with(reader(), |spec| {
        spec.grants.body_read = true;
        spec.limits.body = 1000;
    });
    assert_eq!(verdict(&plugin, HostBody::bytes(vec![0; 1000])).await, Verdict::Success);
    assert_eq!(verdict(&plugin, HostBody::bytes(vec![0; 1001])).await, Verdict::Transient);
    assert_eq!(verdict(&plugin, HostBody::one_shot(Some(3))).await, Verdict::Throttled);
}

#[tokio::test]
async fn a_digest_needs_no_grant_but_a_body_that_can_be_sent_twice() {
    let digest = r#"(import "bascule:plugin/types@0.1.0" "[method]body.digest"
        (func $digest (param i32 i32 i32)))"#;
    // Success when the crc32c of "123456789" comes back, else rejected or by the error as above.
    let body = r#"
      (call $digest (local.get $body) (i32.const 5) (i32.const 2048))
      (if (i32.load8_u (i32.const 2048))
        (then (i32.store8 (i32.const 1024) (i32.add (i32.const 1) (i32.load8_u (i32.const 2056)))))
        (else
          (if (i32.ne (i32.load (i32.load (i32.const 2056))) (i32.const 0x839206e3))
            (then (i32.store8 (i32.const 1024) (i32.const 4))))))"#;
    let (plugin, _) = loaded(using(digest, body));
    assert_eq!(verdict(&plugin, HostBody::bytes("123456789")).await, Verdict::Success);
    assert_eq!(verdict(&plugin, HostBody::one_shot(None)).await, Verdict::Throttled);
}
