//! What plugins log reaches the observer, within the caps.

use bascule_plugin_host::LogLevel;

use crate::support::*;

const WORLD: &str = "import bascule:plugin/log@0.1.0; export bascule:plugin/classifier@0.1.0;";
const WRITE: &str = r#"(import "bascule:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))
    (data (i32.const 4096) "hello")"#;

/// Writes as many lines of that length as the status says.
fn writer(len: u32) -> Vec<u8> {
    let body = format!(
        "(loop $on
           (call $write (i32.const 2) (i32.const 4096) (i32.const {len}) (i32.const 0) (i32.const 0))
           (local.set $status (i32.sub (local.get $status) (i32.const 1)))
           (br_if $on (i32.gt_s (local.get $status) (i32.const 0))))"
    );
    guest(WORLD, &classifier(WRITE, &body))
}

#[tokio::test]
async fn lines_within_the_caps_come_through_as_written() {
    let (plugin, recorder) = loaded(writer(5));
    plugin.classify(&context(), status(2), None).await.unwrap();
    let hello = (LogLevel::Info, "hello".to_owned());
    assert_eq!(*recorder.lines.lock(), [hello.clone(), hello]);
}

#[tokio::test]
async fn lines_beyond_the_caps_are_counted_in_one_last_line() {
    let (plugin, recorder) = loaded(writer(5));
    plugin.classify(&context(), status(100), None).await.unwrap();
    let lines = std::mem::take(&mut *recorder.lines.lock());
    assert_eq!(lines.len(), 33);
    assert_eq!(lines[32], (LogLevel::Warn, "68 lines dropped".to_owned()));

    let (plugin, recorder) = loaded(writer(4096));
    plugin.classify(&context(), status(3), None).await.unwrap();
    let lines = std::mem::take(&mut *recorder.lines.lock());
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2].1, "1 lines dropped");
}

#[tokio::test]
async fn the_caps_are_the_plugins_own() {
    let (plugin, recorder) = loaded_with(writer(5), |spec| spec.limits.log_lines = 2);
    plugin.classify(&context(), status(5), None).await.unwrap();
    assert_eq!(recorder.lines.lock().last().unwrap().1, "3 lines dropped");
    let (plugin, recorder) = loaded_with(writer(5), |spec| spec.limits.log_bytes = 5);
    plugin.classify(&context(), status(5), None).await.unwrap();
    assert_eq!(recorder.lines.lock().last().unwrap().1, "4 lines dropped");
}

#[tokio::test]
async fn known_secrets_and_tokens_do_not_reach_the_log() {
    let text = r#"(data (i32.const 4096) "sk_live_1 and eyJhbGci")"#;
    let imports = WRITE.replace(r#"(data (i32.const 4096) "hello")"#, text);
    let body = "(call $write (i32.const 2) (i32.const 4096) (i32.const 22) (i32.const 0) (i32.const 0))";
    let (plugin, recorder) = loaded_with(guest(WORLD, &classifier(&imports, body)), |spec| {
        spec.credentials.insert("key".into(), "sk_live_1".into());
    });
    let tokens = [("read".to_owned(), "eyJhbGci".into())].into_iter().collect();
    let context = bascule_plugin_host::CallContext { tokens, ..context() };
    plugin.classify(&context, status(200), None).await.unwrap();
    assert_eq!(recorder.lines.lock()[0].1, "[redacted] and [redacted]");
}
