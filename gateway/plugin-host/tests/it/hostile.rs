//! Guests that mean harm, in every phase: each ends under its own name, and the next call works.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bascule_plugin_host::{CallContext, Cause, HostBody, LoadError, Phase, Plugin, PluginError, PluginSpec};

use crate::support::*;

/// Each phase with its function, the number of its parameters, and which one is a body to give back.
const PHASES: [(Phase, &str, usize, Option<usize>); 7] = [
    (Phase::CachePolicy, "key-material", 1, Some(0)),
    (Phase::RequestMapper, "map-request", 13, Some(12)),
    (Phase::TokenSource, "fetch-token", 2, None),
    (Phase::Signer, "sign", 16, None),
    (Phase::Classifier, "classify", 5, None),
    (Phase::ResponseMapper, "map-response", 6, Some(3)),
    (Phase::ErrorMapper, "map-error", 9, None),
];

/// The attempt at which a guest does its worst.
const NOW: u32 = 500;

/// Exports all phases. Each does `bad` in attempt 500, and answers well otherwise; `parts` are further
/// parts of the module, imports first.
fn guest_with(parts: &str, bad: &str) -> Vec<u8> {
    let mut image = Image::new();
    let (method, path, token) = (image.text("GET"), image.text("/"), image.text("token"));
    let code = image.text("failed");
    let mut functions = String::new();
    let mut world = "import bascule:plugin/types@0.1.0; import bascule:plugin/context@0.1.0;
        import bascule:plugin/log@0.1.0;"
        .to_owned();
    for (phase, function, parameters, body) in PHASES {
        let answer = match phase {
            Phase::RequestMapper => image.words(
                &[&[0, 0][..], &method, &[0; 3], &path, &[0; 3], &[4096, 0], &[1, 0], &[4096, 0]].concat(),
            ),
            Phase::TokenSource => image.words(&[&[0][..], &token, &[0; 8]].concat()),
            Phase::ResponseMapper => image.words(&[0, 200, 4096, 0, 0, 0, 0, 0, 0, 0, 0]),
            Phase::ErrorMapper => image.words(&[&[8][..], &code, &code, &[0; 5]].concat()),
            // Nothing in the key, no patch, a success: all zeros.
            _ => image.words(&[0; 18]),
        };
        let give_back = body.map_or(String::new(), |index| format!("(call $drop (local.get {index}))"));
        write!(world, "export bascule:plugin/{phase}@0.1.0;").unwrap();
        write!(
            functions,
            r#"(func (export "bascule:plugin/{phase}@0.1.0#{function}") (param {}) (result i32)
                 (if (i32.eq (call $attempt) (i32.const {NOW})) (then {bad}))
                 {give_back} (i32.const {answer}))"#,
            "i32 ".repeat(parameters)
        )
        .unwrap();
    }
    let wat = format!(
        r#"(module
          (import "bascule:plugin/context@0.1.0" "attempt" (func $attempt (result i32)))
          (import "bascule:plugin/types@0.1.0" "[resource-drop]body" (func $drop (param i32)))
          (import "bascule:plugin/types@0.1.0" "[method]body.size" (func $size (param i32 i32)))
          (import "bascule:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))
          {parts} {RUNTIME} {} {functions})"#,
        image.segment()
    );
    guest(&world, &wat)
}

async fn call(plugin: &Plugin, phase: Phase, attempt: u32) -> Result<(), PluginError> {
    let ctx = CallContext { attempt, ..context() };
    let body = || HostBody::bytes("body");
    match phase {
        Phase::CachePolicy => plugin.key_material(&ctx, body()).await.map(drop),
        Phase::RequestMapper => plugin.map_request(&ctx, get("/"), body()).await.map(drop),
        Phase::TokenSource => plugin.fetch_token(&ctx, "read").await.map(drop),
        Phase::Signer => plugin.sign(&ctx, get("/"), "host", None).await.map(drop),
        Phase::Classifier => plugin.classify(&ctx, status(200), None).await.map(drop),
        Phase::ResponseMapper => plugin.map_response(&ctx, status(200), body(), Vec::new()).await.map(drop),
        Phase::ErrorMapper => plugin.map_error(&ctx, Cause::Timeout, None, None, Vec::new()).await.map(drop),
    }
}

fn bounded(spec: &mut PluginSpec) {
    spec.limits.memory = 8 << 20;
    spec.limits.cpu = Some(Duration::from_millis(3));
    spec.limits.wall = Some(Duration::from_secs(30));
}

/// Every phase once: well, badly with that kind of error, and well again.
async fn every_phase_fails(parts: &str, bad: &str, kind: &'static str) -> (Arc<Plugin>, Arc<Recorder>) {
    let (plugin, recorder) = loaded_with(guest_with(parts, bad), bounded);
    assert_eq!(plugin.phases(), Phase::ALL);
    for phase in Phase::ALL {
        call(&plugin, phase, 1).await.unwrap();
        let error = call(&plugin, phase, NOW).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{phase}: {error:?}");
        call(&plugin, phase, 1).await.unwrap();
        let told = recorder.calls.lock().split_off(0);
        let name = phase.as_str().to_owned();
        assert_eq!(told, [(name.clone(), None), (name.clone(), Some(kind)), (name, None)]);
    }
    (plugin, recorder)
}

