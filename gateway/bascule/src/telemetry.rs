//! What operators see of the gateway: traces, metrics, completion records, logs, and none of its secrets.
//!
//! One [`Telemetry`] is made at start and cloned to whoever reports. The one decision behind it: reporting
//! never holds up a call. Metrics are atomics; spans and records go into bounded queues whose overflow is
//! dropped and counted; writing and sending happen on threads of their own. Nothing here knows what a call
//! does, and no name of a metric, span or field stands outside [`attributes`].
//!
//! | signal | made by | leaves by |
//! | --- | --- | --- |
//! | metrics | [`metrics`] | `/metrics` ([`Telemetry::scrape`]) and OTLP |
//! | spans | [`trace`] | OTLP |
//! | completion records | [`completion`] | stderr |
//! | journal | [`journal`] | files of its own |
//! | logs | `tracing` events | stderr ([`init_logs`]) |

pub mod attributes;
pub mod completion;
pub mod journal;
pub mod logs;
pub mod metrics;
pub mod otlp;
pub mod redact;
pub mod trace;

mod queue;
mod start;
mod timestamp;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::error::OTelSdkError;
use tokio::{sync::oneshot, time::timeout};

pub use completion::CompletionRecord;
pub use logs::{LogFormat, LogHandle, init_logs};
pub use metrics::{
    CacheLookups, Concurrency, Held, IntegrationMetrics, Levels, OperationMetrics, PluginLabels, SharedLevels,
};
pub use opentelemetry::KeyValue;
pub use otlp::OtlpTransport;
pub use redact::Redactor;
pub use timestamp::rfc3339;
pub use trace::{AttemptSpan, CallSpan, HookSpan, PluginSpan, TraceContext};

use crate::config::{JournalSettings, TelemetrySettings};
use arc_swap::ArcSwapOption;
use completion::CompletionLog;
use journal::{CallRecord, Journal, JournalError};
use metrics::{Look, LookAtKept, LookAtShared, Metrics};
use otlp::{Closing, SpanQueue};
use trace::{Origin, SpanSink};

/// How long a shutdown waits for telemetry altogether.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);
/// How long exports may still take on shutdown: less than [`SHUTDOWN_MAX`], so that giving up is orderly.
const LAST_EXPORTS: Duration = Duration::from_secs(4);

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The exporters refuse their settings.
    #[error("the OTLP exporter cannot be set up")]
    Exporter(#[source] ExporterBuildError),
    /// The metrics cannot be set up.
    #[error("metrics cannot be set up")]
    Metrics(#[source] OTelSdkError),
    /// Exporting needs a runtime, and none is running here.
    #[error("exporting telemetry needs a runtime")]
    NoRuntime,
    /// The operating system gives no thread.
    #[error("no thread for telemetry")]
    Thread(#[source] io::Error),
    /// The process has a log already.
    #[error("the log has been started before")]
    LogsStarted,
}

/// Everything that reports. Clones are cheap and share all state.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    metrics: Metrics,
    spans: Option<Arc<SpanQueue>>,
    /// Share of calls to trace, as the bits of an `f64`: a reload may change it.
    sample: AtomicU64,
    completion: Option<CompletionLog>,
    completion_on: AtomicBool,
    /// A reload may bring, replace or take it.
    journal: ArcSwapOption<Journal>,
    redactor: Redactor,
    closing: Closing,
    last_exports: Duration,
    ended: AtomicBool,
}

/// What was lost so far because somebody was too slow to take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Spans that the collector did not get.
    pub spans: u64,
    /// Completion records that were not written.
    pub records: u64,
}

impl Telemetry {
    /// Takes over what a new configuration may change while running: the share of traced calls, and
    /// whether completion records are written. Service name and collector need a restart.
    pub fn reload(&self, settings: &TelemetrySettings) {
        self.inner.sample.store(settings.sample.to_bits(), Ordering::Relaxed);
        self.inner.completion_on.store(settings.completion_log, Ordering::Relaxed);
    }

    /// Takes over another redactor's rules, for all that share this one's.
    pub fn set_redactor(&self, redactor: Redactor) {
        self.inner.redactor.replace(&redactor);
    }

    /// Removes secrets from texts.
    pub fn redactor(&self) -> &Redactor {
        &self.inner.redactor
    }

    /// A span for a call that was accepted at `now`. Its ids exist in any case; it is recorded if the
    /// caller's trace is, or without one by the declared share, and if a collector is configured.
    pub fn call_span(&self, parent: Option<&TraceContext>, now: SystemTime) -> CallSpan {
        let sink = self.inner.spans.as_ref().map(|spans| {
            let sink: Arc<dyn SpanSink> = spans.clone();
            sink
        });
        let sample = f64::from_bits(self.inner.sample.load(Ordering::Relaxed));
        CallSpan::start(&Origin { sample, sink }, parent, now)
    }

    /// Instruments of an operation; to be kept, since making them looks labels up.
    pub fn operation(&self, integration: &str, operation: &str) -> Arc<OperationMetrics> {
        Arc::new(self.inner.metrics.operation(integration, operation))
    }

