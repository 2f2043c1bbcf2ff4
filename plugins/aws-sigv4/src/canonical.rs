//! The canonical request: the text whose hash is signed.
//!
//! Some of it the plugin must hash and may not read, the access key id of a presigned query and the session
//! token. So the text is a list of parts, plain octets and holes that the host fills while it hashes.

use bascule_plugin::{FieldValue, Header, RequestHead, SecretInsert};

pub(crate) mod headers;
pub(crate) mod path;
pub(crate) mod query;

use crate::settings::Settings;
use headers::SignedHeaders;
use query::Pair;

/// A text with holes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    parts: Vec<FieldValue>,
    tail: Vec<u8>,
}

impl Text {
    /// Appends octets.
    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.tail.extend_from_slice(octets);
    }

    /// Appends a hole for a secret.
    pub(crate) fn push_secret(&mut self, insert: &SecretInsert) {
        self.flush();
        self.parts.push(FieldValue::Secret(insert.clone()));
    }

    /// The octets at the end, for writers that append in place.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// The parts in order.
    pub(crate) fn into_parts(mut self) -> Vec<FieldValue> {
        self.flush();
        self.parts
    }

    fn flush(&mut self) {
        if !self.tail.is_empty() {
            self.parts.push(FieldValue::Plain(std::mem::take(&mut self.tail)));
        }
    }
}

/// Parts for people: a hole shows the name of its secret.
pub(crate) fn describe(parts: &[FieldValue]) -> String {
    parts.iter().map(describe_part).collect()
}

fn describe_part(part: &FieldValue) -> String {
    match part {
        FieldValue::Plain(octets) => String::from_utf8_lossy(octets).into_owned(),
        FieldValue::Secret(insert) => {
            format!("{}{}{{{}}}{}", insert.lead, insert.prefix, insert.secret, insert.suffix)
        }
    }
}

/// The canonical request of that head.
pub(crate) fn request(
    settings: &Settings,
    head: &RequestHead,
    added_query: &[Pair],
    headers: &SignedHeaders,
    payload_hash: &[u8],
) -> Vec<FieldValue> {
    let mut text = Text::default();
    text.push(head.method.as_bytes());
    text.push(b"\n");
    path::write(settings, &head.path, text.tail());
    text.push(b"\n");
    query::write(head.query.as_deref().unwrap_or_default(), added_query, &mut text);
    text.push(b"\n");
    headers.write(&mut text);
    text.push(b"\n");
    text.push(headers.names().as_bytes());
    text.push(b"\n");
    text.push(payload_hash);
    text.into_parts()
}

/// The value of a header that must be there once, without blanks around it.
pub(crate) fn single<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    let line = headers.iter().find(|line| line.name.eq_ignore_ascii_case(name))?;
    Some(line.value.trim_ascii()).filter(|value| !value.is_empty())
}
