//! The vocabulary of the files: every key, its kind, default and meaning, in one place.
//!
//! Three things are made of these tables and can therefore not drift apart: the reader (which takes
//! ranges and choices from them and refuses what they do not name), the JSON Schema, and the tables
//! of the reference in docs/configuration.md. Keys that the contract names and that this version does
//! not carry out stand here too, so that they are refused by name.

mod fan_out;
mod gateway;
mod integration;
mod limits;
mod operation;
mod policies;

pub(crate) use gateway::GATEWAY;
pub(crate) use integration::INTEGRATION;

/// A table of the files.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name in the schema.
    pub(crate) name: &'static str,
    /// How its header is written, for the reference.
    pub(crate) title: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
}

impl Table {
    /// The key of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names that may be used in this version.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().filter(|key| key.later.is_none()).map(|key| key.name)
    }
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// As it is written.
    pub(crate) name: &'static str,
    /// What its value is.
    pub(crate) kind: Kind,
    /// What it does.
    pub(crate) about: &'static str,
    /// Its default as TOML; none: nothing is set, and `about` says what that means.
    pub(crate) default: Option<&'static str>,
    /// Whether it must be given.
    pub(crate) required: bool,
    /// It is not in this version: what to do instead.
    pub(crate) later: Option<&'static str>,
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A text.
    Text,
    /// A text that is never shown.
    Secret,
    /// A text that this regular expression describes (for editors; the reader has checks of its own).
    Pattern(&'static str),
    /// A duration over zero.
    Duration,
    /// A duration, zero included.
    DurationOrZero,
    /// A size over zero.
    Size,
    /// A whole number.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number.
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice {
        /// The words.
        now: &'static [&'static str],
        /// Words of the contract that this version does not carry out.
        later: &'static [&'static str],
    },
    /// Any value.
    Json,
    /// A table of any values.
    JsonTable,
    /// A table with keys of its own.
    Table(&'static Table),
    /// A table whose keys the user chooses.
    Map(&'static Kind),
    /// A list.
    List(&'static Kind),
    /// One of several kinds.
    AnyOf(&'static [Kind]),
}

impl Kind {
    /// The kind in words, after "expected".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Text | Self::Secret | Self::Pattern(_) => "a string".to_owned(),
            Self::Duration | Self::DurationOrZero => "a duration".to_owned(),
            Self::Size => "a size".to_owned(),
            Self::Integer { .. } => "a whole number".to_owned(),
            Self::Number { .. } => "a number".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::Choice { now, .. } => format!("one of {}", quoted(now)),
            Self::Json => "a value".to_owned(),
            Self::JsonTable | Self::Table(_) | Self::Map(_) => "a table".to_owned(),
            Self::List(item) => format!("a list, each item {}", item.describe()),
            Self::AnyOf(kinds) => kinds.iter().map(Self::describe).collect::<Vec<_>>().join(", or "),
        }
    }
}

/// `"a"`, `"b"`, … as they are written.
pub(crate) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// A key that is carried out.
const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, about, default: None, required: false, later: None }
}

/// A key of the contract that this version refuses, and what to do instead.
const fn later(name: &'static str, advice: &'static str) -> Key {
    Key { name, kind: Kind::Json, about: "", default: None, required: false, later: Some(advice) }
}

impl Key {
    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// Whole numbers from 1: where zero would mean "never" or "unlimited".
const COUNT: Kind = Kind::Integer { min: 1, max: u32::MAX as u64 };
/// A share.
const SHARE: Kind = Kind::Number { min: 0.0, max: 1.0 };
