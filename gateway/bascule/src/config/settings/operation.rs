//! Settings of one operation, its integration's defaults filled in.

use super::{
    Branch, FallbackCauses, HeaderSetting, PathTemplate, RateLimit, Rung, TextTemplate, Timeouts, VaryBy,
};
use crate::model::{BreakerName, OperationName};
use bascule_resilience::{BreakerConfig, BudgetConfig, HedgeConfig, Priority, RetryPolicy};
use http::{HeaderName, Method, StatusCode};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

/// A declared call of an integration.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its name.
    pub name: OperationName,
    /// For people.
    pub description: String,
    /// HTTP method upstream; of a fan-out, GET when all its branches are safe (GET, HEAD, OPTIONS), else POST.
    pub method: Method,
    /// Path below the base URL; of a fan-out, `/`, which nothing uses.
    pub path: PathTemplate,
    /// Query entries in file order.
    pub query: Vec<QueryEntry>,
    /// The integration's headers with the operation's laid over them.
    pub headers: Vec<HeaderSetting>,
    /// What the request body is.
    pub body: BodyKind,
    /// Declared parameters (placeholders in the path included).
    pub params: Parameters,
    /// Names of declared parameters that neither path, query nor headers use: they form the body.
    pub body_params: Vec<String>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Retry rule; `max_attempts` is 1 when the operation is not safe to retry.
    pub retry: RetrySettings,
    /// Whether sending it twice does no harm (`semantics.md` §4).
    pub retry_safe: bool,
    /// Whether it is safe only because of an idempotency key: then a call without one is not.
    pub safe_by_key: bool,
    /// A breaker of its own, or the declared settings of the shared one that it uses; none: the integration's.
    pub breaker: Option<BreakerConfig>,
    /// The breaker of `bascule.toml` that it uses instead of the integration's.
    pub shared_breaker: Option<BreakerName>,
    /// Whether its own breaker's openings are announced to other gateways, and theirs heeded.
    pub breaker_announced: bool,
    /// A budget of its own, beside the integration's.
    pub rate_limit: Option<RateLimit>,
    /// Tokens that each attempt takes from the rate limits; default 1.
    pub cost: NonZeroU32,
    /// How much its calls matter beside others.
    pub priority: Priority,
    /// Whether attempts that take long are doubled; only where that does no harm.
    pub hedge: Option<HedgeConfig>,
    /// How answers are cached; none: not at all.
    pub cache: Option<CachePolicy>,
    /// What tells its cached answers apart.
    pub vary_by: VaryBy,
    /// Parameters of the calls whose answers are fetched before anybody asks.
    pub warm_up: Vec<Map<String, Value>>,
    /// Operations of the same integration whose cached answers a success of this one purges.
    pub purges: Vec<OperationName>,
    /// The fallback ladder.
    pub fallback: Arc<[Rung]>,
    /// Which endings start it.
    pub fallback_on: FallbackCauses,
    /// Idempotency keys.
    pub idempotency: Option<Idempotency>,
    /// `errors."404" = …`, by upstream status.
    pub errors: Arc<BTreeMap<u16, ErrorMapping>>,
    /// Caller's headers that are passed on (and that join the cache key).
    pub forward_headers: Vec<HeaderName>,
    /// The calls it is made of; none: it is a call of its own.
    pub fan_out: Option<Arc<[Branch]>>,
}

/// `name = "template"` of a query.
#[derive(Clone, Debug)]
pub struct QueryEntry {
    /// Name, as declared (it is percent-encoded on the wire).
    pub name: String,
    /// Value; left out when an optional parameter in it is absent.
    pub value: TextTemplate,
    /// Whether the value came from the environment or a file and must not be shown.
    pub secret: bool,
}

/// What a request body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// A JSON object of the parameters that are used nowhere else.
    Json,
    /// The same as `application/x-www-form-urlencoded`; nested keys as `a[b]`.
    Form,
    /// The caller's body, streamed.
    Raw,
    /// None.
    None,
}

/// Declared parameters and the compiled schema that checks them.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// By name, in file order.
    pub declared: Vec<(String, Parameter)>,
    /// The compiled schema: an object with these properties and no others.
    pub schema: Arc<jsonschema::Validator>,
}

/// A declared parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its type.
    pub kind: ParameterType,
    /// Whether it must be given.
    pub required: bool,
    /// Filled in when it is absent.
    pub default: Option<serde_json::Value>,
    /// Its schema (JSON Schema 2020-12), for OpenAPI and tools.
    pub schema: serde_json::Value,
}

/// Types of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// A table.
    Object,
}

/// Retry rule with its status set and budget.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrySettings {
    /// Attempts and delays.
    pub policy: RetryPolicy,
    /// Statuses that are retried.
    pub on: Arc<[u16]>,
    /// How many retries the integration may make.
    pub budget: BudgetConfig,
}

/// Who decides how long an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePolicy {
    /// The configuration.
    Rule(CacheRule),
    /// The provider's answers, by the rules of HTTP.
    Http(HttpCache),
}

impl CachePolicy {
    /// The durations of the configuration, where those decide.
    pub fn rule(self) -> Option<CacheRule> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Http(_) => None,
        }
    }
}

/// What the configuration adds to the provider's own words (RFC 9111).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpCache {
    /// How long an expired entry may serve as a fallback.
    pub keep_stale: Duration,
    /// How long an expired entry is answered while it is refreshed, where the provider does not say.
    pub stale_while_revalidate: Duration,
    /// Whether what has to do with cookies is shared as far as RFC 9111 §7.3 allows.
    pub share_cookies: bool,
}

/// A rule-based cache policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// How long a success is fresh.
    pub ttl: Duration,
    /// How long a 404 or 410 is fresh; none: not stored.
    pub negative_ttl: Option<Duration>,
    /// How long an expired entry may serve as a fallback.
    pub keep_stale: Duration,
    /// How long an expired entry is answered while it is refreshed.
    pub stale_while_revalidate: Duration,
}

/// `idempotency = { header, generate }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Header that carries the key; default `Idempotency-Key`.
    pub header: HeaderName,
    /// Whether a key is made when the caller sends none.
    pub generate: bool,
}

/// `errors."404" = { status, code }`: an upstream answer that becomes a problem of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorMapping {
    /// Status for the caller.
    pub status: StatusCode,
    /// Stable code, e.g. `user-not-found`.
    pub code: String,
    /// For people; default the upstream's reason.
    pub detail: Option<String>,
}
