//! Texts with `{placeholders}`: paths, query values and header values of operations.
//!
//! Parsed once when the configuration is loaded. `{{` and `}}` stand for the braces themselves.
//! Rendering knows nothing of HTTP beyond percent-encoding a path.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

/// Everything but RFC 3986's unreserved characters is encoded, so a value is always exactly one segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same with `/` kept, for `{name...}`.
const SEGMENTS: &AsciiSet = &SEGMENT.remove(b'/');
/// Literals may be written encoded or not: what a path cannot hold is encoded, `%XX` is kept.
const LITERAL: &AsciiSet = &SEGMENTS
    .remove(b'%')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// A text that is no template, or a value that does not fit one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{` without `}`.
    #[error("a `{{` is not closed; write `{{{{` for a literal brace")]
    Unclosed,
    /// `}` without `{`.
    #[error("a `}}` closes nothing; write `}}}}` for a literal brace")]
    Unopened,
    /// `{}` or a name with odd characters.
    #[error("`{{{0}}}` is not a parameter name")]
    BadName(String),
    /// A path must start with `/`.
    #[error("a path starts with `/`")]
    NoSlash,
    /// `?` or `#` in a path.
    #[error("a path holds no `{0}`; use `query = {{ … }}`")]
    NotPath(char),
    /// `{name...}` before the end, or not a segment of its own.
    #[error("`{{{0}...}}` stands only at the end of a path, as a segment of its own")]
    RestNotLast(String),
    /// A literal `.` or `..` segment.
    #[error("a path holds no `.` or `..` segments")]
    DotSegment,
    /// A value that would make an empty, `.` or `..` segment.
    #[error("must not be empty, `.` or `..`, nor contain such a path segment")]
    BadSegment {
        /// The parameter.
        name: String,
    },
}

/// A piece of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// As it stands, already percent-encoded.
    Literal(String),
    /// `{name}`: one segment or a part of one.
    Segment(String),
    /// `{name...}`: the rest of the path, `/` kept.
    Rest(String),
}

/// A path with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    parts: Vec<PathPart>,
    text: String,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextPart {
    /// As it stands.
    Literal(String),
    /// `{name}`.
    Parameter(String),
}

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTemplate {
    parts: Vec<TextPart>,
}

impl TextTemplate {
    /// Parses a text.
    ///
    /// # Errors
    /// [`TemplateError`] for unbalanced braces or a placeholder that is no name.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = brace.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = brace.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if let Some(after) = brace.strip_prefix('{') {
                let (name, after) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
                if !is_parameter_name(name.strip_suffix("...").unwrap_or(name)) {
                    return Err(TemplateError::BadName(name.to_owned()));
                }
                if !literal.is_empty() {
                    parts.push(TextPart::Literal(std::mem::take(&mut literal)));
                }
                parts.push(TextPart::Parameter(name.to_owned()));
                rest = after;
            } else {
                return Err(TemplateError::Unopened);
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(TextPart::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// A text without placeholders, whatever braces it holds.
    pub fn literal(text: impl Into<String>) -> Self {
        Self { parts: vec![TextPart::Literal(text.into())] }
    }

    /// The placeholders in it.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TextPart::Parameter(name) => Some(name.as_str()),
            TextPart::Literal(_) => None,
        })
    }

    /// The text when it holds no placeholder.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [TextPart::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The name when the whole text is one placeholder.
    pub fn as_parameter(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [TextPart::Parameter(name)] => Some(name),
            _ => None,
        }
    }

    /// The text with values put in; none when a parameter in it is absent or null.
    pub fn render(&self, params: &Map<String, Value>) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                TextPart::Literal(literal) => text.push_str(literal),
                TextPart::Parameter(name) => push_value(&mut text, params.get(name)?)?,
            }
        }
        Some(text)
    }
}

