//! Loops, bombs and traps end at their limit, under their own name, and harm nobody else.

use std::time::{Duration, Instant};

use bascule_plugin_host::{PluginError, PluginSpec, TimeoutKind, Verdict};

use crate::support::*;

/// Does the bad thing when asked about status 500, and answers well otherwise.
fn bad_at_500(bad: &str) -> Vec<u8> {
    let body = format!("(if (i32.eq (local.get $status) (i32.const 500)) (then {bad}))");
    guest(CLASSIFIER, &classifier("", &body))
}

const LOOP: &str = "(loop $on (br $on))";
const GROW: &str = "(loop $on (drop (memory.grow (i32.const 16))) (br $on))";

/// The failure at status 500, with a good call before and after it.
async fn failure(module: Vec<u8>, change: impl FnOnce(&mut PluginSpec)) -> PluginError {
    let (plugin, recorder) = loaded_with(module, change);
    let good = async || plugin.classify(&context(), status(200), None).await.unwrap().verdict;
    assert_eq!(good().await, Verdict::Success);
    let error = plugin.classify(&context(), status(500), None).await.unwrap_err();
    assert_eq!(good().await, Verdict::Success, "a plugin that failed once is not dead");
    assert_eq!(recorder.calls.lock()[1], ("classifier".to_owned(), Some(error.kind())));
    error
}

#[tokio::test]
async fn an_endless_loop_ends_at_its_cpu_limit() {
    let started = Instant::now();
    let patient = |spec: &mut PluginSpec| spec.limits.wall = Some(Duration::from_secs(30));
    let error = failure(bad_at_500(LOOP), patient).await;
    let limit = Duration::from_millis(20);
    assert!(matches!(error, PluginError::TimedOut { kind: TimeoutKind::Cpu, limit: l } if l == limit));
    assert!(started.elapsed() >= limit);
}

