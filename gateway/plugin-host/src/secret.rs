//! Secrets of one plugin: kept where plugins cannot read them, put in where they ask.
//!
//! The host renders a secret insert only after the phase has returned, or into a hash, so that no
//! octet of a secret is ever in guest memory. Reading secrets has no code here at all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::bindings::bascule::plugin::types::{FieldValue, SecretInsert};
use crate::crypto::KeyRule;

/// Text that takes the place of a secret wherever one would be printed.
pub(crate) const REDACTED: &str = "[redacted]";

/// Secrets shorter than this are not searched for in texts: they would blank out ordinary words.
const REDACT_BYTES_MIN: usize = 6;

/// Parts of one text or body. A guest pays a few octets for an insert that may stand for a whole PEM.
const PARTS_MAX: usize = 64;

/// A credential's octets, wiped when the last clone goes, with the rule for keys made of it.
#[derive(Clone)]
pub struct SecretBytes {
    octets: Arc<Zeroizing<Vec<u8>>>,
    rule: KeyRule,
}

impl SecretBytes {
    /// A secret under [`KeyRule::Standard`].
    #[must_use]
    pub fn new(octets: impl Into<Vec<u8>>) -> Self {
        Self { octets: Arc::new(Zeroizing::new(octets.into())), rule: KeyRule::default() }
    }

    /// The same secret under another rule for the keys made of it.
    #[must_use]
    pub fn with_rule(self, rule: KeyRule) -> Self {
        Self { rule, ..self }
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    pub(crate) fn rule(&self) -> KeyRule {
        self.rule
    }
}

impl<T: Into<Vec<u8>>> From<T> for SecretBytes {
    fn from(octets: T) -> Self {
        Self::new(octets)
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// Octets for the wire that may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue {
    /// As it goes on the wire.
    pub bytes: Bytes,
    /// Whether a secret was put in: the value must not be logged or shown.
    pub secret: bool,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.secret {
            true => f.write_str(REDACTED),
            false => write!(f, "{:?}", self.bytes),
        }
    }
}

/// A secret insert that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VaultError {
    #[error("no secret `{name}` is named in `credentials`")]
    Unknown { name: String },
    #[error("tokens (`{name}`) are not in this version")]
    TokenSource { name: String },
    #[error("more than 64 parts")]
    TooManyParts,
}

/// The credentials of one plugin by name.
#[derive(Default)]
pub(crate) struct Vault {
    secrets: BTreeMap<String, SecretBytes>,
}

impl Vault {
    pub(crate) fn new(secrets: BTreeMap<String, SecretBytes>) -> Self {
        Self { secrets }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&SecretBytes> {
        self.secrets.get(name)
    }

    /// `lead ++ encode(prefix ++ secret ++ suffix)`; base64 comes before percent-encoding.
    pub(crate) fn render(&self, insert: &SecretInsert) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let name = insert.secret.as_str();
        let secret = match self.get(name) {
            Some(secret) => secret.octets(),
            None if name.starts_with("token:") => {
                return Err(VaultError::TokenSource { name: name.to_owned() });
            }
            None => return Err(VaultError::Unknown { name: name.to_owned() }),
        };
        // Reserved whole, so that no growth leaves a copy of the secret behind.
        let inner_len = insert.prefix.len() + secret.len() + insert.suffix.len();
        let mut inner = Zeroizing::new(Vec::with_capacity(inner_len));
        inner.extend_from_slice(insert.prefix.as_bytes());
        inner.extend_from_slice(secret);
        inner.extend_from_slice(insert.suffix.as_bytes());
        if insert.base64 {
            inner = Zeroizing::new(BASE64.encode(&inner).into_bytes());
        }
        let mut out = Zeroizing::new(Vec::with_capacity(insert.lead.len() + 3 * inner.len()));
        out.extend_from_slice(insert.lead.as_bytes());
        match insert.percent_encode {
            true => percent_encode(&inner, &mut out),
            false => out.extend_from_slice(&inner),
        }
        Ok(out)
    }

