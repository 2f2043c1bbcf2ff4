//! Problems of a configuration: what is wrong, where it stands and what to write instead.
//!
//! A problem keeps no text of its own file: [`Problems`] holds every file once, computes line and
//! column when a problem is added, and needs no disk to print them. Secrets that stand in a file as
//! they are never reach the output: [`mask`] blanks them first.

mod mask;
mod render;

use super::{
    settings::{Integration, Origin, SourceRules},
    source,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Whether a finding stops the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but is hardly meant.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file; `environment` for what `--env` found.
    pub file: PathBuf,
    /// Octets of the offending text; none when there is no text to show.
    pub span: Option<Range<usize>>,
    /// Dotted key path, e.g. `operations.get.cache`; empty when no key is to blame.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead; may be empty.
    pub help: String,
    /// How bad it is.
    pub severity: Severity,
    line: usize,
    column: usize,
}

impl Diagnostic {
    /// An error without a place in the file.
    pub fn new(
        file: impl Into<PathBuf>,
        key: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            file: file.into(),
            span: None,
            key: key.into(),
            message: message.into(),
            help: help.into(),
            severity: Severity::Error,
            line: 0,
            column: 0,
        }
    }

    /// An error where a setting stands.
    pub fn at(origin: &Origin, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(&origin.file, &origin.key, message, help).spanning(origin.span.clone())
    }

    /// Sets the offending text.
    #[must_use]
    pub fn spanning(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    /// Makes it a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Line, from 1; 0 when unknown. Known once it is among [`Problems`] that hold its file.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column in characters, from 1; 0 when unknown.
    pub fn column(&self) -> usize {
        self.column
    }
}

/// Findings, with the texts of the files that they are about.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    found: Vec<Diagnostic>,
    texts: BTreeMap<PathBuf, Arc<str>>,
    sound: Arc<Sound>,
}

/// What of a refused configuration has no problem of its own, so that its plugins can be looked at all the
/// same: every problem is reported at once.
#[derive(Clone, Debug, Default)]
pub struct Sound {
    /// Integrations.
    pub integrations: Vec<Arc<Integration>>,
    /// How their plugins are taken from elsewhere.
    pub rules: SourceRules,
}

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// None yet, about the same files: for findings that come after loading.
    pub fn about_the_same_files(&self) -> Self {
        Self { found: Vec::new(), texts: self.texts.clone(), sound: Arc::default() }
    }

    /// What of a refused configuration has no problem of its own.
    pub fn sound(&self) -> &Arc<Sound> {
        &self.sound
    }

    pub(crate) fn set_sound(&mut self, sound: Sound) {
        self.sound = Arc::new(sound);
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// All of them, in the order of files and lines once [`Problems::sort`] ran.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.found.iter()
    }

    /// Makes a file's text known; lines and columns of problems added later come from it.
    pub fn add_file(&mut self, file: impl Into<PathBuf>, text: Arc<str>) {
        self.texts.insert(file.into(), text);
    }

    /// Adds one.
    pub fn push(&mut self, mut found: Diagnostic) {
        if let (Some(span), Some(text)) = (&found.span, self.texts.get(&found.file)) {
            (found.line, found.column) = source::line_column(text, span.start);
        }
        self.found.push(found);
    }

    /// Adds all of another's, and its files.
    pub fn extend(&mut self, other: Problems) {
        self.texts.extend(other.texts);
        self.found.extend(other.found);
    }

    /// By file, then by place.
    pub fn sort(&mut self) {
        self.found
            .sort_by(|a, b| (&a.file, a.line, a.column, &a.key).cmp(&(&b.file, b.line, b.column, &b.key)));
    }

    /// Line and column of an octet of a file; zeros when the file is unknown.
    pub fn line_column(&self, file: &Path, offset: usize) -> (usize, usize) {
        self.texts.get(file).map_or((0, 0), |text| source::line_column(text, offset))
    }

    /// For a terminal: `file:line:column`, the line with the offending part underlined, what to write instead.
    pub fn render_human(&self, color: bool) -> String {
        render::human(self.iter(), &self.texts, color)
    }

    /// `{"problems":[{file,line,column,key,message,help}]}`.
    pub fn to_json(&self) -> Value {
        let listed: Vec<Value> = self
            .iter()
            .map(|found| {
                json!({
                    "file": found.file.display().to_string(), "line": found.line, "column": found.column,
                    "key": found.key, "message": found.message, "help": found.help,
                })
            })
            .collect();
        json!({ "problems": listed })
    }
}

impl From<Diagnostic> for Problems {
    fn from(found: Diagnostic) -> Self {
        Self { found: vec![found], texts: BTreeMap::new(), sound: Arc::default() }
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render_human(false))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str, span: Range<usize>) -> Problems {
        let mut problems = Problems::new();
        problems.add_file("a.toml", text.into());
        problems.push(Diagnostic::new("a.toml", "b.c", "that is wrong", "write this").spanning(span));
        problems
    }

    #[test]
    fn json_has_the_shape_of_the_contract() {
        assert_eq!(
            problems("x = 1\ny = 22\n", 10..12).to_json(),
            json!({"problems": [{
                "file": "a.toml", "line": 2, "column": 5, "key": "b.c",
                "message": "that is wrong", "help": "write this",
            }]})
        );
    }

    #[test]
    fn people_see_the_place_the_line_and_the_advice() {
        let text = problems("x = 1\ny = 22\n", 10..12).render_human(false);
        assert!(text.contains("error: b.c: that is wrong"), "{text}");
        assert!(text.contains("--> a.toml:2:5"), "{text}");
        assert!(text.contains("2 | y = 22"), "{text}");
        assert!(text.contains("^^"), "{text}");
        assert!(text.contains("help: write this"), "{text}");
    }

    #[test]
    fn a_problem_without_a_text_still_prints() {
        let problems = Problems::from(Diagnostic::new("environment", "A_URL", "is not set", "set it"));
        let text = problems.render_human(false);
        assert!(text.contains("error: A_URL: is not set"), "{text}");
        assert!(text.contains("--> environment"), "{text}");
    }

    #[test]
    fn odd_spans_do_not_panic() {
        for (text, span) in [("", 0..0), ("ä", 1..2), ("a\nb", 1..9), ("a", 7..8), ("a\r\nb\r\n", 1..4)] {
            assert!(problems(text, span).render_human(true).contains("that is wrong"));
        }
    }

    #[test]
    fn literal_secrets_are_not_shown() {
        let source = "[auth]\ntype = \"bearer\"\ntoken = \"hunter2-hunter2\" \n";
        let text = problems(source, 24..50).render_human(false);
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("token = \"***************\""), "{text}");
    }
}
