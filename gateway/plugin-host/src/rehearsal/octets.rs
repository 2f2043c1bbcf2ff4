//! Octets in JSON: readable where they are text, exact where they are not.
//!
//! | written | is |
//! | --- | --- |
//! | `"text"` | that text in UTF-8 |
//! | `{ "base64": "…" }` | any octets |
//! | `{ "json": … }` | bodies only: that value, written compactly; compared as a value, not by its octets |
//! | `{ "stream": 5 }` | bodies that are given only: a stream that can be sent once, of that size or `null` |

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Value, json};

use crate::body::HostBody;

/// Octets that are given to a plugin.
#[derive(Debug, Clone, Default)]
pub(super) struct Octets(pub(super) Vec<u8>);

/// A body that is given to a plugin.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Held(Bytes),
    Stream(Option<u64>),
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        octets(&value).map(Self).ok_or_else(|| D::Error::custom("expected a text or { \"base64\": \"…\" }"))
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if let Some(octets) = octets(&value) {
            return Ok(Self::Held(octets.into()));
        }
        match form(&value) {
            Some(("json", value)) => Ok(Self::Held(value.to_string().into())),
            Some(("stream", Value::Null)) => Ok(Self::Stream(None)),
            Some(("stream", Value::Number(size))) if size.is_u64() => Ok(Self::Stream(size.as_u64())),
            _ => Err(D::Error::custom(
                "expected a text, { \"json\": … }, { \"base64\": \"…\" } or { \"stream\": SIZE }",
            )),
        }
    }
}

impl Body {
    pub(super) fn host_body(&self) -> HostBody {
        match self {
            Self::Held(octets) => HostBody::bytes(octets.clone()),
            Self::Stream(size) => HostBody::one_shot(*size),
        }
    }
}

/// A text where it is one, otherwise base64.
pub(super) fn written(octets: &[u8]) -> Value {
    match std::str::from_utf8(octets) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": BASE64.encode(octets) }),
    }
}

/// A body in the form in which it is expected; without an expectation, JSON objects and arrays are shown as such.
pub(super) fn written_body(octets: &[u8], expected: Option<&Value>) -> Value {
    match expected.and_then(form) {
        Some(("base64", _)) => return json!({ "base64": BASE64.encode(octets) }),
        Some(_) => {}
        None if expected.is_some_and(Value::is_string) => return written(octets),
        None => {}
    }
    match serde_json::from_slice(octets) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => json!({ "json": value }),
        _ => written(octets),
    }
}

fn octets(value: &Value) -> Option<Vec<u8>> {
    match (value, form(value)) {
        (Value::String(text), _) => Some(text.clone().into_bytes()),
        (_, Some(("base64", Value::String(text)))) => BASE64.decode(text.as_bytes()).ok(),
        _ => None,
    }
}

/// The one member of an object that has one.
fn form(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    members.iter().next().map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: Value) -> Option<HostBody> {
        serde_json::from_value::<Body>(value).ok().map(|body| body.host_body())
    }

    #[test]
    fn every_form_gives_its_octets() {
        for (value, octets) in [
            (json!("a"), &b"a"[..]),
            (json!({"base64": "/w=="}), &[0xff]),
            (json!({"json": {"b": 1, "a": [ ]}}), br#"{"b":1,"a":[]}"#),
        ] {
            assert_eq!(&body(value).unwrap().octets().unwrap()[..], octets);
        }
        assert_eq!(body(json!({"stream": 3})).unwrap().size(), Some(3));
        assert_eq!(body(json!({"stream": null})).unwrap().size(), None);
        for bad in [json!(1), json!({"base64": "%"}), json!({"stream": -1}), json!({"json": 1, "base64": ""})]
        {
            assert!(body(bad.clone()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_body_is_written_as_it_is_expected() {
        let octets = br#"{ "a": 1 }"#;
        assert_eq!(written_body(octets, None), json!({"json": {"a": 1}}));
        assert_eq!(written_body(octets, Some(&json!({"json": 7}))), json!({"json": {"a": 1}}));
        assert_eq!(written_body(octets, Some(&json!("x"))), json!(r#"{ "a": 1 }"#));
        assert_eq!(written_body(b"a", Some(&json!({"base64": ""}))), json!({"base64": "YQ=="}));
        assert_eq!(written_body(&[0xff], Some(&json!("x"))), json!({"base64": "/w=="}));
        assert_eq!(written_body(b"7", None), json!("7"), "a bare number is more likely a text");
    }
}
