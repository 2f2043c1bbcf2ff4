//! TOML values as JSON: plugin configuration, fixed answers, parameters' defaults.

use super::{Field, in_file_order};
use crate::config::text::TextError;
use serde_json::{Map, Number, Value};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Keys whose values are secrets wherever they stand.
const SECRET_KEYS: [&str; 4] = ["key", "token", "password", "client_secret"];

/// What becomes of strings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strings {
    /// They are values.
    Plain,
    /// They are templates, so that inserted braces are escaped.
    Templates,
}

impl Field<'_, '_> {
    /// The value as JSON, references replaced.
    pub(crate) fn json(&self) -> Option<Value> {
        self.convert(self.value, &self.span, Strings::Plain)
    }

    /// The same for a table.
    pub(crate) fn json_table(&self) -> Option<Map<String, Value>> {
        self.table_of(Strings::Plain)
    }

    /// The same with texts that are templates.
    pub(crate) fn template_table(&self) -> Option<Map<String, Value>> {
        self.table_of(Strings::Templates)
    }

    fn table_of(&self, strings: Strings) -> Option<Map<String, Value>> {
        let DeValue::Table(table) = self.value else {
            self.wrong();
            return None;
        };
        self.convert_table(table, strings)
    }

    fn convert(&self, value: &DeValue<'_>, span: &Range<usize>, strings: Strings) -> Option<Value> {
        match value {
            DeValue::String(written) => self.convert_text(written, span, strings),
            DeValue::Boolean(value) => Some(Value::Bool(*value)),
            DeValue::Datetime(date) => Some(Value::String(date.to_string())),
            DeValue::Integer(number) => {
                let fitting = i64::from_str_radix(number.as_str(), number.radix());
                if fitting.is_err() {
                    self.ctx.problem(&self.path, span, "the number is too large", "write it as a string");
                }
                fitting.ok().map(Value::from)
            }
            DeValue::Float(number) => {
                let finite = number.as_str().parse().ok().and_then(Number::from_f64);
                if finite.is_none() {
                    self.ctx.problem(&self.path, span, "JSON has no such number", "write it as a string");
                }
                finite.map(Value::Number)
            }
            DeValue::Array(items) => {
                let items: Vec<_> =
                    items.iter().map(|item| self.convert(item.get_ref(), &item.span(), strings)).collect();
                items.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
            }
            DeValue::Table(table) => self.convert_table(table, strings).map(Value::Object),
        }
    }

    fn convert_table(&self, table: &DeTable<'_>, strings: Strings) -> Option<Map<String, Value>> {
        let entries: Vec<_> = in_file_order(table)
            .map(|(name, span, value)| {
                let converted = self.convert(value, &span, strings)?;
                if let (true, Some(secret)) = (SECRET_KEYS.contains(&name), converted.as_str()) {
                    self.ctx.secret(secret);
                }
                Some((name.to_owned(), converted))
            })
            .collect();
        entries.into_iter().collect()
    }

    fn convert_text(&self, written: &str, span: &Range<usize>, strings: Strings) -> Option<Value> {
        let text = match self.ctx.text(written) {
            Ok(text) => text,
            Err(error) => {
                self.ctx.problem(&self.path, span, error.to_string(), error.help());
                return None;
            }
        };
        if strings == Strings::Plain {
            return Some(Value::String(text.into_value()));
        }
        // The template is kept as text; parsing it here finds its mistakes while the place is known.
        let checked = text.template().and_then(|_| text.escaped());
        checked
            .map(Value::String)
            .map_err(|error: TextError| self.ctx.problem(&self.path, span, error.to_string(), ""))
            .ok()
    }
}
