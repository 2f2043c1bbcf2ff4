//! Where the cache is kept beside the memory, as gauges that are looked at when metrics are read.

use std::sync::{Arc, OnceLock};

use opentelemetry::metrics::Meter;

use crate::telemetry::attributes::metric;

const GAUGES: [(&str, &str); 10] = [
    (metric::CACHE_DISK_BYTES, "Octets of the cache's file."),
    (metric::CACHE_DISK_ENTRIES, "Stored answers in the cache's file."),
    (metric::CACHE_DISK_SKIPPED, "Changes that were not written to the cache's file."),
    (metric::CACHE_SHARED_HITS, "Answers that were found on the shared server."),
    (metric::CACHE_SHARED_MISSES, "Answers that were not on the shared server, or purged."),
    (metric::CACHE_SHARED_REFUSED, "Answers on the shared server that did not verify."),
    (metric::CACHE_SHARED_UNANSWERED, "Looks at the shared server without an answer in time."),
    (metric::CACHE_SHARED_SENT, "Changes that were sent to the shared server."),
    (metric::CACHE_SHARED_SKIPPED, "Changes that were not sent to the shared server."),
    (metric::CACHE_SHARED_PURGES_WAITING, "Purges that wait for the shared server."),
];

/// Figures by the name of their gauge; what is not there is not shown.
pub(crate) type LookAtKept = Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

/// Where the gauges look; nowhere until it is set.
pub(super) type KeptSource = Arc<OnceLock<LookAtKept>>;

/// Registers the gauges.
pub(super) fn register(meter: &Meter, source: &KeptSource) {
    for (name, meaning) in GAUGES {
        let source = Arc::clone(source);
        // The meter keeps the gauge.
        let _ = meter
            .u64_observable_gauge(name)
            .with_description(meaning)
            .with_callback(move |observer| {
                let figures = source.get().map(|look| look()).unwrap_or_default();
                if let Some((_, figure)) = figures.iter().find(|(of, _)| *of == name) {
                    observer.observe(*figure, &[]);
                }
            })
            .build();
    }
}
