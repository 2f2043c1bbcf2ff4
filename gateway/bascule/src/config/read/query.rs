//! Query entries of an operation.

use super::params::declared_only;
use crate::config::{
    keys::Kind,
    reader::Field,
    settings::{QueryEntry, TextTemplate},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Reads `query = { name = "template" }`.
pub(crate) fn query(field: &Field<'_, '_>, declared: &[String]) -> Vec<QueryEntry> {
    let entries = field.entries().unwrap_or_default();
    entries.into_iter().filter_map(|(name, value)| entry(name, &value, declared)).collect()
}

fn entry(name: String, field: &Field<'_, '_>, declared: &[String]) -> Option<QueryEntry> {
    if name.is_empty() {
        field.problem("a query entry has a name", "write query = { name = \"value\" }");
        return None;
    }
    if !field.is_string() {
        // Numbers and booleans are written without quotes as often as with them.
        let value = field.json().filter(|value| value.is_number() || value.is_boolean());
        if value.is_none() {
            field.as_kind(|kind| matches!(kind, Kind::Text)).wrong();
        }
        return Some(QueryEntry { name, value: TextTemplate::literal(value?.to_string()), secret: false });
    }
    let text = field.text()?;
    for piece in text.looked_up() {
        field.ctx.secret(piece);
        // In a URL it stands encoded.
        field.ctx.secret(&utf8_percent_encode(piece, NON_ALPHANUMERIC).to_string());
    }
    match text.template() {
        Ok(value) => {
            declared_only(field, &value, declared);
            Some(QueryEntry { name, value, secret: text.is_sensitive() })
        }
        Err(error) => {
            field.problem(error.to_string(), "write `{name}` for a parameter, `{{` for a brace");
            None
        }
    }
}
