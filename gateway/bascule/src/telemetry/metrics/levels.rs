//! What is looked at when metrics are read, instead of being counted as it happens: rate limits, their forecast, the
//! calls at a time, what is stored, and what waits in the outbox.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::Meter};

use crate::telemetry::attributes::{label, metric};

/// How things stand with one integration, or with the rate limit of one operation.
#[derive(Clone, Debug)]
pub struct Levels {
    /// The integration; `integration.operation` for an operation's own rate limit.
    pub service: String,
    /// Calls that its rate limits would let go at once; none where nothing limits them.
    pub rate_limit_remaining: Option<u64>,
    /// How long until its rate limits are used up, if calls go on as they have lately; none when they last.
    pub rate_limit_exhausted_in: Option<Duration>,
    /// Calls at a time; none for an operation, which has no limit of its own.
    pub concurrency: Option<Concurrency>,
    /// Entries of the outbox by their state; none for an operation.
    pub outbox: Vec<(&'static str, u64)>,
    /// What is stored of its answers; none for an operation.
    pub cache: Option<Held>,
}

/// A part of the response cache.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Octets with keys, headers and overhead.
    pub bytes: u64,
    /// Keys.
    pub entries: u64,
    /// Keys given up for lack of room, since it was last empty.
    pub evictions: u64,
}

/// Calls at a time.
#[derive(Clone, Copy, Debug)]
pub struct Concurrency {
    /// As many as are let through at present.
    pub limit: usize,
    /// As many as there are.
    pub in_flight: usize,
    /// As many as wait for a place.
    pub waiting: usize,
}

/// Looks at all integrations.
pub(crate) type Look = Box<dyn Fn() -> Vec<Levels> + Send + Sync>;

/// Where the gauges look; nowhere until it is set.
pub(super) type Source = Arc<OnceLock<Look>>;

/// Registers the gauges.
pub(super) fn register(meter: &Meter, source: &Source) {
    gauge(
        meter,
        source,
        metric::RATE_LIMIT_REMAINING,
        "Calls that the rate limits would let go at once.",
        |levels| levels.rate_limit_remaining.map(|left| left as f64),
    );
    gauge(
        meter,
        source,
        metric::RATE_LIMIT_EXHAUSTION,
        "Seconds until the rate limits are used up at the recent rate; absent while they last.",
        |levels| levels.rate_limit_exhausted_in.map(|span| span.as_secs_f64()),
    );
    gauge(
        meter,
        source,
        metric::CONCURRENCY_LIMIT,
        "Calls at a time that are let through at present.",
        |levels| levels.concurrency.map(|calls| calls.limit as f64),
    );
    gauge(meter, source, metric::CONCURRENCY_IN_FLIGHT, "Calls under way.", |levels| {
        levels.concurrency.map(|calls| calls.in_flight as f64)
    });
    gauge(meter, source, metric::CONCURRENCY_WAITING, "Calls that wait for a place.", |levels| {
        levels.concurrency.map(|calls| calls.waiting as f64)
    });
    gauge(meter, source, metric::CACHE_BYTES, "Octets of stored answers.", |levels| {
        levels.cache.map(|held| held.bytes as f64)
    });
    gauge(meter, source, metric::CACHE_ENTRIES, "Stored answers.", |levels| {
        levels.cache.map(|held| held.entries as f64)
    });
    gauge(
        meter,
        source,
        metric::CACHE_EVICTIONS,
        "Stored answers that were given up for lack of room, since there were none.",
        |levels| levels.cache.map(|held| held.evictions as f64),
    );
    let source = Arc::clone(source);
    // The meter keeps the gauge.
    let _ = meter
        .u64_observable_gauge(metric::OUTBOX_ENTRIES)
        .with_description("Entries of the outbox, by state.")
        .with_callback(move |observer| {
            for levels in source.get().map(|look| look()).unwrap_or_default() {
                for (state, entries) in levels.outbox {
                    let labels = [
                        KeyValue::new(label::SERVICE, levels.service.clone()),
                        KeyValue::new(label::STATE, state),
                    ];
                    observer.observe(entries, &labels);
                }
            }
        })
        .build();
}

fn gauge(
    meter: &Meter,
    source: &Source,
    name: &'static str,
    meaning: &'static str,
    level: impl Fn(&Levels) -> Option<f64> + Send + Sync + 'static,
) {
    let source = Arc::clone(source);
    // The meter keeps the gauge.
    let _ = meter
        .f64_observable_gauge(name)
        .with_description(meaning)
        .with_callback(move |observer| {
            for levels in source.get().map(|look| look()).unwrap_or_default() {
                if let Some(level) = level(&levels) {
                    observer.observe(level, &[KeyValue::new(label::SERVICE, levels.service)]);
                }
            }
        })
        .build();
}
