//! Cryptography that the host does for plugins, so that keys never enter a sandbox.
//!
//! A [`Key`] is a handle on octets in host memory. Symmetric keys form a tree of derived keys that is
//! kept between calls ([`tree`]); asymmetric keys are parsed once ([`asymmetric`]); digests are plain
//! functions ([`hash`]). Which use is allowed at which depth is decided here, in [`KeyRule`].

use std::sync::Arc;

pub(crate) mod asymmetric;
pub(crate) mod encoding;
pub(crate) mod hash;
pub(crate) mod tree;

use crate::bindings::bascule::plugin::crypto::{CryptoError, SignatureAlgorithm};
use crate::bindings::bascule::plugin::types::Hash;
use crate::body::HostBody;
use asymmetric::SigningKey;
use tree::{KeyTree, Node};

/// Longest chain of derived keys: what SigV4 and its imitators need.
pub(crate) const DERIVE_DEPTH_MAX: u8 = 4;

/// At which depth of a chain of derived keys an HMAC may leave the host.
///
/// An HMAC does not reveal its key, so one at depth 0 is a signing oracle and no more. But the HMAC at
/// depth *n* **is** the derived key of depth *n* + 1: a plugin that got one half way down a chain could
/// go on by itself and sign for as long as that derived key is good. So a chain ends in one place only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyRule {
    /// At depth 0 for keys opened without a prefix (webhook HMACs), and at depth 4 (SigV4).
    #[default]
    Standard,
    /// At this depth only, 0 to 4, for schemes with chains of another length.
    Only(u8),
}

impl KeyRule {
    /// Whether a MAC may leave the host at that depth.
    #[must_use]
    pub fn allows_mac(self, depth: u8, prefixed: bool) -> bool {
        match self {
            Self::Standard => depth == DERIVE_DEPTH_MAX || (depth == 0 && !prefixed),
            Self::Only(only) => depth == only,
        }
    }
}

/// What a guest holds by a handle: a symmetric key at some depth, or an asymmetric one.
#[expect(unreachable_pub, reason = "the generated bindings re-export it under their own path")]
pub struct Key {
    pub(crate) kind: KeyKind,
    pub(crate) rule: KeyRule,
}

pub(crate) enum KeyKind {
    Symmetric { node: Arc<Node>, depth: u8, prefixed: bool },
    Asymmetric(Arc<SigningKey>),
}

impl Key {
    /// The key one step down the chain.
    pub(crate) fn derive(&self, tree: &KeyTree, algorithm: Hash, data: &[u8]) -> Result<Self, CryptoError> {
        let KeyKind::Symmetric { node, depth, prefixed } = &self.kind else {
            return Err(CryptoError::InvalidKey);
        };
        if *depth >= DERIVE_DEPTH_MAX {
            return Err(CryptoError::Denied);
        }
        let node = node.child(tree, algorithm, data)?;
        let kind = KeyKind::Symmetric { node, depth: depth + 1, prefixed: *prefixed };
        Ok(Self { kind, rule: self.rule })
    }

    /// The key down the chain by all these steps; there must be one.
    pub(crate) fn derive_path(
        &self,
        tree: &KeyTree,
        algorithm: Hash,
        steps: &[Vec<u8>],
    ) -> Result<Self, CryptoError> {
        let (first, rest) = steps.split_first().ok_or(CryptoError::Unsupported)?;
        let first = self.derive(tree, algorithm, first)?;
        rest.iter().try_fold(first, |key, step| key.derive(tree, algorithm, step))
    }

    /// The HMAC of `lead`, and of the body after it, if this depth may give one out.
    pub(crate) fn mac(
        &self,
        algorithm: Hash,
        lead: &[u8],
        body: Option<&HostBody>,
    ) -> Result<Vec<u8>, CryptoError> {
        let KeyKind::Symmetric { node, depth, prefixed } = &self.kind else {
            return Err(CryptoError::InvalidKey);
        };
        if !self.rule.allows_mac(*depth, *prefixed) {
            return Err(CryptoError::Denied);
        }
        let body = match body {
            Some(body) => Some(body.octets().ok_or(CryptoError::Unsupported)?),
            None => None,
        };
        let tail = body.map_or(&[][..], |octets| octets);
        Ok(node.mac(algorithm, lead, tail)?.as_ref().to_vec())
    }

    /// An asymmetric signature; only keys that were not derived have one.
    pub(crate) fn sign(&self, algorithm: SignatureAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match &self.kind {
            KeyKind::Asymmetric(key) => key.sign(algorithm, data),
            KeyKind::Symmetric { node, depth: 0, prefixed: false } => {
                node.signing_key().sign(algorithm, data)
            }
            KeyKind::Symmetric { .. } => Err(CryptoError::Denied),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_rule_serves_sigv4_and_webhooks_and_nothing_between() {
        let allowed = |prefixed| (0..=4).filter(move |&depth| KeyRule::Standard.allows_mac(depth, prefixed));
        assert_eq!(allowed(true).collect::<Vec<_>>(), [4]);
        assert_eq!(allowed(false).collect::<Vec<_>>(), [0, 4]);
        assert_eq!((0..=4).filter(|&d| KeyRule::Only(3).allows_mac(d, true)).collect::<Vec<_>>(), [3]);
    }
}
