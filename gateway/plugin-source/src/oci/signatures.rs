//! Signatures of an artifact, where cosign puts them: an artifact of their own under `sha256-DIGEST.sig`.
//!
//! Each layer is a payload, and an annotation its signature. Every registry can hold them; the newer
//! referrers interface is not asked.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::json;

use super::Registry;
use super::manifest::{Descriptor, IMAGE_MANIFEST, Manifest};
use crate::digest::Digest;
use crate::error::FetchError;
use crate::evidence::{Critical, Identity, Image, PAYLOAD_TYPE, Payload, SIGNATURES_MAX, Signed};

/// The layer type and the annotation that cosign uses.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// Largest payload. Ours have 300 octets.
const PAYLOAD_BYTES_MAX: u64 = 64 << 10;

/// The tag under which signatures of a manifest lie.
pub(super) fn tag(manifest: Digest) -> String {
    format!("sha256-{}.sig", manifest.hex())
}

/// What is signed to vouch for a manifest.
pub(super) fn payload(reference: &str, manifest: Digest) -> Vec<u8> {
    let payload = Payload {
        critical: Critical {
            identity: Identity { reference: reference.to_owned() },
            image: Image { manifest: manifest.to_string() },
            kind: PAYLOAD_TYPE.to_owned(),
        },
        optional: None,
    };
    // Strings alone: there is nothing that could not be written.
    serde_json::to_vec(&payload).unwrap_or_default()
}

/// The configuration that goes with these payloads: cosign wants one of an image.
pub(super) fn config(layers: &[Descriptor]) -> Vec<u8> {
    let digests: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
    let rootfs = json!({ "type": "layers", "diff_ids": digests });
    json!({ "architecture": "", "os": "", "config": {}, "rootfs": rootfs }).to_string().into_bytes()
}

/// A layer that carries a signature.
pub(super) fn layer(payload: &[u8], signature: String) -> Descriptor {
    let annotations = BTreeMap::from([(SIGNATURE.to_owned(), signature)]);
    Descriptor { annotations, ..Descriptor::of(PAYLOAD, payload) }
}

/// A manifest of these layers.
pub(super) fn manifest(config: &[u8], layers: Vec<Descriptor>) -> Manifest {
    Manifest {
        schema_version: 2,
        media_type: Some(IMAGE_MANIFEST.to_owned()),
        config: Descriptor::of("application/vnd.oci.image.config.v1+json", config),
        layers,
        annotations: BTreeMap::new(),
    }
}

impl Registry<'_> {
    /// The layers that carry signatures of a manifest, as many as are looked at.
    pub(super) async fn signature_layers(&mut self, of: Digest) -> Result<Vec<Descriptor>, FetchError> {
        let Some(found) = self.manifest(&tag(of)).await? else { return Ok(Vec::new()) };
        let signatures = found.manifest.layers.into_iter().filter(|layer| layer.media_type == PAYLOAD);
        Ok(signatures.take(SIGNATURES_MAX).collect())
    }

    /// Payloads and signatures of a manifest, none of them checked.
    pub(crate) async fn signatures(&mut self, of: Digest) -> Result<Vec<Signed>, FetchError> {
        let mut signatures = Vec::new();
        for layer in self.signature_layers(of).await? {
            let Some(signature) = layer.annotations.get(SIGNATURE).cloned() else { continue };
            let payload: Bytes = self.blob(&layer, PAYLOAD_BYTES_MAX).await?;
            signatures.push(Signed { payload: BASE64.encode(&payload), signature });
        }
        Ok(signatures)
    }
}
