//! `secrets` and `telemetry`: what they give to those who are granted them, and how much.

use bascule_plugin_host::{Grants, LogLevel, PluginSpec};

use crate::support::*;

/// Answers with the secret of that name.
fn revealer(name: &str) -> Vec<u8> {
    let imports = r#"(import "bascule:plugin/secrets@0.1.0" "reveal" (func $reveal (param i32 i32 i32)))"#;
    let mut image = Image::new();
    let [name, len] = image.text(name);
    let body =
        format!("(call $reveal (i32.const {name}) (i32.const {len}) (i32.const 2048)) (i32.const 2048)");
    cache_policy("import bascule:plugin/secrets@0.1.0;", imports, &image, &body)
}

fn revealing(spec: &mut PluginSpec) {
    spec.grants = Grants::parse(["reveal:legacy", "reveal:typo"]).unwrap();
    spec.credentials.insert("legacy".into(), "old-password".into());
    spec.credentials.insert("key".into(), "new-password".into());
}

#[tokio::test]
async fn only_the_secret_that_is_named_is_revealed_and_the_operator_is_warned() {
    let (plugin, _) = loaded_with(revealer("legacy"), revealing);
    assert_eq!(answer(&plugin, &context()).await.as_deref(), Some(&b"old-password"[..]));
    let expected = [
        "the grant `reveal:legacy` lets the plugin read this secret and give it away",
        "the grant `reveal:typo` names no secret of `credentials`",
    ];
    assert_eq!(plugin.warnings(), expected);
    for other in ["key", "typo", "nothing"] {
        let (plugin, _) = loaded_with(revealer(other), revealing);
        assert_eq!(answer(&plugin, &context()).await, None, "{other}");
    }
}

const TELEMETRY: &str = "import bascule:plugin/telemetry@0.1.0;";
const CALLS: &str = r#"
    (import "bascule:plugin/telemetry@0.1.0" "count" (func $count (param i32 i32 i64 i32 i32)))
    (import "bascule:plugin/telemetry@0.1.0" "observe" (func $observe (param i32 i32 f64 i32 i32)))
    (import "bascule:plugin/telemetry@0.1.0" "annotate" (func $annotate (param i32 i32 i32 i32)))"#;

fn measuring(spec: &mut PluginSpec) {
    spec.grants = Grants::parse(["telemetry"]).unwrap();
    spec.credentials.insert("key".into(), "sk_live_1".into());
}

#[tokio::test]
async fn measurements_reach_the_observer_without_secrets() {
    let mut image = Image::new();
    let ([name, name_len], [size, size_len]) = (image.text("cards.declined"), image.text("size"));
    let (label, value) = (image.text("reason"), image.text(format!("sk_live_1 {}", "x".repeat(100))));
    let labels = image.words(&[label, value].concat());
    let [bad, bad_len] = image.text("Cards");
    let body = format!(
        "(call $count (i32.const {name}) (i32.const {name_len}) (i64.const 2) (i32.const {labels}) (i32.const 1))
         (call $observe (i32.const {size}) (i32.const {size_len}) (f64.const 1.5) (i32.const 0) (i32.const 0))
         (call $annotate (i32.const {size}) (i32.const {size_len}) (i32.const {name}) (i32.const {name_len}))
         ;; not a name, not a number, not of this kind
         (call $count (i32.const {bad}) (i32.const {bad_len}) (i64.const 1) (i32.const 0) (i32.const 0))
         (call $observe (i32.const {size}) (i32.const {size_len}) (f64.const nan) (i32.const 0) (i32.const 0))
         (call $count (i32.const {size}) (i32.const {size_len}) (i64.const 1) (i32.const 0) (i32.const 0))
         (i32.const 2048)"
    );
    let (plugin, recorder) = loaded_with(cache_policy(TELEMETRY, CALLS, &image, &body), measuring);
    answer(&plugin, &context()).await;
    let label = format!("[redacted] {}", "x".repeat(64 - "[redacted] ".len()));
    let expected = [
        format!(r#"call-1 count cards.declined 2 [("reason", "{label}")]"#),
        "call-1 observe size 1.5 []".to_owned(),
        "call-1 annotate size cards.declined".to_owned(),
    ];
    assert_eq!(*recorder.measured.lock(), expected);
    assert_eq!(*recorder.lines.lock(), [(LogLevel::Warn, "3 measurements dropped".to_owned())]);
}

#[tokio::test]
async fn a_flood_of_measurements_is_cut_and_counted() {
    let mut image = Image::new();
    let [name, len] = image.text("flood");
    let body = format!(
        "(local $n i32)
         (loop $on
           (call $count (i32.const {name}) (i32.const {len}) (i64.const 1) (i32.const 0) (i32.const 0))
           (call $annotate (i32.const {name}) (i32.const {len}) (i32.const {name}) (i32.const {len}))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $on (i32.lt_s (local.get $n) (i32.const 1000))))
         (i32.const 2048)"
    );
    let imports = format!("{CALLS} (func $flood (result i32) {body})");
    let module = cache_policy(TELEMETRY, &imports, &image, "(call $flood)");
    let (plugin, recorder) = loaded_with(module, measuring);
    answer(&plugin, &context()).await;
    assert_eq!(recorder.measured.lock().len(), 256 + 32);
    let dropped = 1000 - 256 + 1000 - 32;
    assert_eq!(*recorder.lines.lock(), [(LogLevel::Warn, format!("{dropped} measurements dropped"))]);
}