#[tokio::test]
async fn a_loop_under_a_tighter_wall_limit_ends_at_that() {
    let error = failure(bad_at_500(LOOP), |spec| {
        spec.limits.cpu = Some(Duration::from_secs(30));
        spec.limits.wall = Some(Duration::from_millis(10));
    });
    assert!(matches!(error.await, PluginError::TimedOut { kind: TimeoutKind::Wall, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn looping_guests_leave_the_worker_to_others() {
    let (plugin, _) = loaded_with(bad_at_500(LOOP), |spec| {
        spec.limits.cpu = Some(Duration::from_secs(30));
        spec.limits.wall = Some(Duration::from_secs(30));
    });
    let looping = plugin.clone();
    let task = tokio::spawn(async move { looping.classify(&context(), status(500), None).await });
    let plugin_of_other = plugin.clone();
    let other = tokio::spawn(async move { plugin_of_other.classify(&context(), status(200), None).await });
    assert_eq!(other.await.unwrap().unwrap().verdict, Verdict::Success);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled(), "a looping guest can be cancelled");
}

#[tokio::test]
async fn a_memory_bomb_ends_at_its_limit_and_gives_everything_back() {
    let limit = 16 << 20;
    let error = failure(bad_at_500(GROW), |spec| spec.limits.memory = limit).await;
    assert!(matches!(error, PluginError::OutOfMemory { limit: l } if l == limit), "{error:?}");
}

#[tokio::test]
async fn want_of_memory_is_told_from_a_panic_when_the_guest_gives_up_by_itself() {
    let bad = "(if (i32.eq (memory.grow (i32.const 70)) (i32.const -1)) (then unreachable))";
    let module = classifier("", &format!("(if (i32.eq (local.get $status) (i32.const 500)) (then {bad}))"))
        .replace(r#"(memory (export "memory") 64)"#, r#"(memory (export "memory") 64 100)"#);
    let error = failure(guest(CLASSIFIER, &module), |_| {}).await;
    assert!(matches!(error, PluginError::OutOfMemory { .. }), "{error:?}");
}

#[tokio::test]
async fn the_sum_over_all_instances_is_limited_and_blames_no_plugin() {
    // A guest has 4 MiB; its own limit would allow 64.
    let (host, _) = host_with(|config| config.memory_total = 6 << 20);
    let plugin = host.load(PluginSpec::new("guest", bad_at_500(GROW))).unwrap();
    for _ in 0..8 {
        let error = plugin.classify(&context(), status(500), None).await.unwrap_err();
        assert!(matches!(error, PluginError::OutOfMemory { limit } if limit == 6 << 20), "{error:?}");
    }
    plugin.classify(&context(), status(200), None).await.unwrap();
}

#[tokio::test]
async fn a_trap_is_named_with_its_function() {
    let error = failure(bad_at_500("unreachable"), |_| {}).await;
    let PluginError::Trapped { message } = error else { panic!("{error:?}") };
    assert!(message.contains("unreachable") && message.contains("classify"), "{message}");
}

#[tokio::test]
async fn a_rust_panic_is_told_from_other_traps_by_its_frames() {
    let wat = classifier(
        r#"(import "bascule:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))
           (func $rust_begin_unwind unreachable)
           (data (i32.const 4096) "panicked at src/lib.rs:7:41: index out of bounds")"#,
        r#"(if (i32.eq (local.get $status) (i32.const 500)) (then
             (call $write (i32.const 4) (i32.const 4096) (i32.const 48) (i32.const 0) (i32.const 0))
             (call $rust_begin_unwind)))"#,
    );
    let world = format!("import bascule:plugin/log@0.1.0; {CLASSIFIER}");
    let error = failure(guest(&world, &wat), |_| {}).await;
    let PluginError::Trapped { message } = error else { panic!("{error:?}") };
    assert_eq!(message, "panicked in classify: panicked at src/lib.rs:7:41: index out of bounds");
}

#[tokio::test]
async fn endless_recursion_traps() {
    let module = classifier(
        "(func $deep (call $deep))",
        "(if (i32.eq (local.get $status) (i32.const 500)) (then (call $deep)))",
    );
    let error = failure(guest(CLASSIFIER, &module), |_| {}).await;
    assert!(matches!(error, PluginError::Trapped { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_free_instance_is_turned_away_in_time() {
    let (plugin, _) = loaded_with(bad_at_500(LOOP), |spec| {
        spec.limits.instances = 1;
        spec.limits.cpu = Some(Duration::from_secs(30));
        spec.limits.wall = Some(Duration::from_secs(30));
    });
    let holder = plugin.clone();
    let task = tokio::spawn(async move { holder.classify(&context(), status(500), None).await });
    // Until the looping call has its instance, calls that come before it succeed.
    let error = loop {
        match plugin.classify(&context(), status(200), None).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, PluginError::Busy), "{error:?}");
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    plugin.classify(&context(), status(200), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_slots_of_all_engines_can_be_used_at_once() {
    // Eight instances over two engines; eight calls from one thread need the slots of both.
    let (host, _) = host_with(|config| config.engines = 2.try_into().unwrap());
    let mut spec = PluginSpec::new("guest", bad_at_500(LOOP));
    spec.limits.cpu = Some(Duration::from_millis(40));
    spec.limits.wall = Some(Duration::from_secs(30));
    let plugin = host.load(spec).unwrap();
    let context = context();
    let call = || plugin.classify(&context, status(500), None);
    let (a, b, c, d, e, f, g, h) =
        tokio::join!(call(), call(), call(), call(), call(), call(), call(), call());
    for result in [a, b, c, d, e, f, g, h] {
        let error = result.unwrap_err();
        assert!(matches!(error, PluginError::TimedOut { kind: TimeoutKind::Cpu, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn handles_and_host_calls_are_bounded() {
    let body = r#"(import "bascule:plugin/types@0.1.0" "[constructor]body"
                    (func $body_new (param i32 i32) (result i32)))"#;
    let write = r#"(import "bascule:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))"#;
    let when_bad = |bad: &str| format!("(if (i32.eq (local.get $status) (i32.const 500)) (then {bad}))");
    let hoard = "(loop $on (drop (call $body_new (i32.const 0) (i32.const 1))) (br $on))";
    let world = format!("import bascule:plugin/types@0.1.0; {CLASSIFIER}");
    let error = failure(guest(&world, &classifier(body, &when_bad(hoard))), |_| {}).await;
    assert!(matches!(error, PluginError::Trapped { .. }), "{error:?}");

    // 200 bodies of 1 MiB: host memory that counts as the guest's.
    let large = hoard.replace("(i32.const 1)", "(i32.const 1048576)");
    let patient = |spec: &mut PluginSpec| {
        spec.limits.cpu = Some(Duration::from_secs(30));
        spec.limits.wall = Some(Duration::from_secs(30));
    };
    let error = failure(guest(&world, &classifier(body, &when_bad(&large))), patient).await;
    assert!(matches!(error, PluginError::OutOfMemory { .. }), "{error:?}");

    // One line of 3 MiB is more than one host call may bring.
    let line = "(call $write (i32.const 2) (i32.const 0) (i32.const 3000000) (i32.const 0) (i32.const 0))";
    let world = format!("import bascule:plugin/log@0.1.0; {CLASSIFIER}");
    let error = failure(guest(&world, &classifier(write, &when_bad(line))), |_| {}).await;
    let PluginError::Trapped { message } = error else { panic!("{error:?}") };
    assert!(message.contains("hostcalls"), "{message}");
}

#[tokio::test]
async fn a_call_opens_few_keys() {
    let imports = r#"(import "bascule:plugin/crypto@0.1.0" "[static]key.open"
        (func $open (param i32 i32 i32 i32 i32 i32)))"#;
    let open =
        "(call $open (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))";
    let bad = format!("(if (i32.eq (local.get $status) (i32.const 500)) (then (loop $on {open} (br $on))))");
    let world = format!("import bascule:plugin/crypto@0.1.0; {CLASSIFIER}");
    let error = failure(guest(&world, &classifier(imports, &bad)), |_| {}).await;
    let PluginError::Trapped { message } = error else { panic!("{error:?}") };
    assert!(message.contains("key_opens"), "{message}");
}

#[tokio::test]
async fn a_call_gets_few_random_octets_at_a_time() {
    let imports = r#"(import "bascule:plugin/random@0.1.0" "bytes" (func $bytes (param i32 i32)))"#;
    let bytes = |len: u32| format!("(call $bytes (i32.const {len}) (i32.const 2048))");
    let bad = format!(
        "{} (if (i32.eq (local.get $status) (i32.const 500)) (then {}))",
        bytes(64 << 10),
        bytes((64 << 10) + 1)
    );
    let world = format!("import bascule:plugin/random@0.1.0; {CLASSIFIER}");
    let granted = |spec: &mut PluginSpec| spec.grants.random = true;
    let error = failure(guest(&world, &classifier(imports, &bad)), granted).await;
    let PluginError::Trapped { message } = error else { panic!("{error:?}") };
    assert!(message.contains("64 KiB"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_has_a_limit_of_its_own_over_all_plugins() {
    let (host, _) = host_with(|config| config.instances = 1);
    let load = |name: &str| {
        let mut spec = PluginSpec::new(name, bad_at_500(LOOP));
        spec.limits.cpu = Some(Duration::from_secs(30));
        spec.limits.wall = Some(Duration::from_secs(30));
        host.load(spec).unwrap()
    };
    let (holder, other) = (load("holder"), load("other"));
    let task = tokio::spawn(async move { holder.classify(&context(), status(500), None).await });
    // Until the looping call has the only instance, calls that come before it succeed.
    let error = loop {
        match other.classify(&context(), status(200), None).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, PluginError::Busy), "{error:?}");
    assert!(other.out_of_service().is_none(), "it is not to blame");
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    other.classify(&context(), status(200), None).await.unwrap();
}
