//! Spans: who is whose parent, what is recorded, and that nothing is when nobody collects.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, Method};
use opentelemetry::{KeyValue, Value, trace::SpanKind, trace::Status};
use opentelemetry_sdk::trace::SpanData;
use parking_lot::Mutex;

use super::*;
use crate::telemetry::attributes::{event, span};

#[derive(Default)]
struct Kept(Mutex<Vec<SpanData>>);

impl SpanSink for Kept {
    fn accept(&self, span: SpanData) {
        self.0.lock().push(span);
    }
}

fn collected(sample: f64) -> (Arc<Kept>, Origin) {
    let kept = Arc::new(Kept::default());
    let sink: Arc<dyn SpanSink> = kept.clone();
    (kept, Origin { sample, sink: Some(sink) })
}

fn context(flags: &str) -> TraceContext {
    let mut headers = HeaderMap::new();
    let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
    headers.insert("traceparent", HeaderValue::from_str(&parent).unwrap());
    headers.insert("tracestate", HeaderValue::from_static("congo=t61rcWkgMzE"));
    headers.append("baggage", HeaderValue::from_static("userId=alice"));
    headers.append("baggage", HeaderValue::from_static("region=eu"));
    TraceContext::extract(&headers).unwrap()
}

fn attribute(span: &SpanData, name: &str) -> Option<Value> {
    span.attributes.iter().find(|pair| pair.key.as_str() == name).map(|pair| pair.value.clone())
}

