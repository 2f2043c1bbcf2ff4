//! Blanks secrets that stand in a configuration file as they are, before a line of it is shown.
//!
//! It reads the text, not the parsed document, because it must also work for a file that does not
//! parse. It knows just enough of TOML: comments, strings, keys before `=`, `[tables]`. Octets are
//! replaced one for one, so that every span stays where it was. References (`${VAR}`) stay readable.

/// Keys whose values are secrets, and parts of header names that say so.
const SECRET_KEYS: [&str; 4] = ["key", "token", "password", "client_secret"];
const SECRET_PARTS: [&str; 7] =
    ["authorization", "cookie", "secret", "token", "password", "api-key", "api_key"];

/// Whether a key's value is a secret by the key's name alone.
pub(crate) fn is_secret_key(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SECRET_KEYS.contains(&lower.as_str()) || SECRET_PARTS.iter().any(|part| lower.contains(part))
}

/// The text with literal secrets replaced by `*`, octet for octet.
pub(super) fn mask(text: &str) -> String {
    let mut scan = Scan { out: String::with_capacity(text.len()), rest: text, ..Scan::default() };
    while scan.step() {}
    scan.out
}

/// An open bracket of a value.
#[derive(Clone, Copy, Default)]
struct Nest {
    /// Whether the items of a list are secret.
    secret: bool,
    /// Whether everything in it is, at any depth: `credentials = { … }`.
    deep: bool,
    /// `[` or `{`.
    list: bool,
}

/// Where the scan stands.
#[derive(Default)]
struct Scan<'a> {
    out: String,
    rest: &'a str,
    /// The last key read, as written; its value comes after `=`.
    word: String,
    /// Whether the value that follows is secret, and whether everything in it is.
    secret: bool,
    deep: bool,
    /// Whether `[… credentials]` is the table that the lines belong to.
    secret_table: bool,
    nested: Vec<Nest>,
    /// Whether `=` was passed, so that `[` opens a list and not a table.
    in_value: bool,
}

impl<'a> Scan<'a> {
    /// Takes one token; false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        match first {
            '#' => self.copy(self.rest.find('\n').unwrap_or(self.rest.len())),
            '"' | '\'' => self.string(first),
            '=' => {
                self.judge();
                self.copy(1);
            }
            '\n' => {
                if self.nested.is_empty() {
                    (self.secret, self.deep, self.in_value) = (false, false, false);
                    self.word.clear();
                }
                self.copy(1);
            }
            '[' if !self.in_value && self.nested.is_empty() => self.header(),
            '{' | '[' => {
                let list = first == '[';
                self.nested.push(Nest { secret: self.secret, deep: self.deep, list });
                // In a table a key comes first.
                self.secret &= list;
                self.word.clear();
                self.copy(1);
            }
            '}' | ']' => {
                self.nested.pop();
                self.next_item();
                self.copy(1);
            }
            ',' => {
                self.next_item();
                self.copy(1);
            }
            _ => self.bare(),
        }
        true
    }

    /// What the key before `=` says of the value after it.
    fn judge(&mut self) {
        let mut segments = self.word.split('.').map(|segment| segment.trim().trim_matches(['"', '\'']));
        let last = segments.clone().next_back().unwrap_or_default();
        let outer = self.secret_table || self.nested.last().is_some_and(|nest| nest.deep);
        self.deep = outer || segments.any(|segment| segment == "credentials");
        self.secret = self.deep || is_secret_key(last);
        self.in_value = true;
        self.word.clear();
    }

    fn next_item(&mut self) {
        let nest = self.nested.last().copied().unwrap_or_default();
        self.secret = nest.list && nest.secret;
        self.deep = nest.deep;
        self.word.clear();
    }

    /// `[table]`: up to the end of the line.
    fn header(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let name = self.rest.get(..end).unwrap_or_default();
        self.secret_table = name.split(['[', ']', '.']).any(|segment| segment.trim() == "credentials");
        self.copy(end);
    }

    /// A key, a number, a word: up to the next character that means something.
    fn bare(&mut self) {
        let stop = |c: char| matches!(c, '#' | '"' | '\'' | '=' | '\n' | '[' | ']' | '{' | '}' | ',');
        let end = self.rest.find(stop).unwrap_or(self.rest.len());
        let piece = self.rest.get(..end).unwrap_or_default();
        if self.secret && !piece.trim().is_empty() {
            blank(&mut self.out, piece);
            self.rest = self.rest.get(end..).unwrap_or_default();
        } else {
            self.word.push_str(piece);
            self.copy(end);
        }
    }

    /// A string: a value, or a quoted key.
    fn string(&mut self, quote: char) {
        let triple: String = [quote; 3].iter().collect();
        let long = self.rest.starts_with(&triple);
        let opening = if long { 3 } else { 1 };
        self.copy(opening);
        let end = end_of_string(self.rest, quote, long);
        let piece = self.rest.get(..end).unwrap_or_default();
        if self.secret {
            blank(&mut self.out, piece);
        } else {
            self.word.push_str(piece);
            blank_user_info(&mut self.out, piece);
        }
        self.rest = self.rest.get(end..).unwrap_or_default();
        let closing = if long { self.rest.starts_with(&triple) } else { self.rest.starts_with(quote) };
        if closing {
            self.copy(opening);
        }
    }

    fn copy(&mut self, octets: usize) {
        let (piece, rest) = self.rest.split_at_checked(octets).unwrap_or((self.rest, ""));
        self.out.push_str(piece);
        self.rest = rest;
    }
}

