//! The tables of docs/configuration.md, made of the vocabulary that the reader uses.

use super::keys::{GATEWAY, INTEGRATION, Key, Kind, Table, quoted};
use std::fmt::Write;

/// Every table of both kinds of file in Markdown: key, value, default, meaning; then what a later
/// version will read and this one refuses. docs/configuration.md holds exactly this text.
pub fn reference_markdown() -> String {
    let mut tables = Vec::new();
    collect(&GATEWAY, &mut tables);
    collect(&INTEGRATION, &mut tables);
    tables.into_iter().fold(String::new(), |mut out, table| {
        describe(table, &mut out);
        out
    })
}

/// The table, then those below it, each once.
fn collect(table: &'static Table, tables: &mut Vec<&'static Table>) {
    if tables.iter().any(|known| known.name == table.name) {
        return;
    }
    tables.push(table);
    table.keys.iter().for_each(|key| below(&key.kind, tables));
}

fn below(kind: &'static Kind, tables: &mut Vec<&'static Table>) {
    match kind {
        Kind::Table(table) => collect(table, tables),
        Kind::Map(kind) | Kind::List(kind) => below(kind, tables),
        Kind::AnyOf(kinds) => kinds.iter().for_each(|kind| below(kind, tables)),
        _ => {}
    }
}

fn describe(table: &Table, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "### `{}`\n\n{}\n\n", table.title, table.about);
    out.push_str("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in table.keys.iter().filter(|key| key.later.is_none()) {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            key.name,
            cell(&value(&key.kind)),
            default(key),
            cell(key.about)
        );
    }
    let later: Vec<String> = table
        .keys
        .iter()
        .filter_map(|key| key.later.map(|advice| format!("`{}` ({advice})", key.name)))
        .collect();
    if !later.is_empty() {
        let _ = write!(out, "\nNot in this version: {}.\n", later.join(", "));
    }
    out.push('\n');
}

fn default(key: &Key) -> String {
    match (key.required, key.default) {
        (true, _) => "required".to_owned(),
        (false, Some(default)) => format!("`{default}`"),
        (false, None) => "–".to_owned(),
    }
}

fn value(kind: &Kind) -> String {
    match kind {
        Kind::Text | Kind::Pattern(_) => "text".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::DurationOrZero => "duration, may be `0s`".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Integer { min, max } if *max >= u64::from(u32::MAX) => format!("whole number from {min}"),
        Kind::Integer { min, max } => format!("{min} to {max}"),
        Kind::Number { max, .. } if *max == f64::MAX => "number".to_owned(),
        Kind::Number { min, max } => format!("number, {min} to {max}"),
        Kind::Boolean => "`true`, `false`".to_owned(),
        Kind::Choice { now, later } => choice(now, later),
        Kind::Json => "any value".to_owned(),
        Kind::JsonTable => "table".to_owned(),
        Kind::Table(table) => format!("table `{}`", table.title),
        Kind::Map(item) => format!("table, each entry: {}", value(item)),
        Kind::List(item) => format!("list, each item: {}", value(item)),
        Kind::AnyOf(kinds) => {
            let words: Vec<String> = kinds.iter().map(value).filter(|word| !word.is_empty()).collect();
            words.join("; or ")
        }
    }
}

fn choice(now: &[&str], later: &[&str]) -> String {
    match (now.is_empty(), later.is_empty()) {
        (true, _) => String::new(),
        (false, true) => quoted(now),
        (false, false) => format!("{} (not in this version: {})", quoted(now), quoted(later)),
    }
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