    /// Instruments of an integration; to be kept.
    pub fn integration(&self, integration: &str) -> Arc<IntegrationMetrics> {
        Arc::new(self.inner.metrics.integration(integration))
    }

    /// A plugin's hook ran; `failure` is its kind, from a fixed list.
    pub fn plugin_call(&self, plugin: &str, hook: &str, elapsed: Duration, failure: Option<&str>) {
        self.inner.metrics.plugin_call(plugin, hook, elapsed, failure);
    }

    /// A plugin's new version failed, and the one before came back.
    pub fn plugin_rolled_back(&self, plugin: &str) {
        self.inner.metrics.plugin_rolled_back(plugin);
    }

    /// A plugin sent a side request to an endpoint; `result` is what became of it, from a fixed list.
    pub fn side_request(&self, plugin: &str, integration: &str, endpoint: &str, result: &'static str) {
        self.inner.metrics.side_request(plugin, integration, endpoint, result);
    }

    /// A plugin adds to a counter of its own.
    pub fn plugin_count(&self, name: &str, value: u64, labels: &PluginLabels<'_>) {
        self.inner.metrics.plugins_own().count(name, value, labels);
    }

    /// A plugin observes a value of its own.
    pub fn plugin_observe(&self, name: &str, value: f64, labels: &PluginLabels<'_>) {
        self.inner.metrics.plugins_own().observe(name, value, labels);
    }

    /// Queues a call's completion record, unless they are switched off.
    pub fn completion(&self, record: CompletionRecord) {
        if let Some(log) = &self.inner.completion
            && self.inner.completion_on.load(Ordering::Relaxed)
        {
            log.push(record);
        }
    }

    /// Keeps the journal that the settings ask for, or none. With the settings that it has, it goes on with its file;
    /// otherwise a new one is begun, and the former writes what it was given and ends. Disabled telemetry keeps none.
    ///
    /// # Errors
    /// [`JournalError`] when the folder cannot be used or there is no thread; what was kept before stays.
    pub fn keep_journal(&self, settings: Option<&JournalSettings>) -> Result<(), JournalError> {
        if self.inner.completion.is_none() {
            return Ok(());
        }
        let kept = self.inner.journal.load();
        if kept.as_ref().map(|journal| journal.settings()) == settings {
            return Ok(());
        }
        let next = settings.map(|settings| Journal::open(settings.clone()).map(Arc::new)).transpose()?;
        self.inner.journal.store(next);
        Ok(())
    }

    /// Whether calls are to be journalled.
    pub fn keeps_journal(&self) -> bool {
        self.inner.journal.load().is_some()
    }

    /// Queues a call for the journal, if one is kept.
    pub fn journal(&self, record: CallRecord) {
        if let Some(journal) = &*self.inner.journal.load() {
            journal.push(record);
        }
    }

    /// Says where the gauges look that are read and not counted.
    pub(crate) fn observe(&self, look: Look) {
        self.inner.metrics.observe(look);
    }

    /// The same for where the cache is kept beside the memory.
    pub(crate) fn observe_kept(&self, look: LookAtKept) {
        self.inner.metrics.observe_kept(look);
    }

    /// Says where is looked for what is read of the shared server.
    pub(crate) fn observe_shared(&self, look: LookAtShared) {
        self.inner.metrics.observe_shared(look);
    }

    /// All metrics as Prometheus text.
    pub fn scrape(&self) -> String {
        self.inner.metrics.scrape()
    }

    /// What was lost so far.
    pub fn dropped(&self) -> Dropped {
        Dropped {
            spans: self.inner.spans.as_ref().map_or(0, |spans| spans.dropped()),
            records: self.inner.completion.as_ref().map_or(0, CompletionLog::dropped),
        }
    }

    /// Writes and sends what is pending and stops exporting, within five seconds. What is reported
    /// afterwards is dropped and counted. Cancelling it leaves the flush running; a second call does nothing.
    pub async fn shutdown(&self) {
        if self.inner.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        self.inner.closing.within(self.inner.last_exports);
        let (done, flushed) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        // The SDK blocks while it flushes, and a blocking task of the runtime would hold up its end.
        let thread = thread::Builder::new().name("telemetry-flush".to_owned()).spawn(move || {
            inner.flush();
            // Nobody waits any more when the five seconds are over.
            let _ = done.send(());
        });
        if thread.is_ok() && timeout(SHUTDOWN_MAX, flushed).await.is_err() {
            tracing::warn!("not all telemetry could be delivered before the end");
        }
    }
}

impl Inner {
    /// Blocks until all is out, or `closing` has cut the exports off.
    fn flush(&self) {
        if let Some(log) = &self.completion {
            log.flush(self.last_exports);
        }
        if let Some(journal) = &*self.journal.load() {
            journal.flush(self.last_exports);
        }
        self.metrics.shutdown();
        if let Some(spans) = &self.spans {
            spans.shutdown(SHUTDOWN_MAX);
        }
    }
}

#[cfg(test)]
mod tests;