/// Octets up to the closing quote; to the end of the line (or of the text) when there is none.
fn end_of_string(text: &str, quote: char, long: bool) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote == '"' {
            escaped = true;
        } else if long {
            let closing: String = [quote; 3].iter().collect();
            if text.get(at..).is_some_and(|rest| rest.starts_with(&closing)) {
                return at;
            }
        } else if c == quote || c == '\n' {
            return at;
        }
    }
    text.len()
}

/// Appends stars for everything but line ends and references.
fn blank(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        stars(out, rest.get(..at).unwrap_or_default());
        rest = rest.get(at..).unwrap_or_default();
        // Of `${VAR:-default}` the default is as secret as any other literal.
        let close = rest.find('}').unwrap_or(rest.len());
        let name_end = rest.find(":-").map_or(close, |default| (default + 2).min(close));
        out.push_str(rest.get(..name_end).unwrap_or_default());
        stars(out, rest.get(name_end..close).unwrap_or_default());
        let after = (close + 1).min(rest.len());
        out.push_str(rest.get(close..after).unwrap_or_default());
        rest = rest.get(after..).unwrap_or_default();
    }
    stars(out, rest);
}

fn stars(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_whitespace() {
            out.push(c);
        } else {
            out.extend(std::iter::repeat_n('*', c.len_utf8()));
        }
    }
}

/// Appends a text whose `scheme://user:password@` part, if any, is blanked.
fn blank_user_info(out: &mut String, text: &str) {
    let parts = text.split_once("://").and_then(|(scheme, rest)| {
        let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let at = rest.get(..authority)?.rfind('@')?;
        Some((scheme, rest.get(..at)?, rest.get(at..)?))
    });
    match parts {
        Some((scheme, user_info, rest)) => {
            out.push_str(scheme);
            out.push_str("://");
            blank(out, user_info);
            out.push_str(rest);
        }
        None => out.push_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_of_secret_keys_are_blanked_and_others_are_not() {
        for (text, masked) in [
            ("token = \"abc\" # why", "token = \"***\" # why"),
            ("name = \"abc\"\nkey='a b'", "name = \"abc\"\nkey='* *'"),
            ("a = { key = \"abc\", name = \"x\" }", "a = { key = \"***\", name = \"x\" }"),
            (
                "auth.api_keys = [{ name = \"n\", key = \"k\" }]",
                "auth.api_keys = [{ name = \"n\", key = \"*\" }]",
            ),
            (
                "credentials = { a = \"b\", c = \"d\" }\ne = \"f\"",
                "credentials = { a = \"*\", c = \"*\" }\ne = \"f\"",
            ),
            (
                "[plugins.credentials]\na = \"b\"\n[x]\na = \"b\"",
                "[plugins.credentials]\na = \"*\"\n[x]\na = \"b\"",
            ),
            ("credentials.id = \"b\"", "credentials.id = \"*\""),
            ("token = \"${A}\"", "token = \"${A}\""),
            ("token = \"x${A:-pw}\"", "token = \"*${A:-**}\""),
            ("headers = { Authorization = \"Bearer x\" }", "headers = { Authorization = \"****** *\" }"),
            ("base_url = \"https://u:p@h/x@y\"", "base_url = \"https://***@h/x@y\""),
            ("password = 1234", "password = ****"),
            ("token = \"unclosed\nname = \"x\"", "token = \"********\nname = \"x\""),
            ("\"token\" = \"\"\"a\nb\"\"\"", "\"token\" = \"\"\"*\n*\"\"\""),
            ("token = \"a\\\"b\"", "token = \"****\""),
        ] {
            assert_eq!(mask(text), masked, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_octet_stays_where_it_is(text in "(token|key|a|=|\"|'|\\$\\{|\\}|\\{|\\[|\\]|\n|#|,|ä| |://|@|x){0,40}") {
            let masked = mask(&text);
            prop_assert_eq!(masked.len(), text.len());
            let lines = |text: &str| text.char_indices().filter(|(_, c)| *c == '\n').map(|(at, _)| at).collect::<Vec<_>>();
            prop_assert_eq!(lines(&masked), lines(&text));
        }
    }
}
