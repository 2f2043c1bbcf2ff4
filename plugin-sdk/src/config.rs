//! The plugin's `config` object, typed. It never contains secrets.
//!
//! Paths are dotted: `limits.rows` is the member `rows` of the member `limits`.

use std::fmt;

use crate::Fault;
use crate::generated::imports::bascule::plugin::config as host;
use crate::json::FromJson;

/// A member of the configuration that is missing or of another type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The dotted path that was asked for.
    pub path: String,
    /// What should have been there, e.g. `a boolean`.
    pub expected: &'static str,
    /// The JSON that is there; `None` when there is nothing.
    pub found: Option<String>,
}

// Written by hand: a guest should not carry a derive crate for one type.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, expected, found } = self;
        match found {
            Some(found) => write!(f, "`{path}` must be {expected}, not {found}"),
            None => write!(f, "`{path}` is missing: it must be {expected}"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        Self::internal("bad-config", error.to_string())
    }
}

/// The whole configuration: the text of a JSON object. Whoever wants several members takes this once and
/// picks them with [`json::member`](crate::json::member): one call of the host instead of one for each.
#[must_use]
pub fn all() -> String {
    host::get("").unwrap_or_default()
}

/// The JSON text at that path.
#[must_use]
pub fn raw(path: &str) -> Option<String> {
    host::get(path)
}

/// The value at that path; `None` when there is none, or JSON null.
///
/// # Errors
/// [`ConfigError`] when the value is of another type.
pub fn get<T: FromJson>(path: &str) -> Result<Option<T>, ConfigError> {
    parse(path, raw(path))
}

/// The value at that path, or `default`.
///
/// # Errors
/// [`ConfigError`] when the value is of another type.
pub fn get_or<T: FromJson>(path: &str, default: T) -> Result<T, ConfigError> {
    Ok(get(path)?.unwrap_or(default))
}

/// The value at that path.
///
/// # Errors
/// [`ConfigError`] when there is none or it is of another type.
pub fn required<T: FromJson>(path: &str) -> Result<T, ConfigError> {
    get(path)?.ok_or_else(|| ConfigError { path: path.to_owned(), expected: T::EXPECTED, found: None })
}

/// What [`get`] makes of a text: for code that is given its configuration, so that it can be tested natively.
///
/// # Errors
/// [`ConfigError`] when the value is of another type.
pub fn parse<T: FromJson>(path: &str, text: Option<String>) -> Result<Option<T>, ConfigError> {
    let Some(text) = text.filter(|text| text.trim() != "null") else { return Ok(None) };
    match T::from_json(&text) {
        Some(value) => Ok(Some(value)),
        None => Err(ConfigError { path: path.to_owned(), expected: T::EXPECTED, found: Some(text) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_nothing_are_the_same() {
        assert_eq!(parse::<bool>("a", None), Ok(None));
        assert_eq!(parse::<bool>("a", Some("null".into())), Ok(None));
        assert_eq!(parse("a", Some("true".into())), Ok(Some(true)));
    }

    #[test]
    fn a_wrong_type_names_path_expectation_and_value() {
        let error = parse::<bool>("sign_body", Some("\"yes\"".into())).unwrap_err();
        assert_eq!(error.to_string(), "`sign_body` must be a boolean, not \"yes\"");
        let missing = ConfigError { path: "region".into(), expected: "a string", found: None };
        assert_eq!(missing.to_string(), "`region` is missing: it must be a string");
        assert_eq!(Fault::from(missing).code, "bad-config");
    }
}
