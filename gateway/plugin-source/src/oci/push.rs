//! Publishing a plugin: configuration, one layer, a manifest under a tag, and a signature of it.
//!
//! What is pushed is what [`super::manifest`] reads. Blobs go first and the tag last, so that a push that
//! breaks off leaves nothing that could be pulled. What is there already is not sent again.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;

use super::manifest::{Descriptor, IMAGE_MANIFEST, Manifest, WASM_CONFIG, WASM_LAYER};
use super::{Registry, signatures};
use crate::digest::Digest;
use crate::error::{FetchError, PushError};
use crate::http::{Answer, Ask, Redirects, shown};
use crate::key::SigningKey;

/// Most octets of an answer to an upload, which says nothing that is needed.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What is published.
#[derive(Debug, Clone)]
pub struct Push {
    /// The plugin.
    pub content: Bytes,
    /// When it was made, as RFC 3339 has it: `2026-11-21T18:00:00Z`.
    pub created: String,
    /// What a component exports and imports; `None` for a core module.
    pub component: Option<ComponentSummary>,
    /// Annotations of the manifest, such as `org.opencontainers.image.version`.
    pub annotations: BTreeMap<String, String>,
}

/// What the artifact's configuration says of a component, so that it can be looked at before it is pulled.
#[derive(Debug, Clone, Default)]
pub struct ComponentSummary {
    /// Names of exported interfaces.
    pub exports: Vec<String>,
    /// Names of imported interfaces.
    pub imports: Vec<String>,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest, by which it can be referred to for good.
    pub manifest: Digest,
    /// The plugin's digest, as `sha256` pins it.
    pub content: Digest,
    /// The id of the key that signed, if one did.
    pub signer: Option<String>,
}

impl Push {
    fn config(&self) -> Vec<u8> {
        let digest = Digest::of(&self.content);
        let mut config = json!({
            "created": self.created,
            "architecture": "wasm",
            "os": if self.component.is_some() { "wasip2" } else { "wasip1" },
            "layerDigests": [digest],
        });
        if let Some(component) = &self.component {
            let component = json!({ "exports": component.exports, "imports": component.imports });
            config.as_object_mut().map(|config| config.insert("component".to_owned(), component));
        }
        config.to_string().into_bytes()
    }

    fn manifest(&self, config: &[u8]) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: Some(IMAGE_MANIFEST.to_owned()),
            config: Descriptor::of(WASM_CONFIG, config),
            layers: vec![Descriptor::of(WASM_LAYER, &self.content)],
            annotations: self.annotations.clone(),
        }
    }
}

impl Registry<'_> {
    /// Puts the plugin under a tag and signs its manifest, if there is a key.
    pub(crate) async fn push(
        &mut self,
        tag: &str,
        what: &Push,
        key: Option<&SigningKey>,
    ) -> Result<Pushed, PushError> {
        let config = what.config();
        let content = self.upload(&what.content).await.map_err(self.failed())?;
        self.upload(&Bytes::from(config.clone())).await.map_err(self.failed())?;
        let raw = serde_json::to_vec(&what.manifest(&config)).unwrap_or_default();
        let manifest = Digest::of(&raw);
        // The signature first: whoever pulls as soon as the tag is there finds it.
        if let Some(key) = key {
            self.sign(manifest, key).await?;
        }
        self.put_manifest(tag, raw).await.map_err(self.failed())?;
        Ok(Pushed { manifest, content, signer: key.map(|key| key.id().to_owned()) })
    }

    /// Adds a signature to those that a manifest has.
    async fn sign(&mut self, manifest: Digest, key: &SigningKey) -> Result<(), PushError> {
        let name = format!("{}/{}", self.reference.registry(), self.reference.repository());
        let payload = signatures::payload(&name, manifest);
        let mut layers = self.signature_layers(manifest).await.map_err(self.failed())?;
        layers.push(signatures::layer(&payload, key.sign(&payload)?));
        let config = signatures::config(&layers);
        self.upload(&Bytes::from(payload)).await.map_err(self.failed())?;
        self.upload(&Bytes::from(config.clone())).await.map_err(self.failed())?;
        let raw = serde_json::to_vec(&signatures::manifest(&config, layers)).unwrap_or_default();
        self.put_manifest(&signatures::tag(manifest), raw).await.map_err(self.failed())
    }

    fn failed(&self) -> impl Fn(FetchError) -> PushError + use<> {
        let reference = self.reference.to_string();
        move |source| PushError::Fetch { reference: reference.clone(), source }
    }

    /// Puts a blob, unless it is there.
    async fn upload(&mut self, octets: &Bytes) -> Result<Digest, FetchError> {
        let digest = Digest::of(octets);
        let mut head = Ask::get(self.url(&format!("blobs/{digest}"))?, ANSWER_BYTES_MAX);
        head.method = Method::HEAD;
        if self.send(head, Redirects::Anywhere).await?.status == StatusCode::OK {
            return Ok(digest);
        }
        let start = self.url("blobs/uploads/")?;
        let ask = self.to_send(Method::POST, start.clone(), "application/octet-stream", Bytes::new());
        let answer = self.send(ask, Redirects::SameOrigin).await?.expect(StatusCode::ACCEPTED)?;
        let specification = |reason| FetchError::Specification { url: shown(&start), reason };
        let location = answer.location(&start);
        let mut location = location.ok_or_else(|| specification("it says nowhere to upload to"))?;
        if location.origin() != start.origin() {
            // The upload carries our login, which is for this registry alone.
            return Err(specification("it wants the upload elsewhere"));
        }
        location.query_pairs_mut().append_pair("digest", &digest.to_string());
        let ask = self.to_send(Method::PUT, location, "application/octet-stream", octets.clone());
        self.send(ask, Redirects::SameOrigin).await?.expect(StatusCode::CREATED)?;
        Ok(digest)
    }

    async fn put_manifest(&mut self, tag: &str, raw: Vec<u8>) -> Result<(), FetchError> {
        let url = self.url(&format!("manifests/{tag}"))?;
        let ask = self.to_send(Method::PUT, url, IMAGE_MANIFEST, Bytes::from(raw));
        let _answer: Answer = self.send(ask, Redirects::SameOrigin).await?.expect(StatusCode::CREATED)?;
        Ok(())
    }

    fn to_send(&self, method: Method, url: url::Url, kind: &'static str, body: Bytes) -> Ask {
        let headers: HeaderMap =
            [(CONTENT_TYPE, HeaderValue::from_static(kind)) as (HeaderName, HeaderValue)]
                .into_iter()
                .collect();
        Ask { method, url, headers, body, answer_max: ANSWER_BYTES_MAX }
    }
}
