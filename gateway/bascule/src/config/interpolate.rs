//! `${VAR}`, `${VAR:-default}`, `${file:/run/secrets/x}` and `$${` inside string values.
//!
//! Runs after the TOML is parsed, so a value can never change the structure. What was inserted is
//! kept apart from what was written: it may be a secret, and it is never a template.

use super::environment::Environment;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Largest `${file:…}`: secrets are small, and a mistyped path must not be swallowed whole.
const FILE_MAX: u64 = 64 * 1024;

/// Why a reference could not be replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InterpolateError {
    /// `${` without `}`.
    #[error("a `${{` is not closed")]
    Unclosed,
    /// `${…}` around something that is no variable's name.
    #[error("`${{{0}}}` names no environment variable")]
    BadName(String),
    /// The variable is not set.
    #[error("the environment variable `{0}` is not set")]
    Missing(String),
    /// The file cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than [`FILE_MAX`].
    #[error("`{}` is larger than 64KiB", .0.display())]
    FileTooLarge(PathBuf),
}

impl InterpolateError {
    /// What to write or do instead.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::Unclosed => "write `${NAME}`, or `$${` for a literal `${`".to_owned(),
            Self::BadName(_) => {
                "write `${NAME}`, `${NAME:-default}` or `${file:/path}`; `$${` is a literal `${`".to_owned()
            }
            Self::Missing(name) => format!("set {name}, or give a default: `${{{name}:-…}}`"),
            Self::File { .. } => "mount the file, or correct the path".to_owned(),
            Self::FileTooLarge(_) => "point to the secret's own file".to_owned(),
        }
    }
}

/// Where a piece of a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The configuration file itself, or the default of a reference.
    Written,
    /// An environment variable.
    Variable,
    /// A `${file:…}`.
    File,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its text.
    pub(crate) text: String,
    /// Where it comes from.
    pub(crate) from: From,
    /// Whether it took a reference's place: then it is no template.
    pub(crate) inserted: bool,
}

/// What references are looked up in.
#[derive(Clone, Copy)]
pub(crate) struct Lookup<'a> {
    /// Variables.
    pub(crate) environment: &'a Environment,
    /// Folder of relative `${file:…}` paths.
    pub(crate) root: &'a Path,
}

/// The text in pieces, its references replaced.
///
/// # Errors
/// The first [`InterpolateError`].
pub(crate) fn interpolate(text: &str, lookup: Lookup<'_>) -> Result<Vec<Piece>, InterpolateError> {
    let mut pieces = Vec::new();
    let mut written = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, mark) = rest.split_at(at);
        written.push_str(before);
        if let Some(after) = mark.strip_prefix("$${") {
            written.push_str("${");
            rest = after;
        } else if let Some(after) = mark.strip_prefix("${") {
            let (reference, after) = after.split_once('}').ok_or(InterpolateError::Unclosed)?;
            if !written.is_empty() {
                let text = std::mem::take(&mut written);
                pieces.push(Piece { text, from: From::Written, inserted: false });
            }
            pieces.push(resolve(reference, lookup)?);
            rest = after;
        } else {
            written.push('$');
            rest = mark.strip_prefix('$').unwrap_or_default();
        }
    }
    written.push_str(rest);
    if !written.is_empty() || pieces.is_empty() {
        pieces.push(Piece { text: written, from: From::Written, inserted: false });
    }
    Ok(pieces)
}

fn resolve(reference: &str, lookup: Lookup<'_>) -> Result<Piece, InterpolateError> {
    if let Some(path) = reference.strip_prefix("file:") {
        let text = read_secret_file(&lookup.root.join(path))?;
        return Ok(Piece { text, from: From::File, inserted: true });
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_variable_name(name) {
        return Err(InterpolateError::BadName(reference.to_owned()));
    }
    // As in a shell, `:-` also stands in for a variable that is set but empty.
    let value = lookup.environment.get(name).filter(|value| default.is_none() || !value.is_empty());
    match (value, default) {
        (Some(text), _) => Ok(Piece { text, from: From::Variable, inserted: true }),
        (None, Some(default)) => Ok(Piece { text: default.to_owned(), from: From::Written, inserted: true }),
        (None, None) => Err(InterpolateError::Missing(name.to_owned())),
    }
}

/// A file's text without its last line end.
fn read_secret_file(path: &Path) -> Result<String, InterpolateError> {
    let failed = |source| InterpolateError::File { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_MAX {
        return Err(InterpolateError::FileTooLarge(path.to_owned()));
    }
    let trimmed = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
    Ok(trimmed.to_owned())
}

fn is_variable_name(name: &str) -> bool {
    let mut octets = name.bytes();
    octets.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && octets.all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(text: &str) -> Result<String, InterpolateError> {
        let environment = Environment::from_map([("A", "x{y}"), ("EMPTY", "")]);
        let root = Path::new("nowhere");
        let pieces = interpolate(text, Lookup { environment: &environment, root })?;
        Ok(pieces.into_iter().map(|piece| piece.text).collect())
    }

    #[test]
    fn variables_and_defaults_are_put_in() {
        for (text, want) in [
            ("plain", "plain"),
            ("", ""),
            ("a${A}b", "ax{y}b"),
            ("${NONE:-d e}", "d e"),
            ("${EMPTY:-d}", "d"),
            ("[${EMPTY}]", "[]"),
            ("$${A} costs $5$", "${A} costs $5$"),
            ("${A}${A}", "x{y}x{y}"),
        ] {
            assert_eq!(joined(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        assert_eq!(joined("${NONE}").unwrap_err().to_string(), "the environment variable `NONE` is not set");
        assert_eq!(joined("${A").unwrap_err().to_string(), "a `${` is not closed");
        assert_eq!(joined("${a b}").unwrap_err().to_string(), "`${a b}` names no environment variable");
        assert!(joined("${}").is_err());
    }

    #[test]
    fn files_are_read_from_the_root_and_lose_their_line_end() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "s3cret\n").unwrap();
        std::fs::write(folder.path().join("big"), vec![b'a'; 70_000]).unwrap();
        let environment = Environment::from_map([("A", "")]);
        let read = |text: &str| interpolate(text, Lookup { environment: &environment, root: folder.path() });
        let piece = Piece { text: "s3cret".into(), from: From::File, inserted: true };
        assert_eq!(read("${file:pw}").unwrap(), std::slice::from_ref(&piece));
        assert_eq!(read(&format!("${{file:{}}}", folder.path().join("pw").display())).unwrap(), [piece]);
        assert!(matches!(read("${file:none}"), Err(InterpolateError::File { .. })));
        assert!(matches!(read("${file:big}"), Err(InterpolateError::FileTooLarge(_))));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\$|\\{|\\}|A|:-|file:|ä){0,20}") {
            let _ = joined(&text);
        }
    }
}
