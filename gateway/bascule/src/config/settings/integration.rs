//! Settings of one integration: a file `integrations/NAME.toml`.

use super::{CachePolicy, ErrorMapping, Idempotency, Operation, RetrySettings, TextTemplate, VaryBy};
use crate::model::{BreakerName, Cause, IntegrationName, OperationName, Secret};
use bascule_plugin_host::{Grants, Limits, Role};
use bascule_plugin_source::{PublicKey, Reference};
use bascule_resilience::{BreakerConfig, BulkheadConfig, HedgeConfig, Priority, RateLimiterConfig};
use http::HeaderName;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A third-party API.
#[derive(Clone, Debug)]
pub struct Integration {
    /// Its name: the file's.
    pub name: IntegrationName,
    /// For people.
    pub description: String,
    /// Where calls go unless a plugin picks a named endpoint; none where all operations are fan-outs. What a component
    /// answers goes nowhere: it is `http://NAME.internal` then.
    pub base_url: Option<BaseUrl>,
    /// `[endpoints.NAME]`.
    pub endpoints: BTreeMap<String, BaseUrl>,
    /// Headers of every request, `/proxy` included.
    pub headers: Vec<HeaderSetting>,
    /// Time limits of calls through `/proxy`, and the base for operations.
    pub timeouts: Timeouts,
    /// The ladder of calls through `/proxy`, and the base for operations.
    pub fallback: Arc<[Rung]>,
    /// Which endings start the ladder.
    pub fallback_on: FallbackCauses,
    /// Caller's headers that `/v1` passes on (and that join the cache key).
    pub forward_headers: Vec<HeaderName>,
    /// Whether `/proxy/{name}/` exists.
    pub proxy: bool,
    /// Whether private upstream addresses are allowed.
    pub allow_private: bool,
    /// How requests are authenticated upstream.
    pub auth: Auth,
    /// Retry rule of safe calls through `/proxy`.
    pub retry: RetrySettings,
    /// The integration's breaker; the declared settings when it is a shared one.
    pub breaker: BreakerConfig,
    /// The breaker of `bascule.toml` that it uses; none: one of its own.
    pub shared_breaker: Option<BreakerName>,
    /// Whether its own breaker's openings are announced to other gateways, and theirs heeded; default no.
    pub breaker_announced: bool,
    /// The integration's own budget; none: unlimited until the provider says otherwise.
    pub rate_limit: Option<RateLimit>,
    /// Calls at a time.
    pub concurrency: BulkheadConfig,
    /// Priority of calls through `/proxy`, and the base for operations.
    pub priority: Priority,
    /// Hedging of calls through `/proxy` with safe methods, and the base for operations.
    pub hedge: Option<HedgeConfig>,
    /// Plugins in file order; the component of `type = "wasm"`, which has no others.
    pub plugins: Vec<PluginSettings>,
    /// Idempotency keys of calls through `/proxy`.
    pub idempotency: Option<Idempotency>,
    /// `errors."404" = …`, by upstream status.
    pub errors: Arc<BTreeMap<u16, ErrorMapping>>,
    /// How answers to GET and HEAD through `/proxy` are cached; none: not at all.
    pub proxy_cache: Option<CachePolicy>,
    /// What tells them apart beside the request.
    pub proxy_vary_by: VaryBy,
    /// Operations by name.
    pub operations: BTreeMap<OperationName, Arc<Operation>>,
    /// The file it came from.
    pub file: PathBuf,
    /// SHA-256 over everything that may change an answer: part of every cache key, and how a reload
    /// tells what changed. Includes secrets, so that new credentials never see old answers.
    pub digest: [u8; 32],
}

impl Integration {
    /// Whether a component answers its requests.
    pub fn has_component(&self) -> bool {
        self.plugins.iter().any(|plugin| matches!(plugin.role, Role::Backend { .. }))
    }

    /// `type`, as the configuration has it.
    pub fn kind(&self) -> &'static str {
        if self.has_component() { "wasm" } else { "rest" }
    }

    /// Whether any of its plugins is fetched over a network.
    pub fn has_remote_plugins(&self) -> bool {
        self.plugins.iter().any(|plugin| matches!(plugin.source, PluginSource::Remote(_)))
    }
}

/// Where a setting stands, for problems found after loading (plugins) and for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// Octets of the offending text in the file.
    pub span: std::ops::Range<usize>,
    /// Dotted key path, e.g. `plugins[0].source`.
    pub key: String,
}

