//! Putting secrets in where a plugin asked for them, and blanking them out where one would be shown.
//!
//! An insert is carried out only after the phase has returned, or into a hash or a sealed body, so that
//! no octet of the secret is ever in guest memory. A name that begins with `token:` means a token of the
//! call and nothing else; every other name means a credential.

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::{REDACTED, SecretBytes, SecretValue, Vault};
use crate::bindings::bascule::plugin::types::{FieldValue, SecretInsert};
use crate::token::{Tokens, scope_of};

/// Secrets shorter than this are not searched for in texts: they would blank out ordinary words.
const REDACT_BYTES_MIN: usize = 6;

/// Parts of one text or body. A guest pays a few octets for an insert that may stand for a whole PEM.
const PARTS_MAX: usize = 64;

/// A secret insert that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InsertError {
    #[error("no secret `{name}` is named in `credentials`")]
    Unknown { name: String },
    #[error("no token for the scope `{scope}` is held for this call")]
    NoToken { scope: String },
    #[error("more than 64 parts")]
    TooManyParts,
}

/// The secrets that one call may have put in.
#[derive(Clone, Copy)]
pub(crate) struct Secrets<'a> {
    pub(crate) vault: &'a Vault,
    pub(crate) tokens: &'a Tokens,
}

impl<'a> Secrets<'a> {
    fn get(self, name: &str) -> Result<&'a SecretBytes, InsertError> {
        match scope_of(name) {
            Some(scope) => {
                self.tokens.get(scope).ok_or_else(|| InsertError::NoToken { scope: scope.to_owned() })
            }
            None => self.vault.get(name).ok_or_else(|| InsertError::Unknown { name: name.to_owned() }),
        }
    }

    /// `lead ++ encode(prefix ++ secret ++ suffix)`; base64 comes before percent-encoding.
    fn render(self, insert: &SecretInsert) -> Result<Zeroizing<Vec<u8>>, InsertError> {
        let secret = self.get(&insert.secret)?.expose();
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
    pub(crate) fn resolve(self, value: FieldValue) -> Result<SecretValue, InsertError> {
        match value {
            FieldValue::Plain(octets) => Ok(SecretValue { bytes: octets.into(), secret: false }),
            FieldValue::Secret(insert) => {
                let bytes = bytes::Bytes::copy_from_slice(&self.render(&insert)?);
                Ok(SecretValue { bytes, secret: true })
            }
        }
    }

    /// The parts one after the other, and whether a secret is among them.
    pub(crate) fn join(self, parts: &[FieldValue]) -> Result<(Zeroizing<Vec<u8>>, bool), InsertError> {
        if parts.len() > PARTS_MAX {
            return Err(InsertError::TooManyParts);
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
    pub(crate) fn redact(self, text: String) -> String {
        let known = self.vault.values().chain(self.tokens.values());
        known.fold(text, |text, secret| match std::str::from_utf8(secret.expose()) {
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

    struct Held(Vault, Tokens);

    impl Held {
        fn new() -> Self {
            let pair = |(name, value): (&str, &str)| (name.to_owned(), SecretBytes::from(value));
            let vault = [("password", "s3cret/€"), ("short", "ab"), ("token:shadowed", "credential")];
            let tokens = [("read write", "eyJhbGciOi")];
            Self(Vault::new(vault.map(pair).into()), tokens.map(pair).into_iter().collect())
        }

        fn secrets(&self) -> Secrets<'_> {
            Secrets { vault: &self.0, tokens: &self.1 }
        }
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
        let held = Held::new();
        let text = |insert| String::from_utf8(held.secrets().render(&insert).unwrap().to_vec()).unwrap();
        assert_eq!(text(insert("password")), "Basic me:s3cret/€!");
        assert_eq!(text(SecretInsert { base64: true, ..insert("short") }), "Basic bWU6YWIh");
        let encoded = SecretInsert { percent_encode: true, ..insert("password") };
        assert_eq!(text(encoded), "Basic me%3As3cret%2F%E2%82%AC%21");
        assert_eq!(text(insert("token:read write")), "Basic me:eyJhbGciOi!");
    }

    #[test]
    fn unknown_secrets_and_tokens_are_told_apart() {
        let held = Held::new();
        let error = |name| held.secrets().render(&insert(name)).unwrap_err().to_string();
        assert_eq!(error("nobody"), "no secret `nobody` is named in `credentials`");
        assert_eq!(error("token:admin"), "no token for the scope `admin` is held for this call");
        assert_eq!(error("token:shadowed"), "no token for the scope `shadowed` is held for this call");
    }

    #[test]
    fn a_text_has_few_parts() {
        let held = Held::new();
        let join = |count| {
            held.secrets().join(&vec![FieldValue::Secret(insert("short")); count]).map(|(_, secret)| secret)
        };
        assert_eq!((join(PARTS_MAX), join(PARTS_MAX + 1)), (Ok(true), Err(InsertError::TooManyParts)));
    }

    #[test]
    fn known_secrets_and_tokens_are_blanked_out_of_texts() {
        let text = "login with s3cret/€ failed for eyJhbGciOi, about".to_owned();
        let redacted = Held::new().secrets().redact(text);
        assert_eq!(redacted, "login with [redacted] failed for [redacted], about");
    }

    #[test]
    fn what_has_a_secret_in_it_says_so() {
        let held = Held::new();
        assert!(held.secrets().resolve(FieldValue::Secret(insert("password"))).unwrap().secret);
        assert!(!held.secrets().resolve(FieldValue::Plain(b"x".to_vec())).unwrap().secret);
    }
}
