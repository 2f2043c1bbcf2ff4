//! What is refused when it is loaded, and with which words.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bascule_plugin_host::{
    Grants, LoadError, Phase, Plugin, PluginError, PluginHost, PluginSpec, TimeoutKind,
};

use crate::support::*;

fn load(module: Vec<u8>, change: impl FnOnce(&mut PluginSpec)) -> Result<Arc<Plugin>, LoadError> {
    let mut spec = PluginSpec::new("guest", module);
    change(&mut spec);
    host().0.load(spec)
}

fn refusal(module: Vec<u8>) -> LoadError {
    load(module, |_| {}).err().unwrap()
}

fn well() -> Vec<u8> {
    guest(CLASSIFIER, &classifier("", ""))
}

const RANDOM: &str = r#"(import "bascule:plugin/random@0.1.0" "bytes" (func $bytes (param i32 i32)))"#;
const RANDOM_WORLD: &str = "import bascule:plugin/random@0.1.0; export bascule:plugin/classifier@0.1.0;";

#[tokio::test]
async fn an_import_without_its_grant_is_refused_with_the_line_to_add() {
    let module = guest(RANDOM_WORLD, &classifier(RANDOM, "(call $bytes (i32.const 8) (i32.const 2048))"));
    let error = refusal(module.clone());
    let expected = "the component imports `bascule:plugin/random@0.1.0`; add `grants = [\"random\"]` to its \
                    [[plugins]] table";
    assert_eq!(error.to_string(), expected);
    let granted = load(module, |spec| spec.grants = Grants::parse(["random"]).unwrap()).unwrap();
    granted.classify(&context(), status(200), None).await.unwrap();
}

/// Interface, a function of it with its parameters, and the smallest grant that it takes.
const NEED_GRANTS: [(&str, &str, &str, &str); 4] = [
    ("state", "remove", "(param i32 i32)", "state"),
    ("telemetry", "annotate", "(param i32 i32 i32 i32)", "telemetry"),
    (
        "http",
        "send",
        "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)",
        "http:default",
    ),
    ("secrets", "reveal", "(param i32 i32 i32)", "reveal:NAME"),
];

