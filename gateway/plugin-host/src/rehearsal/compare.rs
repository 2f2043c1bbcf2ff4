//! Where an answer is not what was expected, for people.
//!
//! Places are JSON pointers into the expectation.

use std::fmt;

use serde_json::Value;

/// Differences of one step that are reported; whoever has more has seen enough.
const DIFFERENCES_MAX: usize = 20;

/// Octets of a value in a message: bodies may be long.
const SHOWN_BYTES_MAX: usize = 400;

/// One place where a plugin did something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// JSON pointer into the step's `expect`; empty for all of it.
    pub path: String,
    /// What was recorded; `None` = nothing there.
    pub expected: Option<Value>,
    /// What the plugin did; `None` = nothing there.
    pub got: Option<Value>,
    /// The step was not run, so that there is nothing to compare.
    why_not: Option<String>,
}

impl Difference {
    pub(super) fn not_run(why: &str) -> Self {
        Self { path: String::new(), expected: None, got: None, why_not: Some(why.to_owned()) }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.why_not {
            return write!(f, "not run: {why}");
        }
        let place = if self.path.is_empty() { "expect" } else { &self.path };
        let (expected, got) = (shown(self.expected.as_ref()), shown(self.got.as_ref()));
        write!(f, "{place}: expected {expected}, got {got}")
    }
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    let cut = crate::state::log_budget::cut(&text, SHOWN_BYTES_MAX);
    if cut.len() == text.len() { text } else { format!("{cut}…") }
}

/// Everything that is not as expected. A step that expects nothing differs as a whole.
pub(super) fn differences(expected: Option<&Value>, got: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", expected, Some(got), &mut found);
    found
}

fn compare(path: &str, expected: Option<&Value>, got: Option<&Value>, found: &mut Vec<Difference>) {
    match (expected, got) {
        (Some(Value::Object(expected)), Some(Value::Object(got))) => {
            let added = got.keys().filter(|name| !expected.contains_key(*name));
            for name in expected.keys().chain(added) {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                compare(&format!("{path}/{escaped}"), expected.get(name), got.get(name), found);
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(got))) => {
            for index in 0..expected.len().max(got.len()) {
                compare(&format!("{path}/{index}"), expected.get(index), got.get(index), found);
            }
        }
        (expected, got) if expected == got || found.len() >= DIFFERENCES_MAX => {}
        (expected, got) => found.push(Difference {
            path: path.to_owned(),
            expected: expected.cloned(),
            got: got.cloned(),
            why_not: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(expected: Value, got: Value) -> Vec<String> {
        differences(Some(&expected), &got).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_difference_is_named_by_its_place() {
        let expected = json!({"a": [1, 2], "b/c": "x", "gone": 1, "null": {"x": null}});
        let got = json!({"a": [1, 3, 4], "b/c": {"x": 1}, "new": true, "null": {}});
        assert_eq!(
            texts(expected, got),
            [
                "/a/1: expected 2, got 3",
                "/a/2: expected nothing, got 4",
                r#"/b~1c: expected "x", got {"x":1}"#,
                "/gone: expected 1, got nothing",
                "/null/x: expected null, got nothing",
                "/new: expected nothing, got true",
            ]
        );
    }

    #[test]
    fn a_step_without_an_expectation_is_a_difference() {
        let all = differences(None, &json!({"patch": {}}));
        assert_eq!(all[0].to_string(), r#"expect: expected nothing, got {"patch":{}}"#);
    }

    #[test]
    fn what_is_reported_is_bounded() {
        let got = differences(Some(&json!([])), &json!(vec![1; 1000]));
        assert_eq!(got.len(), DIFFERENCES_MAX);
        let long = texts(json!("x".repeat(5000)), json!(1));
        assert!(long[0].len() < SHOWN_BYTES_MAX + 100, "{long:?}");
    }
}
