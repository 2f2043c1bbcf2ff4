//! Stage 1: parameters against the operation's declaration, all problems at once.

use super::{Call, Failure, Input};
use crate::{
    config::{Operation, Parameter, ParameterType, TemplateError},
    model::ParameterError,
};
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Fills in defaults, reads texts from a query as their declared types, and checks everything.
pub(super) fn parameters(call: &mut Call) -> Result<(), Box<Failure>> {
    let Some(declared) = call.operation.declared.as_ref().map(Arc::clone) else { return Ok(()) };
    let Input::Declared { params, texts, .. } = &mut call.input else { return Ok(()) };
    if std::mem::take(texts) {
        read_texts(&declared, params);
    }
    for (name, parameter) in &declared.params.declared {
        if let Some(default) = &parameter.default
            && !params.contains_key(name)
        {
            params.insert(name.clone(), default.clone());
        }
    }
    let given = Value::Object(std::mem::take(params));
    let mut errors = schema_errors(&declared, &given);
    if let Value::Object(given) = given {
        *params = given;
    }
    if errors.is_empty()
        && let Err(error @ TemplateError::BadSegment { .. }) = declared.path.render(params)
        && let TemplateError::BadSegment { name } = &error
    {
        errors.push(ParameterError { pointer: pointer(name), detail: error.to_string() });
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::parameters(&errors)) }
}

fn schema_errors(declared: &Operation, given: &Value) -> Vec<ParameterError> {
    if declared.params.schema.is_valid(given) {
        return Vec::new();
    }
    let mut errors = Vec::new();
    for error in declared.params.schema.iter_errors(given) {
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                errors.push(ParameterError { pointer: pointer(name), detail: "is required".into() });
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known: Vec<_> = declared.params.declared.iter().map(|(name, _)| name.as_str()).collect();
                let help = if known.is_empty() {
                    "is not a parameter; this operation takes none".to_owned()
                } else {
                    format!("is not a parameter; this operation takes {}", known.join(", "))
                };
                errors.extend(
                    unexpected
                        .iter()
                        .map(|name| ParameterError { pointer: pointer(name), detail: help.clone() }),
                );
            }
            _ => errors.push(ParameterError {
                pointer: error.instance_path().to_string(),
                detail: error.masked_with("the value").to_string(),
            }),
        }
    }
    errors
}

/// RFC 6901.
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Query values are texts (or lists of texts where a name was repeated); a value that does not read as
/// its type stays a text, so that validation says what is wrong with it.
fn read_texts(declared: &Operation, params: &mut Map<String, Value>) {
    for (name, parameter) in &declared.params.declared {
        if let Some(value) = params.get_mut(name) {
            let taken = std::mem::take(value);
            *value = read_text(parameter, taken);
        }
    }
}

fn read_text(parameter: &Parameter, value: Value) -> Value {
    if parameter.kind == ParameterType::Array {
        let items = match value {
            Value::Array(items) => items,
            one => vec![one],
        };
        let item_type =
            parameter.schema.get("items").and_then(|items| items.get("type")).and_then(Value::as_str);
        return items.into_iter().map(|item| read_scalar(item_type.unwrap_or("string"), item)).collect();
    }
    let kind = match parameter.kind {
        ParameterType::String | ParameterType::Array => "string",
        ParameterType::Integer => "integer",
        ParameterType::Number => "number",
        ParameterType::Boolean => "boolean",
        ParameterType::Object => "object",
    };
    read_scalar(kind, value)
}

fn read_scalar(kind: &str, value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    let read = match kind {
        "integer" => text.parse::<i64>().ok().map(Value::from),
        "number" => serde_json::from_str(text).ok().filter(Value::is_number),
        "boolean" => text.parse::<bool>().ok().map(Value::from),
        "object" => serde_json::from_str(text).ok().filter(Value::is_object),
        _ => None,
    };
    read.unwrap_or(value)
}
