//! One value of the file, turned into the type that its kind says.

use super::{Reader, not_in_this_version};
use crate::{
    config::{
        context::Context,
        keys::{Kind, quoted},
        suggest::did_you_mean,
        text::Text,
        units::{UnitError, parse_duration, parse_size},
    },
    model::Secret,
};
use serde_spanned::Spanned;
use std::{num::NonZeroU32, ops::Range, time::Duration};
use toml::de::DeValue;

/// A value with its place and its kind.
#[derive(Clone)]
pub(crate) struct Field<'c, 'i> {
    /// The file.
    pub(crate) ctx: &'c Context<'c>,
    /// Where the value stands.
    pub(crate) span: Range<usize>,
    /// Where its key stands (for an item of a list: the item itself).
    pub(crate) key_span: Range<usize>,
    /// Dotted path.
    pub(crate) path: String,
    pub(super) value: &'c DeValue<'i>,
    kind: &'static Kind,
}

impl<'c, 'i> Field<'c, 'i> {
    pub(super) fn new(
        ctx: &'c Context<'c>,
        value: &'c Spanned<DeValue<'i>>,
        key_span: Range<usize>,
        path: String,
        kind: &'static Kind,
    ) -> Self {
        Self { ctx, span: value.span(), key_span, path, value: value.get_ref(), kind }
    }

    /// Notes a problem of this value.
    pub(crate) fn problem(&self, message: impl Into<String>, help: impl Into<String>) {
        self.ctx.problem(&self.path, &self.span, message, help);
    }

    /// Whether the value is a string.
    pub(crate) fn is_string(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    /// Whether the value is a table.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// Whether the value is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// Whether the value is a table of tables, at least one, and each of them has that key.
    pub(crate) fn each_has(&self, name: &str) -> bool {
        let DeValue::Table(entries) = self.value else { return false };
        let mut entries = entries.values().map(|entry| entry.get_ref()).peekable();
        entries.peek().is_some()
            && entries.all(|entry| matches!(entry, DeValue::Table(table) if table.contains_key(name)))
    }

    /// The field as the first of its alternative kinds that fits; itself when it has just one kind.
    pub(crate) fn as_kind(&self, fits: impl Fn(&Kind) -> bool) -> Self {
        match self.kind {
            Kind::AnyOf(kinds) => {
                let kind = kinds.iter().find(|kind| fits(kind)).unwrap_or(self.kind);
                Self { kind, ..self.clone() }
            }
            _ => self.clone(),
        }
    }

    /// Notes that the value is of the wrong type.
    pub(crate) fn wrong(&self) {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let help = match (self.kind, self.value) {
            (Kind::Duration | Kind::DurationOrZero, DeValue::Integer(number)) => {
                format!(
                    "write the unit: \"{}s\" for seconds, \"{}ms\" for milliseconds",
                    number.as_str(),
                    number.as_str()
                )
            }
            (Kind::Duration | Kind::DurationOrZero, _) => DURATION_HELP.to_owned(),
            (Kind::Size, _) => SIZE_HELP.to_owned(),
            (
                Kind::Text | Kind::Pattern(_),
                DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_),
            ) => "put it in quotes".to_owned(),
            (Kind::Integer { .. } | Kind::Number { .. } | Kind::Boolean, DeValue::String(_)) => {
                "remove the quotes".to_owned()
            }
            (Kind::List(_), _) => "put it in brackets: [ … ]".to_owned(),
            _ => String::new(),
        };
        self.problem(format!("expected {}, found {found}", self.kind.describe()), help);
    }

    /// A string with its references replaced.
    pub(crate) fn text(&self) -> Option<Text> {
        let DeValue::String(written) = self.value else {
            self.wrong();
            return None;
        };
        match self.ctx.text(written) {
            Ok(text) => Some(text),
            Err(error) => {
                self.problem(error.to_string(), error.help());
                None
            }
        }
    }

    /// The same as plain text.
    pub(crate) fn string(&self) -> Option<String> {
        self.text().map(Text::into_value)
    }

    /// The same, which must not be empty.
    pub(crate) fn filled(&self) -> Option<String> {
        let text = self.string()?;
        if text.trim().is_empty() {
            self.problem("must not be empty", "write a text, or leave the key out");
            return None;
        }
        Some(text)
    }

    /// A secret, which may be empty.
    pub(crate) fn secret_or_empty(&self) -> Option<Secret> {
        let text = self.text()?;
        self.ctx.secret(text.value());
        Some(Secret::new(text.into_value()))
    }

    /// A secret.
    pub(crate) fn secret(&self) -> Option<Secret> {
        let secret = self.secret_or_empty()?;
        if secret.expose().is_empty() {
            self.problem("must not be empty", "set the variable or write the value");
            return None;
        }
        Some(secret)
    }

    /// A duration; over zero unless its kind allows zero.
    pub(crate) fn duration(&self) -> Option<Duration> {
        if !self.is_string() {
            self.wrong();
            return None;
        }
        let text = self.text()?;
        match parse_duration(text.value()) {
            Ok(span) if span.is_zero() && !matches!(self.kind, Kind::DurationOrZero) => {
                self.zero();
                None
            }
            Ok(span) => Some(span),
            Err(error @ UnitError::TooLong) => {
                self.problem(format!("`{}` is {error}", text.written()), "write a shorter one");
                None
            }
            Err(_) => {
                self.problem(format!("`{}` is not a duration", text.written()), DURATION_HELP);
                None
            }
        }
    }