    /// The value as it goes on the wire, plain or with its secret put in.
    pub(crate) fn resolve(&self, value: FieldValue) -> Result<SecretValue, VaultError> {
        match value {
            FieldValue::Plain(octets) => Ok(SecretValue { bytes: octets.into(), secret: false }),
            FieldValue::Secret(insert) => {
                let bytes = Bytes::copy_from_slice(&self.render(&insert)?);
                Ok(SecretValue { bytes, secret: true })
            }
        }
    }

    /// The parts one after the other, and whether a secret is among them.
    pub(crate) fn join(&self, parts: &[FieldValue]) -> Result<(Zeroizing<Vec<u8>>, bool), VaultError> {
        if parts.len() > PARTS_MAX {
            return Err(VaultError::TooManyParts);
        }
        let mut rendered = Vec::with_capacity(parts.len());
        let mut secret = false;
        for part in parts {
            rendered.push(match part {
                FieldValue::Plain(octets) => Zeroizing::new(octets.clone()),
                FieldValue::Secret(insert) => {
                    secret = true;
                    self.render(insert)?
                }
            });
        }
        let mut out = Zeroizing::new(Vec::with_capacity(rendered.iter().map(|part| part.len()).sum()));
        rendered.iter().for_each(|part| out.extend_from_slice(part));
        Ok((out, secret))
    }

    /// The text with every known secret of some length blanked out.
    pub(crate) fn redact(&self, text: String) -> String {
        self.secrets.values().fold(text, |text, secret| match std::str::from_utf8(secret.octets()) {
            Ok(known) if known.len() >= REDACT_BYTES_MIN && text.contains(known) => {
                text.replace(known, REDACTED)
            }
            _ => text,
        })
    }
}

/// Appends with everything but RFC 3986's unreserved characters escaped, as signatures demand.
fn percent_encode(octets: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &octet in octets {
        if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') {
            out.push(octet);
        } else {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'%', digit(octet >> 4), digit(octet & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        let secrets = [("password", "s3cret/€"), ("short", "ab")];
        Vault::new(secrets.map(|(name, value)| (name.to_owned(), SecretBytes::from(value))).into())
    }

    fn insert(secret: &str) -> SecretInsert {
        SecretInsert {
            lead: "Basic ".into(),
            prefix: "me:".into(),
            secret: secret.into(),
            suffix: "!".into(),
            base64: false,
            percent_encode: false,
        }
    }

    #[test]
    fn inserts_are_encoded_as_asked_and_the_lead_is_not() {
        let vault = vault();
        let text = |insert| String::from_utf8(vault.render(&insert).unwrap().to_vec()).unwrap();
        assert_eq!(text(insert("password")), "Basic me:s3cret/€!");
        assert_eq!(text(SecretInsert { base64: true, ..insert("short") }), "Basic bWU6YWIh");
        let encoded = SecretInsert { percent_encode: true, ..insert("password") };
        assert_eq!(text(encoded), "Basic me%3As3cret%2F%E2%82%AC%21");
    }

    #[test]
    fn unknown_secrets_and_tokens_are_told_apart() {
        let vault = vault();
        assert!(matches!(vault.render(&insert("nobody")), Err(VaultError::Unknown { .. })));
        assert!(matches!(vault.render(&insert("token:a")), Err(VaultError::TokenSource { .. })));
    }

    #[test]
    fn a_text_has_few_parts() {
        let join = |count| vault().join(&vec![FieldValue::Secret(insert("short")); count]).map(|_| ());
        assert_eq!((join(PARTS_MAX), join(PARTS_MAX + 1)), (Ok(()), Err(VaultError::TooManyParts)));
    }

    #[test]
    fn known_secrets_are_blanked_out_of_texts() {
        let text = vault().redact("login with s3cret/€ failed, about".to_owned());
        assert_eq!(text, "login with [redacted] failed, about");
    }

    #[test]
    fn nothing_prints_a_secret() {
        let value = vault().resolve(FieldValue::Secret(insert("password"))).unwrap();
        assert_eq!(format!("{value:?} {:?}", SecretBytes::from("x")), "[redacted] [redacted]");
        assert!(value.secret);
    }
}
