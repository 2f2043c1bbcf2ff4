//! Measurements of the plugin's own. Takes the grant `telemetry`.
//!
//! The gateway prefixes names and drops what is out of bounds: a plugin has 64 names of `a-z 0-9 _ .`, eight
//! label names, and 512 combinations of a name with label values. So a label holds one of a few words, never
//! an id. A phase may make 256 measurements and 32 annotations.

use crate::generated::imports::bascule::plugin::telemetry as host;

pub use host::annotate;

/// Adds to a counter.
pub fn count(name: &str, value: u64, labels: &[(&str, &str)]) {
    host::count(name, value, &owned(labels));
}

/// Observes a value, for a histogram. Values that are not finite are dropped.
pub fn observe(name: &str, value: f64, labels: &[(&str, &str)]) {
    host::observe(name, value, &owned(labels));
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
