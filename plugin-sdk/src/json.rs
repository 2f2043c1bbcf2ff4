//! Just enough JSON for configuration and parameters: members of an object, scalars, quoting.
//!
//! The host hands out values as JSON text that it wrote itself, so this reads well-formed text in one pass
//! and keeps no tree; on malformed text it finds nothing. A plugin that takes whole documents apart should
//! use a JSON library.

use std::time::Duration;

mod scan;

/// A type that a configuration value or a parameter can have.
pub trait FromJson: Sized {
    /// What the text must be, for messages: `a boolean`.
    const EXPECTED: &'static str;

    /// The value, if the text is of this type.
    fn from_json(text: &str) -> Option<Self>;
}

impl FromJson for String {
    const EXPECTED: &'static str = "a string";

    fn from_json(text: &str) -> Option<Self> {
        string(text)
    }
}

impl FromJson for bool {
    const EXPECTED: &'static str = "a boolean";

    fn from_json(text: &str) -> Option<Self> {
        match text.trim() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }
}

impl FromJson for u64 {
    const EXPECTED: &'static str = "a whole number, zero or more";

    fn from_json(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }
}

impl FromJson for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn from_json(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }
}

impl FromJson for f64 {
    const EXPECTED: &'static str = "a number";

    fn from_json(text: &str) -> Option<Self> {
        let text = text.trim();
        // Rust would also read `inf` and `nan`, which JSON has not.
        let numeric = text.bytes().all(|octet| octet.is_ascii_digit() || b"+-.eE".contains(&octet));
        if numeric { text.parse().ok() } else { None }
    }
}

/// Spans as everywhere in the configuration: `"250ms"`, `"30s"`, `"15m"`, `"2h"`, `"7d"`.
impl FromJson for Duration {
    const EXPECTED: &'static str = "a duration such as \"30s\" (ms, s, m, h, d)";

    fn from_json(text: &str) -> Option<Self> {
        let text = string(text)?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let number: u64 = number.parse().ok()?;
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        Some(Self::from_millis(number.checked_mul(unit_ms)?))
    }
}

/// The text of the member of that name of a JSON object; of the last, if there are several.
///
/// ```
/// use bascule_plugin::json::member;
///
/// assert_eq!(member(r#"{"a": [1, {"b": 2}], "b": true}"#, "b"), Some("true"));
/// ```
#[must_use]
pub fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    for (key, value) in scan::members(object) {
        if string(key)? == name {
            found = Some(value);
        }
    }
    found
}

/// The characters of a JSON string.
#[must_use]
pub fn string(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => out.push(escaped(&mut chars)?),
            c => out.push(c),
        }
    }
    Some(out)
}

/// The character that an escape stands for, the backslash having been taken.
fn escaped(chars: &mut std::str::Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => {
            let unit = hex4(chars)?;
            if !(0xd800..0xdc00).contains(&unit) {
                return char::from_u32(unit);
            }
            // The first half of a pair: the other must follow.
            let (Some('\\'), Some('u')) = (chars.next(), chars.next()) else { return None };
            let low = hex4(chars)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            return char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low);
        }
        c @ ('"' | '\\' | '/') => c,
        _ => return None,
    })
}

fn hex4(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |number, _| Some(number << 4 | chars.next()?.to_digit(16)?))
}

/// The text as a JSON string, with its quotes.
///
/// ```
/// assert_eq!(bascule_plugin::json::quote("a \"b\"\n"), r#""a \"b\"\n""#);
/// ```
#[must_use]
pub fn quote(text: &str) -> String {
    use std::fmt::Write as _;

    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                // Writing into a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
