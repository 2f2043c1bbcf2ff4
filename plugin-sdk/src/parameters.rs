//! The call's validated parameters, typed, with their defaults filled in.
//!
//! For more than a few of them take [`all`] once and a JSON library: each look-up here reads the text anew.

use crate::json::{self, FromJson};
use crate::{Fault, context};

/// All parameters: the text of a JSON object.
#[must_use]
pub fn all() -> String {
    context::parameters()
}

/// The parameter of that name; `None` when the call has none, or JSON null.
///
/// # Errors
/// A fault of kind invalid-input, code `invalid-parameter`, when it is of another type.
pub fn get<T: FromJson>(name: &str) -> Result<Option<T>, Fault> {
    pick(&all(), name)
}

/// What [`get`] finds in the text that the host gave.
fn pick<T: FromJson>(parameters: &str, name: &str) -> Result<Option<T>, Fault> {
    let Some(text) = json::member(parameters, name).filter(|text| *text != "null") else { return Ok(None) };
    match T::from_json(text) {
        Some(value) => Ok(Some(value)),
        None => Err(Fault::invalid_input("invalid-parameter", format!("`{name}` must be {}", T::EXPECTED))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_picked_by_name_and_type() {
        let text = r#"{"kind": "not-found", "n": 3, "gone": null}"#;
        assert_eq!(pick::<String>(text, "kind"), Ok(Some("not-found".to_owned())));
        assert_eq!(pick::<u64>(text, "n"), Ok(Some(3)));
        assert_eq!(pick::<u64>(text, "gone"), Ok(None));
        assert_eq!(
            pick::<u64>(text, "kind").unwrap_err().message,
            "`kind` must be a whole number, zero or more"
        );
    }
}
