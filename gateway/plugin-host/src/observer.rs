//! Where log lines and durations of plugin calls go.
//!
//! The host hands facts to an [`Observer`] and knows no metric and no log format; the gateway brings
//! its own, tests record, and whoever brings none gets `tracing`.

use std::time::Duration;

pub use crate::bindings::bascule::plugin::log::Level as LogLevel;
use crate::plugin::PluginId;
use crate::state::CallContext;

/// Receives what plugins log and how their calls went. Called on the call path: must not block.
pub trait Observer: Send + Sync {
    /// Whether a line of that level would be kept; lets plugins skip formatting. Default: always.
    fn enabled(&self, plugin: &str, level: LogLevel) -> bool {
        let _ = (plugin, level);
        true
    }

    /// One log line of a plugin, already within the caps of a call.
    fn log(&self, plugin: &str, phase: &str, level: LogLevel, message: &str, fields: &[(String, String)]);

    /// One finished call, waiting for an instance included. `failure` is one of `fault`, `trap`,
    /// `cpu`, `wall`, `memory`, `busy`, `unavailable`, `bad-answer`.
    fn call(&self, plugin: &str, phase: &str, elapsed: Duration, failure: Option<&'static str>);

    /// A plugin adds to a counter of its own (`telemetry.count`). Names and labels are well-formed and
    /// bounded: 64 names, 8 label names and 512 combinations with label values per plugin name. Label
    /// values have at most 64 octets and no known secret. Default: nothing.
    fn count(&self, plugin: &str, call: &CallContext, name: &str, value: u64, labels: &[(String, String)]) {
        let _ = (plugin, call, name, value, labels);
    }

    /// A plugin observes a finite value (`telemetry.observe`), within the bounds of [`Observer::count`].
    /// No name is both counted and observed. Default: nothing.
    fn observe(&self, plugin: &str, call: &CallContext, name: &str, value: f64, labels: &[(String, String)]) {
        let _ = (plugin, call, name, value, labels);
    }

    /// A plugin sets an attribute on the span of its phase (`telemetry.annotate`): at most 32 a phase, of
    /// at most 256 octets, without known secrets. Default: nothing.
    fn annotate(&self, plugin: &str, call: &CallContext, key: &str, value: &str) {
        let _ = (plugin, call, key, value);
    }

    /// The plugin's breaker opened: it has kept failing and is left alone for a while. Called once each time,
    /// after the failure was counted, with no lock held. Default: nothing.
    fn out_of_service(&self, plugin: &str, id: PluginId) {
        let _ = (plugin, id);
    }
}

/// Writes plugin logs to `tracing` under the target `bascule::plugin`; drops durations.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingObserver;

/// The target, so that a filter can name plugins apart from the host.
const TARGET: &str = "bascule::plugin";

impl Observer for TracingObserver {
    fn enabled(&self, _plugin: &str, level: LogLevel) -> bool {
        match level {
            LogLevel::Trace => tracing::enabled!(target: TARGET, tracing::Level::TRACE),
            LogLevel::Debug => tracing::enabled!(target: TARGET, tracing::Level::DEBUG),
            LogLevel::Info => tracing::enabled!(target: TARGET, tracing::Level::INFO),
            LogLevel::Warn => tracing::enabled!(target: TARGET, tracing::Level::WARN),
            LogLevel::Error => tracing::enabled!(target: TARGET, tracing::Level::ERROR),
        }
    }

    fn log(&self, plugin: &str, phase: &str, level: LogLevel, message: &str, fields: &[(String, String)]) {
        // The names of a plugin's fields are not known when this is compiled, so they go as one.
        let fields = Fields(fields);
        match level {
            LogLevel::Trace => tracing::trace!(target: TARGET, plugin, phase, %fields, "{message}"),
            LogLevel::Debug => tracing::debug!(target: TARGET, plugin, phase, %fields, "{message}"),
            LogLevel::Info => tracing::info!(target: TARGET, plugin, phase, %fields, "{message}"),
            LogLevel::Warn => tracing::warn!(target: TARGET, plugin, phase, %fields, "{message}"),
            LogLevel::Error => tracing::error!(target: TARGET, plugin, phase, %fields, "{message}"),
        }
    }

    fn call(&self, _plugin: &str, _phase: &str, _elapsed: Duration, _failure: Option<&'static str>) {}
}

struct Fields<'a>(&'a [(String, String)]);

impl std::fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{name}={value:?}")?;
        }
        Ok(())
    }
}
