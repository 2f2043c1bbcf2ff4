//! The canonical query: every pair decoded, encoded again in one way, and sorted.

use std::borrow::Cow;

use bascule_plugin::SecretInsert;

use super::Text;
use bascule_plugin::encode::{percent_decode, percent_encode};

/// The names that a presigned query has of its own.
pub(crate) const ALGORITHM: &str = "X-Amz-Algorithm";
pub(crate) const CREDENTIAL: &str = "X-Amz-Credential";
pub(crate) const DATE: &str = "X-Amz-Date";
pub(crate) const SIGNED_HEADERS: &str = "X-Amz-SignedHeaders";
pub(crate) const EXPIRES: &str = "X-Amz-Expires";
pub(crate) const SECURITY_TOKEN: &str = "X-Amz-Security-Token";
pub(crate) const SIGNATURE: &str = "X-Amz-Signature";

const RESERVED: [&str; 7] = [ALGORITHM, CREDENTIAL, DATE, SIGNED_HEADERS, EXPIRES, SECURITY_TOKEN, SIGNATURE];

/// What stands after a `=`: encoded text, or a secret that the host encodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(Vec<u8>),
    Secret(SecretInsert),
}

/// A pair that signing adds; the name is encoded already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) name: &'static str,
    pub(crate) value: Value,
}

impl Pair {
    /// A pair of plain text, which this encodes.
    pub(crate) fn new(name: &'static str, value: &str) -> Self {
        Self { name, value: Value::Text(encoded(value.as_bytes())) }
    }

    /// A pair whose value is a secret, which the host encodes.
    pub(crate) fn secret(name: &'static str, insert: SecretInsert) -> Self {
        Self { name, value: Value::Secret(insert.percent_encoded()) }
    }
}

/// The first name of a presigned query that the query has already.
pub(crate) fn reserved_name(query: &str) -> Option<&'static str> {
    split(query).find_map(|(name, _)| {
        let name = percent_decode(name);
        RESERVED.into_iter().find(|reserved| name == reserved.as_bytes())
    })
}

/// Appends the canonical form of a raw query and of the pairs that signing adds to it.
pub(crate) fn write(query: &str, added: &[Pair], text: &mut Text) {
    let mut pairs: Vec<(Vec<u8>, Cow<'_, Value>)> = split(query)
        .map(|(name, value)| {
            let value = Value::Text(encoded(&percent_decode(value)));
            (encoded(&percent_decode(name)), Cow::Owned(value))
        })
        .collect();
    pairs.extend(added.iter().map(|pair| (pair.name.as_bytes().to_vec(), Cow::Borrowed(&pair.value))));
    pairs.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| sort_key(&a.1).cmp(sort_key(&b.1))));
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            text.push(b"&");
        }
        text.push(name);
        text.push(b"=");
        match value.as_ref() {
            Value::Text(octets) => text.push(octets),
            Value::Secret(insert) => text.push_secret(insert),
        }
    }
}

/// What pairs of the same name are sorted by. Names of secrets do not occur twice: see [`reserved_name`].
fn sort_key(value: &Value) -> &[u8] {
    match value {
        Value::Text(octets) => octets,
        Value::Secret(_) => &[],
    }
}

fn split(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn encoded(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    percent_encode(octets, b"", &mut out);
    out
}

#[cfg(test)]
mod tests {
    use bascule_plugin::{FieldValue, secret};

    use super::*;

    fn canonical(query: &str, added: &[Pair]) -> Vec<FieldValue> {
        let mut text = Text::default();
        write(query, added, &mut text);
        text.into_parts()
    }

    fn plain(query: &str) -> String {
        match canonical(query, &[]).as_slice() {
            [FieldValue::Plain(octets)] => String::from_utf8(octets.clone()).unwrap(),
            _ => String::new(),
        }
    }

    #[test]
    fn pairs_are_sorted_by_encoded_name_and_then_by_value() {
        assert_eq!(plain("b=2&a=2&a=1&A=0"), "A=0&a=1&a=2&b=2");
        assert_eq!(plain("Param-3=Value3&Param=Value2"), "Param=Value2&Param-3=Value3");
    }

    #[test]
    fn every_spelling_of_a_character_becomes_one() {
        assert_eq!(plain("a=%7e%2f&b=x y&c=1+1"), "a=~%2F&b=x%20y&c=1%2B1");
    }

    #[test]
    fn names_without_values_get_an_equals_sign_and_empty_pairs_go() {
        assert_eq!(plain("&acl&&b=&"), "acl=&b=");
        assert_eq!(plain(""), "");
        assert_eq!(plain("a=b=c"), "a=b%3Dc");
    }

    #[test]
    fn secrets_are_holes_at_their_sorted_place() {
        let added = [Pair::new(SIGNED_HEADERS, "host;x"), Pair::secret(CREDENTIAL, secret("id"))];
        let expected = vec![
            FieldValue::Plain(b"X-Amz-Credential=".to_vec()),
            FieldValue::Secret(secret("id").percent_encoded()),
            FieldValue::Plain(b"&X-Amz-SignedHeaders=host%3Bx&z=1".to_vec()),
        ];
        assert_eq!(canonical("z=1", &added), expected);
    }

    #[test]
    fn a_query_that_is_presigned_already_is_noticed() {
        assert_eq!(reserved_name("a=1&X-Amz%2DSignature=0"), Some(SIGNATURE));
        assert_eq!(reserved_name("x-amz-signature=0&X-Amz-Meta=1"), None);
    }
}
