//! Guests that were made with WASI find an empty machine, and what they write to it in the log.

use std::sync::Arc;
use std::time::Duration;

use bascule_plugin_host::*;

use crate::support::*;

/// Functions of `wasi_snapshot_preview1`, as a C or Go compiler imports them.
const PREVIEW1: &str = r#"
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
"#;

/// Writes the octets from 4096 on, so many of them, to that descriptor.
fn write(descriptor: u32, len: u32) -> String {
    format!(
        "(i32.store (i32.const 8) (i32.const 4096)) (i32.store (i32.const 12) (i32.const {len}))
         (drop (call $fd_write (i32.const {descriptor}) (i32.const 8) (i32.const 1) (i32.const 16)))"
    )
}

/// A core module that looks around and writes what it found: environment variables, the error of the
/// first folder, hours slept by the monotonic clock and hours since 1970, one digit each.
fn curious() -> Vec<u8> {
    let digit =
        |at: u32, value: &str| format!("(i32.store8 (i32.const {at}) (i32.add (i32.const 48) {value}))");
    let hours = "(i32.wrap_i64 (i64.div_u (i64.load (i32.const 48)) (i64.const 3600000000000)))";
    let body = [
        "(drop (call $environ (i32.const 24) (i32.const 28)))".to_owned(),
        digit(4096, "(i32.load (i32.const 24))"),
        digit(4097, "(call $prestat (i32.const 3) (i32.const 32))"),
        // One subscription: the monotonic clock, for an hour.
        "(i32.store (i32.const 144) (i32.const 1)) (i64.store (i32.const 152) (i64.const 3600000000000))"
            .to_owned(),
        "(drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 512)))".to_owned(),
        "(drop (call $clock (i32.const 1) (i64.const 1) (i32.const 48)))".to_owned(),
        digit(4098, hours),
        "(drop (call $clock (i32.const 0) (i64.const 1) (i32.const 48)))".to_owned(),
        digit(4099, hours),
        write(1, 4),
        write(2, 2),
        "(if (i32.eq (local.get $status) (i32.const 500)) (then unreachable))".to_owned(),
    ];
    guest(CLASSIFIER, &classifier(PREVIEW1, &body.concat()))
}

#[tokio::test]
async fn a_core_module_of_wasi_0_1_finds_an_empty_machine_and_is_heard() {
    let (plugin, recorder) = loaded(curious());
    let mut ctx = context();
    ctx.now += Duration::from_secs(7200);
    plugin.classify(&ctx, status(200), None).await.unwrap();
    // No variables, `badf` for the first folder, an hour slept at once, three hours since 1970.
    let expected = [(LogLevel::Info, "0813".to_owned()), (LogLevel::Warn, "08".to_owned())];
    assert_eq!(*recorder.lines.lock(), expected);
}

#[tokio::test]
async fn the_last_line_of_errors_explains_a_trap() {
    let (plugin, _) = loaded(curious());
    let error = plugin.classify(&context(), status(500), None).await.unwrap_err();
    assert!(matches!(&error, PluginError::Trapped { message } if message.ends_with(": 08")), "{error}");
}

#[tokio::test]
async fn output_counts_against_the_budget_of_the_log() {
    let flood = format!(
        "(loop $on {} (local.set $status (i32.sub (local.get $status) (i32.const 1)))
           (br_if $on (local.get $status)))",
        write(1, 2)
    );
    let imports = format!("{PREVIEW1} (data (i32.const 4096) \"x\\n\")");
    let (plugin, recorder) = loaded(guest(CLASSIFIER, &classifier(&imports, &flood)));
    plugin.classify(&context(), status(100), None).await.unwrap();
    let lines = recorder.lines.lock();
    assert_eq!((lines.len(), lines[32].1.as_str()), (33, "68 lines dropped"));
}

/// Counts up.
struct Counter(parking_lot::Mutex<u8>);

impl RandomSource for Counter {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        let mut next = self.0.lock();
        out.iter_mut().for_each(|octet| {
            *octet = *next;
            *next += 1;
        });
        Ok(())
    }
}

#[tokio::test]
async fn random_numbers_of_wasi_take_the_grant_and_come_from_the_hosts_source() {
    let imports = format!(
        r#"{PREVIEW1} (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))"#
    );
    let body = format!("(drop (call $random (i32.const 4096) (i32.const 3))) {}", write(1, 3));
    let module = guest(CLASSIFIER, &classifier(&imports, &body));
    let error = host().0.load(PluginSpec::new("guest", module.clone())).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("wasi:random/random@0.2.") && text.contains(r#"grants = ["random"]"#), "{text}");
    let source = Arc::new(Counter(parking_lot::Mutex::new(b'a')));
    let (host, recorder) = host_with(|config| config.random = source);
    let mut spec = PluginSpec::new("guest", module);
    spec.grants = Grants::parse(["random"]).unwrap();
    let plugin = host.load(spec).unwrap();
    plugin.classify(&context(), status(200), None).await.unwrap();
    assert_eq!(*recorder.lines.lock(), [(LogLevel::Info, "abc".to_owned())]);
}
