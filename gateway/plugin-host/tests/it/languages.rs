//! Plugins in Python and JavaScript, as their own tools make them, through the real host.
//!
//! `cargo xtask plugins` builds the guests; their compiled code is kept beside the tests, since a Python
//! component takes seconds to compile.

use std::path::Path;
use std::sync::Arc;

use bascule_plugin_host::*;

use crate::support::*;

fn load(name: &str, change: impl FnOnce(&mut PluginSpec)) -> (Arc<Plugin>, Arc<Recorder>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/languages/dist");
    let file = folder.join(name).with_extension("wasm");
    let bytes = std::fs::read(&file).expect("`cargo xtask plugins` builds it");
    let (host, recorder) = host_with(|config| {
        config.cache_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-languages"));
    });
    let mut spec = PluginSpec::new(name, bytes);
    spec.grants = Grants::parse(["random"]).unwrap();
    change(&mut spec);
    (host.load(spec).unwrap(), recorder)
}

#[tokio::test]
async fn a_python_plugin_maps_and_finds_nothing_of_the_machine() {
    let (plugin, recorder) = load("python", |_| {});
    let body = HostBody::bytes(r#"{"city": "Berlin"}"#);
    let reply = plugin.map_response(&context(), status(200), body, Vec::new()).await.unwrap();
    let mut answer: serde_json::Value = serde_json::from_slice(&reply.body.unwrap()).unwrap();
    assert!(answer["random"].take().as_u64().is_some_and(|number| number < 256));
    let expected = serde_json::json!({
        "python": { "city": "Berlin" }, "slept": 3600, "year": 1970, "environment": {}, "files": null,
        "random": null,
    });
    assert_eq!(answer, expected);
    assert_eq!(*recorder.lines.lock(), [(LogLevel::Info, "mapped Berlin".to_owned())]);
}

#[tokio::test]
async fn a_python_exception_is_a_trap_whose_traceback_is_in_the_log() {
    let (plugin, recorder) = load("python", |_| {});
    let body = HostBody::bytes(r#"{"fail": true}"#);
    let error = plugin.map_response(&context(), status(200), body, Vec::new()).await.unwrap_err();
    let runtime = ": Python function threw an unexpected exception";
    assert!(matches!(&error, PluginError::Trapped { message } if message.ends_with(runtime)), "{error}");
    let lines = recorder.lines.lock();
    assert_eq!(lines[0], (LogLevel::Warn, "about to fail".to_owned()));
    assert!(lines.contains(&(LogLevel::Warn, "RuntimeError: asked to".to_owned())), "{lines:?}");
}

#[tokio::test]
async fn a_javascript_plugin_signs() {
    let config = serde_json::json!({ "region": "eu-central-1" });
    let (plugin, recorder) = load("javascript", |spec| spec.config = config);
    let patch = plugin.sign(&context(), get("/orders"), "api.example.com", None).await.unwrap();
    let (name, value) = &patch.headers[0];
    let value: serde_json::Value = serde_json::from_slice(&value.bytes).unwrap();
    let expected = serde_json::json!({ "attempt": 1, "region": "\"eu-central-1\"", "path": "/orders" });
    assert_eq!((name.as_str(), value), ("x-javascript", expected));
    let line = (LogLevel::Info, "signing for api.example.com".to_owned());
    assert_eq!(*recorder.lines.lock(), [line]);
}
