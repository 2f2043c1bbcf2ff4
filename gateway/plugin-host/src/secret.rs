//! Secrets of one plugin: kept where plugins cannot read them.
//!
//! Where a plugin asks for one, `insert` puts it in. The one way in which a secret's octets reach a guest
//! is `secrets.reveal` (`hostcalls/secrets.rs`), for those that the operator named in a grant.

pub(crate) mod insert;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::crypto::KeyRule;

/// Text that takes the place of a secret wherever one would be printed.
pub(crate) const REDACTED: &str = "[redacted]";

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

    /// The secret itself, for whoever puts it on the wire.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
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

    fn values(&self) -> impl Iterator<Item = &SecretBytes> {
        self.secrets.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_a_secret() {
        let value = SecretValue { bytes: Bytes::from("s3cret"), secret: true };
        assert_eq!(format!("{value:?} {:?}", SecretBytes::from("x")), "[redacted] [redacted]");
    }
}
