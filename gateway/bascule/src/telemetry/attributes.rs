//! Every name that telemetry shows: metrics, labels, span attributes, events, log fields.
//!
//! They are public surface (`docs/telemetry.md` lists them), so they stand in one place and code
//! refers to the constants. Nothing here decides *when* something is recorded.

/// Metrics, the same in Prometheus and OTLP.
pub mod metric {
    /// Calls by the status that the caller got.
    pub const REQUESTS: &str = "integration_requests_total";
    /// Seconds from accepting a call to the end of its answer.
    pub const REQUEST_DURATION: &str = "integration_request_duration_seconds";
    /// Seconds of a call's time by what they were spent on.
    pub const DEADLINE_SPENT: &str = "deadline_spent_seconds";
    /// Calls that ended in an error, by its kind.
    pub const ERRORS: &str = "integration_errors_total";
    /// Attempts after the first.
    pub const RETRIES: &str = "integration_retries_total";
    /// Attempts that were doubled, by whether the hedge won.
    pub const HEDGES: &str = "hedges_total";
    /// 0 closed, 1 open, 2 half-open.
    pub const BREAKER_STATE: &str = "circuit_breaker_state";
    /// Calls that the breaker counted as failures.
    pub const BREAKER_FAILURES: &str = "circuit_breaker_failures_total";
    /// Transitions of the breaker.
    pub const BREAKER_CHANGES: &str = "circuit_breaker_state_changes_total";
    /// Cache lookups by their result.
    pub const CACHE: &str = "cache_requests_total";
    /// Decisions of the rate limiter.
    pub const RATE_LIMIT: &str = "rate_limit_decisions_total";
    /// Calls that the rate limits would let go at once.
    pub const RATE_LIMIT_REMAINING: &str = "rate_limit_remaining";
    /// Seconds until the rate limits are used up at the recent rate.
    pub const RATE_LIMIT_EXHAUSTION: &str = "rate_limit_exhaustion_seconds";
    /// Calls at a time that are let through at present.
    pub const CONCURRENCY_LIMIT: &str = "concurrency_limit";
    /// Calls under way.
    pub const CONCURRENCY_IN_FLIGHT: &str = "concurrency_in_flight";
    /// Calls that wait for a place.
    pub const CONCURRENCY_WAITING: &str = "concurrency_waiting";
    /// Octets of stored answers.
    pub const CACHE_BYTES: &str = "cache_bytes";
    /// Stored answers.
    pub const CACHE_ENTRIES: &str = "cache_entries";
    /// Stored answers that were given up for lack of room.
    pub const CACHE_EVICTIONS: &str = "cache_evictions";
    /// Octets of the file that keeps stored answers.
    pub const CACHE_DISK_BYTES: &str = "cache_disk_bytes";
    /// Stored answers in it.
    pub const CACHE_DISK_ENTRIES: &str = "cache_disk_entries";
    /// Changes that were not written to it.
    pub const CACHE_DISK_SKIPPED: &str = "cache_disk_skipped";
    /// Answers that were found on the shared server.
    pub const CACHE_SHARED_HITS: &str = "cache_shared_hits";
    /// Answers that were not there, or purged.
    pub const CACHE_SHARED_MISSES: &str = "cache_shared_misses";
    /// Answers that were there and did not verify.
    pub const CACHE_SHARED_REFUSED: &str = "cache_shared_refused";
    /// Looks at the shared server without an answer in time.
    pub const CACHE_SHARED_UNANSWERED: &str = "cache_shared_unanswered";
    /// Changes that were sent to it.
    pub const CACHE_SHARED_SENT: &str = "cache_shared_sent";
    /// Changes that were not sent to it.
    pub const CACHE_SHARED_SKIPPED: &str = "cache_shared_skipped";
    /// Purges that wait for it.
    pub const CACHE_SHARED_PURGES_WAITING: &str = "cache_shared_purges_waiting";
    /// Whether the server that gateways share is connected.
    pub const SHARED_CONNECTED: &str = "shared_server_connected";
    /// Seconds that an answer of that server takes lately.
    pub const SHARED_LATENCY: &str = "shared_server_latency_seconds";
    /// Calls of that server, by what became of them.
    pub const SHARED_CALLS: &str = "shared_server_calls_total";
    /// Answers by the rung of the fallback ladder that gave them.
    pub const FALLBACK: &str = "fallback_total";
    /// Entries of the outbox.
    pub const OUTBOX_ENTRIES: &str = "outbox_entries";
    /// Tries to deliver a queued call, by what came of them.
    pub const OUTBOX_DELIVERIES: &str = "outbox_deliveries_total";
    /// Calls that the outbox did not take, by the reason.
    pub const OUTBOX_REFUSALS: &str = "outbox_refusals_total";
    /// Seconds in a plugin's hook.
    pub const PLUGIN_DURATION: &str = "plugin_call_duration_seconds";
    /// Plugin calls that failed, by kind.
    pub const PLUGIN_FAILURES: &str = "plugin_failures_total";
    /// Versions of plugins that were taken back.
    pub const PLUGIN_ROLLBACKS: &str = "plugin_rollbacks_total";
    /// Side requests of plugins, by what became of them.
    pub const SIDE_REQUESTS: &str = "plugin_side_requests_total";
    /// What stands before the names of metrics that plugins make.
    pub const PLUGIN_OWN: &str = "plugin_custom_";
    /// Time limits that passed, by kind.
    pub const TIMEOUTS: &str = "timeouts_total";
}

