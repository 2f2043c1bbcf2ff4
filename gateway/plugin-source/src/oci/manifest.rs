//! Which of a manifest's layers is the plugin.
//!
//! Exactly one layer may be WebAssembly and none may be anything else: what is not understood might be
//! a policy or an attestation that somebody relies on, so it is refused by name and never passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The only kind of manifest that is asked for.
pub(crate) const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What is written: the types of the CNCF's guidance for WebAssembly artifacts.
pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const WASM_LAYER: &str = "application/wasm";

/// What is read besides: the types of tools from before that guidance.
const LEGACY_LAYERS: [&str; 2] =
    ["application/vnd.wasm.content.layer.v1+wasm", "application/vnd.module.wasm.content.layer.v1+wasm"];

/// Configurations that say nothing which a plugin would need: the guidance's, the older tools' and the
/// two that generic tools write.
const CONFIGS: [&str; 5] = [
    WASM_CONFIG,
    "application/vnd.wasm.config.v1+json",
    "application/vnd.module.wasm.config.v1+json",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.oci.image.config.v1+json",
];

/// An image manifest, as much of it as matters here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What names a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A manifest that does not describe one plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not the JSON of an image manifest.
    #[error("not an image manifest")]
    Unreadable(#[source] serde_json::Error),
    /// A schema that there was before OCI, or that there is not yet.
    #[error("schema version {found}, not 2")]
    SchemaVersion {
        /// What it says.
        found: u32,
    },
    /// The configuration is of something else.
    #[error("its configuration is of type `{media_type}`, which is not of a plugin")]
    Config {
        /// The type.
        media_type: String,
    },
    /// No layer of WebAssembly.
    #[error("none of its layers is WebAssembly (layers: {layers})")]
    NoPlugin {
        /// The types of the layers, comma-separated.
        layers: String,
    },
    /// More than the one layer.
    #[error("it has layers beside the plugin that would be ignored: {extra}")]
    Extra {
        /// Type and digest of each, comma-separated.
        extra: String,
    },
}

impl Manifest {
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(raw).map_err(ManifestError::Unreadable)?;
        match manifest.schema_version {
            2 => Ok(manifest),
            found => Err(ManifestError::SchemaVersion { found }),
        }
    }

    /// The layer that is the plugin.
    pub(crate) fn plugin(&self) -> Result<&Descriptor, ManifestError> {
        let (mut plugins, mut others): (Vec<_>, Vec<_>) =
            self.layers.iter().partition(|layer| is_plugin(&layer.media_type));
        if plugins.is_empty() {
            let layers: Vec<&str> = self.layers.iter().map(|layer| layer.media_type.as_str()).collect();
            return Err(ManifestError::NoPlugin { layers: layers.join(", ") });
        }
        if !CONFIGS.contains(&self.config.media_type.as_str()) {
            return Err(ManifestError::Config { media_type: self.config.media_type.clone() });
        }
        let plugin = plugins.remove(0);
        others.extend(plugins);
        if others.is_empty() {
            return Ok(plugin);
        }
        let extra: Vec<String> =
            others.iter().map(|layer| format!("{} {}", layer.media_type, layer.digest)).collect();
        Err(ManifestError::Extra { extra: extra.join(", ") })
    }
}

fn is_plugin(media_type: &str) -> bool {
    media_type == WASM_LAYER || LEGACY_LAYERS.contains(&media_type)
}

impl Descriptor {
    pub(crate) fn of(media_type: &str, octets: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(octets),
            size: octets.len() as u64,
            annotations: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(config: &str, layers: &[&str]) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: None,
            config: Descriptor::of(config, b"{}"),
            layers: layers.iter().map(|layer| Descriptor::of(layer, layer.as_bytes())).collect(),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn one_layer_of_any_known_type_is_the_plugin() {
        for layer in [WASM_LAYER].into_iter().chain(LEGACY_LAYERS) {
            for config in CONFIGS {
                assert_eq!(manifest(config, &[layer]).plugin().unwrap().media_type, layer);
            }
        }
    }

    #[test]
    fn whatever_would_be_ignored_is_named() {
        let error = |config, layers: &[&str]| manifest(config, layers).plugin().unwrap_err().to_string();
        let policy = Digest::of(b"acme/policy");
        let expected = format!("it has layers beside the plugin that would be ignored: acme/policy {policy}");
        assert_eq!(error(WASM_CONFIG, &["acme/policy", WASM_LAYER]), expected);
        assert!(error(WASM_CONFIG, &[WASM_LAYER, WASM_LAYER]).contains("application/wasm sha256:"));
        let expected = "none of its layers is WebAssembly (layers: a/tar, b/tar)";
        assert_eq!(error(WASM_CONFIG, &["a/tar", "b/tar"]), expected);
        assert!(error("a/config", &[WASM_LAYER]).contains("`a/config`"));
    }

    #[test]
    fn other_documents_are_no_manifests() {
        assert!(matches!(Manifest::parse(b"[]"), Err(ManifestError::Unreadable(_))));
        let mut old = manifest(WASM_CONFIG, &[WASM_LAYER]);
        old.schema_version = 1;
        let raw = serde_json::to_vec(&old).unwrap();
        assert!(matches!(Manifest::parse(&raw), Err(ManifestError::SchemaVersion { found: 1 })));
    }
}
