//! The text of a configuration file, and where an octet of it stands.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct SourceText {
    /// As it is shown to people.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) text: Arc<str>,
}

impl SourceText {
    /// A file with that text.
    pub(crate) fn new(path: impl AsRef<Path>, text: impl Into<Arc<str>>) -> Self {
        Self { path: path.as_ref().to_owned(), text: text.into() }
    }
}

/// Line and column (in characters) of an octet, both from 1.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..floor(text, offset)).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// The span cut down to its first line and to character boundaries, so that it can be underlined.
pub(crate) fn underlined(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = floor(text, span.start);
    let end = floor(text, span.end).max(start);
    let slice = text.get(start..end).unwrap_or_default();
    let first_line = slice.find(['\n', '\r']).unwrap_or(slice.len());
    start..start + first_line
}

/// The nearest character boundary at or before an octet.
fn floor(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let text = "a\nüb = 1\n";
        assert_eq!(line_column(text, 0), (1, 1));
        assert_eq!(line_column(text, 2), (2, 1));
        assert_eq!(line_column(text, 4), (2, 2));
        assert_eq!(line_column(text, 3), (2, 1), "inside a character counts as its start");
        assert_eq!(line_column(text, 999), (3, 1));
    }

    #[test]
    fn a_span_over_lines_is_underlined_on_its_first() {
        assert_eq!(underlined("ab\ncd", &(1..5)), 1..2);
        assert_eq!(underlined("ab", &(7..9)), 2..2);
    }
}