    /// A size in octets, over zero.
    pub(crate) fn size(&self) -> Option<u64> {
        if !self.is_string() {
            self.wrong();
            return None;
        }
        let text = self.text()?;
        match parse_size(text.value()) {
            Ok(0) => {
                self.zero();
                None
            }
            Ok(size) => Some(size),
            Err(error @ UnitError::TooLarge) => {
                self.problem(format!("`{}` is {error}", text.written()), "write a smaller one");
                None
            }
            Err(_) => {
                self.problem(format!("`{}` is not a size", text.written()), SIZE_HELP);
                None
            }
        }
    }

    fn zero(&self) {
        self.problem(
            "must not be zero",
            "a zero limit never means \"unlimited\"; leave the key out for its default",
        );
    }

    /// A whole number within its kind's range.
    pub(crate) fn integer(&self) -> Option<u64> {
        let (Kind::Integer { min, max }, DeValue::Integer(written)) = (self.kind, self.value) else {
            self.wrong();
            return None;
        };
        let number = i128::from_str_radix(written.as_str(), written.radix()).ok();
        let fitting = number.and_then(|number| u64::try_from(number).ok());
        match fitting {
            Some(0) if *min == 1 => self.zero(),
            Some(number) if (*min..=*max).contains(&number) => return Some(number),
            _ => self
                .problem(format!("must lie between {min} and {max}"), "write a whole number of that range"),
        }
        None
    }

    /// A whole number that fits 32 bits.
    pub(crate) fn small(&self) -> Option<u32> {
        u32::try_from(self.integer()?).ok()
    }

    /// A whole number from 1.
    pub(crate) fn count(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.small()?)
    }

    /// A number within its kind's range.
    pub(crate) fn number(&self) -> Option<f64> {
        let number: Option<f64> = match self.value {
            DeValue::Float(written) => written.as_str().parse().ok(),
            DeValue::Integer(written) => {
                i64::from_str_radix(written.as_str(), written.radix()).ok().map(|number| number as f64)
            }
            _ => {
                self.wrong();
                return None;
            }
        };
        let Kind::Number { min, max } = self.kind else { return number };
        let fitting = number.filter(|number| number.is_finite() && (*min..=*max).contains(number));
        if fitting.is_none() {
            let help = if *min == 0.0 && *max == 1.0 {
                "write a share: 0.25 is 25 %"
            } else {
                "write such a number"
            };
            let range = if *max == f64::MAX {
                "must be a finite number".to_owned()
            } else {
                format!("must lie between {min} and {max}")
            };
            self.problem(range, help);
        }
        fitting
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> Option<bool> {
        if let DeValue::Boolean(value) = self.value {
            return Some(*value);
        }
        self.wrong();
        None
    }

    /// One of its kind's words.
    pub(crate) fn choice(&self) -> Option<&'static str> {
        let Kind::Choice { now, later } = self.kind else {
            self.wrong();
            return None;
        };
        let text = self.text()?;
        let chosen = now.iter().find(|word| **word == text.value());
        if chosen.is_some() {
            return chosen.copied();
        }
        let help = format!("write one of {}", quoted(now));
        if later.contains(&text.value()) {
            self.problem(not_in_this_version(text.value()), help);
        } else {
            let help = did_you_mean(text.value(), now.iter().copied()).unwrap_or(help);
            self.problem(format!("`{}` is not known here", text.written()), help);
        }
        None
    }

    /// A table with keys of its own.
    pub(crate) fn table(&self) -> Option<Reader<'c, 'i>> {
        match (self.kind, self.value) {
            (Kind::Table(keys), DeValue::Table(table)) => {
                Some(Reader::new(self.ctx, table, self.key_span.clone(), self.path.clone(), keys))
            }
            _ => {
                self.wrong();
                None
            }
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Option<Vec<Self>> {
        let (Kind::List(kind), DeValue::Array(items)) = (self.kind, self.value) else {
            self.wrong();
            return None;
        };
        let item = |(index, value): (usize, &'c Spanned<DeValue<'i>>)| {
            let path = format!("{}[{index}]", self.path);
            let field = Self::new(self.ctx, value, value.span(), path, kind);
            self.ctx.place(&field.path, &field.span);
            field
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The items of a list of texts that must not be empty.
    pub(crate) fn strings(&self) -> Option<Vec<String>> {
        Some(self.items()?.iter().filter_map(Self::filled).collect())
    }

    /// The entries of a table whose keys the user chooses, in file order.
    pub(crate) fn entries(&self) -> Option<Vec<(String, Self)>> {
        let (Kind::Map(kind), DeValue::Table(table)) = (self.kind, self.value) else {
            self.wrong();
            return None;
        };
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let name: &str = key.get_ref();
                let path = format!("{}.{}", self.path, dotted(name));
                self.ctx.place(&path, &key.span());
                (name.to_owned(), Self::new(self.ctx, value, key.span(), path, kind))
            })
            .collect();
        entries.sort_by_key(|(_, field)| field.key_span.start);
        Some(entries)
    }
}

/// The name as it is written in a dotted key.
fn dotted(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if bare { name.to_owned() } else { format!("{name:?}") }
}

const DURATION_HELP: &str = "write a number and a unit: \"250ms\", \"30s\", \"15m\", \"2h\" or \"7d\"";
const SIZE_HELP: &str = "write a number and a unit: \"64KiB\", \"10MiB\" or \"1GiB\"";
