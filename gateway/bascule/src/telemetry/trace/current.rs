//! The span of the plugin hook that a task is in, for what the hook brings about while it runs.
//!
//! A hook's guest runs within the task that calls it, and what it asks of the host comes back as plain
//! function calls that know no span. So the span is the task's, as it is with `tracing`: looked up where a
//! plugin annotates its span, or sends a request that belongs under it.

use std::{future::Future, sync::Arc};

use http::Method;
use parking_lot::Mutex;

use super::{AttemptSpan, PluginSpan};

tokio::task_local! {
    static HOOK: HookSpan;
}

/// A hook's span while the hook runs. Dropped without [`end`](Self::end), it ends as `cancelled`.
#[derive(Clone)]
pub struct HookSpan(Arc<Mutex<Option<PluginSpan>>>);

impl HookSpan {
    /// That span, which has begun.
    pub fn new(span: PluginSpan) -> Self {
        Self(Arc::new(Mutex::new(Some(span))))
    }

    /// Runs the hook under it.
    pub async fn run<T>(&self, hook: impl Future<Output = T>) -> T {
        HOOK.scope(self.clone(), hook).await
    }

    /// Ends the span now; `failure` is the kind of failure.
    pub fn end(self, failure: Option<&str>) {
        if let Some(span) = self.0.lock().take() {
            span.end(failure);
        }
    }

    /// Sets `plugin.KEY` on the span of the hook that is running in this task, if it is recorded.
    pub fn annotate(key: &str, value: &str) {
        Self::with(|span| span.annotate(key, value));
    }

    /// A CLIENT span for a request of the hook that is running in this task; none outside of a call. `url`
    /// must yield it redacted.
    pub fn request(
        method: &Method,
        url: impl FnOnce() -> String,
        host: &str,
        port: u16,
    ) -> Option<AttemptSpan> {
        Self::with(|span| span.request(method, url, host, port))
    }

    fn with<T>(work: impl FnOnce(&mut PluginSpan) -> T) -> Option<T> {
        HOOK.try_with(|hook| hook.0.lock().as_mut().map(work)).ok().flatten()
    }
}
