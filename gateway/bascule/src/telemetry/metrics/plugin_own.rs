//! Metrics that plugins make themselves (`telemetry.count`, `telemetry.observe`).
//!
//! `cards.declined` becomes `plugin_custom_cards_declined_total` when it is counted and
//! `plugin_custom_cards_declined` when it is observed. The plugin host bounds names, labels and values per
//! plugin; here is a bound over all, since reloads may bring new plugins for ever, and a name keeps the kind
//! that it was first used with, whoever used it.

use std::{borrow::Cow, collections::HashMap};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};
use parking_lot::RwLock;

use crate::telemetry::attributes::{label, metric};

/// Names over all plugins. A plugin has 64.
const NAMES_MAX: usize = 1024;

/// Labels that are not a plugin's: ours, and those of Prometheus' histograms and summaries.
const RESERVED: [&str; 4] = [label::PLUGIN, label::SERVICE, "le", "quantile"];

/// Whose measurement it is, and the labels that the plugin gives it.
#[derive(Clone, Copy, Debug)]
pub struct PluginLabels<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// The integration.
    pub integration: &'a str,
    /// The plugin's own; those named like ours are left out.
    pub own: &'a [(String, String)],
}

#[derive(Clone)]
enum Instrument {
    Count(Counter<u64>),
    Observe(Histogram<f64>),
}

pub(in crate::telemetry) struct PluginOwn {
    meter: Meter,
    /// By the name in metrics.
    known: RwLock<HashMap<String, Instrument>>,
}

impl PluginOwn {
    pub(super) fn new(meter: Meter) -> Self {
        Self { meter, known: RwLock::default() }
    }

    pub(in crate::telemetry) fn count(&self, name: &str, value: u64, labels: &PluginLabels<'_>) {
        let mut name = full_name(name);
        if !name.ends_with("_total") {
            name.push_str("_total");
        }
        let new = |name| Instrument::Count(self.meter.u64_counter(name).build());
        if let Some(Instrument::Count(counter)) = self.instrument(name, new) {
            counter.add(value, &labels.pairs());
        }
    }

    pub(in crate::telemetry) fn observe(&self, name: &str, value: f64, labels: &PluginLabels<'_>) {
        let new = |name| Instrument::Observe(self.meter.f64_histogram(name).build());
        if let Some(Instrument::Observe(histogram)) = self.instrument(full_name(name), new) {
            histogram.record(value, &labels.pairs());
        }
    }

    fn instrument(&self, name: String, new: impl FnOnce(String) -> Instrument) -> Option<Instrument> {
        if let Some(known) = self.known.read().get(&name) {
            return Some(known.clone());
        }
        let mut known = self.known.write();
        if known.len() >= NAMES_MAX && !known.contains_key(&name) {
            return None;
        }
        Some(known.entry(name.clone()).or_insert_with(|| new(name)).clone())
    }
}

fn full_name(name: &str) -> String {
    format!("{}{}", metric::PLUGIN_OWN, name.replace('.', "_"))
}

impl PluginLabels<'_> {
    /// All labels, each name once.
    fn pairs(&self) -> Vec<KeyValue> {
        let mut pairs = vec![
            KeyValue::new(label::PLUGIN, self.plugin.to_owned()),
            KeyValue::new(label::SERVICE, self.integration.to_owned()),
        ];
        for (name, value) in self.own {
            let name = label_name(name);
            if !RESERVED.contains(&&*name) && !pairs.iter().any(|pair| pair.key.as_str() == name) {
                pairs.push(KeyValue::new(name.into_owned(), value.clone()));
            }
        }
        pairs
    }
}

/// Prometheus has labels of letters, digits and `_`, and no digit comes first.
fn label_name(name: &str) -> Cow<'_, str> {
    match name.bytes().next() {
        Some(b'0'..=b'9') => format!("_{}", name.replace('.', "_")).into(),
        _ if name.contains('.') => name.replace('.', "_").into(),
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_ours_cannot_be_taken_and_none_occurs_twice() {
        let own = [("plugin", "x"), ("le", "1"), ("a.b", "1"), ("a_b", "2"), ("2nd", "y")];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let labels = PluginLabels { plugin: "p", integration: "i", own: &own };
        let pairs: Vec<String> =
            labels.pairs().iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
        assert_eq!(pairs, ["plugin=p", "service=i", "a_b=1", "_2nd=y"]);
    }
}
