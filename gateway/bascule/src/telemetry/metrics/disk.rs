//! The file that keeps the cache over a restart, as gauges that are looked at when metrics are read.

use std::sync::{Arc, OnceLock};

use opentelemetry::metrics::Meter;

use crate::telemetry::attributes::metric;

/// How things stand with the file.
#[derive(Clone, Copy, Debug)]
pub struct DiskLevels {
    /// Octets of it that are in use.
    pub bytes: u64,
    /// Keys in it.
    pub entries: u64,
    /// Changes that were not written, since the start.
    pub skipped: u64,
}

/// Looks at the file; none where nothing is kept.
pub(crate) type LookAtDisk = Box<dyn Fn() -> Option<DiskLevels> + Send + Sync>;

/// Name, meaning, and what is shown.
type Gauge = (&'static str, &'static str, fn(&DiskLevels) -> u64);

/// Where the gauges look; nowhere until it is set.
pub(super) type DiskSource = Arc<OnceLock<LookAtDisk>>;

/// Registers the gauges.
pub(super) fn register(meter: &Meter, source: &DiskSource) {
    let gauges: [Gauge; 3] = [
        (metric::CACHE_DISK_BYTES, "Octets of the cache's file.", |disk| disk.bytes),
        (metric::CACHE_DISK_ENTRIES, "Stored answers in the cache's file.", |disk| disk.entries),
        (metric::CACHE_DISK_SKIPPED, "Changes that were not written to the cache's file.", |disk| {
            disk.skipped
        }),
    ];
    for (name, meaning, level) in gauges {
        let source = Arc::clone(source);
        // The meter keeps the gauge.
        let _ = meter
            .u64_observable_gauge(name)
            .with_description(meaning)
            .with_callback(move |observer| {
                if let Some(disk) = source.get().and_then(|look| look()) {
                    observer.observe(level(&disk), &[]);
                }
            })
            .build();
    }
}
