//! The SERVER span of a call, and the ids that exist even when nothing is recorded.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderValue, Method};
use opentelemetry::{
    KeyValue, Value,
    trace::{SpanContext, SpanId, SpanKind, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

use super::{
    AttemptSpan, PluginSpan, SpanSink, TraceContext,
    context::{BAGGAGE, SAMPLED, TRACEPARENT, TRACESTATE},
    recording::Recording,
};
use crate::telemetry::attributes::span;

/// How calls are sampled, and who collects their spans.
pub(in crate::telemetry) struct Origin {
    /// Share of calls traced when the caller did not decide, 0 to 1.
    pub(in crate::telemetry) sample: f64,
    /// Absent: ids only.
    pub(in crate::telemetry) sink: Option<Arc<dyn SpanSink>>,
}

/// Ids of a span and what travels with them.
#[derive(Clone)]
pub(super) struct Ids {
    trace_id: TraceId,
    span_id: SpanId,
    flags: u8,
    carried: Option<Arc<Carried>>,
}

/// A span that begins below another.
pub(super) struct Child {
    pub(super) ids: Ids,
    pub(super) recording: Option<Box<Recording>>,
}

/// Where a request goes; `url` is redacted.
pub(super) struct Target<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a str,
    pub(super) host: &'a str,
    pub(super) port: u16,
}

/// What a caller sent along, passed on unchanged.
struct Carried {
    state: Option<HeaderValue>,
    baggage: Vec<HeaderValue>,
}

/// One call. Dropped without [`end`](Self::end), it ends as `cancelled`: the caller went away.
pub struct CallSpan {
    ids: Ids,
    trace_id: String,
    recording: Option<Box<Recording>>,
}

impl CallSpan {
    pub(in crate::telemetry) fn start(
        origin: &Origin,
        context: Option<&TraceContext>,
        now: SystemTime,
    ) -> Self {
        let parent = context.and_then(|context| context.parent);
        let (trace_id, flags) = match parent {
            Some(parent) => (parent.trace_id, parent.flags),
            None => {
                let trace_id = RandomIdGenerator::default().new_trace_id();
                (trace_id, if chosen(trace_id, origin.sample) { SAMPLED } else { 0 })
            }
        };
        let carried =
            context.filter(|context| context.state.is_some() || !context.baggage.is_empty()).map(|context| {
                Arc::new(Carried { state: context.state.clone(), baggage: context.baggage.clone() })
            });
        let ids = Ids { trace_id, span_id: RandomIdGenerator::default().new_span_id(), flags, carried };
        let recording = origin.sink.as_ref().filter(|_| ids.is_sampled()).map(|sink| {
            let parent = parent.map(|parent| (parent.span_id, true));
            Recording::start(Arc::clone(sink), ids.span_context(), parent, SpanKind::Server, "call", now)
        });
        Self { trace_id: trace_id.to_string(), ids, recording }
    }

    /// Trace id in 32 hex digits.
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// Whether anything is recorded: the call is sampled and somebody collects it.
    pub fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// `traceparent` of this span, for the answer to the caller.
    pub fn traceparent(&self) -> HeaderValue {
        self.ids.traceparent()
    }

    /// Names the span `{integration}.{operation}`, once the route is known; until then it is `call`.
    pub fn name(&mut self, integration: &str, operation: &str) {
        if let Some(recording) = &mut self.recording {
            recording.name(format!("{integration}.{operation}"));
            recording.attribute(KeyValue::new(span::INTEGRATION, integration.to_owned()));
            recording.attribute(KeyValue::new(span::OPERATION, operation.to_owned()));
        }
    }

    /// Adds an event (see [`event`](crate::telemetry::attributes::event)). The attributes are made
    /// only when the span is recorded.
    pub fn event(&mut self, name: &'static str, attributes: impl FnOnce() -> Vec<KeyValue>) {
        if let Some(recording) = &mut self.recording {
            recording.event(name, attributes());
        }
    }

    /// Sets an attribute (see [`span`](crate::telemetry::attributes::span)). The value is converted
    /// only when the span is recorded.
    pub fn attribute(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(recording) = &mut self.recording {
            recording.attribute(KeyValue::new(name, value));
        }
    }

    /// A CLIENT span for an attempt upstream, beginning now. `resend` is 0 for the first attempt;
    /// `url` must have been redacted.
    pub fn attempt(&self, resend: u32, method: &Method, url: &str, host: &str, port: u16) -> AttemptSpan {
        let child = self.child(SpanKind::Client, || method.to_string());
        AttemptSpan::start(child, Target { method, url, host, port }, resend)
    }

    /// An INTERNAL span for a plugin's hook, beginning now.
    pub fn plugin(&self, hook: &'static str, plugin: &str) -> PluginSpan {
        PluginSpan::start(self.child(SpanKind::Internal, || format!("plugin {hook}")), hook, plugin)
    }

    fn child(&self, kind: SpanKind, name: impl FnOnce() -> String) -> Child {
        self.ids.child(self.recording.as_deref(), kind, name)
    }

    /// Puts this span's context into a request: `traceparent`, `tracestate`, `baggage`, replacing what is there.
    pub fn inject(&self, headers: &mut HeaderMap) {
        self.ids.inject(headers);
    }

    /// Ends the span now. `status` is what the caller got; from 500 on the span counts as failed.
    /// After that nothing more is recorded, and ending it again does nothing; its ids remain.
    pub fn end(&mut self, status: u16, error_type: Option<&str>) {
        if let Some(mut recording) = self.recording.take() {
            recording.attribute(KeyValue::new(span::STATUS_CODE, i64::from(status)));
            if let Some(error_type) = error_type {
                recording.error(error_type);
            }
            if status >= 500 {
                recording.failed();
            }
            recording.finish();
        }
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        if let Some(mut recording) = self.recording.take() {
            recording.error(span::CANCELLED);
            recording.finish();
        }
    }
}

impl Ids {
    /// A span below this one, recorded if this one is.
    pub(super) fn child(
        &self,
        recording: Option<&Recording>,
        kind: SpanKind,
        name: impl FnOnce() -> String,
    ) -> Child {
        let ids = Self { span_id: RandomIdGenerator::default().new_span_id(), ..self.clone() };
        let recording = recording.map(|recording| {
            let parent = Some((self.span_id, false));
            Recording::start(recording.sink(), ids.span_context(), parent, kind, name(), SystemTime::now())
        });
        Child { ids, recording }
    }

    fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    fn traceparent(&self) -> HeaderValue {
        let text = format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, self.flags);
        // Hex digits and dashes are always a valid value.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }

    fn span_context(&self) -> SpanContext {
        let state = self.carried.as_ref().and_then(|carried| carried.state.as_ref());
        let state =
            state.and_then(|state| state.to_str().ok()).and_then(|state| state.parse::<TraceState>().ok());
        SpanContext::new(
            self.trace_id,
            self.span_id,
            TraceFlags::new(self.flags),
            false,
            state.unwrap_or_default(),
        )
    }

    pub(super) fn inject(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.traceparent());
        headers.remove(TRACESTATE);
        headers.remove(BAGGAGE);
        if let Some(carried) = &self.carried {
            if let Some(state) = &carried.state {
                headers.insert(TRACESTATE, state.clone());
            }
            for value in &carried.baggage {
                headers.append(BAGGAGE, value.clone());
            }
        }
    }
}

/// OpenTelemetry's ratio by trace id, so that every gateway with the same share chooses the same traces.
fn chosen(trace_id: TraceId, share: f64) -> bool {
    if share >= 1.0 {
        return true;
    }
    let [.., a, b, c, d, e, f, g, h] = trace_id.to_bytes();
    let drawn = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    // A share between 0 and 1 of 2^63 fits.
    let bound = (share.max(0.0) * 9_223_372_036_854_775_808.0) as u64;
    drawn < bound
}
