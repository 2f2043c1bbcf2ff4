//! Asymmetric signatures with keys that stay in the host.
//!
//! Keys are unencrypted PKCS#8, or the older forms of RSA (PKCS#1) and EC (SEC 1), and for Ed25519
//! also the bare seed of 32 octets. They are parsed once per kind, since checking an RSA key costs more
//! than a signature. ECDSA signatures have the fixed form `r ++ s` that JWS and its kin want.

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
};
use zeroize::Zeroizing;

use crate::bindings::bascule::plugin::crypto::{CryptoError, SignatureAlgorithm};

/// Length of a bare Ed25519 seed.
const ED25519_SEED_LEN: usize = 32;

/// A private key in DER, with what has been parsed of it so far.
pub(crate) struct SigningKey {
    der: Zeroizing<Vec<u8>>,
    rsa: OnceLock<Option<RsaKeyPair>>,
    p256: OnceLock<Option<EcdsaKeyPair>>,
    p384: OnceLock<Option<EcdsaKeyPair>>,
    ed25519: OnceLock<Option<Ed25519KeyPair>>,
}

impl SigningKey {
    pub(crate) fn new(der: Zeroizing<Vec<u8>>) -> Self {
        Self {
            der,
            rsa: OnceLock::new(),
            p256: OnceLock::new(),
            p384: OnceLock::new(),
            ed25519: OnceLock::new(),
        }
    }

    /// The signature of `data`, which is hashed here as the algorithm says.
    ///
    /// # Errors
    /// [`CryptoError::InvalidKey`] when the key is none of that algorithm.
    pub(crate) fn sign(&self, algorithm: SignatureAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match algorithm {
            SignatureAlgorithm::RsaPkcs1Sha256 => self.rsa(&RSA_PKCS1_SHA256, data),
            SignatureAlgorithm::RsaPssSha256 => self.rsa(&RSA_PSS_SHA256, data),
            SignatureAlgorithm::EcdsaP256Sha256 => {
                self.ecdsa(&self.p256, &ECDSA_P256_SHA256_FIXED_SIGNING, data)
            }
            SignatureAlgorithm::EcdsaP384Sha384 => {
                self.ecdsa(&self.p384, &ECDSA_P384_SHA384_FIXED_SIGNING, data)
            }
            SignatureAlgorithm::Ed25519 => self.ed25519(data),
        }
    }

    fn rsa(&self, padding: &'static dyn RsaEncoding, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let parse = || RsaKeyPair::from_pkcs8(&self.der).or_else(|_| RsaKeyPair::from_der(&self.der)).ok();
        let pair = self.rsa.get_or_init(parse).as_ref().ok_or(CryptoError::InvalidKey)?;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), data, &mut signature)
            .map_err(|_unspecified| CryptoError::InvalidKey)?;
        Ok(signature)
    }

    fn ecdsa(
        &self,
        place: &OnceLock<Option<EcdsaKeyPair>>,
        algorithm: &'static EcdsaSigningAlgorithm,
        data: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let parse = || EcdsaKeyPair::from_private_key_der(algorithm, &self.der).ok();
        let pair = place.get_or_init(parse).as_ref().ok_or(CryptoError::InvalidKey)?;
        let signature =
            pair.sign(&SystemRandom::new(), data).map_err(|_unspecified| CryptoError::InvalidKey)?;
        Ok(signature.as_ref().to_vec())
    }

    fn ed25519(&self, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let parse = || match self.der.len() {
            ED25519_SEED_LEN => Ed25519KeyPair::from_seed_unchecked(&self.der).ok(),
            _ => Ed25519KeyPair::from_pkcs8(&self.der).ok(),
        };
        let pair = self.ed25519.get_or_init(parse).as_ref().ok_or(CryptoError::InvalidKey)?;
        let signature = pair.try_sign(data).map_err(|_unspecified| CryptoError::InvalidKey)?;
        Ok(signature.as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{self, KeyPair as _, UnparsedPublicKey, VerificationAlgorithm};

    fn check(
        key: &SigningKey,
        algorithm: SignatureAlgorithm,
        public: &[u8],
        verify: &'static dyn VerificationAlgorithm,
    ) {
        let signature = key.sign(algorithm, b"message").unwrap();
        UnparsedPublicKey::new(verify, public).verify(b"message", &signature).unwrap();
    }

    #[test]
    fn signatures_verify_with_the_public_key() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let key = SigningKey::new(Zeroizing::new(der.as_ref().to_vec()));
        let public = pair.public_key().as_ref();
        let pkcs1 = &signature::RSA_PKCS1_2048_8192_SHA256;
        check(&key, SignatureAlgorithm::RsaPkcs1Sha256, public, pkcs1);
        check(&key, SignatureAlgorithm::RsaPssSha256, public, &signature::RSA_PSS_2048_8192_SHA256);

        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = SigningKey::new(Zeroizing::new(pair.to_pkcs8v1().unwrap().as_ref().to_vec()));
        let public = pair.public_key().as_ref();
        check(&key, SignatureAlgorithm::EcdsaP256Sha256, public, &signature::ECDSA_P256_SHA256_FIXED);
        let wrong = key.sign(SignatureAlgorithm::EcdsaP384Sha384, b"message");
        assert!(matches!(wrong, Err(CryptoError::InvalidKey)));

        let pair = Ed25519KeyPair::generate().unwrap();
        let key = SigningKey::new(Zeroizing::new(pair.to_pkcs8().unwrap().as_ref().to_vec()));
        check(&key, SignatureAlgorithm::Ed25519, pair.public_key().as_ref(), &signature::ED25519);
        let seed = SigningKey::new(Zeroizing::new(vec![7; ED25519_SEED_LEN]));
        let public = Ed25519KeyPair::from_seed_unchecked(&[7; ED25519_SEED_LEN]).unwrap();
        check(&seed, SignatureAlgorithm::Ed25519, public.public_key().as_ref(), &signature::ED25519);
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        let key = SigningKey::new(Zeroizing::new(b"not a key".to_vec()));
        for algorithm in [SignatureAlgorithm::RsaPkcs1Sha256, SignatureAlgorithm::Ed25519] {
            assert!(matches!(key.sign(algorithm, b""), Err(CryptoError::InvalidKey)));
        }
    }
}
