//! Which headers are signed, and their canonical form.
//!
//! Every header of the request is signed except those that something on the way may change, add or take
//! away: a signature over such a header breaks for reasons that nobody sees.

use std::collections::BTreeMap;

use bascule_plugin::{Header, SecretInsert};

use super::Text;

/// Never signed, whoever set them.
const UNSIGNED: [&str; 23] = [
    // Set by signing itself.
    "authorization",
    // Hop by hop (RFC 9110, 7.6.1).
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    // Rewritten by proxies and by load balancers of AWS.
    "accept-encoding",
    "forwarded",
    "max-forwards",
    "user-agent",
    "via",
    "x-amzn-trace-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    // Trace context: every proxy that takes part in tracing writes its own.
    "baggage",
    "traceparent",
    "tracestate",
];

/// The headers of a signature, by lower-case name.
#[derive(Debug, Default)]
pub(crate) struct SignedHeaders {
    lines: BTreeMap<String, Line>,
}

#[derive(Debug)]
enum Line {
    /// Trimmed, blanks folded, values of one name joined by commas.
    Plain(Vec<u8>),
    Secret(SecretInsert),
}

impl SignedHeaders {
    /// The headers of a request that are signed, with `host` as the connection has it.
    pub(crate) fn new(headers: &[Header], authority: &str) -> Self {
        let mut signed = Self::default();
        for header in headers {
            let name = header.name.to_ascii_lowercase();
            if UNSIGNED.contains(&name.as_str()) || name == "host" {
                continue;
            }
            match signed.lines.get_mut(&name) {
                Some(Line::Plain(values)) => {
                    values.push(b',');
                    fold_blanks(&header.value, values);
                }
                _ => signed.set(&name, &header.value),
            }
        }
        signed.set("host", authority.as_bytes());
        signed
    }

    /// Sets a header that signing adds; it replaces the request's own.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        let mut folded = Vec::with_capacity(value.len());
        fold_blanks(value, &mut folded);
        self.lines.insert(name.to_owned(), Line::Plain(folded));
    }

    /// Sets a header whose value the host puts in.
    pub(crate) fn set_secret(&mut self, name: &str, insert: SecretInsert) {
        self.lines.insert(name.to_owned(), Line::Secret(insert));
    }

    /// Takes a header out: it is replaced by one that is not signed.
    pub(crate) fn remove(&mut self, name: &str) {
        self.lines.remove(name);
    }

    /// The names, sorted, with semicolons between them.
    pub(crate) fn names(&self) -> String {
        self.lines.keys().map(String::as_str).collect::<Vec<_>>().join(";")
    }

    /// Appends one line per header.
    pub(crate) fn write(&self, text: &mut Text) {
        for (name, line) in &self.lines {
            text.push(name.as_bytes());
            text.push(b":");
            match line {
                Line::Plain(value) => text.push(value),
                Line::Secret(insert) => text.push_secret(insert),
            }
            text.push(b"\n");
        }
    }
}

/// Appends a value without blanks around it, and with one space for each run of blanks inside.
fn fold_blanks(value: &[u8], out: &mut Vec<u8>) {
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use bascule_plugin::{FieldValue, secret};

    use super::*;

    fn canonical(signed: &SignedHeaders) -> String {
        let mut text = Text::default();
        signed.write(&mut text);
        super::super::describe(&text.into_parts())
    }

    #[test]
    fn lines_of_one_name_are_joined_in_order_and_folded() {
        let headers =
            [Header::new("My-B", "  b  2 "), Header::new("a", "1"), Header::new("my-b", "\"x   y\"")];
        let signed = SignedHeaders::new(&headers, "example.com:8080");
        assert_eq!(canonical(&signed), "a:1\nhost:example.com:8080\nmy-b:b 2,\"x y\"\n");
        assert_eq!(signed.names(), "a;host;my-b");
    }

    #[test]
    fn what_a_proxy_may_change_is_not_signed() {
        let mut headers: Vec<Header> = UNSIGNED.iter().map(|name| Header::new(name, "x")).collect();
        headers.push(Header::new("Host", "someone-else"));
        assert_eq!(canonical(&SignedHeaders::new(&headers, "h")), "host:h\n");
    }

    #[test]
    fn headers_of_the_signature_replace_the_requests() {
        let headers = [Header::new("x-amz-date", "old"), Header::new("x-amz-security-token", "old")];
        let mut signed = SignedHeaders::new(&headers, "h");
        signed.set("x-amz-date", b"new");
        signed.set_secret("x-amz-security-token", secret("session_token"));
        assert_eq!(canonical(&signed), "host:h\nx-amz-date:new\nx-amz-security-token:{session_token}\n");
        let mut text = Text::default();
        signed.write(&mut text);
        assert!(matches!(text.into_parts().get(1), Some(FieldValue::Secret(_))));
    }
}
