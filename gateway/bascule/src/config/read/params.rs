//! Parameters of an operation and the schema that checks them.

use crate::config::{
    reader::{Field, Reader},
    settings::{Parameter, ParameterType, Parameters, TextTemplate},
    suggest::did_you_mean,
};
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Memory of one compiled pattern, in octets: what a reasonable pattern needs many times over.
const PATTERN_MAX: usize = 1 << 20;

/// Reads `params = { NAME = { … } }`. `in_path` are the placeholders of the path.
pub(crate) fn params(field: Option<Field<'_, '_>>, in_path: &[&str]) -> Vec<(String, Parameter)> {
    let mut declared = Vec::new();
    for (name, value) in field.and_then(|field| field.entries()).unwrap_or_default() {
        if name.is_empty() || name.chars().any(char::is_control) {
            value.ctx.problem(
                &value.path,
                &value.key_span,
                "not a parameter name",
                "write params.name = { … }",
            );
            continue;
        }
        let Some(table) = value.table() else { continue };
        if let Some(parameter) = parameter(&table, in_path.contains(&name.as_str())) {
            declared.push((name, parameter));
        }
        table.finish();
    }
    for name in in_path {
        if !declared.iter().any(|(known, _)| known == name) {
            let kind = ParameterType::String;
            let schema = json!({ "type": "string" });
            declared.push(((*name).to_owned(), Parameter { kind, required: true, default: None, schema }));
        }
    }
    declared
}

/// The declared parameters with the compiled schema of them all; none when it cannot be compiled.
pub(crate) fn compile(declared: Vec<(String, Parameter)>) -> Option<Parameters> {
    let properties: Map<String, Value> =
        declared.iter().map(|(name, parameter)| (name.clone(), parameter.schema.clone())).collect();
    let required: Vec<&str> =
        declared.iter().filter(|(_, parameter)| parameter.required).map(|(name, _)| name.as_str()).collect();
    let schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    let schema = Arc::new(validator(&schema)?);
    Some(Parameters { declared, schema })
}

/// Notes placeholders of a query value or header that name no declared parameter.
pub(crate) fn declared_only(field: &Field<'_, '_>, template: &TextTemplate, declared: &[String]) {
    for name in template.parameters() {
        if name.ends_with("...") {
            field.problem(format!("`{{{name}}}` stands only in a path"), "remove the dots");
        } else if !declared.iter().any(|known| known == name) {
            let help = did_you_mean(name, declared.iter().map(String::as_str))
                .unwrap_or_else(|| format!("declare it: params.{name} = {{ type = \"string\" }}"));
            field.problem(format!("`{name}` is not a declared parameter"), help);
        }
    }
}

fn parameter(table: &Reader<'_, '_>, in_path: bool) -> Option<Parameter> {
    let word = table.field("type").map_or(Some("string"), |field| field.choice());
    let required = table.field("required").and_then(|field| field.boolean());
    let default = table.field("default").map(|field| field.json());
    let mut schema = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            schema.insert(name.to_owned(), value);
        }
    };
    put("type", word.map(Value::from));
    put("description", table.field("description").and_then(|field| field.string()).map(Value::from));
    put("enum", table.field("enum").and_then(|field| choices(&field)));
    put("minimum", table.field("minimum").and_then(|field| field.number()).map(json_number));
    put("maximum", table.field("maximum").and_then(|field| field.number()).map(json_number));
    put("pattern", table.field("pattern").and_then(|field| pattern(&field)));
    put("format", table.field("format").and_then(|field| field.choice()).map(Value::from));
    let kind = kind(word?);
    applies(table, kind);
    let checks = validator(&Value::Object(schema.clone()))?;
    if let Some(values) = schema.get("enum").and_then(Value::as_array)
        && !values.iter().all(|value| checks.is_valid(value))
    {
        let help = "write values of that type only";
        table.problem("enum", format!("a value does not fit the parameter (type `{}`)", word?), help);
    }
    if let Some(default) = &default {
        let default = default.as_ref()?;
        if !checks.is_valid(default) {
            let message = format!("the default does not fit the parameter (type `{}`)", word?);
            table.problem("default", message, "correct the default, or what the parameter allows");
        }
        schema.insert("default".to_owned(), default.clone());
    }
    let default = default.flatten();
    if in_path && required == Some(false) && default.is_none() {
        table.problem(
            "required",
            "a parameter of the path is always required",
            "give it a default, or remove `required`",
        );
    }
    if required == Some(true) && default.is_some() {
        table.warn(
            "required",
            "a parameter with a default is never missing",
            "remove `required` or `default`",
        );
    }
    let required = default.is_none() && (in_path || required == Some(true));
    Some(Parameter { kind, required, default, schema: Value::Object(schema) })
}

/// Notes rules that do not apply to the parameter's type.
fn applies(table: &Reader<'_, '_>, kind: ParameterType) {
    let numeric = matches!(kind, ParameterType::Integer | ParameterType::Number);
    let textual = kind == ParameterType::String;
    for (name, fits, types) in [
        ("minimum", numeric, "integer or number"),
        ("maximum", numeric, "integer or number"),
        ("pattern", textual, "string"),
        ("format", textual, "string"),
    ] {
        if table.has(name) && !fits {
            table.problem(name, format!("`{name}` applies only to parameters of type {types}"), "remove it");
        }
    }
}

fn choices(field: &Field<'_, '_>) -> Option<Value> {
    let items = field.items()?;
    if items.is_empty() {
        field.problem("an empty list allows no value", "list the values, or remove `enum`");
        return None;
    }
    let values: Vec<_> = items.iter().map(Field::json).collect();
    values.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
}

fn pattern(field: &Field<'_, '_>) -> Option<Value> {
    let text = field.text()?;
    if validator(&json!({ "type": "string", "pattern": text.value() })).is_none() {
        field.problem(
            format!("`{}` is not a regular expression that can be used", text.written()),
            "it has no look-around and no back-references; in \"…\" a backslash is written twice",
        );
        return None;
    }
    Some(Value::from(text.into_value()))
}

/// A compiled schema: formats are checked, patterns run in linear time, nothing is fetched.
fn validator(schema: &Value) -> Option<Validator> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_MAX))
        .offline()
        .build(schema)
        .ok()
}

fn kind(word: &str) -> ParameterType {
    match word {
        "integer" => ParameterType::Integer,
        "number" => ParameterType::Number,
        "boolean" => ParameterType::Boolean,
        "array" => ParameterType::Array,
        "object" => ParameterType::Object,
        _ => ParameterType::String,
    }
}

/// A whole number without `.0`.
fn json_number(number: f64) -> Value {
    /// Beyond this, not every whole number has an `f64` of its own.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}
