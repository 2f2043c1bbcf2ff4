//! Digests, and the table from the WIT's names to the algorithms behind them.
//!
//! md5 and crc32c are content checksums that some providers still ask for; they are no HMACs here.

use aws_lc_rs::{digest, hmac};
use md5::Digest as _;

use crate::bindings::bascule::plugin::types::Hash;

impl Hash {
    /// All algorithms, in the order of their discriminants.
    pub(crate) const ALL: [Self; 6] =
        [Self::Sha256, Self::Sha384, Self::Sha512, Self::Sha1, Self::Md5, Self::Crc32c];

    /// Whether the digest of a text that holds a secret may be given out. crc32c is linear and gives
    /// up to four octets of its input away; the others of the refused ones are merely old.
    pub(crate) fn hides_its_input(self) -> bool {
        matches!(self, Self::Sha256 | Self::Sha384 | Self::Sha512)
    }
}

/// The digest of `data`; crc32c as four octets, big end first, as object stores put it on the wire.
pub(crate) fn digest(algorithm: Hash, data: &[u8]) -> Vec<u8> {
    let sha = match algorithm {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
        Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Md5 => return md5::Md5::digest(data).to_vec(),
        Hash::Crc32c => return crc32c::crc32c(data).to_be_bytes().to_vec(),
    };
    digest::digest(sha, data).as_ref().to_vec()
}

/// sha256 as an array, for names of files and pins.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, data).as_ref()) {
        *to = *from;
    }
    out
}

/// The HMAC over that hash, where there is one.
pub(crate) fn hmac_algorithm(algorithm: Hash) -> Option<hmac::Algorithm> {
    match algorithm {
        Hash::Sha256 => Some(hmac::HMAC_SHA256),
        Hash::Sha384 => Some(hmac::HMAC_SHA384),
        Hash::Sha512 => Some(hmac::HMAC_SHA512),
        Hash::Sha1 => Some(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        Hash::Md5 | Hash::Crc32c => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        let hex = |algorithm| data_encoding::HEXLOWER.encode(&digest(algorithm, b"123456789"));
        assert_eq!(hex(Hash::Crc32c), "e3069283");
        assert_eq!(hex(Hash::Md5), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(hex(Hash::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(hex(Hash::Sha256), "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
        let sizes = Hash::ALL.map(|algorithm| digest(algorithm, b"").len());
        assert_eq!(sizes, [32, 48, 64, 20, 16, 4]);
    }

    #[test]
    fn the_list_follows_the_discriminants() {
        for (index, algorithm) in Hash::ALL.into_iter().enumerate() {
            assert_eq!(algorithm as usize, index);
        }
    }
}
