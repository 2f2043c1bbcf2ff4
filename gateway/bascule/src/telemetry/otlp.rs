//! OTLP over HTTP (protobuf): spans and metrics to a collector.
//!
//! The transport is the application's, so that exports use the gateway's own connections, TLS and
//! egress rules; what is decided here is that exporting never holds up a call. Spans wait in a bounded
//! queue, are sent in batches, and are dropped and counted when the queue is full or the collector does
//! not take them in time. The SDK's own retries are off, since they sleep on a thread that a shutdown
//! could not interrupt; `client` retries instead.

mod client;
mod spans;

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use url::Url;

pub(super) use client::{Client, Closing};
pub(super) use spans::SpanQueue;

/// How long one export may take, retries included; OpenTelemetry's default.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends one request to the collector and returns the whole answer.
///
/// Implementations bound the size of the answer; the time is bounded here, by dropping the future.
pub trait OtlpTransport: Send + Sync + 'static {
    /// The answer, whatever its status; a text for people when there is none.
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, String>> + Send>>;
}

/// Both exporters for a collector.
pub(super) struct Exporters {
    pub(super) metrics: MetricExporter,
    pub(super) spans: Arc<SpanQueue>,
}

impl Exporters {
    /// `endpoint` is the collector's base; `/v1/traces` and `/v1/metrics` are appended. Headers come
    /// from `OTEL_EXPORTER_OTLP_HEADERS` (and its forms for one signal); everything else is fixed.
    pub(super) fn new(
        endpoint: &Url,
        resource: &Resource,
        client: Arc<Client>,
    ) -> Result<Self, ExporterBuildError> {
        let spans = SpanExporter::builder()
            .with_http()
            .with_endpoint(signal(endpoint, "v1/traces"))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_TIMEOUT)
            .with_retry_policy(RetryPolicy::disabled())
            .with_shared_http_client(client.clone())
            .build()?;
        let metrics = MetricExporter::builder()
            .with_http()
            .with_endpoint(signal(endpoint, "v1/metrics"))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_TIMEOUT)
            .with_retry_policy(RetryPolicy::disabled())
            .with_shared_http_client(client)
            .build()?;
        Ok(Self { metrics, spans: Arc::new(SpanQueue::new(spans, resource)) })
    }
}

fn signal(endpoint: &Url, path: &str) -> String {
    let mut endpoint = endpoint.clone();
    endpoint.set_fragment(None);
    let path = format!("{}/{path}", endpoint.path().trim_end_matches('/'));
    endpoint.set_path(&path);
    endpoint.into()
}

#[cfg(test)]
mod tests;
