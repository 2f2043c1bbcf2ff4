//! Putting [`Telemetry`] together.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use opentelemetry::KeyValue;
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::Resource;
use tokio::runtime::Handle;

use super::{
    Inner, LAST_EXPORTS, LogFormat, OtlpTransport, Redactor, Telemetry, TelemetryError,
    completion::CompletionLog,
    metrics::Metrics,
    otlp::{Client, Closing, Exporters},
};
use crate::config::TelemetrySettings;

impl Telemetry {
    /// Telemetry for a running gateway.
    ///
    /// Completion records go to stderr in `format`. Spans and metrics are exported if the settings name
    /// a collector and a transport is given; metrics can be scraped in any case. Clones of `redactor`,
    /// such as the log's, stay connected with this one's.
    ///
    /// # Errors
    /// [`TelemetryError::NoRuntime`] when there is something to export and no runtime is running,
    /// [`TelemetryError::Exporter`] and [`TelemetryError::Metrics`] when the SDK refuses the settings,
    /// [`TelemetryError::Thread`] when the operating system gives no thread.
    pub fn start(
        settings: &TelemetrySettings,
        format: LogFormat,
        redactor: Redactor,
        transport: Option<Arc<dyn OtlpTransport>>,
    ) -> Result<Self, TelemetryError> {
        Self::start_with(settings, format, redactor, transport, Box::new(io::stderr()), LAST_EXPORTS)
    }

    /// Telemetry that exports and writes nothing: metrics can be scraped, and calls have trace ids.
    #[expect(clippy::expect_used, reason = "a fresh registry takes the one collector that it is given")]
    pub fn disabled() -> Self {
        let metrics = Metrics::new(Resource::builder_empty().build(), None::<MetricExporter>)
            .expect("a fresh registry has no other collector that could be in the way");
        Self::assemble(metrics, None, None, Redactor::default(), Closing::new(), LAST_EXPORTS, 1.0)
    }

    pub(super) fn start_with(
        settings: &TelemetrySettings,
        format: LogFormat,
        redactor: Redactor,
        transport: Option<Arc<dyn OtlpTransport>>,
        sink: Box<dyn Write + Send>,
        last_exports: Duration,
    ) -> Result<Self, TelemetryError> {
        let resource = resource(settings);
        let closing = Closing::new();
        let exporters = match (&settings.otlp_endpoint, transport) {
            (Some(endpoint), Some(transport)) => {
                let runtime = Handle::try_current().map_err(|_| TelemetryError::NoRuntime)?;
                let client = Arc::new(Client::new(transport, runtime, closing.clone()));
                Some(Exporters::new(endpoint, &resource, client).map_err(TelemetryError::Exporter)?)
            }
            _ => None,
        };
        let (push, spans) = exporters.map(|exporters| (exporters.metrics, exporters.spans)).unzip();
        let metrics = Metrics::new(resource, push).map_err(TelemetryError::Metrics)?;
        let log = CompletionLog::start(format, redactor.clone(), sink).map_err(TelemetryError::Thread)?;
        let telemetry =
            Self::assemble(metrics, spans, Some(log), redactor, closing, last_exports, settings.sample);
        telemetry.reload(settings);
        Ok(telemetry)
    }

    fn assemble(
        metrics: Metrics,
        spans: Option<Arc<super::SpanQueue>>,
        completion: Option<CompletionLog>,
        redactor: Redactor,
        closing: Closing,
        last_exports: Duration,
        sample: f64,
    ) -> Self {
        let inner = Inner {
            metrics,
            spans,
            sample: AtomicU64::new(sample.to_bits()),
            completion,
            completion_on: AtomicBool::new(true),
            journal: ArcSwapOption::empty(),
            redactor,
            closing,
            last_exports,
            ended: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }
}

/// Who reports. `OTEL_RESOURCE_ATTRIBUTES` may add to it; the configuration's name wins.
fn resource(settings: &TelemetrySettings) -> Resource {
    Resource::builder()
        .with_service_name(settings.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}
