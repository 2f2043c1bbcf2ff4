//! Settings of the gateway itself: `bascule.toml`.

use crate::model::Secret;
use bascule_cache_disk::Options as CacheDisk;
use bascule_outbox::Bounds;
use bascule_resilience::{Priority, RateWindow};
use bascule_shared::Server;
use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

/// `[server]`: the data plane.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where to listen; default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Certificate and key; none: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Callers that are let in. Empty: anyone who can reach the listener.
    pub api_keys: Vec<ApiKey>,
    /// Whether a listener off loopback may go without keys.
    pub allow_anonymous: bool,
    /// What `Bascule-Skip` may bypass.
    pub allow_skip: SkipSet,
    /// Largest body that is held (JSON, forms), in octets; default 10 MiB.
    pub max_body: u64,
    /// Whether answers carry `Server-Timing`.
    pub server_timing: bool,
    /// How long calls in flight may take to finish on shutdown; default 30 s.
    pub drain_timeout: Duration,
    /// Whether changed files are loaded by themselves.
    pub watch: bool,
}

/// `server.tls`: PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Authority of client certificates; when set, clients must show one.
    pub client_ca: Option<PathBuf>,
}

/// A caller of the data plane.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The caller's name: in completion records, never in metric labels.
    pub name: String,
    /// What the caller sends.
    pub key: Secret,
    /// `integration.operation` patterns with `*` as wildcard; empty: everything.
    pub allow: Vec<String>,
    /// How much the caller's calls matter beside others; none: the operation's.
    pub priority: Option<Priority>,
    /// How many calls it may make; none: any number.
    pub rate_limit: Option<RateWindow>,
}

/// The mechanisms that `Bascule-Skip` names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkipSet {
    /// One attempt only.
    pub retry: bool,
    /// The breaker neither refuses nor counts the call.
    pub circuit: bool,
    /// The cache is neither read nor written.
    pub cache: bool,
}

/// `[admin]`: the operators' API.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Where to listen; default `127.0.0.1:8081`.
    pub listen: SocketAddr,
    /// Bearer tokens; empty is allowed on loopback only.
    pub tokens: Vec<AdminToken>,
}

/// A token of the admin plane.
#[derive(Clone, Debug)]
pub struct AdminToken {
    /// Whose token it is, for the audit log.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What the operator sends.
    pub token: Secret,
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads and acts.
    Admin,
}

/// `[telemetry]`.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// `service.name` of the resource; default `bascule`.
    pub service_name: String,
    /// Base of the OTLP/HTTP endpoint, without `/v1/traces`; absent: no export.
    pub otlp_endpoint: Option<url::Url>,
    /// Names (lower case) whose values are redacted in everything that is printed.
    pub redact: Vec<String>,
    /// Share of calls traced when the caller did not decide, 0 to 1; default 1.
    pub sample: f64,
    /// Whether each call writes a completion record; default true.
    pub completion_log: bool,
}

/// `[cache]` of `bascule.toml`.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// What all entries together may weigh, in octets; default 64 MiB.
    pub max_size: u64,
    /// What one entry may weigh, in octets; default 1 MiB.
    pub max_entry: u64,
    /// The file that keeps it over a restart; absent: it begins empty.
    pub disk: Option<CacheDisk>,
    /// The server that is shared with other gateways; none: nothing is shared.
    pub shared: Option<SharedSettings>,
}

/// `[cache] shared`: the Redis or Valkey that several gateways share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSettings {
    /// Where it is, and how to log in.
    pub server: Server,
    /// The longest that anything waits for it; default 50 ms.
    pub timeout: Duration,
    /// What entries that are kept there are signed with; there unless the server is on this machine.
    pub key: Option<Secret>,
    /// What the names of its keys and channels begin with; default `bascule`.
    pub prefix: String,
}

/// `[journal]`: its presence switches the journal on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// Where the files are, relative paths resolved.
    pub folder: PathBuf,
    /// Largest file in octets; default 16 MiB, at least 16 KiB.
    pub max_file: u64,
    /// Most files that are kept, 1 to 9999; default 8.
    pub max_files: u32,
}

/// `[outbox]`: its presence switches the outbox on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxSettings {
    /// The file, a relative path resolved; default `outbox.db`.
    pub path: PathBuf,
    /// How much it holds, and for how long.
    pub bounds: Bounds,
    /// Calls that are delivered at a time, 1 to 1024; default 8.
    pub concurrency: NonZeroU32,
}

/// `[plugins]` and `[registries]`: the rules by which plugins are taken from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct SourceRules {
    /// The lock file: `bascule.lock` beside `bascule.toml`.
    pub lock: PathBuf,
    /// Whether a tag is refused that neither the lock file nor a pin holds; default false.
    pub locked: bool,
    /// Servers by host (and port), as references write it.
    pub registries: BTreeMap<String, RegistrySettings>,
}

/// `[registries."HOST"]`: a server that plugins come from.
#[derive(Clone, Debug, Default)]
pub struct RegistrySettings {
    /// Who logs in; none: it is asked anonymously.
    pub login: Option<RegistryLogin>,
    /// Whether it may have private addresses; default false.
    pub allow_private: bool,
}

/// A login at a registry.
#[derive(Clone, Debug)]
pub struct RegistryLogin {
    /// The user name.
    pub username: String,
    /// The password or access token.
    pub password: Secret,
}
