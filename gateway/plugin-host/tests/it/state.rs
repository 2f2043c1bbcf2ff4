//! State: what lasts, for whom, and what happens when there is no room.

use bascule_plugin_host::{CallContext, Grants, Plugin, PluginHost, PluginSpec, StateLimits};

use crate::support::*;

const WORLD: &str = "import bascule:plugin/state@0.1.0;";

/// Adds one to the counter `n` and answers with the sum.
fn counter() -> Vec<u8> {
    let imports =
        r#"(import "bascule:plugin/state@0.1.0" "add" (func $add (param i32 i32 i64 i32 i32 i32)))"#;
    let mut image = Image::new();
    let [key, len] = image.text("n");
    let answer = image.words(&[1, 2056, 8]);
    let body = format!(
        "(call $add (i32.const {key}) (i32.const {len}) (i64.const 1) (i32.const 0) (i32.const 0)
           (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then unreachable))
         (i32.const {answer})"
    );
    cache_policy(WORLD, imports, &image, &body)
}

fn spec(name: &str, module: Vec<u8>) -> PluginSpec {
    let mut spec = PluginSpec::new(name, module);
    spec.grants = Grants::parse(["state"]).unwrap();
    spec
}

async fn count(plugin: &Plugin, context: &CallContext) -> i64 {
    i64::from_le_bytes(answer(plugin, context).await.unwrap().try_into().unwrap())
}

#[tokio::test]
async fn state_lasts_from_call_to_call_and_over_a_swap() {
    let (host, _) = host();
    let first = host.load(spec("counter", counter())).unwrap();
    assert_eq!((count(&first, &context()).await, count(&first, &context()).await), (1, 2));
    let mut other = spec("counter", counter());
    other.limits.instances = 1;
    let second = host.load(other).unwrap();
    assert_eq!((count(&second, &context()).await, count(&first, &context()).await), (3, 4));
    drop(first);
    assert_eq!(count(&second, &context()).await, 5);
    drop(second);
    let later = host.load(spec("counter", counter())).unwrap();
    assert_eq!(count(&later, &context()).await, 1, "nobody was left to keep it for");
}

#[tokio::test]
async fn integrations_profiles_and_plugins_have_states_of_their_own() {
    let (host, _) = host();
    let plugin = host.load(spec("counter", counter())).unwrap();
    assert_eq!(count(&plugin, &context()).await, 1);
    let elsewhere = CallContext { integration: "other".into(), ..context() };
    let tenant = CallContext { credential: "tenant-2".into(), ..context() };
    assert_eq!((count(&plugin, &elsewhere).await, count(&plugin, &tenant).await), (1, 1));
    let other_file = PluginSpec { identity: "other/counter.wasm".into(), ..spec("counter", counter()) };
    assert_eq!(
        count(&host.load(other_file).unwrap(), &context()).await,
        1,
        "the same name is not the same plugin"
    );
    let namesake = host.load(spec("another", counter())).unwrap();
    assert_eq!((count(&namesake, &context()).await, count(&plugin, &context()).await), (1, 2));
}

/// Puts one octet under that key and answers with the outcome: 16 octets of `result<u64, state-error>`.
fn keeper(host: &std::sync::Arc<PluginHost>, key: &str, if_version: Option<u64>) -> std::sync::Arc<Plugin> {
    let imports = r#"(import "bascule:plugin/state@0.1.0" "put"
        (func $put (param i32 i32 i32 i32 i32 i32 i32 i64 i32)))"#;
    let mut image = Image::new();
    let ([key, len], answer) = (image.text(key), image.words(&[1, 2048, 16]));
    let (some, version) = if_version.map_or((0, 0), |version| (1, version));
    let body = format!(
        "(call $put (i32.const {key}) (i32.const {len}) (i32.const {key}) (i32.const 1)
           (i32.const 0) (i32.const 0) (i32.const {some}) (i64.const {version}) (i32.const 2048))
         (i32.const {answer})"
    );
    host.load(spec("keeper", cache_policy(WORLD, imports, &image, &body))).unwrap()
}

/// The version, or the number of the error.
async fn put(plugin: &Plugin) -> Result<u64, u8> {
    let answer = answer(plugin, &context()).await.unwrap();
    match answer[0] {
        0 => Ok(u64::from_le_bytes(answer[8..].try_into().unwrap())),
        _ => Err(answer[8]),
    }
}

#[tokio::test]
async fn the_outcomes_of_a_put_reach_the_guest() {
    let (host, _) = host_with(|config| config.state = StateLimits { entries: 1, bytes: 1000 });
    let (too_large, full, conflict) = (Err(1), Err(2), Err(3));
    let first = keeper(&host, "a", Some(0));
    assert_eq!(put(&first).await, Ok(1));
    assert_eq!(put(&first).await, conflict, "it is there now");
    assert_eq!(put(&keeper(&host, "a", Some(1))).await, Ok(2));
    assert_eq!(put(&keeper(&host, "b", None)).await, full);
    assert_eq!(put(&keeper(&host, &"k".repeat(257), None)).await, too_large);
}
