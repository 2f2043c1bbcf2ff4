//! What an inspection shows: exactly what is exported and imported.

use bascule_plugin_host::{ArtifactKind, ImportedInterface, LoadError};

use crate::loading::particular;
use crate::support::*;

#[test]
fn exports_imports_and_grants_are_shown_down_to_functions() {
    let imports = r#"
      (import "bascule:plugin/random@0.1.0" "bytes" (func (param i32 i32)))
      (import "bascule:plugin/crypto@0.1.0" "[static]key.open" (func (param i32 i32 i32 i32 i32 i32)))
      (import "bascule:plugin/crypto@0.1.0" "equal" (func (param i32 i32 i32 i32) (result i32)))"#;
    let world = "import bascule:plugin/random@0.1.0; import bascule:plugin/crypto@0.1.0;
        import bascule:plugin/log@0.1.0; export bascule:plugin/classifier@0.1.0;";
    let module = guest(world, &classifier(imports, ""));
    let seen = host().0.inspect(&module).unwrap();
    assert_eq!(seen.kind, ArtifactKind::Module);
    assert_eq!((seen.size, seen.memory_pages_min), (module.len() as u64, 64));
    assert_eq!(seen.exports, ["bascule:plugin/classifier@0.1.0"]);
    let import = |name: &str, functions: &[&str], grant: Option<&str>| ImportedInterface {
        name: format!("bascule:plugin/{name}@0.1.0"),
        functions: functions.iter().map(ToString::to_string).collect(),
        grant: grant.map(Into::into),
    };
    let mut imports = seen.imports.clone();
    imports.sort_by(|a, b| a.name.cmp(&b.name));
    imports.iter_mut().for_each(|import| import.functions.sort());
    let expected = [
        import("crypto", &["[static]key.open", "equal"], None),
        import("random", &["bytes"], Some("random")),
    ];
    assert_eq!(imports, expected, "`log` is in the world but not used");
    assert!(seen.warnings.is_empty(), "{:?}", seen.warnings);
}

#[test]
fn reading_bodies_in_a_classifier_shows_its_grant() {
    let world = "import bascule:plugin/types@0.1.0; export bascule:plugin/classifier@0.1.0;";
    let import = r#"(import "bascule:plugin/types@0.1.0" "[method]body.read" (func (param i32 i32)))"#;
    let seen = host().0.inspect(&guest(world, &classifier(import, ""))).unwrap();
    assert_eq!(seen.imports[0].grant.as_deref(), Some("body-read"));
}

#[test]
fn a_plugin_says_who_it_is() {
    let seen = host().0.inspect(&particular()).unwrap();
    assert_eq!(seen.description.unwrap().name, "particular");
}

#[test]
fn what_this_version_would_refuse_is_shown_with_the_reason() {
    let wit = "package bascule:plugin@0.2.0; interface gadgets { spin: func(); }
        package bascule:plugin@0.1.0 { interface classifier { classify: func() -> u32; } }";
    let wat = format!(
        r#"(module (import "bascule:plugin/gadgets@0.2.0" "spin" (func)) {RUNTIME}
             (func (export "bascule:plugin/classifier@0.1.0#classify") (result i32) (i32.const 0)))"#
    );
    let world = format!("import bascule:plugin/gadgets@0.2.0; {CLASSIFIER}");
    let seen = host().0.inspect(&guest_of(wit, &world, &wat)).unwrap();
    assert!(seen.warnings.iter().any(|warning| warning.contains("gadgets@0.2.0` is unknown")));
    assert!(matches!(host().0.inspect(b"\x7fELF...."), Err(LoadError::NotWasm)));
}