/// Labels of metrics. Their values come from the configuration or from fixed lists.
pub mod label {
    /// The integration.
    pub const SERVICE: &str = "service";
    /// The operation; `proxy` for the transparent proxy.
    pub const ENDPOINT: &str = "endpoint";
    /// HTTP status as text.
    pub const STATUS: &str = "status";
    /// What a call's time was spent on.
    pub const PHASE: &str = "phase";
    /// Kind of error.
    pub const ERROR_TYPE: &str = "error_type";
    /// Breaker state before.
    pub const FROM: &str = "from";
    /// Breaker state after.
    pub const TO: &str = "to";
    /// Result of a lookup or decision.
    pub const RESULT: &str = "result";
    /// Rung of the fallback ladder.
    pub const RUNG: &str = "rung";
    /// Where an entry of the outbox stands.
    pub const STATE: &str = "state";
    /// Why something was refused.
    pub const REASON: &str = "reason";
    /// The plugin.
    pub const PLUGIN: &str = "plugin";
    /// The plugin's hook.
    pub const HOOK: &str = "hook";
    /// The endpoint that a plugin sends to.
    pub const TARGET: &str = "target";
    /// Kind of failure or time limit.
    pub const KIND: &str = "kind";
    /// What a label says once it has had too many values.
    pub const OTHER: &str = "other";
}

/// Attributes of spans and their events: OpenTelemetry's semantic conventions, and ours under `bascule.`.
pub mod span {
    /// HTTP method.
    pub const METHOD: &str = "http.request.method";
    /// Path of the caller's request.
    pub const URL_PATH: &str = "url.path";
    /// URL of an attempt, redacted.
    pub const URL_FULL: &str = "url.full";
    /// HTTP status.
    pub const STATUS_CODE: &str = "http.response.status_code";
    /// Kind of error; absent on success.
    pub const ERROR_TYPE: &str = "error.type";
    /// How often the request was sent before.
    pub const RESEND_COUNT: &str = "http.request.resend_count";
    /// Host of the provider.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// Port of the provider.
    pub const SERVER_PORT: &str = "server.port";
    /// The integration.
    pub const INTEGRATION: &str = "bascule.integration";
    /// The operation.
    pub const OPERATION: &str = "bascule.operation";
    /// Which rung of the ladder answered.
    pub const SOURCE: &str = "bascule.source";
    /// The plugin.
    pub const PLUGIN: &str = "bascule.plugin";
    /// The plugin's hook.
    pub const HOOK: &str = "bascule.hook";
    /// What stands before the names of attributes that a plugin sets.
    pub const PLUGIN_OWN: &str = "plugin.";
    /// On events: what the attempt came to.
    pub const OUTCOME: &str = "bascule.outcome";
    /// On events: milliseconds until the next attempt.
    pub const DELAY: &str = "bascule.delay_ms";
    /// On events: kind of rung of the fallback ladder.
    pub const RUNG: &str = "bascule.rung";
    /// On events: why the ladder was entered.
    pub const CAUSE: &str = "bascule.cause";
    /// `error.type` of a span whose owner went away before it ended.
    pub const CANCELLED: &str = "cancelled";
}

/// Events on the call's span.
pub mod event {
    /// Answered from the cache.
    pub const CACHE_HIT: &str = "cache.hit";
    /// The rate limiter refused.
    pub const RATE_LIMITED: &str = "rate_limited";
    /// The breaker refused.
    pub const CIRCUIT_OPEN: &str = "circuit.open";
    /// Another attempt follows.
    pub const RETRY: &str = "retry";
    /// A rung of the ladder answered.
    pub const FALLBACK: &str = "fallback";
}

/// Fields of a completion record.
pub mod log {
    /// `target` of completion records.
    pub const TARGET: &str = "bascule::call";
    /// Trace id in hex.
    pub const TRACE_ID: &str = "trace_id";
    /// The integration.
    pub const INTEGRATION: &str = "integration";
    /// The operation.
    pub const OPERATION: &str = "operation";
    /// Name of the caller's key.
    pub const CALLER: &str = "caller";
    /// HTTP method.
    pub const METHOD: &str = "method";
    /// Status that the caller got; 499 when it left.
    pub const STATUS: &str = "status";
    /// Which rung of the ladder answered.
    pub const SOURCE: &str = "source";
    /// What the cache did.
    pub const CACHE: &str = "cache";
    /// Attempts made upstream.
    pub const ATTEMPTS: &str = "attempts";
    /// `success`, or the kind of failure.
    pub const OUTCOME: &str = "outcome";
    /// Code of the problem document.
    pub const PROBLEM: &str = "problem";
    /// Rung of the fallback ladder.
    pub const FALLBACK: &str = "fallback";
    /// Milliseconds altogether.
    pub const DURATION: &str = "duration_ms";
    /// Milliseconds waiting for the provider.
    pub const UPSTREAM: &str = "upstream_ms";
    /// Milliseconds in plugins.
    pub const PLUGIN: &str = "plugin_ms";
    /// Octets of the request's body.
    pub const BYTES_IN: &str = "bytes_in";
    /// Octets of the answer's body.
    pub const BYTES_OUT: &str = "bytes_out";
    /// Lines that found the queue full.
    pub const DROPPED: &str = "dropped";
}
