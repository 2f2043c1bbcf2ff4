//! What is sent to the server: a record, compressed where that pays, with a proof of where it comes from.
//!
//! ```text
//! version  flags  purges heard of   proof (HMAC-SHA-256)    record, deflated or as it is
//!    1       1           8                   32
//! ```
//!
//! The proof is of all the rest and of the key that it is stored under, so that nothing can be moved to another key. The
//! decision: it is checked before anything is decompressed, and what is decompressed is bounded.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use bascule_cache::Key;
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use std::io::{Read, Write};

const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const DEFLATED: u8 = 1;
/// Keeps the proofs apart from any other use of the key.
const DOMAIN: &[u8] = b"bascule-cache-shared-1";
const PROOF: usize = 32;
/// Records below this size are sent as they are.
const DEFLATE_MIN: usize = 1024;

/// What proves that a gateway of this group wrote something.
pub(crate) struct Seal(hmac::Key);

/// Octets that are not what a gateway of this group stored under the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry was not stored by a gateway of this group")]
pub(crate) struct Broken;

impl Seal {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, secret))
    }

    /// A record as it is sent; `heard` is the number of the last purge that its gateway had heard of.
    pub(crate) fn close(&self, key: &Key, heard: u64, record: &[u8]) -> Vec<u8> {
        let deflated = Some(record).filter(|record| record.len() >= DEFLATE_MIN).and_then(deflate);
        let (flags, payload) = match &deflated {
            Some(deflated) if deflated.len() < record.len() => (DEFLATED, &deflated[..]),
            _ => (PLAIN, record),
        };
        let proof = self.proof(key, flags, heard, payload);
        let mut sealed = Vec::with_capacity(2 + 8 + PROOF + payload.len());
        sealed.extend_from_slice(&[VERSION, flags]);
        sealed.extend_from_slice(&heard.to_be_bytes());
        sealed.extend_from_slice(proof.as_ref());
        sealed.extend_from_slice(payload);
        sealed
    }

    /// The record, and the number that it was stored with. One that is longer than `max` octets is refused.
    pub(crate) fn open(&self, key: &Key, sealed: &[u8], max: usize) -> Result<(u64, Vec<u8>), Broken> {
        let ([VERSION, flags], rest) = sealed.split_first_chunk::<2>().ok_or(Broken)? else {
            return Err(Broken);
        };
        let (heard, rest) = rest.split_first_chunk::<8>().ok_or(Broken)?;
        let (proof, payload) = rest.split_first_chunk::<PROOF>().ok_or(Broken)?;
        let heard = u64::from_be_bytes(*heard);
        // In constant time.
        hmac::verify(&self.0, &covered(key, *flags, heard, payload), proof).map_err(|_| Broken)?;
        match *flags {
            PLAIN if payload.len() <= max => Ok((heard, payload.to_vec())),
            DEFLATED => inflate(payload, max).map(|record| (heard, record)),
            _ => Err(Broken),
        }
    }

    fn proof(&self, key: &Key, flags: u8, heard: u64, payload: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0, &covered(key, flags, heard, payload))
    }
}

/// All but the last part have a fixed length, so there is one way to read it.
fn covered(key: &Key, flags: u8, heard: u64, payload: &[u8]) -> Vec<u8> {
    [DOMAIN, key.as_bytes(), &[VERSION, flags], &heard.to_be_bytes(), payload].concat()
}

fn deflate(record: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(record).ok()?;
    encoder.finish().ok()
}

fn inflate(payload: &[u8], max: usize) -> Result<Vec<u8>, Broken> {
    let mut record = Vec::new();
    let read = DeflateDecoder::new(payload).take(max as u64 + 1).read_to_end(&mut record);
    if read.is_err() || record.len() > max {
        return Err(Broken);
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bascule_cache::KeyBuilder;
    use proptest::prelude::*;

    const MAX: usize = 1 << 20;

    fn key(name: &str) -> Key {
        KeyBuilder::new("i", "o").field("n", name.as_bytes()).finish()
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_opened(record in prop::collection::vec(0_u8..4, 0..4096), heard in any::<u64>()) {
            let seal = Seal::new(b"secret");
            let sealed = seal.close(&key("a"), heard, &record);
            prop_assert_eq!(seal.open(&key("a"), &sealed, MAX), Ok((heard, record)));
        }

        #[test]
        fn what_was_changed_moved_or_sealed_by_others_is_not(
            record in prop::collection::vec(0_u8..4, 0..4096),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..=255,
        ) {
            let seal = Seal::new(b"secret");
            let sealed = seal.close(&key("a"), 7, &record);
            prop_assert_eq!(seal.open(&key("b"), &sealed, MAX), Err(Broken));
            prop_assert_eq!(Seal::new(b"other").open(&key("a"), &sealed, MAX), Err(Broken));
            let at = at.index(sealed.len());
            prop_assert_eq!(seal.open(&key("a"), &sealed[..at], MAX), Err(Broken));
            let mut changed = sealed;
            changed[at] ^= flip;
            prop_assert_eq!(seal.open(&key("a"), &changed, MAX), Err(Broken));
        }
    }

    #[test]
    fn what_is_large_is_compressed_and_no_more_of_it_is_read_than_may_be() {
        let seal = Seal::new(b"secret");
        let record = vec![b'x'; 100_000];
        let sealed = seal.close(&key("a"), 7, &record);
        assert!(sealed.len() < 2000, "{}", sealed.len());
        assert_eq!(seal.open(&key("a"), &sealed, 100_000), Ok((7, record)));
        assert_eq!(seal.open(&key("a"), &sealed, 99_999), Err(Broken));
    }
}
