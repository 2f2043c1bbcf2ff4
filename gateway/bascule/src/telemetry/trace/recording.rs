//! A span while it is being recorded. Absent for calls that nobody collects.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{Event, SpanContext, SpanId, SpanKind, Status},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::telemetry::attributes::span;

/// Most attributes of a span and events on it, OpenTelemetry's defaults: a call with thousands of
/// retries must not grow without bound. What is beyond is counted, not kept.
const ATTRIBUTES_MAX: usize = 128;
const EVENTS_MAX: usize = 128;

/// Takes finished spans. It must return at once.
pub(in crate::telemetry) trait SpanSink: Send + Sync {
    /// Keeps or drops the span, never blocking.
    fn accept(&self, span: SpanData);
}

/// What to record of a span, and where it goes in the end.
pub(super) struct Recording {
    data: SpanData,
    sink: Arc<dyn SpanSink>,
}

impl Recording {
    pub(super) fn start(
        sink: Arc<dyn SpanSink>,
        span_context: SpanContext,
        parent: Option<(SpanId, bool)>,
        span_kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        start_time: SystemTime,
    ) -> Box<Self> {
        let (parent_span_id, parent_span_is_remote) = parent.unwrap_or((SpanId::INVALID, false));
        let data = SpanData {
            span_context,
            parent_span_id,
            parent_span_is_remote,
            span_kind,
            name: name.into(),
            start_time,
            end_time: start_time,
            attributes: Vec::with_capacity(8),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("bascule")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        };
        Box::new(Self { data, sink })
    }

    pub(super) fn sink(&self) -> Arc<dyn SpanSink> {
        Arc::clone(&self.sink)
    }

    pub(super) fn name(&mut self, name: String) {
        self.data.name = Cow::Owned(name);
    }

    pub(super) fn attribute(&mut self, attribute: KeyValue) {
        if self.data.attributes.len() < ATTRIBUTES_MAX {
            self.data.attributes.push(attribute);
        } else {
            self.data.dropped_attributes_count = self.data.dropped_attributes_count.saturating_add(1);
        }
    }

    pub(super) fn event(&mut self, name: &'static str, attributes: Vec<KeyValue>) {
        let events = &mut self.data.events;
        if events.events.len() < EVENTS_MAX {
            events.events.push(Event::new(name, SystemTime::now(), attributes, 0));
        } else {
            events.dropped_count = events.dropped_count.saturating_add(1);
        }
    }

    pub(super) fn error(&mut self, error_type: &str) {
        self.attribute(KeyValue::new(span::ERROR_TYPE, error_type.to_owned()));
    }

    pub(super) fn failed(&mut self) {
        self.data.status = Status::error("");
    }

    /// Ends the span now and hands it over. A clock that was set back does not make it end before it began.
    pub(super) fn finish(mut self) {
        self.data.end_time = SystemTime::now().max(self.data.start_time);
        self.sink.accept(self.data);
    }
}
