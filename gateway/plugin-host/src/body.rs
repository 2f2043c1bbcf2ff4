//! Message bodies that stay in host memory while plugins look at them through a handle.
//!
//! Clones share one body and its digests, so a body is hashed once per algorithm however many
//! attempts sign it. A body that cannot be sent twice has a size and nothing else. Whether a plugin
//! may read a body is decided where it asks (`hostcalls/body.rs`), not here.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::bindings::bascule::plugin::types::Hash;
use crate::crypto::hash;

/// A body of a request or response; cheap to clone.
#[derive(Clone)]
pub struct HostBody(Arc<Inner>);

struct Inner {
    content: Content,
    /// One place per [`Hash`], filled on first use.
    digests: [OnceLock<Vec<u8>>; Hash::ALL.len()],
    provenance: Provenance,
}

enum Content {
    Held(Bytes),
    OneShot { size: Option<u64> },
}

/// Who put the octets together, which decides who may read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// The gateway: a caller's or provider's body.
    Host,
    /// The plugin, from octets that it had or asked for by a side request: it may read them.
    Plugin,
    /// The host for a plugin, with secrets in it: no plugin may read it.
    Sealed,
}

impl HostBody {
    /// A body held in memory: replayable, readable, hashable.
    #[must_use]
    pub fn bytes(data: impl Into<Bytes>) -> Self {
        Self::new(Content::Held(data.into()), Provenance::Host)
    }

    /// A stream that can be sent once; plugins see its size (in octets, when known) and no more.
    #[must_use]
    pub fn one_shot(size: Option<u64>) -> Self {
        Self::new(Content::OneShot { size }, Provenance::Host)
    }

    pub(crate) fn made(data: impl Into<Bytes>, provenance: Provenance) -> Self {
        Self::new(Content::Held(data.into()), provenance)
    }

    fn new(content: Content, provenance: Provenance) -> Self {
        Self(Arc::new(Inner { content, digests: Default::default(), provenance }))
    }

    /// Length in octets, when known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match &self.0.content {
            Content::Held(data) => Some(data.len() as u64),
            Content::OneShot { size } => *size,
        }
    }

    /// Whether the body can be sent, read and hashed any number of times.
    #[must_use]
    pub fn replayable(&self) -> bool {
        matches!(self.0.content, Content::Held(_))
    }

    /// The octets; `None` for a one-shot body.
    #[must_use]
    pub fn octets(&self) -> Option<&Bytes> {
        match &self.0.content {
            Content::Held(data) => Some(data),
            Content::OneShot { .. } => None,
        }
    }

    pub(crate) fn provenance(&self) -> Provenance {
        self.0.provenance
    }

    /// The digest, computed on first use; `None` for a one-shot body.
    pub(crate) fn digest(&self, algorithm: Hash) -> Option<&[u8]> {
        let data = self.octets()?;
        let place = self.0.digests.get(algorithm as usize)?;
        Some(place.get_or_init(|| hash::digest(algorithm, data)))
    }
}

impl fmt::Debug for HostBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBody")
            .field("size", &self.size())
            .field("replayable", &self.replayable())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_their_digests() {
        let body = HostBody::bytes("abc");
        let clone = body.clone();
        let digest = body.digest(Hash::Sha256).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&digest[..4]), "ba7816bf");
        assert!(std::ptr::eq(digest, clone.digest(Hash::Sha256).unwrap()));
    }

    #[test]
    fn a_one_shot_body_has_a_size_and_nothing_else() {
        let body = HostBody::one_shot(Some(7));
        assert_eq!((body.size(), body.replayable()), (Some(7), false));
        assert!(body.octets().is_none() && body.digest(Hash::Md5).is_none());
    }
}
