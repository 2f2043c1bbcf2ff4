//! What is said to a registry: the OCI distribution specification, as much of it as a plugin needs.
//!
//! Manifests and blobs are read whole under a cap and compared with their digests, whatever the registry
//! says about them. A manifest comes from the registry itself; blobs may be redirected, since large
//! registries keep them elsewhere. Tokens live as long as one [`Registry`], which is one fetch.

pub(crate) mod login;
pub(crate) mod manifest;
pub(crate) mod push;
pub(crate) mod signatures;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, StatusCode};
use url::Url;

use crate::digest::Digest;
use crate::error::FetchError;
use crate::fetcher::Credentials;
use crate::http::{Answer, Ask, Http, Redirects};
use crate::reference::OciReference;
use manifest::{Descriptor, IMAGE_MANIFEST, Manifest};

/// Largest manifest. Ours have under 2 KiB; registries refuse those above 4 MiB.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// A conversation with one registry about one repository.
pub(crate) struct Registry<'a> {
    http: &'a Http,
    reference: &'a OciReference,
    credentials: Option<&'a Credentials>,
    /// `pull` or `pull,push`: what a token is asked for.
    actions: &'static str,
    authorization: Option<HeaderValue>,
}

/// A manifest and its name.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) digest: Digest,
    pub(crate) raw: Bytes,
    pub(crate) manifest: Manifest,
}

impl<'a> Registry<'a> {
    pub(crate) fn new(
        http: &'a Http,
        reference: &'a OciReference,
        credentials: Option<&'a Credentials>,
        actions: &'static str,
    ) -> Self {
        Self { http, reference, credentials, actions, authorization: None }
    }

    fn url(&self, tail: &str) -> Result<Url, FetchError> {
        let url = self.reference.url(tail);
        url.ok_or_else(|| FetchError::Login { registry: self.registry(), reason: "it has no usable name" })
    }

    fn registry(&self) -> String {
        self.reference.registry().to_owned()
    }

    /// Sends a request, logging in when the registry asks for it.
    async fn send(&mut self, mut ask: Ask, redirects: Redirects) -> Result<Answer, FetchError> {
        if let Some(authorization) = &self.authorization {
            ask.headers.insert(AUTHORIZATION, authorization.clone());
        }
        let answer = self.http.follow(ask.clone(), redirects).await?;
        if answer.status != StatusCode::UNAUTHORIZED || self.authorization.is_some() {
            return Ok(answer);
        }
        let authorization = self.log_in(&answer).await?;
        ask.headers.insert(AUTHORIZATION, authorization.clone());
        self.authorization = Some(authorization);
        self.http.follow(ask, redirects).await
    }

    /// The manifest behind a tag or digest; `None` when there is none.
    pub(crate) async fn manifest(&mut self, name: &str) -> Result<Option<Resolved>, FetchError> {
        let mut ask = Ask::get(self.url(&format!("manifests/{name}"))?, MANIFEST_BYTES_MAX);
        ask.headers.insert(ACCEPT, HeaderValue::from_static(IMAGE_MANIFEST));
        let answer = self.send(ask, Redirects::SameOrigin).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = answer.expect(StatusCode::OK)?;
        let found = answer.media_type();
        if found != IMAGE_MANIFEST {
            return Err(FetchError::MediaType { url: answer.url, found, expected: "an image manifest" });
        }
        let digest = Digest::of(&answer.body);
        let said = answer.headers.get("docker-content-digest").map(|said| said.to_str().unwrap_or_default());
        for said in [said, name.contains(':').then_some(name)].into_iter().flatten() {
            let expected = said.parse().map_err(|_| FetchError::Specification {
                url: answer.url.clone(),
                reason: "its digest is no sha256",
            })?;
            if digest != expected {
                return Err(FetchError::Digest { url: answer.url, expected, actual: digest });
            }
        }
        let manifest = Manifest::parse(&answer.body)
            .map_err(|source| FetchError::Manifest { url: answer.url, source })?;
        Ok(Some(Resolved { digest, raw: answer.body, manifest }))
    }

    /// The octets that a descriptor names.
    pub(crate) async fn blob(&mut self, what: &Descriptor, limit: u64) -> Result<Bytes, FetchError> {
        let url = self.url(&format!("blobs/{}", what.digest))?;
        if what.size > limit {
            return Err(FetchError::TooLarge { url: crate::http::shown(&url), limit });
        }
        let answer = self.send(Ask::get(url, what.size), Redirects::Anywhere).await?;
        let answer = answer.expect(StatusCode::OK)?;
        let actual = Digest::of(&answer.body);
        if actual != what.digest {
            return Err(FetchError::Digest { url: answer.url, expected: what.digest, actual });
        }
        Ok(answer.body)
    }
}
