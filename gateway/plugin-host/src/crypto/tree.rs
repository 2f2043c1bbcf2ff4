//! Symmetric keys and the keys derived from them, kept between calls.
//!
//! A signer derives the same keys for every call of a day; keeping them, with their HMAC already keyed,
//! is what makes credential-blind signing cheaper than signing in the guest. The guest chooses what is
//! derived, so the tree is bounded: when it is full it is emptied, and the next calls fill it anew.
//! One tree belongs to one loaded plugin, hence to one version of its secrets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;
use parking_lot::RwLock;
use zeroize::Zeroizing;

use super::asymmetric::SigningKey;
use super::encoding::decode;
use super::hash::hmac_algorithm;
use crate::bindings::bascule::plugin::crypto::{CryptoError, Encoding};
use crate::bindings::bascule::plugin::types::Hash;

/// Derived keys and roots that a tree keeps: some 0.5 KiB each. SigV4 needs four a day and region.
const NODES_MAX: usize = 512;

/// Longest derivation input that is worth keeping; longer ones are derived afresh each time.
const LABEL_BYTES_MAX: usize = 128;

/// Longest prefix of a key.
const PREFIX_BYTES_MAX: usize = 64;

/// A derivation: hash and input.
type Label = (u8, Box<[u8]>);

/// A key with its keyed HMACs and the keys derived from it.
pub(crate) struct Node {
    octets: Zeroizing<Vec<u8>>,
    /// The keyed HMAC by hash, made on first use: sha256, sha384, sha512, sha1.
    keyed: [OnceLock<hmac::Key>; 4],
    signing: OnceLock<Arc<SigningKey>>,
    children: RwLock<HashMap<Label, Arc<Node>>>,
}

impl Node {
    fn new(octets: Zeroizing<Vec<u8>>) -> Arc<Self> {
        Arc::new(Self {
            octets,
            keyed: Default::default(),
            signing: OnceLock::new(),
            children: RwLock::default(),
        })
    }

    fn keyed(&self, algorithm: Hash) -> Result<&hmac::Key, CryptoError> {
        let hmac = hmac_algorithm(algorithm).ok_or(CryptoError::Unsupported)?;
        let place = self.keyed.get(algorithm as usize).ok_or(CryptoError::Unsupported)?;
        Ok(place.get_or_init(|| hmac::Key::new(hmac, &self.octets)))
    }

    /// The HMAC of the two parts in a row.
    pub(crate) fn mac(&self, algorithm: Hash, lead: &[u8], tail: &[u8]) -> Result<hmac::Tag, CryptoError> {
        let mut context = hmac::Context::with_key(self.keyed(algorithm)?);
        context.update(lead);
        context.update(tail);
        Ok(context.sign())
    }

    /// The key whose octets are the HMAC of `data`, from the tree when it is there.
    pub(crate) fn child(
        &self,
        tree: &KeyTree,
        algorithm: Hash,
        data: &[u8],
    ) -> Result<Arc<Self>, CryptoError> {
        let keep = data.len() <= LABEL_BYTES_MAX;
        let label: Label = (algorithm as u8, Box::from(if keep { data } else { &[] }));
        if keep && let Some(child) = self.children.read().get(&label) {
            return Ok(Arc::clone(child));
        }
        let tag = self.mac(algorithm, data, &[])?;
        let child = Self::new(Zeroizing::new(tag.as_ref().to_vec()));
        if keep && tree.admit() {
            self.children.write().insert(label, Arc::clone(&child));
        }
        Ok(child)
    }

    /// The same octets taken as a private key, parsed once per algorithm.
    pub(crate) fn signing_key(&self) -> &SigningKey {
        self.signing.get_or_init(|| Arc::new(SigningKey::new(self.octets.clone())))
    }
}

/// The roots: one for each secret, encoding and prefix that the plugin has opened.
#[derive(Default)]
pub(crate) struct KeyTree {
    roots: RwLock<HashMap<RootName, Root>>,
    nodes: AtomicUsize,
}

#[derive(PartialEq, Eq, Hash)]
struct RootName {
    secret: Box<str>,
    encoding: u8,
    prefix: Box<[u8]>,
}

