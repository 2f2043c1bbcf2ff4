//! A caller's parameters: a JSON object in the body, or names and texts in the query.

use crate::model::{Code, ParameterError, Problem};
use serde::{
    Deserialize,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};
use std::fmt;

/// Reads a JSON object, in which a name may stand only once.
///
/// # Errors
/// `invalid-request` for unreadable JSON or anything but an object, `invalid-parameters` for a name
/// that stands twice.
pub(super) fn from_json(octets: &[u8]) -> Result<Map<String, Value>, Problem> {
    if octets.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let Members(members) = serde_json::from_slice(octets).map_err(|error| {
        let detail = match error.classify() {
            serde_json::error::Category::Data => {
                "the body must be a JSON object with the parameters".to_owned()
            }
            _ => format!("the body is no JSON: {error}"),
        };
        Problem::new(Code::InvalidRequest, detail)
    })?;
    let mut params = Map::new();
    let mut twice = Vec::new();
    for (name, value) in members {
        if params.contains_key(&name) {
            twice.push(given_twice(&name));
        }
        params.insert(name, value);
    }
    if twice.is_empty() { Ok(params) } else { Err(Problem::invalid_parameters(&twice)) }
}

/// Reads a query. A name that stands several times becomes a list, which only parameters of type array take.
pub(super) fn from_query(
    query: &str,
    is_array: impl Fn(&str) -> bool,
) -> Result<Map<String, Value>, Problem> {
    let mut params: Map<String, Value> = Map::new();
    let mut twice = Vec::new();
    for (name, text) in url::form_urlencoded::parse(query.as_bytes()) {
        let text = Value::String(text.into_owned());
        match params.get_mut(name.as_ref()) {
            None => {
                let value = if is_array(&name) { Value::Array(vec![text]) } else { text };
                params.insert(name.into_owned(), value);
            }
            Some(Value::Array(items)) => items.push(text),
            Some(_) => twice.push(given_twice(&name)),
        }
    }
    if twice.is_empty() { Ok(params) } else { Err(Problem::invalid_parameters(&twice)) }
}

fn given_twice(name: &str) -> ParameterError {
    ParameterError {
        pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        detail: "is given more than once".into(),
    }
}

/// The members of an object in order, repeated names included.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_read_and_anything_else_is_not() {
        assert_eq!(Value::Object(from_json(br#"{"a": 1}"#).unwrap()), json!({"a": 1}));
        assert!(from_json(b" ").unwrap().is_empty());
        for bad in ["[1]", "1", "{", "{\"a\":1}x", "\"x\""] {
            assert_eq!(from_json(bad.as_bytes()).unwrap_err().code, Code::InvalidRequest, "{bad}");
        }
    }

    #[test]
    fn a_name_stands_only_once_unless_it_is_a_list() {
        assert_eq!(from_json(br#"{"a":1,"a":2}"#).unwrap_err().code, Code::InvalidParameters);
        assert_eq!(from_query("a=1&a=2", |_| false).unwrap_err().code, Code::InvalidParameters);
        let lists = from_query("a=1&a=2&b=x%20y", |name| name == "a").unwrap();
        assert_eq!(Value::Object(lists), json!({"a": ["1", "2"], "b": "x y"}));
    }
}
