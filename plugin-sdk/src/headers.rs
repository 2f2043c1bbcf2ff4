//! Reading and writing header lines.
//!
//! The host hands out lower-case names; look-ups compare without regard to case all the same, so that heads
//! that a plugin made itself behave alike. Values are octets: [`HeaderLines::text`] is for those that are text.

use crate::{Header, RequestHead, ResponseHead};

/// Look-ups in a list of header lines.
pub trait HeaderLines {
    /// All lines, in the order of the wire.
    fn lines(&self) -> &[Header];

    /// The first value of that name.
    fn octets(&self, name: &str) -> Option<&[u8]> {
        let line = self.lines().iter().find(|line| line.name.eq_ignore_ascii_case(name))?;
        Some(&line.value)
    }

    /// The first value of that name, without blanks around it; `None` too when it is not UTF-8.
    fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.octets(name)?).ok().map(str::trim)
    }

    /// The first value of that name, when it is a decimal number without sign.
    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// Whether a line of that name is there.
    fn has(&self, name: &str) -> bool {
        self.octets(name).is_some()
    }
}

impl HeaderLines for [Header] {
    fn lines(&self) -> &[Header] {
        self
    }
}

impl HeaderLines for RequestHead {
    fn lines(&self) -> &[Header] {
        &self.headers
    }
}

impl HeaderLines for ResponseHead {
    fn lines(&self) -> &[Header] {
        &self.headers
    }
}

impl Header {
    /// A line; the name is made lower case.
    #[must_use]
    pub fn new(name: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_ascii_lowercase(), value: value.into() }
    }
}

impl RequestHead {
    /// A head without query and headers, for the integration's default endpoint.
    #[must_use]
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self { method: method.into(), endpoint: None, path: path.into(), query: None, headers: Vec::new() }
    }

    /// Replaces every line of that name by one.
    pub fn set_header(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.remove_header(name);
        self.headers.push(Header::new(name, value));
    }

    /// Removes every line of that name.
    pub fn remove_header(&mut self, name: &str) {
        self.headers.retain(|line| !line.name.eq_ignore_ascii_case(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> ResponseHead {
        let headers = vec![
            Header::new("Retry-After", " 7 "),
            Header::new("x-raw", vec![0xff, 0xfe]),
            Header::new("x-two", "first"),
            Header::new("x-two", "second"),
        ];
        ResponseHead { status: 200, headers }
    }

    #[test]
    fn names_match_in_any_case_and_the_first_line_wins() {
        assert_eq!(head().text("RETRY-AFTER"), Some("7"));
        assert_eq!(head().text("x-two"), Some("first"));
        assert_eq!(head().text("absent"), None);
    }

    #[test]
    fn values_that_are_not_text_are_octets_only() {
        assert_eq!(head().text("x-raw"), None);
        assert_eq!(head().octets("x-raw"), Some(&[0xff, 0xfe][..]));
    }

    #[test]
    fn numbers_are_decimal_or_nothing() {
        assert_eq!(head().number("retry-after"), Some(7));
        assert_eq!(head().number("x-two"), None);
    }

    #[test]
    fn setting_replaces_all_lines_of_the_name() {
        let mut head = RequestHead::new("GET", "/");
        head.headers = vec![Header::new("a", "1"), Header::new("b", "2"), Header::new("A", "3")];
        head.set_header("A", "4");
        assert_eq!(head.headers, [Header::new("b", "2"), Header::new("a", "4")]);
        assert!(head.has("b") && !head.has("c"));
    }
}
