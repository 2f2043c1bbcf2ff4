//! What reading one file needs and collects: its text, where references are looked up, problems,
//! secrets and the place of every key.

use super::{
    diagnostic::{Diagnostic, Problems},
    environment::Environment,
    interpolate::{InterpolateError, Lookup, Piece, interpolate},
    keys::Table,
    settings::Origin,
    source::{SourceText, line_column},
    text::Text,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
};

/// Shortest secret that is scrubbed from texts. Shorter ones would blank innocent words.
const SECRET_MIN: usize = 4;

/// Line endings, table headers and everything else that belongs to one file while it is read.
pub(crate) struct Context<'a> {
    /// The file.
    pub(crate) source: &'a SourceText,
    /// Folder of relative paths.
    pub(crate) root: &'a Path,
    /// Keys that stand at the top of this kind of file.
    pub(crate) top: &'static Table,
    /// Whether the file has syntax errors: then what seems missing may only be unreadable.
    pub(crate) broken: bool,
    environment: &'a Environment,
    first_table: Option<usize>,
    found: RefCell<Vec<Diagnostic>>,
    misplaced: RefCell<BTreeSet<&'static str>>,
    secrets: RefCell<BTreeSet<String>>,
    places: RefCell<BTreeMap<String, Range<usize>>>,
}

/// What reading a file left behind.
pub(crate) struct Collected {
    /// Problems and warnings.
    pub(crate) found: Vec<Diagnostic>,
    /// Texts that must never be shown.
    pub(crate) secrets: BTreeSet<String>,
    /// Where every key stands.
    pub(crate) places: BTreeMap<String, Range<usize>>,
}

impl<'a> Context<'a> {
    /// For a file whose top-level keys are `top`. `first_table` is where its first `[table]` begins.
    pub(crate) fn new(
        source: &'a SourceText,
        root: &'a Path,
        environment: &'a Environment,
        top: &'static Table,
        first_table: Option<usize>,
    ) -> Self {
        Self {
            source,
            root,
            top,
            broken: false,
            environment,
            first_table,
            found: RefCell::default(),
            misplaced: RefCell::default(),
            secrets: RefCell::default(),
            places: RefCell::default(),
        }
    }

    /// Where a key stands.
    pub(crate) fn origin(&self, key: &str, span: &Range<usize>) -> Origin {
        Origin { file: self.source.path.clone(), span: span.clone(), key: key.to_owned() }
    }

    /// Notes a problem.
    pub(crate) fn problem(
        &self,
        key: &str,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.found.borrow_mut().push(Diagnostic::at(&self.origin(key, span), message, help));
    }

    /// Notes something that is hardly meant.
    pub(crate) fn warn(
        &self,
        key: &str,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.found.borrow_mut().push(Diagnostic::at(&self.origin(key, span), message, help).warning());
    }

    /// Notes that a key is missing, unless the file is broken or the key was found at a wrong place.
    pub(crate) fn missing(&self, key: &str, name: &str, span: &Range<usize>, help: impl Into<String>) {
        if !self.broken && !self.misplaced.borrow().contains(name) {
            self.problem(key, span, format!("`{name}` is missing"), help);
        }
    }

    /// If the name belongs at the top of the file: the advice to move it there.
    pub(crate) fn belongs_on_top(&self, name: &str) -> Option<String> {
        let key = self.top.get(name).filter(|key| key.later.is_none())?;
        let line = line_column(&self.source.text, self.first_table?).0;
        self.misplaced.borrow_mut().insert(key.name);
        Some(format!("move it above line {line}: top-level keys stand before the first [table]"))
    }

    /// Remembers where a key stands.
    pub(crate) fn place(&self, key: &str, span: &Range<usize>) {
        self.places.borrow_mut().insert(key.to_owned(), span.clone());
    }

    /// Remembers a text that must never be shown.
    pub(crate) fn secret(&self, text: &str) {
        if text.len() >= SECRET_MIN {
            self.secrets.borrow_mut().insert(text.to_owned());
        }
    }

    /// The text with its references replaced. What comes from files is a secret wherever it stands.
    ///
    /// # Errors
    /// As [`interpolate`].
    pub(crate) fn text(&self, written: &str) -> Result<Text, InterpolateError> {
        let lookup = Lookup { environment: self.environment, root: self.root };
        let pieces: Vec<Piece> = interpolate(written, lookup)?;
        let text = Text::new(written, pieces);
        text.file_pieces().for_each(|piece| self.secret(piece));
        Ok(text)
    }

    /// What was collected.
    pub(crate) fn finish(self) -> Collected {
        Collected {
            found: self.found.into_inner(),
            secrets: self.secrets.into_inner(),
            places: self.places.into_inner(),
        }
    }
}

/// Where every key of the configuration stands, for `explain`.
#[derive(Clone, Debug, Default)]
pub struct Places(BTreeMap<std::path::PathBuf, BTreeMap<String, Range<usize>>>);

impl Places {
    /// Adds a file's.
    pub(crate) fn add(&mut self, file: &Path, places: BTreeMap<String, Range<usize>>) {
        self.0.insert(file.to_owned(), places);
    }

    /// Octets of a dotted key.
    pub(crate) fn span(&self, file: &Path, key: &str) -> Option<Range<usize>> {
        self.0.get(file)?.get(key).cloned()
    }

    /// Line and column of a dotted key such as `operations.get.cache`; none when it is not set there.
    pub fn find(&self, problems: &Problems, file: &Path, key: &str) -> Option<(usize, usize)> {
        let span = self.span(file, key)?;
        Some(problems.line_column(file, span.start))
    }
}
