//! The queue of finished spans, in front of the SDK's batch processor.
//!
//! The processor keeps its count of dropped spans to itself, so the bound is enforced here, by the same
//! number: what waits is counted in before it is queued and out when a batch is taken.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor},
};

use crate::telemetry::trace::SpanSink;

/// Most spans waiting to be sent; OpenTelemetry's default.
const QUEUE_MAX: usize = 2048;
/// Most spans in one request.
const BATCH_MAX: usize = 512;
/// How long a span waits for company. Short, so that a trace is there when one looks for it.
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// Spans on their way to the collector.
pub(in crate::telemetry) struct SpanQueue {
    processor: BatchSpanProcessor,
    counts: Arc<Counts>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Counts {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

impl SpanQueue {
    pub(super) fn new<E: SpanExporter + 'static>(exporter: E, resource: &Resource) -> Self {
        let counts = Arc::new(Counts::default());
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(BATCH_DELAY)
            .build();
        let counting = CountingExporter { exporter, counts: Arc::clone(&counts) };
        let mut processor = BatchSpanProcessor::builder(counting).with_batch_config(config).build();
        processor.set_resource(resource);
        Self { processor, counts, closed: AtomicBool::new(false) }
    }

    /// Spans that were not delivered: no room, refused, or out of time.
    pub(in crate::telemetry) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Sends what waits and stops; what comes later is dropped. Blocks for at most `limit`.
    pub(in crate::telemetry) fn shutdown(&self, limit: Duration) {
        self.closed.store(true, Ordering::Release);
        // What could not be sent is counted by the exporter; the rest is out of time.
        let _ = self.processor.shutdown_with_timeout(limit);
    }
}

impl SpanSink for SpanQueue {
    fn accept(&self, span: SpanData) {
        if self.closed.load(Ordering::Acquire) {
            self.counts.drop_some(1);
        } else if self.counts.waiting.fetch_add(1, Ordering::AcqRel) >= QUEUE_MAX {
            self.counts.waiting.fetch_sub(1, Ordering::AcqRel);
            self.counts.drop_some(1);
        } else {
            self.processor.on_end(span);
        }
    }
}

impl Counts {
    fn drop_some(&self, spans: u64) {
        if self.dropped.fetch_add(spans, Ordering::Relaxed) == 0 {
            tracing::warn!("spans are dropped: the collector is away, or slower than calls come in");
        }
    }
}

/// Counts what leaves the queue, and what then is not delivered.
struct CountingExporter<E> {
    exporter: E,
    counts: Arc<Counts>,
}

impl<E> fmt::Debug for CountingExporter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountingExporter")
    }
}

impl<E: SpanExporter> SpanExporter for CountingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.counts.waiting.fetch_sub(spans, Ordering::AcqRel);
        let exported = self.exporter.export(batch).await;
        if exported.is_err() {
            self.counts.drop_some(u64::try_from(spans).unwrap_or(u64::MAX));
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