impl PathTemplate {
    /// Parses a path.
    ///
    /// # Errors
    /// [`TemplateError`] for unbalanced braces, a missing leading slash, a query or fragment, dot
    /// segments, or `{name...}` anywhere but as the last segment.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if !text.starts_with('/') {
            return Err(TemplateError::NoSlash);
        }
        if let Some(mark) = text.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(TemplateError::NotPath(mark));
        }
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(TemplateError::DotSegment);
        }
        let template = TextTemplate::parse(text)?;
        let last = template.parts.len().saturating_sub(1);
        let mut parts = Vec::with_capacity(template.parts.len());
        for (index, part) in template.parts.into_iter().enumerate() {
            parts.push(match part {
                TextPart::Literal(literal) => {
                    PathPart::Literal(utf8_percent_encode(&literal, LITERAL).to_string())
                }
                TextPart::Parameter(name) => match name.strip_suffix("...") {
                    None => PathPart::Segment(name),
                    Some(rest) => {
                        let own_segment =
                            matches!(parts.last(), Some(PathPart::Literal(before)) if before.ends_with('/'));
                        if index != last || !own_segment {
                            return Err(TemplateError::RestNotLast(rest.to_owned()));
                        }
                        PathPart::Rest(rest.to_owned())
                    }
                },
            });
        }
        Ok(Self { parts, text: text.to_owned() })
    }

    /// The template as written: what metrics and spans call the route.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The placeholders in it.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            PathPart::Segment(name) | PathPart::Rest(name) => Some(name.as_str()),
            PathPart::Literal(_) => None,
        })
    }

    /// The path with values put in and percent-encoded.
    ///
    /// # Errors
    /// [`TemplateError::BadSegment`] when a value is absent or would make an empty or dot segment.
    pub fn render(&self, params: &Map<String, Value>) -> Result<String, TemplateError> {
        let mut path = String::new();
        for part in &self.parts {
            let (name, set) = match part {
                PathPart::Literal(literal) => {
                    path.push_str(literal);
                    continue;
                }
                PathPart::Segment(name) => (name, SEGMENT),
                PathPart::Rest(name) => (name, SEGMENTS),
            };
            let value = path_value(name, params)?;
            path.extend(utf8_percent_encode(&value, set));
        }
        // Checked on the whole path, because a placeholder may be only a part of its segment.
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            let name = self.parameters().last().unwrap_or_default().to_owned();
            return Err(TemplateError::BadSegment { name });
        }
        Ok(path)
    }
}

fn path_value(name: &str, params: &Map<String, Value>) -> Result<String, TemplateError> {
    let mut text = String::new();
    let given = params.get(name).and_then(|value| push_value(&mut text, value));
    if given.is_none() || text.is_empty() {
        return Err(TemplateError::BadSegment { name: name.to_owned() });
    }
    Ok(text)
}

fn is_parameter_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']'))
}

/// Appends a value as text; arrays are joined by commas, null counts as absent.
fn push_value(text: &mut String, value: &Value) -> Option<()> {
    match value {
        Value::Null => return None,
        Value::String(string) => text.push_str(string),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_value(text, item)?;
            }
        }
        other => text.push_str(&other.to_string()),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn params(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn path(template: &str, values: Value) -> Result<String, TemplateError> {
        PathTemplate::parse(template)?.render(&params(values))
    }

    #[test]
    fn a_placeholder_is_one_segment_encoded_entirely() {
        assert_eq!(path("/users/{id}/x", json!({"id": "a/b ?ü"})).unwrap(), "/users/a%2Fb%20%3F%C3%BC/x");
        assert_eq!(path("/v/{id}.json", json!({"id": 7})).unwrap(), "/v/7.json");
    }

    #[test]
    fn the_rest_keeps_slashes_and_refuses_dot_segments() {
        assert_eq!(path("/{b}/{k...}", json!({"b": "x", "k": "a/b c"})).unwrap(), "/x/a/b%20c");
        for bad in ["..", "a/../b", "./a", ""] {
            assert!(path("/{b}/{k...}", json!({"b": "x", "k": bad})).is_err(), "{bad}");
        }
        assert!(path("/{b}", json!({"b": ".."})).is_err());
    }

    #[test]
    fn the_rest_stands_only_at_the_end() {
        assert!(matches!(PathTemplate::parse("/{k...}/x"), Err(TemplateError::RestNotLast(_))));
        assert!(matches!(PathTemplate::parse("/a{k...}"), Err(TemplateError::RestNotLast(_))));
    }

    #[test]
    fn bad_templates_are_refused() {
        assert_eq!(PathTemplate::parse("x"), Err(TemplateError::NoSlash));
        assert_eq!(PathTemplate::parse("/x?y"), Err(TemplateError::NotPath('?')));
        assert_eq!(PathTemplate::parse("/{x"), Err(TemplateError::Unclosed));
        assert_eq!(PathTemplate::parse("/x}"), Err(TemplateError::Unopened));
        assert_eq!(PathTemplate::parse("/a/../b"), Err(TemplateError::DotSegment));
        assert!(matches!(TextTemplate::parse("{}"), Err(TemplateError::BadName(_))));
    }

    #[test]
    fn an_absent_parameter_renders_nothing() {
        let template = TextTemplate::parse("x-{a}").unwrap();
        assert_eq!(template.render(&params(json!({}))), None);
        assert_eq!(template.render(&params(json!({"a": null}))), None);
        assert_eq!(template.render(&params(json!({"a": [1, "b"]}))).unwrap(), "x-1,b");
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(TextTemplate::parse("{{a}}").unwrap().as_literal(), Some("{a}"));
    }
}
