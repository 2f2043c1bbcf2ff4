//! A string value whose references were replaced.
//!
//! It still knows which parts were inserted: those may be secret, are never a template, and never
//! appear in a message.

use super::{
    interpolate::{From, Piece},
    settings::{TemplateError, TextTemplate},
};

/// A text from the file.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    written: String,
    pieces: Vec<Piece>,
    value: String,
}

/// Why a text is no template.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TextError {
    /// `{${VAR}}`: names of parameters are not looked up.
    #[error("a placeholder cannot be made of a reference")]
    ReferenceInPlaceholder,
    /// As it says.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl Text {
    pub(super) fn new(written: &str, pieces: Vec<Piece>) -> Self {
        let value = pieces.iter().map(|piece| piece.text.as_str()).collect();
        Self { written: written.to_owned(), pieces, value }
    }

    /// The value.
    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// The value, owned.
    pub(crate) fn into_value(self) -> String {
        self.value
    }

    /// The text as it stands in the file, for messages: references are not replaced in it.
    pub(crate) fn written(&self) -> &str {
        &self.written
    }

    /// Whether a part of it came from a variable or a file.
    pub(crate) fn is_sensitive(&self) -> bool {
        self.pieces.iter().any(|piece| piece.inserted)
    }

    /// What came from variables and files.
    pub(crate) fn looked_up(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter(|piece| piece.from != From::Written).map(|piece| piece.text.as_str())
    }

    /// What came from files.
    pub(crate) fn file_pieces(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter(|piece| piece.from == From::File).map(|piece| piece.text.as_str())
    }

    /// The text as a template in which inserted braces are just braces.
    ///
    /// # Errors
    /// [`TextError::ReferenceInPlaceholder`] for `{${VAR}}`.
    pub(crate) fn escaped(&self) -> Result<String, TextError> {
        let mut out = String::new();
        let mut open = false;
        for piece in &self.pieces {
            if piece.inserted {
                if open {
                    return Err(TextError::ReferenceInPlaceholder);
                }
                out.push_str(&piece.text.replace('{', "{{").replace('}', "}}"));
            } else {
                open = ends_in_placeholder(&piece.text);
                out.push_str(&piece.text);
            }
        }
        Ok(out)
    }

    /// The text as a template.
    ///
    /// # Errors
    /// [`TextError`], which never quotes what was inserted.
    pub(crate) fn template(&self) -> Result<TextTemplate, TextError> {
        Ok(TextTemplate::parse(&self.escaped()?)?)
    }
}

/// Whether a `{` is open at the end.
fn ends_in_placeholder(text: &str) -> bool {
    let rest = text.replace("{{", "").replace("}}", "");
    match (rest.rfind('{'), rest.rfind('}')) {
        (Some(open), Some(close)) => open > close,
        (open, _) => open.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        environment::Environment,
        interpolate::{Lookup, interpolate},
    };
    use std::path::Path;

    fn text(written: &str) -> Text {
        let environment = Environment::from_map([("A", "{x}")]);
        let lookup = Lookup { environment: &environment, root: Path::new("") };
        Text::new(written, interpolate(written, lookup).unwrap())
    }

    #[test]
    fn inserted_braces_are_no_placeholders() {
        let template = text("{p}-${A}").template().unwrap();
        assert_eq!(template.parameters().collect::<Vec<_>>(), ["p"]);
        assert_eq!(template.render(&serde_json::from_str("{\"p\": 1}").unwrap()).unwrap(), "1-{x}");
    }

    #[test]
    fn a_reference_is_no_placeholder_name() {
        assert!(matches!(text("{${A}}").template(), Err(TextError::ReferenceInPlaceholder)));
        assert!(matches!(text("{a${A}}").template(), Err(TextError::ReferenceInPlaceholder)));
        assert!(text("{{${A}}}").template().is_ok());
    }
}
