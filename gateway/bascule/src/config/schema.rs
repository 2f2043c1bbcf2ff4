//! The JSON Schema of the configuration, for editors: `bascule schema`.
//!
//! Made of the same tables as the reader, so what the schema names is what is read. It cannot say
//! everything (which keys exclude each other, that a name exists); `bascule check` does.

use super::keys::{GATEWAY, INTEGRATION, Key, Kind, Table};
use serde_json::{Map, Value, json};

/// A reference to a variable or file may stand for any typed text.
const DURATION: &str = "^[0-9]+(ms|s|m|h|d)$|\\$\\{";
const SIZE: &str = "^[0-9]+(B|KiB|MiB|GiB)$|\\$\\{";

/// One document for `bascule.toml` and `integrations/*.toml` (JSON Schema 2020-12): each has its
/// definition, `gateway` and `integration`; the whole accepts either.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    define(&GATEWAY, &mut definitions);
    define(&INTEGRATION, &mut definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Bascule configuration",
        "anyOf": [{ "$ref": "#/$defs/gateway" }, { "$ref": "#/$defs/integration" }],
        "$defs": definitions,
    })
}

fn define(table: &Table, definitions: &mut Map<String, Value>) {
    if definitions.contains_key(table.name) {
        return;
    }
    // Its place first: a table may be used by several others.
    definitions.insert(table.name.to_owned(), Value::Null);
    let carried: Vec<&Key> = table.keys.iter().filter(|key| key.later.is_none()).collect();
    let properties: Map<String, Value> =
        carried.iter().map(|key| (key.name.to_owned(), property(key, definitions))).collect();
    let required: Vec<&str> = carried.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object", "description": table.about, "properties": properties, "additionalProperties": false,
    });
    if let (false, Some(schema)) = (required.is_empty(), schema.as_object_mut()) {
        schema.insert("required".to_owned(), json!(required));
    }
    definitions.insert(table.name.to_owned(), schema);
}

fn property(key: &Key, definitions: &mut Map<String, Value>) -> Value {
    let mut schema = value(&key.kind, definitions);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), json!(key.about));
        // The defaults are written so that they are JSON as well as TOML.
        if let Some(default) = key.default.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            schema.insert("default".to_owned(), default);
        }
    }
    schema
}

fn value(kind: &Kind, definitions: &mut Map<String, Value>) -> Value {
    match kind {
        Kind::Text | Kind::Secret => json!({ "type": "string" }),
        Kind::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        Kind::Duration | Kind::DurationOrZero => json!({ "type": "string", "pattern": DURATION }),
        Kind::Size => json!({ "type": "string", "pattern": SIZE }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Number { max, .. } if *max == f64::MAX => json!({ "type": "number" }),
        Kind::Number { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Choice { now, .. } => json!({ "enum": now }),
        Kind::Json => json!({}),
        Kind::JsonTable => json!({ "type": "object" }),
        Kind::Table(table) => {
            define(table, definitions);
            json!({ "$ref": format!("#/$defs/{}", table.name) })
        }
        Kind::Map(item) => json!({ "type": "object", "additionalProperties": value(item, definitions) }),
        Kind::List(item) => json!({ "type": "array", "items": value(item, definitions) }),
        Kind::AnyOf(kinds) => {
            let offered = kinds.iter().filter(|kind| !matches!(kind, Kind::Choice { now: [], .. }));
            let mut schemas: Vec<Value> = offered.map(|kind| value(kind, definitions)).collect();
            match schemas.len() {
                1 => schemas.remove(0),
                _ => json!({ "anyOf": schemas }),
            }
        }
    }
}