#[test]
fn attempts_and_plugins_are_children_of_the_call_and_the_call_of_its_caller() {
    let (kept, origin) = collected(0.0);
    let began = SystemTime::now() - Duration::from_secs(1);
    let mut call = CallSpan::start(&origin, Some(&context("01")), began);
    call.name("weather", "get_current");
    call.attribute(span::METHOD, "POST");
    call.event(event::RETRY, || vec![KeyValue::new("delay_ms", 5)]);
    call.plugin("request-mapper", "openweather").end(None);
    call.attempt(0, &Method::GET, "https://a.example/?appid=[redacted]", "a.example", 443)
        .end(Some(503), None);
    call.attempt(1, &Method::GET, "https://a.example/", "a.example", 443).end(None, Some("upstream-timeout"));
    call.end(504, Some("upstream-timeout"));

    let spans = kept.0.lock();
    let [plugin, first, second, call] = spans.as_slice() else { panic!("four spans, not {}", spans.len()) };
    assert_eq!(call.span_kind, SpanKind::Server);
    assert_eq!(call.name, "weather.get_current");
    assert_eq!(call.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(call.parent_span_is_remote && call.start_time == began && call.end_time > began);
    assert_eq!(call.span_context.trace_state().header(), "congo=t61rcWkgMzE");
    assert_eq!(call.events.events[0].name, "retry");
    assert_eq!(call.status, Status::error(""));
    assert_eq!(attribute(call, span::STATUS_CODE), Some(Value::I64(504)));
    assert_eq!(attribute(call, span::INTEGRATION), Some("weather".into()));
    for child in [plugin, first, second] {
        assert_eq!(child.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(child.parent_span_id, call.span_context.span_id());
        assert!(!child.parent_span_is_remote);
    }
    assert_eq!(
        (plugin.span_kind.clone(), plugin.name.as_ref()),
        (SpanKind::Internal, "plugin request-mapper")
    );
    assert_eq!((first.span_kind.clone(), first.name.as_ref()), (SpanKind::Client, "GET"));
    assert_eq!(attribute(first, span::RESEND_COUNT), None);
    assert_eq!(attribute(first, span::ERROR_TYPE), Some("503".into()));
    assert_eq!(attribute(first, span::SERVER_PORT), Some(Value::I64(443)));
    assert_eq!(attribute(second, span::RESEND_COUNT), Some(Value::I64(1)));
    assert_eq!(attribute(second, span::ERROR_TYPE), Some("upstream-timeout".into()));
}

#[test]
fn the_callers_decision_wins_over_the_share() {
    let (kept, origin) = collected(1.0);
    CallSpan::start(&origin, Some(&context("00")), SystemTime::now()).end(200, None);
    assert!(kept.0.lock().is_empty());
    let (kept, origin) = collected(0.0);
    CallSpan::start(&origin, Some(&context("01")), SystemTime::now()).end(200, None);
    CallSpan::start(&origin, None, SystemTime::now()).end(200, None);
    assert_eq!(kept.0.lock().len(), 1);
}

#[test]
fn about_the_declared_share_of_calls_is_sampled() {
    let (kept, origin) = collected(0.25);
    for _ in 0..4000 {
        CallSpan::start(&origin, None, SystemTime::now()).end(200, None);
    }
    let share = kept.0.lock().len();
    assert!((800..1200).contains(&share), "{share} of 4000");
}

#[test]
fn ids_exist_when_nothing_is_recorded() {
    let origin = Origin { sample: 1.0, sink: None };
    let mut call = CallSpan::start(&origin, None, SystemTime::now());
    call.event(event::RETRY, || panic!("attributes of an event that nobody records"));
    assert!(!call.is_recording());
    assert_eq!(call.trace_id().len(), 32);
    let parent = call.traceparent();
    let parent = parent.to_str().unwrap();
    assert!(parent.starts_with(&format!("00-{}-", call.trace_id())) && parent.ends_with("-01"), "{parent}");
}

#[test]
fn state_and_baggage_are_passed_on_and_stale_headers_replaced() {
    let origin = Origin { sample: 1.0, sink: None };
    let mut headers = HeaderMap::new();
    CallSpan::start(&origin, Some(&context("01")), SystemTime::now()).inject(&mut headers);
    assert_eq!(headers["tracestate"], "congo=t61rcWkgMzE");
    let baggage: Vec<_> = headers.get_all("baggage").iter().collect();
    assert_eq!(baggage, ["userId=alice", "region=eu"]);
    CallSpan::start(&origin, None, SystemTime::now()).inject(&mut headers);
    assert_eq!(headers.len(), 1, "{headers:?}");
}

#[test]
fn baggage_without_a_trace_is_passed_on_and_too_much_of_it_is_not() {
    let mut headers = HeaderMap::new();
    headers.insert("baggage", HeaderValue::from_static("a=1"));
    let context = TraceContext::extract(&headers).unwrap();
    assert_eq!((context.parent, context.baggage.len()), (None, 1));
    headers.insert("baggage", HeaderValue::from_str(&"a".repeat(8193)).unwrap());
    assert_eq!(TraceContext::extract(&headers), None);
}

#[test]
fn a_state_that_is_too_long_loses_its_oldest_entries() {
    let mut headers = HeaderMap::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    headers.insert("traceparent", HeaderValue::from_static(parent));
    for key in 0..32 {
        let line = format!("{}{key:02}={}", "k".repeat(254), "v".repeat(256));
        headers.append("tracestate", HeaderValue::from_str(&line).unwrap());
    }
    let state = TraceContext::extract(&headers).unwrap().state.unwrap();
    let state = state.to_str().unwrap();
    assert!(state.len() <= 8192 && state.starts_with(&"k".repeat(254)) && state.ends_with('v'));
}

#[test]
fn a_span_whose_owner_went_away_ends_as_cancelled() {
    let (kept, origin) = collected(1.0);
    let call = CallSpan::start(&origin, None, SystemTime::now());
    drop(call.attempt(0, &Method::GET, "http://a.example/", "a.example", 80));
    drop(call.plugin("signer", "aws-sigv4"));
    drop(call);
    let spans = kept.0.lock();
    assert_eq!(spans.len(), 3);
    for kept in spans.iter() {
        assert_eq!(attribute(kept, span::ERROR_TYPE), Some(span::CANCELLED.into()));
    }
}

#[test]
fn events_and_attributes_of_a_span_are_bounded() {
    let (kept, origin) = collected(1.0);
    let mut call = CallSpan::start(&origin, None, SystemTime::now());
    for at in 0..1000 {
        call.event(event::RETRY, Vec::new);
        call.attribute(span::SOURCE, at);
    }
    call.end(200, None);
    let spans = kept.0.lock();
    assert_eq!((spans[0].events.len(), spans[0].events.dropped_count), (128, 872));
    assert_eq!((spans[0].attributes.len(), spans[0].dropped_attributes_count), (128, 873));
}