#[test]
fn every_interface_has_a_grant_of_its_own() {
    for (interface, function, params, grant) in NEED_GRANTS {
        let name = format!("bascule:plugin/{interface}@0.1.0");
        let import = format!(r#"(import "{name}" "{function}" (func {params}))"#);
        let module = guest(&format!("import {name}; {CLASSIFIER}"), &classifier(&import, ""));
        let error = refusal(module.clone());
        let expected =
            format!("the component imports `{name}`; add `grants = [\"{grant}\"]` to its [[plugins]] table");
        assert_eq!(error.to_string(), expected);
        load(module, |spec| spec.grants = Grants::parse([grant]).unwrap()).unwrap();
    }
}

#[test]
fn one_line_grants_all_that_is_missing_and_keeps_what_is_there() {
    let (mut world, mut imports) = (CLASSIFIER.to_owned(), String::new());
    for (interface, function, params, _) in NEED_GRANTS {
        let name = format!("bascule:plugin/{interface}@0.1.0");
        world.push_str(&format!("import {name};"));
        imports.push_str(&format!(r#"(import "{name}" "{function}" (func {params}))"#));
    }
    let module = guest(&world, &classifier(&imports, ""));
    let granted = |spec: &mut PluginSpec| spec.grants = Grants::parse(["http:auth", "body-read"]).unwrap();
    let error = load(module, granted).err().unwrap();
    let LoadError::MissingGrant { interfaces, line, table: "[[plugins]]" } = error else {
        panic!("{error:?}")
    };
    assert_eq!(interfaces.len(), 3, "{interfaces:?}");
    assert_eq!(line, r#"grants = ["body-read", "state", "telemetry", "http:auth", "reveal:NAME"]"#);
}

#[test]
fn other_wasi_is_not_in_this_version_and_other_packages_are_unknown() {
    let import = |package: &str| {
        let wit = format!(
            "package {package}; interface env {{ get: func() -> u32; }}
            world unused {{}}"
        );
        let (name, version) = package.split_once('@').unwrap();
        let name = format!("{name}/env@{version}");
        let wat = format!(r#"(module (import "{name}" "get" (func (result i32))) {RUNTIME})"#);
        refusal(guest_of(&wit, &format!("import {name};"), &wat))
    };
    // Neither has a phase either; that they import what is not there comes to light all the same.
    assert!(matches!(import("wasi:http@0.2.6"), LoadError::NoPhase));
    let wit = "package wasi:http@0.2.6; interface env { get: func() -> u32; }
        package bascule:plugin@0.1.0 { interface classifier { classify: func() -> u32; } }";
    let wat = format!(
        r#"(module (import "wasi:http/env@0.2.6" "get" (func (result i32))) {RUNTIME}
             (func (export "bascule:plugin/classifier@0.1.0#classify") (result i32) (i32.const 0)))"#
    );
    let error = refusal(guest_of(wit, &format!("import wasi:http/env@0.2.6; {CLASSIFIER}"), &wat));
    assert_eq!(error.to_string(), "`wasi:http/env@0.2.6` is not in this version");
    let error = refusal(guest_of(
        &wit.replace("wasi:http", "acme:cli"),
        &format!("import acme:cli/env@0.2.6; {CLASSIFIER}"),
        &wat.replace("wasi:http", "acme:cli"),
    ));
    assert!(matches!(error, LoadError::UnknownInterface { .. }), "{error}");
}

#[test]
fn phases_of_another_version_are_refused_not_ignored() {
    let wit = "package bascule:plugin@0.2.0; interface classifier { classify: func() -> u32; }";
    let wat = format!(
        r#"(module {RUNTIME}
             (func (export "bascule:plugin/classifier@0.2.0#classify") (result i32) (i32.const 0)))"#
    );
    let error = refusal(guest_of(wit, "export bascule:plugin/classifier@0.2.0;", &wat));
    let expected = "`bascule:plugin/classifier@0.2.0` is unknown to this host, which speaks \
                    bascule:plugin@0.1.x";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_phase_with_other_types_does_not_load() {
    let wit = "package bascule:plugin@0.1.0; interface classifier { classify: func() -> u32; }";
    let wat = format!(
        r#"(module {RUNTIME}
             (func (export "bascule:plugin/classifier@0.1.0#classify") (result i32) (i32.const 0)))"#
    );
    let error = refusal(guest_of(wit, CLASSIFIER, &wat));
    assert!(matches!(error, LoadError::WrongTypes { phase: "classifier", .. }), "{error}");
}

#[tokio::test]
async fn a_component_is_taken_as_it_is() {
    let mut encoder = wit_component::ComponentEncoder::default().module(&well()).unwrap();
    let component = encoder.encode().unwrap();
    assert_eq!(host().0.inspect(&component).unwrap().kind, bascule_plugin_host::ArtifactKind::Component);
    let plugin = load(component, |_| {}).unwrap();
    plugin.classify(&context(), status(200), None).await.unwrap();
}

#[test]
fn the_pin_is_checked_and_the_digest_shown() {
    let module = well();
    let digest = PluginHost::digest_of(&module);
    let error = load(module.clone(), |spec| spec.sha256 = Some([0; 32])).err().unwrap();
    assert!(matches!(&error, LoadError::DigestMismatch { actual, .. } if *actual == digest));
    let mut pin = [0; 32];
    pin.copy_from_slice(&data_encoding::HEXLOWER.decode(digest.as_bytes()).unwrap());
    let plugin = load(module, |spec| spec.sha256 = Some(pin)).unwrap();
    assert_eq!((plugin.digest(), plugin.name()), (digest.as_str(), "guest"));
}

#[test]
fn phases_that_are_not_there_limits_of_zero_and_config_that_is_no_table_are_refused() {
    let error = load(well(), |spec| spec.phases = Some(vec![Phase::Signer])).err().unwrap();
    let expected = "`phases` names `signer`, which the component does not export (it exports: classifier)";
    assert_eq!(error.to_string(), expected);
    let error = load(well(), |spec| spec.limits.body = 0).err().unwrap();
    assert!(matches!(error, LoadError::ZeroLimit { limit: "body" }));
    let error = load(well(), |spec| spec.limits.log_lines = usize::MAX).err().unwrap();
    assert!(matches!(error, LoadError::LimitTooHigh { limit: "log_lines", .. }));
    let error = load(well(), |spec| spec.config = serde_json::json!([1])).err().unwrap();
    assert!(matches!(error, LoadError::ConfigNotTable));
    let error = load(well(), |spec| spec.limits.artifact = 100).err().unwrap();
    assert!(matches!(error, LoadError::TooLarge { limit: 100, .. }));
}

/// Describes itself, and has one problem unless `config.region` is there.
pub(crate) fn particular() -> Vec<u8> {
    let mut image = Image::new();
    let (name, version) = (image.text("particular"), image.text("1.2.3"));
    let description = image.words(&[name[0], name[1], version[0], version[1], 0, 0, 0]);
    let (key, problem) = (image.text("region"), image.text("region is missing"));
    let problems = image.words(&problem);
    let (fine, wrong) = (image.words(&[0, 0, 0]), image.words(&[1, problems, 1]));
    let wat = format!(
        r#"(module (import "bascule:plugin/config@0.1.0" "get" (func $get (param i32 i32 i32)))
          {RUNTIME} {}
          (func (export "bascule:plugin/lifecycle@0.1.0#describe") (result i32) (i32.const {description}))
          (func (export "bascule:plugin/lifecycle@0.1.0#check-config") (result i32)
            (call $get (i32.const {}) (i32.const {}) (i32.const 2048))
            (select (i32.const {fine}) (i32.const {wrong}) (i32.load8_u (i32.const 2048))))
          (func (export "bascule:plugin/classifier@0.1.0#classify")
            (param i32 i32 i32 i32 i32) (result i32) (i32.const 1024)))"#,
        image.segment(),
        key[0],
        key[1],
    );
    let world = "import bascule:plugin/config@0.1.0;
        export bascule:plugin/lifecycle@0.1.0; export bascule:plugin/classifier@0.1.0;";
    guest(world, &wat)
}

#[test]
fn a_configuration_that_the_plugin_refuses_refuses_the_load() {
    let error = refusal(particular());
    assert_eq!(error.to_string(), "the plugin refuses its configuration: region is missing");
    let config = serde_json::json!({ "region": "eu-central-1" });
    let plugin = load(particular(), |spec| spec.config = config).unwrap();
    let description = plugin.description().unwrap();
    assert_eq!((description.name.as_str(), description.version.as_str()), ("particular", "1.2.3"));
}

#[test]
fn a_plugin_that_fails_at_start_is_refused_within_its_limit() {
    let endless = classifier("(func $start (loop $on (br $on))) (start $start)", "");
    let error = refusal(guest(CLASSIFIER, &endless));
    assert!(
        matches!(error, LoadError::Trial(PluginError::TimedOut { kind: TimeoutKind::Cpu, .. })),
        "{error:?}"
    );
    let big = classifier("", "").replace(r#""memory") 64"#, r#""memory") 2000"#);
    let error = refusal(guest(CLASSIFIER, &big));
    assert!(matches!(error, LoadError::Trial(PluginError::OutOfMemory { .. })), "{error:?}");
}

/// Counts the warnings that are logged.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN && metadata.target().starts_with("bascule_plugin_host")
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn without_address_space_for_a_pool_instances_are_made_on_demand() {
    // A million slots of 4 GiB are more than any machine can reserve.
    let warnings = Warnings::default();
    let (host, _) = tracing::subscriber::with_default(warnings.clone(), || {
        host_with(|config| {
            config.engines = std::num::NonZeroUsize::MIN;
            config.instances = 1_000_000;
        })
    });
    assert!(!host.pooled());
    assert_eq!(warnings.0.load(Ordering::Relaxed), 1, "the operator is told");
    let plugin = host.load(PluginSpec::new("guest", well())).unwrap();
    plugin.classify(&context(), status(200), None).await.unwrap();
    assert!(self::host().0.pooled());
}

#[tokio::test]
async fn a_second_host_finds_the_compiled_code_and_survives_a_corrupt_file() {
    let dir = tempfile::tempdir().unwrap();
    let code = dir.path().join("code");
    for _ in 0..3 {
        let (host, _) = host_with(|config| config.cache_dir = Some(code.clone()));
        let plugin = host.load(PluginSpec::new("guest", well())).unwrap();
        plugin.classify(&context(), status(200), None).await.unwrap();
        drop((plugin, host));
        let files: Vec<_> = std::fs::read_dir(&code).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 2, "one file of code and its digest: {files:?}");
        for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "cwasm")) {
            std::fs::write(file, b"torn").unwrap();
        }
    }
}