/// The base of an upstream: scheme, authority and a path prefix that no request leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Whether to use TLS.
    pub https: bool,
    /// Host name or address (an IPv6 address without brackets).
    pub host: String,
    /// Port, the scheme's default filled in.
    pub port: u16,
    /// What goes into `Host`: without the port when it is the scheme's default.
    pub authority: String,
    /// Path prefix without a trailing slash; empty for none.
    pub path: String,
    /// Whether the host was written as a loopback address or `localhost`: then loopback is allowed.
    pub loopback: bool,
}

/// A header that is sent with every request.
#[derive(Clone, Debug)]
pub struct HeaderSetting {
    /// Its name.
    pub name: HeaderName,
    /// Its value; on operations it may hold placeholders.
    pub value: TextTemplate,
    /// Whether the value came from the environment or a file and must not be shown.
    pub secret: bool,
}

/// Time limits of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// All attempts together, to the response head where the body is passed through; default 30 s.
    pub whole: Duration,
    /// One attempt; default none.
    pub attempt: Option<Duration>,
    /// Resolving, connecting and the TLS handshake; default 10 s.
    pub connect: Duration,
    /// Longest silence while reading; default 30 s.
    pub read: Duration,
    /// Longest stall while writing; default 30 s.
    pub write: Duration,
    /// The whole of a body that is passed through; default none.
    pub body: Option<Duration>,
}

/// Upstream authentication.
#[derive(Clone, Debug)]
pub enum Auth {
    /// None.
    None,
    /// `Authorization: Bearer …`.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// A key in a header or in the query.
    ApiKey {
        /// Where it goes.
        place: ApiKeyPlace,
        /// The key.
        key: Secret,
    },
    /// `Authorization: Basic …`.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// OAuth 2 client credentials (RFC 6749 §4.4).
    OAuth2(Box<OAuth2>),
    /// A plugin's `signer`, or the tokens of its `token-source`, or both.
    Plugin {
        /// Scopes that the token source is asked for, one token each.
        scopes: Vec<String>,
    },
}

/// Where an API key goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeyPlace {
    /// A header; default `X-API-Key`.
    Header(HeaderName),
    /// A query parameter. It is redacted wherever a URL is shown.
    Query(String),
}

/// OAuth 2 client credentials.
#[derive(Clone, Debug)]
pub struct OAuth2 {
    /// The token endpoint.
    pub token_url: url::Url,
    /// Client identifier.
    pub client_id: String,
    /// Client secret.
    pub client_secret: Secret,
    /// Scopes, sent space-separated.
    pub scopes: Vec<String>,
    /// `audience`, which some providers want.
    pub audience: Option<String>,
}

/// A budget of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Its windows, and what is reserved of them.
    pub limiter: RateLimiterConfig,
    /// How long a call may queue for a token; default 0.
    pub max_wait: Duration,
    /// The response header that says what is left.
    pub header: Option<HeaderName>,
    /// Longest hold that a quota header may cause; default the longest window.
    pub quota_reset_max: Duration,
    /// Whether it is one budget for all gateways that share a server; default no.
    pub shared: bool,
}

/// One rung of a fallback ladder.
#[derive(Clone, Debug)]
pub enum Rung {
    /// The last good answer, within `keep_stale`.
    Cache,
    /// A whole call of another operation.
    Operation {
        /// Its integration.
        integration: IntegrationName,
        /// Its name.
        operation: OperationName,
        /// Parameters (string values may hold placeholders for the call's own); none: the call's parameters as they are.
        params: Option<serde_json::Map<String, serde_json::Value>>,
    },
    /// Kept in the outbox and delivered later.
    Queue,
    /// A fixed answer.
    Default {
        /// Its body.
        body: serde_json::Value,
        /// Its status; default 200.
        status: http::StatusCode,
    },
}

/// Which endings of a call start its ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FallbackCauses(u16);

impl FallbackCauses {
    /// Every cause of `semantics.md` §8.
    pub fn all() -> Self {
        Self::of(Cause::ALL)
    }

    /// Just these.
    pub fn of(causes: &[Cause]) -> Self {
        Self(causes.iter().fold(0, |set, cause| set | 1 << *cause as u16))
    }

