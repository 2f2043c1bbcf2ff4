//! Publishers' keys: Ed25519 and ECDSA P-256, in PEM as OpenSSL and cosign write them.
//!
//! | what is signed | with Ed25519 | with P-256 |
//! | --- | --- | --- |
//! | a file, beside it in `FILE.sig` | the 32 octets of its sha256 | the file, which the algorithm hashes with sha256 |
//! | an artifact of a registry | cosign's payload, which names the manifest's digest | the same |
//!
//! A key's id is the sha256 of its public half in DER, which `openssl pkey -pubin -outform DER | sha256sum`
//! shows. Encrypted private keys are not read.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey,
};
use data_encoding::BASE64;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use crate::digest::Digest;

/// A key that plugins may be signed with.
#[derive(Clone)]
pub struct PublicKey {
    name: String,
    id: String,
    algorithm: Algorithm,
    key: Arc<ParsedPublicKey>,
}

/// A publisher's private key. Prints as its id.
pub struct SigningKey {
    id: String,
    key: Pair,
}

/// A text that is no usable key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No section of that kind.
    #[error("`{name}` holds no {expected} in PEM")]
    NotPem {
        /// What the key was called.
        name: String,
        /// The section that was looked for.
        expected: &'static str,
    },
    /// Another algorithm or curve, or a key that is broken.
    #[error("`{name}` is neither an Ed25519 nor a P-256 key")]
    Unsupported {
        /// What the key was called.
        name: String,
    },
    /// The private key could not be used.
    #[error("nothing could be signed with the key {id}")]
    Signing {
        /// The key's id.
        id: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Ed25519,
    P256,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl PublicKey {
    /// The first `PUBLIC KEY` of a PEM text. The name is for messages: a file name.
    ///
    /// # Errors
    /// [`KeyError::NotPem`] and [`KeyError::Unsupported`].
    pub fn from_pem(name: impl Into<String>, pem: &[u8]) -> Result<Self, KeyError> {
        let name = name.into();
        let Ok(der) = SubjectPublicKeyInfoDer::from_pem_slice(pem) else {
            return Err(KeyError::NotPem { name, expected: "PUBLIC KEY" });
        };
        let ed25519 = ParsedPublicKey::new(&ED25519, &der).map(|key| (Algorithm::Ed25519, key));
        let p256 = || ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &der).map(|key| (Algorithm::P256, key));
        let Ok((algorithm, key)) = ed25519.or_else(|_| p256()) else {
            return Err(KeyError::Unsupported { name });
        };
        Ok(Self { name, id: Digest::of(&der).to_string(), algorithm, key: Arc::new(key) })
    }

    /// What it was called when it was read.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `sha256:…` of its DER form.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether that is a signature of a message by this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }

    /// Whether that is a signature of a file by this key.
    pub(crate) fn verifies_file(&self, content: &[u8], digest: Digest, signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Ed25519 => self.verifies(digest.as_bytes(), signature),
            Algorithm::P256 => self.verifies(content, signature),
        }
    }
}

impl SigningKey {
    /// The first unencrypted `PRIVATE KEY` (PKCS#8) of a PEM text. The name is for messages.
    ///
    /// # Errors
    /// [`KeyError::NotPem`] and [`KeyError::Unsupported`].
    pub fn from_pem(name: &str, pem: &[u8]) -> Result<Self, KeyError> {
        let unsupported = || KeyError::Unsupported { name: name.to_owned() };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem)
            .map_err(|_| KeyError::NotPem { name: name.to_owned(), expected: "unencrypted PRIVATE KEY" })?;
        let der = der.secret_pkcs8_der();
        let (public, key): (Result<PublicKeyX509Der<'_>, Unspecified>, _) =
            if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
                (pair.public_key().as_der(), Pair::Ed25519(pair))
            } else {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
                let pair = pair.map_err(|_rejected| unsupported())?;
                (pair.public_key().as_der(), Pair::P256(pair))
            };
        let public = public.map_err(|_unspecified| unsupported())?;
        Ok(Self { id: Digest::of(public.as_ref()).to_string(), key })
    }

    /// The id of its public half.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What belongs into `FILE.sig` beside a file: one line of base64.
    ///
    /// # Errors
    /// [`KeyError::Signing`].
    pub fn sign_file(&self, content: &[u8]) -> Result<String, KeyError> {
        match self.key {
            Pair::Ed25519(_) => self.sign(Digest::of(content).as_bytes()),
            Pair::P256(_) => self.sign(content),
        }
        .map(|line| line + "\n")
    }

    /// A signature of a message, in base64.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<String, KeyError> {
        match &self.key {
            Pair::Ed25519(pair) => Ok(BASE64.encode(pair.sign(message).as_ref())),
            Pair::P256(pair) => match pair.sign(&SystemRandom::new(), message) {
                Ok(signature) => Ok(BASE64.encode(signature.as_ref())),
                Err(_unspecified) => Err(KeyError::Signing { id: self.id.clone() }),
            },
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.name, self.id)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

#[cfg(test)]
mod tests;
