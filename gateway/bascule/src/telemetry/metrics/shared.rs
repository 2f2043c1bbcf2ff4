//! How the connection to the server fares that gateways share; looked at when metrics are read. Without such a server
//! there are no series.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::Meter};

use crate::telemetry::attributes::{label, metric};

/// The connection.
#[derive(Clone, Debug)]
pub struct SharedLevels {
    /// Whether there is one.
    pub connected: bool,
    /// How long an answer takes lately.
    pub latency: Duration,
    /// Calls since the start, by what became of them.
    pub calls: [(&'static str, u64); 4],
}

/// Looks at the connection; `None` where no server is shared.
pub(crate) type LookAtShared = Box<dyn Fn() -> Option<SharedLevels> + Send + Sync>;

/// Where is looked; nowhere until it is set.
pub(super) type Source = Arc<OnceLock<LookAtShared>>;

/// Registers the series.
pub(super) fn register(meter: &Meter, source: &Source) {
    let look = |source: &Source| {
        let source = Arc::clone(source);
        move || source.get().and_then(|look| look())
    };
    let (connected, latency, calls) = (look(source), look(source), look(source));
    // The meter keeps the instruments.
    let _ = meter
        .u64_observable_gauge(metric::SHARED_CONNECTED)
        .with_description("Whether the server that gateways share is connected.")
        .with_callback(move |observer| {
            if let Some(levels) = connected() {
                observer.observe(u64::from(levels.connected), &[]);
            }
        })
        .build();
    let _ = meter
        .f64_observable_gauge(metric::SHARED_LATENCY)
        .with_description("Seconds that an answer of the server takes lately that gateways share.")
        .with_callback(move |observer| {
            if let Some(levels) = latency() {
                observer.observe(levels.latency.as_secs_f64(), &[]);
            }
        })
        .build();
    let _ = meter
        .u64_observable_counter(metric::SHARED_CALLS)
        .with_description("Calls of the server that gateways share, by what became of them.")
        .with_callback(move |observer| {
            for (result, count) in calls().map(|levels| levels.calls).into_iter().flatten() {
                observer.observe(count, &[KeyValue::new(label::RESULT, result)]);
            }
        })
        .build();
}
