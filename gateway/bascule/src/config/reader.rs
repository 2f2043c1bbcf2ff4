//! A typed walk over a parsed file: every wrong value becomes one problem, and the walk goes on.
//!
//! A method that cannot give its value has said why and returns `None`; the caller goes on with any
//! stand-in, because a configuration with problems is never used. Ranges, choices and what may stand
//! where come from [`super::keys`].

mod field;
mod json;

pub(crate) use field::Field;

use super::{
    context::Context,
    keys::{Kind, Table},
    suggest::did_you_mean,
};
use std::{cell::RefCell, ops::Range};
use toml::de::{DeTable, DeValue};

/// A table of the file, read key by key.
pub(crate) struct Reader<'c, 'i> {
    /// The file.
    pub(crate) ctx: &'c Context<'c>,
    /// Where the table stands.
    pub(crate) span: Range<usize>,
    /// Dotted path; empty at the top.
    pub(crate) path: String,
    table: &'c DeTable<'i>,
    keys: &'static Table,
    asked: RefCell<Vec<&'static str>>,
}

impl<'c, 'i> Reader<'c, 'i> {
    /// The whole file.
    pub(crate) fn top(ctx: &'c Context<'c>, table: &'c DeTable<'i>) -> Self {
        Self::new(ctx, table, 0..0, String::new(), ctx.top)
    }

    fn new(
        ctx: &'c Context<'c>,
        table: &'c DeTable<'i>,
        span: Range<usize>,
        path: String,
        keys: &'static Table,
    ) -> Self {
        Self { ctx, span, path, table, keys, asked: RefCell::default() }
    }

    /// Dotted path of a key of this table.
    pub(crate) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The value of a key, if it is there.
    pub(crate) fn field(&self, name: &'static str) -> Option<Field<'c, 'i>> {
        let known = self.keys.get(name);
        debug_assert!(known.is_some_and(|key| key.later.is_none()), "{name} of {}", self.keys.name);
        self.asked.borrow_mut().push(name);
        let (key, value) = self.table.get_key_value(name)?;
        let field = Field::new(self.ctx, value, key.span(), self.key(name), &known?.kind);
        self.ctx.place(&field.path, &field.key_span);
        Some(field)
    }

    /// The same for a key that must be there.
    pub(crate) fn required(&self, name: &'static str, help: &str) -> Option<Field<'c, 'i>> {
        let field = self.field(name);
        if field.is_none() {
            self.ctx.missing(&self.key(name), name, &self.span, help);
        }
        field
    }

    /// Whether a key is there, whatever its value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Notes a problem of a key of this table: at the key if it is there, else at the table.
    pub(crate) fn problem(&self, name: &str, message: impl Into<String>, help: impl Into<String>) {
        self.ctx.problem(&self.key(name), &self.span_of(name), message, help);
    }

    /// Notes a doubt, at the same place.
    pub(crate) fn warn(&self, name: &str, message: impl Into<String>, help: impl Into<String>) {
        self.ctx.warn(&self.key(name), &self.span_of(name), message, help);
    }

    /// Where a key stands; the table when it does not.
    pub(crate) fn span_of(&self, name: &str) -> Range<usize> {
        self.table.get_key_value(name).map_or_else(|| self.span.clone(), |(key, _)| key.span())
    }

    /// Refuses every key that was not asked for.
    pub(crate) fn finish(self) {
        // What the vocabulary names and nobody reads would be accepted and ignored.
        debug_assert!(
            self.keys.names().all(|name| self.asked.borrow().contains(&name)),
            "unread keys of {}",
            self.keys.name
        );
        self.finish_for("here");
    }

    /// The same where `why` decides which keys apply, e.g. "to auth type `bearer`".
    pub(crate) fn finish_for(self, why: &str) {
        for (name, key_span, value) in in_file_order(self.table) {
            if self.asked.borrow().contains(&name) {
                continue;
            }
            let key = self.key(name);
            match self.keys.get(name) {
                Some(known) => match known.later {
                    Some(advice) => self.ctx.problem(&key, &key_span, not_in_this_version(name), advice),
                    None => self.ctx.problem(
                        &key,
                        &key_span,
                        format!("`{name}` does not apply {why}"),
                        "remove it".to_owned(),
                    ),
                },
                None => {
                    let help = self.advice(name, matches!(value, DeValue::Table(_) | DeValue::Array(_)));
                    self.ctx.problem(&key, &key_span, format!("unknown key `{name}`"), help);
                }
            }
        }
    }

    /// What an unknown key may have been meant to be.
    fn advice(&self, name: &str, is_table: bool) -> String {
        let nested = !self.path.is_empty();
        if nested && is_table && self.ctx.top.get(name).is_some_and(|key| key.later.is_none()) {
            return format!("`{name}` belongs at the top level: write it as [{name}]");
        }
        if nested && let Some(advice) = self.ctx.belongs_on_top(name) {
            return advice;
        }
        did_you_mean(name, self.keys.names())
            .or_else(|| self.deeper(name))
            .unwrap_or_else(|| format!("known here: {}", self.keys.names().collect::<Vec<_>>().join(", ")))
    }

    /// The table below this one that knows the key.
    fn deeper(&self, name: &str) -> Option<String> {
        let holders: Vec<String> = self
            .keys
            .keys
            .iter()
            .filter_map(|key| match key.kind {
                Kind::Table(table) => table.get(name).map(|_| format!("[{}]", self.key(key.name))),
                Kind::Map(Kind::Table(table)) => {
                    table.get(name).map(|_| format!("[{}.NAME]", self.key(key.name)))
                }
                _ => None,
            })
            .collect();
        if holders.is_empty() { None } else { Some(format!("it belongs in {}", holders.join(" or "))) }
    }
}

/// "`x` is not in this version".
pub(crate) fn not_in_this_version(what: &str) -> String {
    format!("`{what}` is not in this version")
}

/// The entries of a table as they stand in the file (the parser sorts them by name).
pub(crate) fn in_file_order<'c, 'i>(
    table: &'c DeTable<'i>,
) -> impl Iterator<Item = (&'c str, Range<usize>, &'c DeValue<'i>)> {
    let mut entries: Vec<_> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value.get_ref())).collect();
    entries.sort_by_key(|(_, span, _)| span.start);
    entries.into_iter()
}
