//! What a publisher's signature rests on, in a form that can be kept and checked again without a network.
//!
//! Evidence is never believed because it is there: whoever holds it asks for the signer every time, since
//! the configured keys may be others by then.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::key::PublicKey;

/// Signatures looked at of one content: several publishers and their changes of keys, and no more.
pub(crate) const SIGNATURES_MAX: usize = 16;

/// What cosign's payloads call themselves.
pub(crate) const PAYLOAD_TYPE: &str = "cosign container image signature";

/// Signatures that may be of some content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Evidence {
    /// Of the content itself, in base64.
    File(Vec<String>),
    /// Of payloads that name the manifest which names the content.
    Manifest { manifest: Digest, signed: Vec<Signed> },
}

/// A payload and its signature, both in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signed {
    pub(crate) payload: String,
    pub(crate) signature: String,
}

/// "Simple signing", which cosign took over from others.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) critical: Critical,
    pub(crate) optional: Option<serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Critical {
    pub(crate) identity: Identity,
    pub(crate) image: Image,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    #[serde(rename = "docker-reference")]
    pub(crate) reference: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Image {
    #[serde(rename = "docker-manifest-digest")]
    pub(crate) manifest: String,
}

impl Evidence {
    /// The lines of a `FILE.sig`.
    pub(crate) fn of_file(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Self::File(lines.take(SIGNATURES_MAX).map(str::to_owned).collect())
    }

    /// How many signatures there are, valid or not.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::File(signatures) => signatures.len(),
            Self::Manifest { signed, .. } => signed.len(),
        }
    }

    /// The first of the keys that signed. For an artifact the caller has made sure that the manifest
    /// names this content.
    pub(crate) fn signer<'k>(
        &self,
        content: &[u8],
        digest: Digest,
        keys: &'k [PublicKey],
    ) -> Option<&'k PublicKey> {
        keys.iter().find(|key| match self {
            Self::File(signatures) => signatures.iter().any(|signature| {
                let signature = BASE64.decode(signature.as_bytes());
                signature.is_ok_and(|signature| key.verifies_file(content, digest, &signature))
            }),
            Self::Manifest { manifest, signed } => signed.iter().any(|signed| signed.is_of(*manifest, key)),
        })
    }
}

impl Signed {
    fn is_of(&self, manifest: Digest, key: &PublicKey) -> bool {
        let decoded = |text: &str| BASE64.decode(text.as_bytes()).ok();
        let (Some(payload), Some(signature)) = (decoded(&self.payload), decoded(&self.signature)) else {
            return false;
        };
        // The reference in the payload is not compared: a signed artifact may be copied elsewhere.
        key.verifies(&payload, &signature)
            && serde_json::from_slice::<Payload>(&payload).is_ok_and(|payload| {
                payload.critical.kind == PAYLOAD_TYPE
                    && payload.critical.image.manifest == manifest.to_string()
            })
    }
}
