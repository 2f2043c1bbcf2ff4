//! Metrics: bound instruments, read by Prometheus and pushed by OTLP under the same names.
//!
//! An instrument bound to its labels costs a few nanoseconds per observation, without looking labels
//! up; so the pipeline takes an [`OperationMetrics`] per operation and an [`IntegrationMetrics`] per
//! integration when a configuration is loaded and keeps them. Binding the same names again, after a
//! reload, goes on with the same series. Nothing here decides what counts as what.

mod bound;
mod instruments;
mod kept;
mod lazy;
mod ledger;
mod levels;
mod lookups;
mod plugin;
mod plugin_own;
mod shared;

use std::{thread, time::Duration};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    metrics::{Instrument, PeriodicReader, SdkMeterProvider, Stream, exporter::PushMetricExporter},
};
use prometheus::{Registry, TextEncoder};

pub use bound::{IntegrationMetrics, OperationMetrics};
use instruments::Instruments;
pub(crate) use kept::LookAtKept;
pub(crate) use levels::Look;
pub use levels::{Concurrency, Held, Levels};
pub use lookups::CacheLookups;
use plugin::PluginMetrics;
pub use plugin_own::PluginLabels;
use plugin_own::PluginOwn;
pub(crate) use shared::LookAtShared;
pub use shared::SharedLevels;

/// Most series of one metric; what is beyond is counted together as `otel_metric_overflow`. It is far
/// above what configurations hold (500 operations with 10 statuses are 5000) and stops runaway memory.
const SERIES_MAX: usize = 10_000;

/// How often metrics are pushed by OTLP; OpenTelemetry's default.
const PUSH_INTERVAL: Duration = Duration::from_secs(60);

/// All instruments and both ways to read them.
pub(super) struct Metrics {
    /// Present until the drop, which gives it away.
    provider: Option<SdkMeterProvider>,
    registry: Registry,
    instruments: Instruments,
    plugins: PluginMetrics,
    plugins_own: PluginOwn,
    levels: levels::Source,
    kept: kept::KeptSource,
    shared: shared::Source,
}

impl Metrics {
    /// Instruments that can be scraped and, with an exporter, are pushed.
    pub(super) fn new<E: PushMetricExporter>(
        resource: Resource,
        push: Option<E>,
    ) -> Result<Self, OTelSdkError> {
        let registry = Registry::new();
        // The contract's names are whole: no suffixes for units or counters, no scope labels.
        let scrape = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_counter_suffixes()
            .without_target_info()
            .scope_info_enabled(false)
            .build()?;
        let series = |_: &Instrument| Stream::builder().with_cardinality_limit(SERIES_MAX).build().ok();
        let mut builder =
            SdkMeterProvider::builder().with_resource(resource).with_reader(scrape).with_view(series);
        if let Some(exporter) = push {
            builder =
                builder.with_reader(PeriodicReader::builder(exporter).with_interval(PUSH_INTERVAL).build());
        }
        let provider = builder.build();
        let meter = provider.meter("bascule");
        let instruments = Instruments::new(&meter);
        let plugins = PluginMetrics::new(&instruments);
        let plugins_own = PluginOwn::new(meter.clone());
        let levels = levels::Source::default();
        levels::register(&meter, &levels);
        let kept = kept::KeptSource::default();
        kept::register(&meter, &kept);
        let shared = shared::Source::default();
        shared::register(&meter, &shared);
        Ok(Self {
            provider: Some(provider),
            registry,
            instruments,
            plugins,
            plugins_own,
            levels,
            kept,
            shared,
        })
    }

    pub(super) fn operation(&self, integration: &str, operation: &str) -> OperationMetrics {
        OperationMetrics::bind(&self.instruments, integration, operation)
    }

    pub(super) fn integration(&self, integration: &str) -> IntegrationMetrics {
        IntegrationMetrics::bind(&self.instruments, integration)
    }

    pub(super) fn plugin_call(&self, plugin: &str, hook: &str, elapsed: Duration, failure: Option<&str>) {
        self.plugins.call(plugin, hook, elapsed, failure);
    }

    pub(super) fn plugin_rolled_back(&self, plugin: &str) {
        self.plugins.rolled_back(plugin);
    }

    pub(super) fn side_request(&self, plugin: &str, integration: &str, endpoint: &str, result: &'static str) {
        self.plugins.side_request(plugin, integration, endpoint, result);
    }

    pub(super) fn plugins_own(&self) -> &PluginOwn {
        &self.plugins_own
    }

    /// Says where the gauges look that are read and not counted. Only the first call has an effect.
    pub(super) fn observe(&self, look: Look) {
        // A second source would belong to a second set of services, of which a process has one.
        let _ = self.levels.set(look);
    }

    /// The same for where the cache is kept beside the memory.
    pub(super) fn observe_kept(&self, look: LookAtKept) {
        let _ = self.kept.set(look);
    }

    /// The same for what is read of the shared server.
    pub(super) fn observe_shared(&self, look: LookAtShared) {
        let _ = self.shared.set(look);
    }

    /// All series as Prometheus text.
    pub(super) fn scrape(&self) -> String {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "metrics could not be written as text");
                String::new()
            }
        }
    }

    /// Pushes what is pending and stops pushing. Blocks for at most five seconds.
    pub(super) fn shutdown(&self) {
        if let Some(provider) = &self.provider {
            // A failed last push has been reported where it was sent; there is nothing else to do about it.
            let _ = provider.shutdown();
        }
    }
}

/// A provider that goes without a shutdown makes its last push while it is dropped, waiting for it. That
/// is no place to wait, least of all on the runtime that is to send the push.
impl Drop for Metrics {
    fn drop(&mut self) {
        let provider = self.provider.take();
        // Without a thread the provider is dropped here, which is slow but right.
        let _ = thread::Builder::new().name("telemetry-end".to_owned()).spawn(move || drop(provider));
    }
}

#[cfg(test)]
mod tests;
