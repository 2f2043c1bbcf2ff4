//! Integrations and operations as they run: validated settings with their breakers, limiters,
//! connections and plugins.
//!
//! Built by `app` from a configuration; a reload builds new ones and hands over the state of
//! integrations that did not change.

use super::{
    Failure, Landing, Peers, Phases, PluginTokens, Queue, QuotaNumbers, Reply, Share, SharedBreaker,
    SideEndpoints,
};
use crate::{
    config::{
        self, CachePolicy, Config, ErrorMapping, FallbackCauses, HeaderSetting, Idempotency, RetrySettings,
        Rung, Timeouts, VaryBy,
    },
    model::{BreakerName, IntegrationName, OperationName},
    telemetry::{IntegrationMetrics, OperationMetrics, Telemetry},
    upstream::{Client, Endpoint, TokenCell},
};
use arc_swap::ArcSwap;
use bascule_cache::{Coalescer, Scope, Store};
use bascule_cache_disk::Disk;
use bascule_cache_shared::Level;
use bascule_plugin_host::Plugin;
use bascule_resilience::{
    Breaker, Bulkhead, Clock, HealthStats, HedgeConfig, Priority, Random, RateLimiter, RetryBudget,
};
use http::HeaderName;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::SetOnce;

/// Fetches that several callers wait for.
pub type Flights = Coalescer<Landing, Result<Reply, Box<Failure>>>;

/// A caller's part in one of them.
pub(super) type Flight = bascule_cache::Flight<Landing, Result<Reply, Box<Failure>>>;

/// What all calls share, whatever the configuration's generation.
pub struct Services {
    /// Stored answers.
    pub cache: Arc<Store>,
    /// The file that keeps them over a restart. Set at the start of what serves, or never.
    pub cache_disk: SetOnce<Arc<Disk>>,
    /// Their second level, on a server that several gateways share. Set like the file.
    pub cache_shared: SetOnce<Level>,
    /// Fetches that several callers wait for.
    pub flights: Arc<Flights>,
    /// Calls that are kept for later. Set once, when a configuration at work first has an `[outbox]`; what makes no
    /// deliveries (`bascule call`) never sets it.
    pub outbox: SetOnce<Arc<Queue>>,
    /// Spans, metrics, logs.
    pub telemetry: Telemetry,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for jitter.
    pub random: Arc<dyn Random>,
    /// Other gateways, and the server that is shared with them.
    pub peers: Arc<Peers>,
    /// The newest configuration at work. A call loads it once and stays with it, save that fallback
    /// operations are looked up when they are needed.
    pub generation: ArcSwap<Generation>,
}

/// One configuration at work. A reload makes the next one and swaps it in whole.
pub struct Generation {
    /// 1 for the configuration of the start.
    pub number: u64,
    /// The settings.
    pub config: Arc<Config>,
    /// Integrations by name.
    pub integrations: HashMap<IntegrationName, Arc<LiveIntegration>>,
    /// Shared breakers by name.
    pub breakers: BTreeMap<BreakerName, Arc<SharedBreaker>>,
}

impl Services {
    /// The time now.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A random number in [0, 1).
    pub fn unit(&self) -> f64 {
        self.random.unit()
    }
}

/// An integration at work.
pub struct LiveIntegration {
    /// Its settings.
    pub settings: Arc<config::Integration>,
    /// Its breaker, which may be a shared one; operations may have others.
    pub breaker: Arc<Breaker>,
    /// Its request budget, and what the provider says about it.
    pub limiter: Arc<RateLimiter>,
    /// That budget's part that is shared with other gateways.
    pub share: Option<Arc<Share>>,
    /// Which of the provider's quotas is which in the journal.
    pub quota_numbers: Arc<QuotaNumbers>,
    /// Calls at a time.
    pub bulkhead: Arc<Bulkhead>,
    /// How many retries it may make.
    pub budget: Arc<RetryBudget>,
    /// Success rate and latencies of the last minute.
    pub health: Arc<HealthStats>,
    /// How long successful attempts take: no retry is begun that would have less time.
    pub attempt_times: Arc<HealthStats>,
    /// The latest failure, for operators.
    pub last_error: Arc<Mutex<Option<String>>>,
    /// Makes exchanges.
    pub client: Client,
    /// Where calls go by default; none where all operations are fan-outs.
    pub endpoint: Option<Endpoint>,
    /// `[endpoints.NAME]`.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Where its plugins may send to by themselves; none when no plugin is granted an endpoint.
    pub side: Option<Arc<SideEndpoints>>,
    /// The OAuth 2 token, when `auth.type = "oauth2"`.
    pub token: Option<Arc<TokenCell>>,
    /// Its plugins, in file order.
    pub plugins: Vec<LivePlugin>,
    /// Declared operations.
    pub operations: HashMap<OperationName, Arc<LiveOperation>>,
    /// Calls through `/proxy`.
    pub proxy: Arc<LiveOperation>,
    /// Counters.
    pub metrics: Arc<IntegrationMetrics>,
}