#[derive(Clone)]
pub(crate) enum Root {
    Symmetric(Arc<Node>),
    Asymmetric(Arc<SigningKey>),
}

impl KeyTree {
    /// The key that `stored` encodes, with `prefix` in front of the decoded octets.
    ///
    /// # Errors
    /// [`CryptoError::InvalidKey`] when the text does not decode or the prefix is too long.
    pub(crate) fn open(
        &self,
        secret: &str,
        stored: &[u8],
        encoding: Encoding,
        prefix: &[u8],
    ) -> Result<Root, CryptoError> {
        if prefix.len() > PREFIX_BYTES_MAX {
            return Err(CryptoError::InvalidKey);
        }
        let name = RootName { secret: secret.into(), encoding: encoding as u8, prefix: prefix.into() };
        if let Some(root) = self.roots.read().get(&name) {
            return Ok(root.clone());
        }
        let root = match (encoding, prefix) {
            (Encoding::Pem, []) => Root::Asymmetric(Arc::new(SigningKey::new(decode(encoding, stored)?))),
            (Encoding::Pem, _) => return Err(CryptoError::InvalidKey),
            _ => {
                let decoded = decode(encoding, stored)?;
                let mut octets = Zeroizing::new(Vec::with_capacity(prefix.len() + decoded.len()));
                octets.extend_from_slice(prefix);
                octets.extend_from_slice(&decoded);
                Root::Symmetric(Node::new(octets))
            }
        };
        if self.admit() {
            self.roots.write().insert(name, root.clone());
        }
        Ok(root)
    }

    /// Counts one more key in, or empties the tree when it is full and says no.
    fn admit(&self) -> bool {
        if self.nodes.fetch_add(1, Ordering::Relaxed) < NODES_MAX {
            return true;
        }
        self.roots.write().clear();
        self.nodes.store(0, Ordering::Relaxed);
        false
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        fn below(node: &Node) -> usize {
            1 + node.children.read().values().map(|child| below(child)).sum::<usize>()
        }
        let count = |root: &Root| match root {
            Root::Symmetric(node) => below(node),
            Root::Asymmetric(_) => 1,
        };
        self.roots.read().values().map(count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(tree: &KeyTree, prefix: &[u8]) -> Arc<Node> {
        match tree.open("key", b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Encoding::Raw, prefix) {
            Ok(Root::Symmetric(node)) => node,
            _ => panic!("a raw secret is a symmetric key"),
        }
    }

    /// The example of the AWS documentation: 2012-02-15, us-east-1, iam.
    #[test]
    fn sigv4_derivation_gives_the_documented_key() {
        let tree = KeyTree::default();
        let steps = [&b"20120215"[..], b"us-east-1", b"iam", b"aws4_request"];
        let derive = || {
            let root = open(&tree, b"AWS4");
            steps.iter().fold(root, |node, step| node.child(&tree, Hash::Sha256, step).unwrap())
        };
        let expected = "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d";
        assert_eq!(data_encoding::HEXLOWER.encode(&derive().octets), expected);
        assert!(Arc::ptr_eq(&derive(), &derive()), "the second chain comes from the tree");
        assert_eq!(tree.len(), 5);
    }

    #[test]
    fn a_guest_cannot_grow_the_tree_beyond_its_bound() {
        let tree = KeyTree::default();
        for number in 0..5 * NODES_MAX as u64 {
            let root = open(&tree, &[(number % 3) as u8]);
            let child = root.child(&tree, Hash::Sha256, &number.to_be_bytes()).unwrap();
            child.child(&tree, Hash::Sha256, b"x").unwrap();
            assert!(tree.len() <= NODES_MAX);
        }
        let long = vec![0; LABEL_BYTES_MAX + 1];
        let before = tree.len();
        open(&tree, &[0]).child(&tree, Hash::Sha256, &long).unwrap();
        assert!(tree.len() <= before + 1);
    }

    #[test]
    fn md5_and_crc32c_are_no_hmacs() {
        let root = open(&KeyTree::default(), b"");
        assert!(matches!(root.mac(Hash::Md5, b"", b""), Err(CryptoError::Unsupported)));
        assert!(matches!(root.mac(Hash::Crc32c, b"", b""), Err(CryptoError::Unsupported)));
    }
}