#[tokio::test]
async fn a_trap_in_every_phase() {
    every_phase_fails("", "unreachable", "trap").await;
}

#[tokio::test]
async fn an_endless_loop_in_every_phase() {
    every_phase_fails("", "(loop $on (br $on))", "cpu").await;
}

#[tokio::test]
async fn a_loop_of_host_calls_in_every_phase() {
    every_phase_fails("", "(loop $on (drop (call $attempt)) (br $on))", "cpu").await;
}

#[tokio::test]
async fn a_memory_bomb_in_every_phase() {
    let bomb = "(loop $on (drop (memory.grow (i32.const 16))) (br $on))";
    every_phase_fails("", bomb, "memory").await;
}

#[tokio::test]
async fn a_stack_bomb_in_every_phase() {
    every_phase_fails("(func $deep (call $deep))", "(call $deep)", "trap").await;
}

#[tokio::test]
async fn a_table_bomb_in_every_phase() {
    // It is refused what is beyond 64 Ki elements; then it gives up by itself, or goes on asking.
    let table = "(table $t 1 funcref)";
    let grow = |by: u32| format!("(table.grow $t (ref.null func) (i32.const {by}))");
    let within = format!("(if (i32.eq {} (i32.const -1)) (then (loop $on (br $on))))", grow(65_535));
    let beyond = format!("(if (i32.eq {} (i32.const -1)) (then unreachable))", grow(65_536));
    every_phase_fails(table, &beyond, "trap").await;
    every_phase_fails(table, &format!("{within} {}", beyond.replace("65536", "1")), "trap").await;
    every_phase_fails(table, &format!("(loop $on (drop {}) (br $on))", grow(65_536)), "cpu").await;
}

#[tokio::test]
async fn a_forged_handle_in_every_phase() {
    every_phase_fails("", "(call $size (i32.const 4242) (i32.const 2048))", "trap").await;
    every_phase_fails("", "(call $drop (i32.const -1))", "trap").await;
}

#[tokio::test]
async fn bad_utf8_and_bad_pointers_in_every_phase() {
    let write = |at: u32, len: u32| {
        format!("(call $write (i32.const 2) (i32.const {at}) (i32.const {len}) (i32.const 0) (i32.const 0))")
    };
    let parts = r#"(data (i32.const 3000) "\ff\fe\fd")"#;
    let (_, recorder) = every_phase_fails(parts, &write(3000, 3), "trap").await;
    assert!(recorder.lines.lock().is_empty(), "the line was never one");
    every_phase_fails("", &write(u32::MAX - 8, 100), "trap").await;
    every_phase_fails("", &write(0, u32::MAX), "trap").await;
}

#[tokio::test]
async fn a_log_flood_in_every_phase() {
    let flood = "(loop $on (call $write (i32.const 2) (i32.const 2048) (i32.const 100) (i32.const 0) \
                 (i32.const 0)) (br $on))";
    let (_, recorder) = every_phase_fails("", flood, "cpu").await;
    let lines = recorder.lines.lock();
    assert_eq!(lines.len(), 7 * 33);
    assert!(lines.iter().skip(32).step_by(33).all(|(_, line)| line.ends_with("lines dropped")));
}

#[test]
fn a_phase_of_another_shape_does_not_load() {
    for (phase, function, ..) in PHASES {
        let wit = format!("package bascule:plugin@0.1.0; interface {phase} {{ {function}: func() -> u32; }}");
        let wat = format!(
            r#"(module {RUNTIME}
              (func (export "bascule:plugin/{phase}@0.1.0#{function}") (result i32) (i32.const 0)))"#
        );
        let module = guest_of(&wit, &format!("export bascule:plugin/{phase}@0.1.0;"), &wat);
        let error = host().0.load(PluginSpec::new("guest", module)).err().unwrap();
        let LoadError::WrongTypes { phase: named, .. } = error else { panic!("{phase}: {error:?}") };
        assert_eq!(named, phase.as_str());
    }
}

#[test]
fn a_phase_of_an_unknown_version_does_not_load() {
    for (phase, function, ..) in PHASES {
        for version in ["0.2.0", "1.0.0", "0.1.0-draft"] {
            let wit = format!(
                "package bascule:plugin@{version}; interface {phase} {{ {function}: func() -> u32; }}"
            );
            let wat = format!(
                r#"(module {RUNTIME}
                  (func (export "bascule:plugin/{phase}@{version}#{function}") (result i32) (i32.const 0)))"#
            );
            let module = guest_of(&wit, &format!("export bascule:plugin/{phase}@{version};"), &wat);
            let error = host().0.load(PluginSpec::new("guest", module)).err().unwrap();
            assert!(matches!(error, LoadError::UnknownInterface { .. }), "{phase}@{version}: {error:?}");
        }
    }
}
