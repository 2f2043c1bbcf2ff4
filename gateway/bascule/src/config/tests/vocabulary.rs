//! Reader, schema and reference say the same.

use super::examples::{FILES, GATEWAY, loaded};
use crate::config::{json_schema, reference_markdown};
use serde_json::Value;
use std::collections::BTreeSet;

fn json(text: &str) -> Value {
    toml::from_str(text).unwrap()
}

/// Walks a value along its schema and notes each property that occurs, as `definition.key`.
fn walk(schema: &Value, at: &Value, definition: &str, value: &Value, used: &mut BTreeSet<String>) {
    if let Some(name) = at["$ref"].as_str().and_then(|link| link.strip_prefix("#/$defs/")) {
        return walk(schema, &schema["$defs"][name], name, value, used);
    }
    for option in at["anyOf"].as_array().into_iter().flatten() {
        walk(schema, option, definition, value, used);
    }
    for item in value.as_array().into_iter().flatten() {
        walk(schema, &at["items"], definition, item, used);
    }
    for (key, item) in value.as_object().into_iter().flatten() {
        if let Some(property) = at["properties"].get(key) {
            used.insert(format!("{definition}.{key}"));
            walk(schema, property, definition, item, used);
        } else if at["additionalProperties"].is_object() {
            walk(schema, &at["additionalProperties"], definition, item, used);
        }
    }
}

#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    let _ = loaded();
    let schema = json_schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for text in FILES.iter().map(|(_, text)| *text).chain([GATEWAY, ""]) {
        let errors: Vec<String> = validator.iter_errors(&json(text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{text}");
    }
    for bad in [
        "nonsense = 1",
        "base_url = 1",
        "base_url = \"https://x\"\ntimeout = \"5\"",
        "[server]\ninbound = {}",
    ] {
        assert!(!validator.is_valid(&json(bad)), "{bad}");
    }
}

/// The examples together hold every key of the schema, and the reader accepts them: so there is no key
/// that the schema offers and the reader refuses. (That the reader has none beyond the schema follows
/// from its taking kinds from the same tables.)
#[test]
fn every_key_of_the_schema_is_read() {
    let schema = json_schema();
    let mut used = BTreeSet::new();
    // These name files, so the texts cannot hold them; tests with folders read them.
    let tls = "[server]\ntls = { cert = \"a\", key = \"b\", client_ca = \"c\" }\n";
    for text in [GATEWAY, tls] {
        walk(&schema, &schema["$defs"]["gateway"], "gateway", &json(text), &mut used);
    }
    let keys = "[component]\nsigned_by = [\"a.pem\"]\n[[plugins]]\nsigned_by = [\"a.pem\"]\n";
    for text in FILES.iter().map(|(_, text)| *text).chain([keys]) {
        walk(&schema, &schema["$defs"]["integration"], "integration", &json(text), &mut used);
    }
    let all: BTreeSet<String> = schema["$defs"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(name, definition)| {
            definition["properties"].as_object().unwrap().keys().map(move |key| format!("{name}.{key}"))
        })
        .collect();
    let missing: Vec<_> = all.difference(&used).collect();
    assert!(missing.is_empty(), "no example uses {missing:?}");
}

#[test]
fn every_property_is_described_and_defaults_are_json() {
    for (name, definition) in json_schema()["$defs"].as_object().unwrap() {
        for (key, property) in definition["properties"].as_object().unwrap() {
            assert!(
                property["description"].as_str().is_some_and(|text| text.ends_with(['.', ')'])),
                "{name}.{key}"
            );
        }
    }
    let schema = json_schema();
    assert_eq!(schema["$defs"]["integration"]["properties"]["timeout"]["default"], "30s");
    assert_eq!(schema["$defs"]["retry"]["properties"]["on"]["default"][0], 408);
    assert_eq!(schema["$defs"]["server"]["properties"]["max_body"]["default"], "10MiB");
}

#[test]
fn the_reference_in_docs_is_the_vocabulary() {
    let docs = include_str!("../../../../../docs/configuration.md");
    for line in reference_markdown().lines().filter(|line| !line.is_empty()) {
        assert!(docs.lines().any(|known| known == line), "docs/configuration.md lacks this line:\n{line}");
    }
}
