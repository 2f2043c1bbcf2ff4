//! What may be fetched, with whose login, from which addresses, how much and for how long.
//!
//! The gateway passes its own TLS settings and its own egress rule, so that plugins come through the same
//! gate as everything else. Credentials are by registry and never leave it but to its token server.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use rustls::ClientConfig;
use tokio_rustls::TlsConnector;
use url::Url;
use zeroize::Zeroizing;

use crate::CONTENT_BYTES_CAP;
use crate::error::{FetchError, PushError};
use crate::evidence::Evidence;
use crate::http::{Ask, Http, Redirects};
use crate::key::SigningKey;
use crate::oci::Registry;
use crate::oci::push::{Push, Pushed};
use crate::reference::OciReference;

/// Largest `FILE.sig`.
pub(crate) const SIGNATURE_BYTES_MAX: u64 = 16 << 10;

/// Media types of a plugin behind `https://`: what servers say of a `.wasm`, and what they say of files
/// that they do not know.
const FILE_TYPES: [&str; 2] = ["application/wasm", "application/octet-stream"];

/// Whether an address of a host may be connected to. Asked for every address of every request, token servers
/// and redirects included; loopback is to be allowed for no host but a configured registry on this machine.
pub type Egress = dyn Fn(&str, IpAddr) -> bool + Send + Sync;

/// A user name and its password or access token.
#[derive(Clone)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password or access token.
    pub password: Zeroizing<String>,
}

/// What one fetch may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Octets of a plugin. Default 32 MiB; never above [`CONTENT_BYTES_CAP`]; zero lets nothing through.
    pub content: u64,
    /// Time for a connection, TLS included. Default 10 s.
    pub connect: Duration,
    /// Time for everything that belongs to one source: login, manifest, plugin, signatures. Default 60 s.
    pub total: Duration,
}

/// What a fetcher is made of.
#[derive(Clone)]
pub struct FetcherConfig {
    /// TLS for everything but registries on this machine. What it offers by ALPN is replaced.
    pub tls: Arc<ClientConfig>,
    /// The egress rule.
    pub egress: Arc<Egress>,
    /// Logins by registry, as [`OciReference::registry`] writes it. Others are asked anonymously.
    pub credentials: BTreeMap<String, Credentials>,
    /// What one fetch may use.
    pub limits: FetchLimits,
}

/// Fetches from https servers and OCI registries. Holds no connection between fetches.
pub struct Fetcher {
    http: Http,
    credentials: BTreeMap<String, Credentials>,
    limits: FetchLimits,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self { content: 32 << 20, connect: Duration::from_secs(10), total: Duration::from_secs(60) }
    }
}

impl Fetcher {
    /// A fetcher; nothing is connected to.
    #[must_use]
    pub fn new(config: FetcherConfig) -> Self {
        let mut tls = ClientConfig::clone(&config.tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let limits = FetchLimits { content: config.limits.content.min(CONTENT_BYTES_CAP), ..config.limits };
        Self {
            http: Http {
                tls: TlsConnector::from(Arc::new(tls)),
                egress: config.egress,
                connect: limits.connect,
            },
            credentials: config.credentials,
            limits,
        }
    }

    /// Publishes a plugin under a tag, signed if there is a key. A signature that is there stays.
    ///
    /// Cancel-safe as far as it can be: the tag is written last.
    ///
    /// # Errors
    /// [`PushError::Reference`] when there is no tag or a digest, [`PushError::Key`] when the key cannot
    /// sign, [`PushError::Fetch`] otherwise.
    pub async fn push(
        &self,
        to: &OciReference,
        what: &Push,
        key: Option<&SigningKey>,
    ) -> Result<Pushed, PushError> {
        let (Some(tag), None) = (to.tag(), to.digest()) else {
            return Err(PushError::Reference { reference: to.to_string() });
        };
        let pushed = async { Ok(self.registry(to, "pull,push").push(tag, what, key).await) };
        let too_late = |source| PushError::Fetch { reference: to.to_string(), source };
        self.within(pushed).await.map_err(too_late)?
    }

    /// Octets that a plugin may have.
    pub(crate) fn content_max(&self) -> u64 {
        self.limits.content
    }

    /// A result within the time of one source.
    pub(crate) async fn within<R>(
        &self,
        fetch: impl Future<Output = Result<R, FetchError>>,
    ) -> Result<R, FetchError> {
        let limit = self.limits.total;
        tokio::time::timeout(limit, fetch).await.unwrap_or(Err(FetchError::Timeout { limit }))
    }

    pub(crate) fn registry<'a>(&'a self, reference: &'a OciReference, actions: &'static str) -> Registry<'a> {
        let credentials = self.credentials.get(reference.registry());
        Registry::new(&self.http, reference, credentials, actions)
    }

    /// A plugin behind `https://`.
    pub(crate) async fn file(&self, url: &Url) -> Result<Bytes, FetchError> {
        let ask = Ask::get(url.clone(), self.limits.content);
        let answer = self.http.follow(ask, Redirects::SameOrigin).await?.expect(StatusCode::OK)?;
        let found = answer.media_type();
        if !FILE_TYPES.contains(&found.as_str()) {
            return Err(FetchError::MediaType { url: answer.url, found, expected: "application/wasm" });
        }
        Ok(answer.body)
    }

    /// The signatures beside it: `PATH.sig`, and none when there is no such file.
    pub(crate) async fn file_signatures(&self, url: &Url) -> Result<Evidence, FetchError> {
        let mut beside = url.clone();
        beside.set_path(&format!("{}.sig", url.path()));
        let ask = Ask::get(beside, SIGNATURE_BYTES_MAX);
        let answer = self.http.follow(ask, Redirects::SameOrigin).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Evidence::of_file(""));
        }
        let answer = answer.expect(StatusCode::OK)?;
        Ok(Evidence::of_file(&String::from_utf8_lossy(&answer.body)))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, [redacted])", self.username)
    }
}