/// An operation at work. `/proxy` is one without a declaration.
pub struct LiveOperation {
    /// Its name; `proxy` for `/proxy`.
    pub name: OperationName,
    /// `integration.operation`, for spans and headers.
    pub full_name: Arc<str>,
    /// Its declaration.
    pub declared: Option<Arc<config::Operation>>,
    /// Its policies.
    pub policy: Policy,
    /// The breaker that admits it.
    pub breaker: Arc<Breaker>,
    /// Where that breaker's failures are counted: its own series when it is the operation's own, or a shared one.
    pub breaker_metrics: Arc<IntegrationMetrics>,
    /// How long its attempts take, races included: what a hedge by percentile goes by. Only where it is hedged.
    pub times: Option<Arc<HealthStats>>,
    /// A budget of its own, beside the integration's.
    pub limiter: Option<(Arc<RateLimiter>, Duration)>,
    /// That budget's part that is shared with other gateways.
    pub share: Option<Arc<Share>>,
    /// Its plugins.
    pub phases: Phases,
    /// What a purge names.
    pub scope: Scope,
    /// Counters.
    pub metrics: Arc<OperationMetrics>,
}

/// The policies of an operation, or of an integration for `/proxy`.
pub struct Policy {
    /// Time limits.
    pub timeouts: Timeouts,
    /// Retry rule of safe calls.
    pub retry: RetrySettings,
    /// Whether the declaration makes it safe to repeat; `/proxy` goes by method.
    pub retry_safe: bool,
    /// Whether it is safe only because of an idempotency key.
    pub safe_by_key: bool,
    /// How answers are cached.
    pub cache: Option<CachePolicy>,
    /// What tells cached answers apart.
    pub vary_by: VaryBy,
    /// Operations whose cached answers a success purges.
    pub purges: Vec<OperationName>,
    /// The ladder.
    pub fallback: Arc<[Rung]>,
    /// What starts it.
    pub fallback_on: FallbackCauses,
    /// Idempotency keys.
    pub idempotency: Option<Idempotency>,
    /// Tokens that each attempt takes.
    pub cost: NonZeroU32,
    /// How much its calls matter beside others.
    pub priority: Priority,
    /// Whether attempts that take long are doubled.
    pub hedge: Option<HedgeConfig>,
    /// Upstream statuses that become problems of the gateway's own.
    pub errors: Arc<BTreeMap<u16, ErrorMapping>>,
    /// Headers of every request.
    pub headers: Vec<HeaderSetting>,
    /// Caller's headers that are passed on.
    pub forward_headers: Vec<HeaderName>,
}

/// The header of idempotency keys where the declaration names none.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl LiveOperation {
    /// The header that carries the calls' idempotency keys.
    pub fn idempotency_header(&self) -> &HeaderName {
        static DEFAULT: HeaderName = IDEMPOTENCY_KEY;
        self.policy.idempotency.as_ref().map_or(&DEFAULT, |rule| &rule.header)
    }
}

impl Policy {
    /// Whether the ladder may keep calls for later.
    pub fn queues(&self) -> bool {
        self.fallback.iter().any(|rung| matches!(rung, Rung::Queue))
    }
}

/// A plugin at work, and how it came to be the version that is.
#[derive(Clone)]
pub struct LivePlugin {
    /// The plugin.
    pub bound: BoundPlugin,
    /// When it took another version's place; none: it is the first of this process.
    pub swapped: Option<Swapped>,
    /// Digest of the version that failed and whose place it was given back; that one stays out until its file or
    /// its table changes.
    pub rolled_back_from: Option<Arc<str>>,
}

/// A change of versions.
#[derive(Clone)]
pub struct Swapped {
    /// When it went live.
    pub at: Instant,
    /// What ran before, for as long as it may come back; at most one version is kept.
    pub previous: Option<Arc<Plugin>>,
}

impl LivePlugin {
    /// Digest of the file that it stands for: its own, or that of the version that was rolled back.
    pub fn file_digest(&self) -> &str {
        self.rolled_back_from.as_deref().unwrap_or_else(|| self.bound.plugin.digest())
    }
}

/// A loaded plugin with what the pipeline must know of its settings.
#[derive(Clone)]
pub struct BoundPlugin {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Whether a classifier or signer may read bodies.
    pub reads_bodies: bool,
    /// Whether it may send side requests.
    pub sends: bool,
    /// The tokens that it is the source of.
    pub tokens: Option<Arc<PluginTokens>>,
}
