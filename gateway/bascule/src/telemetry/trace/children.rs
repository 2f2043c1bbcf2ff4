//! Spans below a call: attempts upstream and plugin hooks. They outlive borrowing of the call's span,
//! so that concurrent attempts may each own theirs.

use http::{HeaderMap, Method};
use opentelemetry::{KeyValue, trace::SpanKind};

use super::{
    recording::Recording,
    span::{Child, Ids, Target},
};
use crate::telemetry::attributes::span;

/// One attempt upstream. Dropped without [`end`](Self::end), it ends as `cancelled`.
pub struct AttemptSpan {
    ids: Ids,
    recording: Option<Box<Recording>>,
}

/// One call of a plugin's hook. Dropped without [`end`](Self::end), it ends as `cancelled`.
pub struct PluginSpan {
    ids: Ids,
    recording: Option<Box<Recording>>,
}

impl AttemptSpan {
    pub(super) fn start(child: Child, target: Target<'_>, resend: u32) -> Self {
        let Child { ids, mut recording } = child;
        if let Some(recording) = &mut recording {
            recording.attribute(KeyValue::new(span::METHOD, target.method.to_string()));
            recording.attribute(KeyValue::new(span::URL_FULL, target.url.to_owned()));
            recording.attribute(KeyValue::new(span::SERVER_ADDRESS, target.host.to_owned()));
            recording.attribute(KeyValue::new(span::SERVER_PORT, i64::from(target.port)));
            if resend > 0 {
                recording.attribute(KeyValue::new(span::RESEND_COUNT, i64::from(resend)));
            }
        }
        Self { ids, recording }
    }

    /// Puts this attempt's context into the request: `traceparent`, `tracestate`, `baggage`,
    /// replacing what is there.
    pub fn inject(&self, headers: &mut HeaderMap) {
        self.ids.inject(headers);
    }

    /// Ends the span now. It counts as failed without a status or from 400 on; `error.type` is then the
    /// one given, or else the status.
    pub fn end(mut self, status: Option<u16>, error_type: Option<&str>) {
        let Some(mut recording) = self.recording.take() else { return };
        if let Some(status) = status {
            recording.attribute(KeyValue::new(span::STATUS_CODE, i64::from(status)));
        }
        let failed = error_type.is_some() || status.is_none_or(|status| status >= 400);
        match (error_type, status) {
            (Some(error_type), _) => recording.error(error_type),
            (None, Some(status)) if failed => recording.error(&status.to_string()),
            (None, _) => {}
        }
        if failed {
            recording.failed();
        }
        recording.finish();
    }
}

impl PluginSpan {
    pub(super) fn start(child: Child, hook: &'static str, plugin: &str) -> Self {
        let Child { ids, mut recording } = child;
        if let Some(recording) = &mut recording {
            recording.attribute(KeyValue::new(span::PLUGIN, plugin.to_owned()));
            recording.attribute(KeyValue::new(span::HOOK, hook));
        }
        Self { ids, recording }
    }

    /// Sets an attribute that the plugin named.
    pub fn annotate(&mut self, key: &str, value: &str) {
        if let Some(recording) = &mut self.recording {
            recording.attribute(KeyValue::new(format!("{}{key}", span::PLUGIN_OWN), value.to_owned()));
        }
    }

    /// A CLIENT span for a request that the hook sends, beginning now. `url` must yield it redacted.
    pub fn request(
        &self,
        method: &Method,
        url: impl FnOnce() -> String,
        host: &str,
        port: u16,
    ) -> AttemptSpan {
        let child = self.ids.child(self.recording.as_deref(), SpanKind::Client, || method.to_string());
        let url = if self.recording.is_some() { url() } else { String::new() };
        AttemptSpan::start(child, Target { method, url: &url, host, port }, 0)
    }

    /// Ends the span now; `failure` is the kind of failure.
    pub fn end(mut self, failure: Option<&str>) {
        let Some(mut recording) = self.recording.take() else { return };
        if let Some(failure) = failure {
            recording.error(failure);
            recording.failed();
        }
        recording.finish();
    }
}

fn cancel(recording: Option<Box<Recording>>) {
    if let Some(mut recording) = recording {
        recording.error(span::CANCELLED);
        recording.finish();
    }
}

impl Drop for AttemptSpan {
    fn drop(&mut self) {
        cancel(self.recording.take());
    }
}

impl Drop for PluginSpan {
    fn drop(&mut self) {
        cancel(self.recording.take());
    }
}