    /// Whether the cause is among them.
    pub fn contains(self, cause: Cause) -> bool {
        self.0 & (1 << cause as u16) != 0
    }
}

/// One `[[plugins]]` table.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// Where the code comes from.
    pub source: PluginSource,
    /// Pinned SHA-256 of the file.
    pub sha256: Option<[u8; 32]>,
    /// Keys of which one must have signed it; none: signatures are not looked at.
    pub signed_by: Vec<PublicKey>,
    /// `config`, as the plugin sees it.
    pub config: serde_json::Value,
    /// Secrets that the plugin may use without reading them.
    pub credentials: BTreeMap<String, Secret>,
    /// Texts that the plugin may read.
    pub attributes: BTreeMap<String, String>,
    /// What the plugin may do beyond what every plugin may; endpoints and credentials named there exist.
    pub grants: Grants,
    /// Whether it is a plugin, or the component of an integration with `type = "wasm"`.
    pub role: Role,
    /// Phases to use; none: all that it exports.
    pub phases: Option<Vec<String>>,
    /// Operations it applies to; none: all, `/proxy` included.
    pub operations: Option<Vec<OperationName>>,
    /// Its limits, each within its cap.
    pub limits: Limits,
    /// Recorded exchanges that a new version must pass: files, and folders of `*.json`.
    pub exchanges: Vec<PathBuf>,
    /// Where `source` stands in the file.
    pub origin: Origin,
}

impl PluginSettings {
    /// Whether the same code runs the same under both tables: all of it but where it stands, what it applies to,
    /// and what is asked of a version before it goes live.
    pub fn runs_like(&self, other: &Self) -> bool {
        let Self { source, config, credentials, attributes, grants, role, phases, limits, .. } = self;
        // What a publisher signed who is trusted no more must not come back.
        let publishers =
            |table: &Self| -> Vec<String> { table.signed_by.iter().map(|key| key.id().to_owned()).collect() };
        *source == other.source
            && publishers(self) == publishers(other)
            && *config == other.config
            && *credentials == other.credentials
            && *attributes == other.attributes
            && *grants == other.grants
            && *role == other.role
            && *phases == other.phases
            && *limits == other.limits
    }
}

/// Where a plugin's code comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// `builtin:NAME`.
    Builtin(String),
    /// A file.
    File(PathBuf),
    /// `https://…` or `oci://…`.
    Remote(Reference),
}

impl PluginSource {
    /// What stays the same from version to version: the source without tag and digest.
    pub fn identity(&self) -> String {
        match self {
            Self::Builtin(name) => format!("builtin:{name}"),
            Self::File(path) => path.display().to_string(),
            Self::Remote(Reference::Oci(oci)) => format!("oci://{}/{}", oci.registry(), oci.repository()),
            Self::Remote(other) => other.to_string(),
        }
    }

    /// The plugin's name in logs and metrics: what is left of its source without folders and extension.
    pub fn name(&self) -> String {
        let path = match self {
            Self::Builtin(name) => return name.clone(),
            Self::Remote(Reference::Oci(oci)) => Path::new(oci.repository()),
            Self::Remote(Reference::Https(url)) => Path::new(url.path()),
            Self::File(path) | Self::Remote(Reference::File(path)) => path,
            Self::Remote(Reference::Builtin(name)) => Path::new(name),
        };
        let stem = match self {
            // A repository has no extension, but may have dots.
            Self::Remote(Reference::Oci(_)) => path.file_name(),
            _ => path.file_stem(),
        };
        stem.map_or_else(|| "plugin".to_owned(), |stem| stem.to_string_lossy().into_owned())
    }
}

impl BaseUrl {
    /// The base of an absolute `http` or `https` URL; user information, query and fragment are not part of it.
    pub fn of(url: &url::Url) -> Self {
        let https = url.scheme() == "https";
        let default_port = if https { 443 } else { 80 };
        let port = url.port().unwrap_or(default_port);
        let written = url.host_str().unwrap_or_default();
        let host = written.trim_start_matches('[').trim_end_matches(']').to_owned();
        let authority = if port == default_port { written.to_owned() } else { format!("{written}:{port}") };
        let loopback = match url.host() {
            Some(url::Host::Domain(name)) => name.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => {
                address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
            }
            None => false,
        };
        Self { https, host, port, authority, path: url.path().trim_end_matches('/').to_owned(), loopback }
    }
}
