//! Guests from WAT, hosts and calls with few words.
//!
//! A guest's answers lie in its memory from the start: [`Image`] lays them out as the canonical ABI
//! wants them, and the guest returns their address.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bascule_plugin_host::{
    CallContext, HostConfig, LogLevel, Observer, Plugin, PluginHost, PluginId, PluginSpec, RequestHead,
    ResponseHead, Tokens,
};
use parking_lot::Mutex;
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// A core module with the sections of a world that has these items.
pub(crate) fn guest(world: &str, wat: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit")).unwrap();
    embed(resolve, world, wat)
}

/// The same over another text than the repository's WIT.
pub(crate) fn guest_of(wit: &str, world: &str, wat: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_str("other.wit", wit).unwrap();
    embed(resolve, world, wat)
}

fn embed(mut resolve: Resolve, world: &str, wat: &str) -> Vec<u8> {
    let text = format!("package test:guest; world guest {{ {world} }}");
    let package = resolve.push_str("guest.wit", &text).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = wat::parse_str(wat).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// What every guest needs: memory and an allocator that never frees. 4 MiB are to be had.
pub(crate) const RUNTIME: &str = r#"
  (memory (export "memory") 64)
  (global $next (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
"#;

pub(crate) const CLASSIFIER: &str = "export bascule:plugin/classifier@0.1.0;";

/// A classifier: `body` may use the locals `$status` and `$body`, and falls through to a success.
pub(crate) fn classifier(imports: &str, body: &str) -> String {
    format!(
        r#"(module {imports} {RUNTIME}
          (func $classify (export "bascule:plugin/classifier@0.1.0#classify")
            (param $status i32) (param i32 i32) (param $some i32) (param $body i32) (result i32)
            {body}
            (i32.const 1024)))"#
    )
}

/// Octets at known addresses, as a data segment.
pub(crate) struct Image {
    base: u32,
    octets: Vec<u8>,
}

impl Image {
    pub(crate) fn new() -> Self {
        Self { base: 4096, octets: Vec::new() }
    }

    /// The address of these octets, a multiple of eight.
    pub(crate) fn put(&mut self, octets: &[u8]) -> u32 {
        self.octets.resize(self.octets.len().next_multiple_of(8), 0);
        let at = self.base + self.octets.len() as u32;
        self.octets.extend_from_slice(octets);
        at
    }

    /// Address and length, as the ABI has strings and lists of octets.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) -> [u32; 2] {
        [self.put(text.as_ref()), text.as_ref().len() as u32]
    }

    /// The address of these words.
    pub(crate) fn words(&mut self, words: &[u32]) -> u32 {
        self.put(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
    }

    /// A list of headers: address and length.
    pub(crate) fn headers(&mut self, headers: &[(&str, &[u8])]) -> [u32; 2] {
        let words: Vec<u32> =
            headers.iter().flat_map(|(name, value)| [self.text(name), self.text(value)].concat()).collect();
        [self.words(&words), headers.len() as u32]
    }

    pub(crate) fn segment(&self) -> String {
        let mut text = format!("(data (i32.const {}) \"", self.base);
        self.octets.iter().for_each(|octet| write!(text, "\\{octet:02x}").unwrap());
        text + "\")"
    }
}

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) lines: Mutex<Vec<(LogLevel, String)>>,
    pub(crate) calls: Mutex<Vec<(String, Option<&'static str>)>>,
    /// Counts, observations and annotations, each as one line.
    pub(crate) measured: Mutex<Vec<String>>,
    pub(crate) out_of_service: Mutex<Vec<PluginId>>,
}

impl Observer for Recorder {
    fn log(&self, _: &str, _: &str, level: LogLevel, message: &str, _: &[(String, String)]) {
        self.lines.lock().push((level, message.to_owned()));
    }

    fn call(&self, _: &str, phase: &str, _: Duration, failure: Option<&'static str>) {
        self.calls.lock().push((phase.to_owned(), failure));
    }

    fn count(&self, _: &str, call: &CallContext, name: &str, value: u64, labels: &[(String, String)]) {
        self.measured.lock().push(format!("{} count {name} {value} {labels:?}", call.call_id));
    }

    fn observe(&self, _: &str, call: &CallContext, name: &str, value: f64, labels: &[(String, String)]) {
        self.measured.lock().push(format!("{} observe {name} {value} {labels:?}", call.call_id));
    }

    fn annotate(&self, _: &str, call: &CallContext, key: &str, value: &str) {
        self.measured.lock().push(format!("{} annotate {key} {value}", call.call_id));
    }

    fn out_of_service(&self, _: &str, id: PluginId) {
        self.out_of_service.lock().push(id);
    }
}

/// A small host and what it was told.
pub(crate) fn host() -> (Arc<PluginHost>, Arc<Recorder>) {
    host_with(|_| {})
}

pub(crate) fn host_with(change: impl FnOnce(&mut HostConfig)) -> (Arc<PluginHost>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let mut config = HostConfig { instances: 8, ..HostConfig::default() };
    config.observer = recorder.clone();
    change(&mut config);
    (PluginHost::new(config).unwrap(), recorder)
}

/// The guest, loaded into a host of its own.
pub(crate) fn loaded(module: Vec<u8>) -> (Arc<Plugin>, Arc<Recorder>) {
    loaded_with(module, |_| {})
}

pub(crate) fn loaded_with(
    module: Vec<u8>,
    change: impl FnOnce(&mut PluginSpec),
) -> (Arc<Plugin>, Arc<Recorder>) {
    let (host, recorder) = host();
    let mut spec = PluginSpec::new("guest", module);
    change(&mut spec);
    (host.load(spec).unwrap(), recorder)
}

pub(crate) fn context() -> CallContext {
    CallContext {
        integration: "shop".into(),
        operation: "buy".into(),
        call_id: "call-1".into(),
        credential: "default".into(),
        attempt: 1,
        remaining: Duration::from_secs(5),
        idempotency_key: None,
        parameters: "{}".into(),
        now: SystemTime::UNIX_EPOCH,
        tokens: Tokens::default(),
        side: None,
    }
}

pub(crate) fn status(status: u16) -> ResponseHead {
    ResponseHead { status, headers: Vec::new() }
}

pub(crate) fn get(path: &str) -> RequestHead {
    RequestHead { method: "GET".into(), endpoint: None, path: path.into(), query: None, headers: Vec::new() }
}

pub(crate) const CACHE_POLICY: &str = "export bascule:plugin/cache-policy@0.1.0;";

/// A cache policy, which can answer with any octets: `body` leaves the address of an `option<list<u8>>`.
pub(crate) fn cache_policy(world: &str, imports: &str, image: &Image, body: &str) -> Vec<u8> {
    let wat = format!(
        r#"(module
          (import "bascule:plugin/types@0.1.0" "[resource-drop]body" (func $drop (param i32)))
          {imports} {RUNTIME} {}
          (func (export "bascule:plugin/cache-policy@0.1.0#key-material") (param $input i32) (result i32)
            (call $drop (local.get $input))
            {body}))"#,
        image.segment()
    );
    guest(&format!("import bascule:plugin/types@0.1.0; {world} {CACHE_POLICY}"), &wat)
}

/// Octets that a cache policy answered with.
pub(crate) async fn answer(plugin: &Plugin, context: &CallContext) -> Option<Vec<u8>> {
    plugin.key_material(context, bascule_plugin_host::HostBody::bytes("")).await.unwrap()
}
