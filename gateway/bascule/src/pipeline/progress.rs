//! What a call has done so far: its span, its counters, its identity.
//!
//! Shared between the call and a fetch that runs as a task of its own, hence the locks; both are held
//! only for the length of an assignment.

use crate::telemetry::{AttemptSpan, CallSpan, KeyValue, PluginSpan};
use http::{HeaderValue, Method};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Progress of one call.
pub struct Progress {
    /// None once it has ended.
    span: Mutex<Option<CallSpan>>,
    trace_id: String,
    traceparent: HeaderValue,
    call_id: OnceLock<Arc<str>>,
    attempts: AtomicU32,
    upstream_ns: AtomicU64,
    plugin_ns: AtomicU64,
}

/// What a call came to, in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Attempts made upstream.
    pub attempts: u32,
    /// Time spent waiting for the provider.
    pub upstream: Duration,
    /// Time spent in plugins.
    pub plugin: Duration,
}

impl Progress {
    /// Progress under this span.
    pub fn new(span: CallSpan) -> Arc<Self> {
        Arc::new(Self {
            trace_id: span.trace_id().to_owned(),
            traceparent: span.traceparent(),
            span: Mutex::new(Some(span)),
            call_id: OnceLock::new(),
            attempts: AtomicU32::new(0),
            upstream_ns: AtomicU64::new(0),
            plugin_ns: AtomicU64::new(0),
        })
    }

    /// Progress of work that no caller waits for.
    pub fn detached() -> Arc<Self> {
        Arc::new(Self {
            span: Mutex::new(None),
            trace_id: String::new(),
            traceparent: HeaderValue::from_static(""),
            call_id: OnceLock::new(),
            attempts: AtomicU32::new(0),
            upstream_ns: AtomicU64::new(0),
            plugin_ns: AtomicU64::new(0),
        })
    }

    /// Unique per call, the same for all its attempts; made when first asked for.
    pub fn call_id(&self) -> Arc<str> {
        Arc::clone(self.call_id.get_or_init(|| uuid::Uuid::now_v7().to_string().into()))
    }

    /// The figures so far.
    pub fn totals(&self) -> Totals {
        Totals {
            attempts: self.attempts.load(Ordering::Relaxed),
            upstream: Duration::from_nanos(self.upstream_ns.load(Ordering::Relaxed)),
            plugin: Duration::from_nanos(self.plugin_ns.load(Ordering::Relaxed)),
        }
    }

    /// Counts an attempt; the first is number 1.
    pub(super) fn attempt(&self) -> u32 {
        self.attempts.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    pub(super) fn add_upstream(&self, span: Duration) {
        self.upstream_ns.fetch_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn add_plugin(&self, span: Duration) {
        self.plugin_ns.fetch_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Works on the call's span, unless it has ended.
    pub fn with_span(&self, work: impl FnOnce(&mut CallSpan)) {
        if let Some(span) = &mut *self.span.lock() {
            work(span);
        }
    }

    /// Ends the call's span.
    pub fn end(&self, status: u16, error_type: Option<&str>) {
        if let Some(mut span) = self.span.lock().take() {
            span.end(status, error_type);
        }
    }

    pub(super) fn event(&self, name: &'static str, attributes: impl FnOnce() -> Vec<KeyValue>) {
        self.with_span(|span| span.event(name, attributes));
    }

    pub(super) fn attempt_span(
        &self,
        resend: u32,
        method: &Method,
        url: impl FnOnce() -> String,
        host: &str,
        port: u16,
    ) -> Option<AttemptSpan> {
        let span = self.span.lock();
        let span = span.as_ref()?;
        let url = if span.is_recording() { url() } else { String::new() };
        Some(span.attempt(resend, method, &url, host, port))
    }

    pub(super) fn plugin_span(&self, hook: &'static str, plugin: &str) -> Option<PluginSpan> {
        self.span.lock().as_ref().map(|span| span.plugin(hook, plugin))
    }

    /// `traceparent` for the caller.
    pub fn traceparent(&self) -> HeaderValue {
        self.traceparent.clone()
    }

    /// Trace id in hex.
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }
}
