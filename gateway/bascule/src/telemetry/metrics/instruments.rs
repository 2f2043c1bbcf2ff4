//! The instruments themselves: name, meaning, buckets.

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

use crate::telemetry::attributes::metric;

/// Seconds. Below the usual 5 ms to 10 s there are two steps for answers from the cache.
const CALL_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Seconds. Phases range from a look into the cache to a long backoff; their sums matter more than their spread.
const PHASE_BUCKETS: &[f64] = &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];

/// Seconds. Hooks take microseconds; their default limits end well below a second.
const HOOK_BUCKETS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.5,
];

/// Every instrument, not yet bound to labels.
pub(super) struct Instruments {
    pub(super) requests: Counter<u64>,
    pub(super) request_duration: Histogram<f64>,
    pub(super) spent: Histogram<f64>,
    pub(super) errors: Counter<u64>,
    pub(super) retries: Counter<u64>,
    pub(super) hedges: Counter<u64>,
    pub(super) breaker_state: Gauge<i64>,
    pub(super) breaker_failures: Counter<u64>,
    pub(super) breaker_changes: Counter<u64>,
    pub(super) cache: Counter<u64>,
    pub(super) rate_limit: Counter<u64>,
    pub(super) fallback: Counter<u64>,
    pub(super) outbox_deliveries: Counter<u64>,
    pub(super) outbox_refusals: Counter<u64>,
    pub(super) plugin_duration: Histogram<f64>,
    pub(super) plugin_failures: Counter<u64>,
    pub(super) plugin_rollbacks: Counter<u64>,
    pub(super) side_requests: Counter<u64>,
    pub(super) timeouts: Counter<u64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let counter = |name, meaning| meter.u64_counter(name).with_description(meaning).build();
        let histogram = |name, meaning, buckets: &[f64]| {
            meter.f64_histogram(name).with_description(meaning).with_boundaries(buckets.to_vec()).build()
        };
        Self {
            requests: counter(metric::REQUESTS, "Calls, by the status that the caller got."),
            request_duration: histogram(
                metric::REQUEST_DURATION,
                "Duration of calls in seconds.",
                CALL_BUCKETS,
            ),
            spent: histogram(
                metric::DEADLINE_SPENT,
                "Seconds that calls spent in each phase; the phases add up to the duration.",
                PHASE_BUCKETS,
            ),
            errors: counter(metric::ERRORS, "Calls that ended in an error, by kind."),
            retries: counter(metric::RETRIES, "Attempts after the first."),
            hedges: counter(metric::HEDGES, "Attempts that were doubled, by whether the hedge won."),
            breaker_state: meter
                .i64_gauge(metric::BREAKER_STATE)
                .with_description("State of the circuit breaker: 0 closed, 1 open, 2 half-open.")
                .build(),
            breaker_failures: counter(
                metric::BREAKER_FAILURES,
                "Calls that the circuit breaker counted as failures.",
            ),
            breaker_changes: counter(metric::BREAKER_CHANGES, "Changes of the circuit breaker's state."),
            cache: counter(metric::CACHE, "Cache lookups, by result."),
            rate_limit: counter(metric::RATE_LIMIT, "Decisions of the rate limiter."),
            fallback: counter(metric::FALLBACK, "Answers from the fallback ladder, by rung."),
            outbox_deliveries: counter(
                metric::OUTBOX_DELIVERIES,
                "Tries to deliver a queued call, by what came of them.",
            ),
            outbox_refusals: counter(
                metric::OUTBOX_REFUSALS,
                "Calls that the outbox did not take, by the reason.",
            ),
            plugin_duration: histogram(
                metric::PLUGIN_DURATION,
                "Duration of plugin calls in seconds.",
                HOOK_BUCKETS,
            ),
            plugin_failures: counter(metric::PLUGIN_FAILURES, "Plugin calls that failed, by kind."),
            plugin_rollbacks: counter(
                metric::PLUGIN_ROLLBACKS,
                "New versions of plugins that failed and gave way to the one before.",
            ),
            side_requests: counter(
                metric::SIDE_REQUESTS,
                "Side requests of plugins, by what became of them.",
            ),
            timeouts: counter(metric::TIMEOUTS, "Time limits that passed, by kind."),
        }
    }
}
