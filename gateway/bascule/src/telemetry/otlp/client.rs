//! The SDK's HTTP client, on top of the application's transport.
//!
//! The SDK exports from plain threads, while the transport needs the runtime: so each export becomes
//! a task there, bounded three ways: by the number of tries, by the export's time, and by the moment at
//! which a shutdown gives up.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header::RETRY_AFTER};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{EXPORT_TIMEOUT, OtlpTransport};

/// Most tries of one export, the first included.
const TRIES_MAX: u32 = 3;
/// Pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause that a collector's `Retry-After` can ask for; more would only lose the batch later.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("{0}")]
    Transport(String),
    #[error("no answer within {} s", EXPORT_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the gateway is shutting down")]
    Closing,
    #[error("the runtime has ended")]
    NoRuntime,
}

/// Sends exports. Failing exports are logged once, until one succeeds again.
pub(in crate::telemetry) struct Client {
    sender: Arc<Sender>,
    runtime: Handle,
}

struct Sender {
    transport: Arc<dyn OtlpTransport>,
    closing: Closing,
    failing: AtomicBool,
}

impl Client {
    pub(in crate::telemetry) fn new(
        transport: Arc<dyn OtlpTransport>,
        runtime: Handle,
        closing: Closing,
    ) -> Self {
        Self { sender: Arc::new(Sender { transport, closing, failing: AtomicBool::new(false) }), runtime }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl HttpClient for Client {
    fn send_bytes<'client, 'send>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'send>>
    where
        'client: 'send,
        Self: 'send,
    {
        let sender = Arc::clone(&self.sender);
        let task = self.runtime.spawn(async move { sender.bounded(request).await });
        Box::pin(async move {
            let sent = task.await.unwrap_or(Err(ExportError::NoRuntime));
            sent.map_err(HttpError::from)
        })
    }
}

impl Sender {
    async fn bounded(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ExportError> {
        let sent = tokio::select! {
            sent = self.with_retries(request) => sent,
            () = sleep(EXPORT_TIMEOUT) => Err(ExportError::TimedOut),
            () = self.closing.reached() => Err(ExportError::Closing),
        };
        self.report(&sent);
        sent
    }

    async fn with_retries(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ExportError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES_MAX {
            let asked = match self.transport.send(request.clone()).await {
                Ok(answer) if !matches!(answer.status().as_u16(), 429 | 502 | 503 | 504) => {
                    return Ok(answer);
                }
                Ok(answer) => retry_after(answer.headers()),
                Err(_) => None,
            };
            sleep(asked.unwrap_or(pause).min(PAUSE_MAX)).await;
            pause *= 2;
        }
        self.transport.send(request).await.map_err(ExportError::Transport)
    }

    fn report(&self, sent: &Result<Response<Bytes>, ExportError>) {
        let failure = match sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answered {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        match failure {
            Some(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "telemetry is not delivered; it is dropped until the collector takes it");
            }
            None if self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!("telemetry is delivered again")
            }
            _ => {}
        }
    }
}

/// Seconds only: collectors send no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// The moment at which exporting gives up. Clones share it.
#[derive(Clone)]
pub(in crate::telemetry) struct Closing {
    at: Arc<watch::Sender<Option<Instant>>>,
}

impl Closing {
    pub(in crate::telemetry) fn new() -> Self {
        Self { at: Arc::new(watch::Sender::new(None)) }
    }

    /// Exports that run or begin now have until then. A second call changes nothing.
    pub(in crate::telemetry) fn within(&self, span: Duration) {
        self.at.send_if_modified(|at| {
            let first = at.is_none();
            at.get_or_insert_with(|| Instant::now() + span);
            first
        });
    }

    async fn reached(&self) {
        let mut watched = self.at.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail; if it did, exporting should end.
        let at = watched.wait_for(Option::is_some).await.ok().and_then(|at| *at);
        if let Some(at) = at {
            sleep_until(at).await;
        }
    }
}
