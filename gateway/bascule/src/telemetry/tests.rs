//! Telemetry as a whole, without a collector.

use std::io::Write;

use parking_lot::Mutex;
use serde_json::Value;

use super::*;
use crate::model::{Secret, Spent};

/// A sink whose contents can be read while others write to it.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn settings(endpoint: Option<&str>) -> TelemetrySettings {
    TelemetrySettings {
        service_name: "bascule-test".to_owned(),
        otlp_endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()),
        redact: Vec::new(),
        sample: 1.0,
        completion_log: true,
    }
}

fn record(status: u16) -> CompletionRecord {
    CompletionRecord {
        at: SystemTime::UNIX_EPOCH,
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        integration: Some("weather".to_owned()),
        operation: Some("get_current".to_owned()),
        caller: Some("hunter2-as-a-name".to_owned()),
        method: "GET".to_owned(),
        status,
        attempts: 1,
        outcome: Some("success"),
        ..CompletionRecord::default()
    }
}

fn started(sink: Box<dyn Write + Send>) -> Telemetry {
    let redactor = Redactor::new(&[], &[Secret::new("hunter2")], &[]);
    Telemetry::start_with(&settings(None), LogFormat::Json, redactor, None, sink, LAST_EXPORTS).unwrap()
}

#[tokio::test]
async fn every_call_leaves_one_scrubbed_record_and_a_reload_can_switch_them_off() {
    let sink = Shared::default();
    let telemetry = started(Box::new(sink.clone()));
    telemetry.completion(record(200));
    telemetry.completion(record(499));
    telemetry.reload(&TelemetrySettings { completion_log: false, ..settings(None) });
    telemetry.completion(record(500));
    telemetry.shutdown().await;
    let lines: Vec<Value> = sink.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 499]);
    assert_eq!(lines[0]["caller"], "[redacted]-as-a-name");
}

#[tokio::test]
async fn records_that_find_the_queue_full_are_dropped_and_counted() {
    struct Stuck(std::sync::mpsc::Receiver<()>, Shared);
    impl Write for Stuck {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            // Stuck until the test lets go of the other end.
            let _ = self.0.recv();
            self.1.write(octets)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (release, gate) = std::sync::mpsc::channel();
    let sink = Shared::default();
    let telemetry = started(Box::new(Stuck(gate, sink.clone())));
    for _ in 0..20_000 {
        telemetry.completion(record(200));
    }
    let dropped = telemetry.dropped().records;
    assert!((20_000 - 2 * 8192..=20_000 - 8192).contains(&dropped), "{dropped}");
    drop(release);
    telemetry.shutdown().await;
    let lines: Vec<Value> = sink.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (reports, calls): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line["message"] == "completion records dropped");
    let reported: u64 = reports.iter().map(|line| line["dropped"].as_u64().unwrap()).sum();
    assert_eq!(reported, dropped);
    assert_eq!(u64::try_from(calls.len()).unwrap(), 20_000 - dropped);
}

#[test]
fn telemetry_that_is_disabled_still_counts_and_gives_ids() {
    let telemetry = Telemetry::disabled();
    telemetry.operation("weather", "get_current").request(200, &Spent::default());
    telemetry.completion(record(200));
    let call = telemetry.call_span(None, SystemTime::now());
    assert!(!call.is_recording());
    assert_eq!(call.trace_id().len(), 32);
    assert!(telemetry.scrape().contains("integration_requests_total{"));
    assert_eq!(telemetry.dropped(), Dropped::default());
}

#[test]
fn new_rules_of_the_redactor_reach_all_that_share_it() {
    let telemetry = Telemetry::disabled();
    let shared = telemetry.redactor().clone();
    telemetry.set_redactor(Redactor::new(&[], &[Secret::new("hunter2")], &[]));
    assert_eq!(shared.text("hunter2"), "[redacted]");
}

#[test]
fn a_collector_without_a_runtime_is_an_error() {
    struct Nowhere;
    impl OtlpTransport for Nowhere {
        fn send(
            &self,
            _: http::Request<bytes::Bytes>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<http::Response<bytes::Bytes>, String>> + Send>>
        {
            Box::pin(std::future::pending())
        }
    }
    let settings = settings(Some("http://collector.example:4318"));
    let started = Telemetry::start(&settings, LogFormat::Text, Redactor::default(), Some(Arc::new(Nowhere)));
    assert!(matches!(started, Err(TelemetryError::NoRuntime)));
}
