//! Spans below a call: attempts upstream and plugin hooks. They outlive borrowing of the call's span,
//! so that concurrent attempts may each own theirs.

use http::HeaderMap;
use opentelemetry::{KeyValue, Value};

use super::{recording::Recording, span::Ids};
use crate::telemetry::attributes::span;

/// One attempt upstream. Dropped without [`end`](Self::end), it ends as `cancelled`.
pub struct AttemptSpan {
    ids: Ids,
    recording: Option<Box<Recording>>,
}

/// One call of a plugin's hook. Dropped without [`end`](Self::end), it ends as `cancelled`.
pub struct PluginSpan {
    recording: Option<Box<Recording>>,
}

impl AttemptSpan {
    pub(super) fn start<const N: usize>(
        ids: Ids,
        mut recording: Option<Box<Recording>>,
        attributes: impl FnOnce() -> [(&'static str, Value); N],
        resend: u32,
    ) -> Self {
        if let Some(recording) = &mut recording {
            for (name, value) in attributes() {
                recording.attribute(KeyValue::new(name, value));
            }
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
    pub(super) fn start(mut recording: Option<Box<Recording>>, hook: &'static str, plugin: &str) -> Self {
        if let Some(recording) = &mut recording {
            recording.attribute(KeyValue::new(span::PLUGIN, plugin.to_owned()));
            recording.attribute(KeyValue::new(span::HOOK, hook));
        }
        Self { recording }
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
