//! What a collector gets, and what calls notice of one that does not take it: nothing.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Instant, SystemTime},
};

use http::{Method, Request, Response};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use parking_lot::Mutex;
use prost::Message as _;

use super::*;
use crate::{
    model::Spent,
    telemetry::{LAST_EXPORTS, LogFormat, Redactor, Telemetry, tests::settings},
};

type Sent = Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>>;

/// Keeps requests; answers with the given statuses in turn, then 200.
#[derive(Default)]
struct Collector {
    requests: Mutex<Vec<Request<Bytes>>>,
    statuses: Mutex<Vec<u16>>,
}

impl OtlpTransport for Collector {
    fn send(&self, request: Request<Bytes>) -> Sent {
        self.requests.lock().push(request);
        let status = self.statuses.lock().pop().unwrap_or(200);
        Box::pin(async move { Ok(Response::builder().status(status).body(Bytes::new()).unwrap()) })
    }
}

impl Collector {
    fn to(&self, path: &str) -> Vec<Request<Bytes>> {
        self.requests.lock().iter().filter(|request| request.uri().path() == path).cloned().collect()
    }
}

fn telemetry(transport: Arc<dyn OtlpTransport>, last_exports: Duration) -> Telemetry {
    let settings = settings(Some("http://collector.example:4318/base/"));
    let sink = Box::new(std::io::sink());
    Telemetry::start_with(
        &settings,
        LogFormat::Json,
        Redactor::default(),
        Some(transport),
        sink,
        last_exports,
    )
    .unwrap()
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let value = attributes.iter().find(|pair| pair.key == name)?.value.clone()?.value?;
    match value {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_arrives_with_its_attempts_below_it_and_its_metrics() {
    let collector = Arc::new(Collector::default());
    let telemetry = telemetry(collector.clone(), LAST_EXPORTS);
    let mut call = telemetry.call_span(None, SystemTime::now());
    call.name("weather", "get_current");
    let trace_id = call.trace_id().to_owned();
    let parent = call.traceparent();
    let span_id = parent.to_str().unwrap()[36..52].to_owned();
    call.attempt(1, &Method::GET, "http://a.example/w", "a.example", 80).end(Some(200), None);
    call.end(200, None);
    telemetry.operation("weather", "get_current").request(200, &Spent::default());
    telemetry.shutdown().await;
    assert_eq!(telemetry.dropped().spans, 0);

    let [request] = collector.to("/base/v1/traces").try_into().unwrap();
    assert_eq!(
        (request.method(), &request.headers()["content-type"]),
        (&Method::POST, &"application/x-protobuf".parse().unwrap())
    );
    let export = ExportTraceServiceRequest::decode(request.into_body()).unwrap();
    let [resource] = export.resource_spans.try_into().unwrap();
    let resource_attributes = resource.resource.unwrap().attributes;
    assert_eq!(text(&resource_attributes, "service.name").as_deref(), Some("bascule-test"));
    assert_eq!(text(&resource_attributes, "service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    let spans: Vec<Span> = resource.scope_spans.into_iter().flat_map(|scope| scope.spans).collect();
    let [attempt, call] = spans.try_into().unwrap();
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    assert_eq!(
        (hex(&call.trace_id), hex(&call.span_id), call.parent_span_id.len()),
        (trace_id.clone(), span_id.clone(), 0)
    );
    assert_eq!((hex(&attempt.trace_id), hex(&attempt.parent_span_id)), (trace_id, span_id));
    assert_eq!((call.kind(), attempt.kind()), (SpanKind::Server, SpanKind::Client));
    assert_eq!((call.name.as_str(), attempt.name.as_str()), ("weather.get_current", "GET"));
    assert_eq!(text(&attempt.attributes, "http.request.resend_count").as_deref(), Some("1"));
    assert_eq!(text(&attempt.attributes, "http.response.status_code").as_deref(), Some("200"));

    let [request] = collector.to("/base/v1/metrics").try_into().unwrap();
    let export = ExportMetricsServiceRequest::decode(request.into_body()).unwrap();
    let names: Vec<String> =
        export.resource_metrics[0].scope_metrics[0].metrics.iter().map(|m| m.name.clone()).collect();
    assert!(names.contains(&"integration_requests_total".to_owned()), "{names:?}");
    assert!(names.contains(&"integration_request_duration_seconds".to_owned()), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_costs_calls_nothing_and_the_end_little() {
    struct Silent(AtomicUsize);
    impl OtlpTransport for Silent {
        fn send(&self, _: Request<Bytes>) -> Sent {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::pending())
        }
    }
    let silent = Arc::new(Silent(AtomicUsize::new(0)));
    let telemetry = telemetry(silent.clone(), Duration::from_millis(200));
    let began = Instant::now();
    for _ in 0..10_000 {
        telemetry.call_span(None, SystemTime::now()).end(200, None);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?} for 10000 calls", began.elapsed());
    // Besides the queue, at most one batch is on its way to the collector that keeps it.
    let dropped = telemetry.dropped().spans;
    assert!(dropped >= 10_000 - 2048 - 512, "{dropped}");
    let began = Instant::now();
    telemetry.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(telemetry.dropped().spans, 10_000);
    assert!(silent.0.load(Ordering::Relaxed) >= 1);
    telemetry.call_span(None, SystemTime::now()).end(200, None);
    assert_eq!(telemetry.dropped().spans, 10_001, "spans after the end are counted too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_fails_drops_and_counts() {
    struct Down;
    impl OtlpTransport for Down {
        fn send(&self, _: Request<Bytes>) -> Sent {
            Box::pin(async { Err("connection refused".to_owned()) })
        }
    }
    let telemetry = telemetry(Arc::new(Down), Duration::from_millis(50));
    telemetry.call_span(None, SystemTime::now()).end(200, None);
    telemetry.shutdown().await;
    assert_eq!(telemetry.dropped().spans, 1);
}

#[tokio::test(start_paused = true)]
async fn a_busy_collector_is_asked_again_and_a_refusal_is_final() {
    let collector = Arc::new(Collector { statuses: Mutex::new(vec![200, 503, 429]), ..Collector::default() });
    let client = Client::new(collector.clone(), tokio::runtime::Handle::current(), Closing::new());
    let send = || {
        let request =
            Request::post("http://collector.example/v1/traces").body(Bytes::from_static(b"x")).unwrap();
        opentelemetry_http::HttpClient::send_bytes(&client, request)
    };
    assert_eq!(send().await.unwrap().status(), 200);
    assert_eq!(collector.requests.lock().len(), 3);
    assert!(collector.requests.lock().iter().all(|request| request.body() == "x"));
    collector.statuses.lock().push(400);
    assert_eq!(send().await.unwrap().status(), 400);
    assert_eq!(collector.requests.lock().len(), 4);
}

#[test]
fn signal_paths_are_appended_to_any_base() {
    for (base, whole) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://c.example/otlp/", "https://c.example/otlp/v1/traces"),
        ("https://c.example/otlp?tenant=a#x", "https://c.example/otlp/v1/traces?tenant=a"),
    ] {
        assert_eq!(signal(&base.parse().unwrap(), "v1/traces"), whole);
    }
}
