//! Instruments of plugin hooks, looked up by name, since the host that calls them knows only names.

use std::{collections::HashMap, sync::Arc, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{BoundHistogram, Counter, Histogram},
};
use parking_lot::RwLock;

use super::instruments::Instruments;
use crate::telemetry::attributes::label;

/// Most plugins whose instruments are kept bound. Reloads may bring new names for ever; beyond this
/// they are counted all the same, only slower.
const PLUGINS_MAX: usize = 1024;

/// A plugin's hooks, a handful, each with its bound instrument.
type Hooks = Vec<(String, Arc<BoundHistogram<f64>>)>;

pub(super) struct PluginMetrics {
    duration: Histogram<f64>,
    failures: Counter<u64>,
    rollbacks: Counter<u64>,
    side_requests: Counter<u64>,
    /// By plugin.
    bound: RwLock<HashMap<String, Hooks>>,
}

impl PluginMetrics {
    pub(super) fn new(instruments: &Instruments) -> Self {
        Self {
            duration: instruments.plugin_duration.clone(),
            failures: instruments.plugin_failures.clone(),
            rollbacks: instruments.plugin_rollbacks.clone(),
            side_requests: instruments.side_requests.clone(),
            bound: RwLock::default(),
        }
    }

    pub(super) fn call(&self, plugin: &str, hook: &str, elapsed: Duration, failure: Option<&str>) {
        match self.bound(plugin, hook) {
            Some(duration) => duration.record(elapsed.as_secs_f64()),
            None => self.duration.record(elapsed.as_secs_f64(), &labels(plugin, hook)),
        }
        if let Some(kind) = failure {
            let [plugin, hook] = labels(plugin, hook);
            self.failures.add(1, &[plugin, hook, KeyValue::new(label::KIND, kind.to_owned())]);
        }
    }

    pub(super) fn rolled_back(&self, plugin: &str) {
        self.rollbacks.add(1, &[KeyValue::new(label::PLUGIN, plugin.to_owned())]);
    }

    /// Not bound: beside the request itself, looking labels up is nothing.
    pub(super) fn side_request(&self, plugin: &str, integration: &str, endpoint: &str, result: &'static str) {
        self.side_requests.add(
            1,
            &[
                KeyValue::new(label::PLUGIN, plugin.to_owned()),
                KeyValue::new(label::SERVICE, integration.to_owned()),
                KeyValue::new(label::TARGET, endpoint.to_owned()),
                KeyValue::new(label::RESULT, result),
            ],
        );
    }

    fn bound(&self, plugin: &str, hook: &str) -> Option<Arc<BoundHistogram<f64>>> {
        let find = |hooks: &Hooks| {
            hooks.iter().find(|(name, _)| name == hook).map(|(_, duration)| Arc::clone(duration))
        };
        if let Some(duration) = self.bound.read().get(plugin).and_then(find) {
            return Some(duration);
        }
        let mut bound = self.bound.write();
        if bound.len() >= PLUGINS_MAX && !bound.contains_key(plugin) {
            return None;
        }
        let hooks = bound.entry(plugin.to_owned()).or_default();
        if let Some(duration) = find(hooks) {
            return Some(duration);
        }
        let duration = Arc::new(self.duration.bind(&labels(plugin, hook)));
        hooks.push((hook.to_owned(), Arc::clone(&duration)));
        Some(duration)
    }
}

fn labels(plugin: &str, hook: &str) -> [KeyValue; 2] {
    [KeyValue::new(label::PLUGIN, plugin.to_owned()), KeyValue::new(label::HOOK, hook.to_owned())]
}
