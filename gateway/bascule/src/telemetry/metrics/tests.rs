//! The scrape says exactly what the contract names.

use std::collections::BTreeSet;

use super::*;
use crate::model::{CallPhase, Spent};

fn spent(on_attempt: Duration) -> Spent {
    let mut spent = Spent::default();
    spent.add(CallPhase::Attempt, on_attempt);
    spent
}

fn metrics() -> Metrics {
    let none: Option<opentelemetry_otlp::MetricExporter> = None;
    Metrics::new(Resource::builder_empty().build(), none).unwrap()
}

/// Names of the families, and the sets of label names that occur, as `name{a,b}`.
fn shapes(text: &str) -> BTreeSet<String> {
    let shape = |line: &str| {
        let (name, rest) = line.split_once('{').unwrap_or((line.split(' ').next().unwrap(), ""));
        let labels: Vec<&str> =
            rest.split("\",").filter_map(|pair| pair.split_once('=')).map(|(label, _)| label).collect();
        let labels: Vec<&str> = labels.into_iter().filter(|label| *label != "le").collect();
        let name =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        format!("{name}{{{}}}", labels.join(","))
    };
    text.lines().filter(|line| !line.starts_with('#')).map(shape).collect()
}

#[test]
fn the_scrape_has_the_contracts_names_and_labels() {
    let metrics = metrics();
    let operation = metrics.operation("weather", "get_current");
    operation.request(200, &spent(Duration::from_millis(3)));
    operation.error("upstream-timeout");
    operation.retry();
    operation.cache("hit");
    operation.fallback("cache");
    operation.timeout("whole");
    let integration = metrics.integration("weather");
    integration.breaker_state(1);
    integration.breaker_failure();
    integration.breaker_change("closed", "open");
    integration.rate_limit("allowed");
    metrics.plugin_call("openweather", "response-mapper", Duration::from_micros(40), Some("trap"));
    metrics.side_request("login", "weather", "default", "answered");
    let own = [("kind".to_owned(), "visa".to_owned())];
    let labels = PluginLabels { plugin: "login", integration: "weather", own: &own };
    metrics.plugins_own().count("cards.declined", 2, &labels);
    metrics.plugins_own().count("tries_total", 1, &labels);
    metrics.plugins_own().observe("cards.amount", 2.5, &labels);
    // The name has another kind already.
    metrics.plugins_own().observe("tries_total", 2.5, &labels);

    let expected = [
        "cache_requests_total{endpoint,result,service}",
        "circuit_breaker_failures_total{service}",
        "circuit_breaker_state_changes_total{from,service,to}",
        "circuit_breaker_state{service}",
        "deadline_spent_seconds{endpoint,phase,service}",
        "fallback_total{endpoint,rung,service}",
        "integration_errors_total{endpoint,error_type,service}",
        "integration_request_duration_seconds{endpoint,service}",
        "integration_requests_total{endpoint,service,status}",
        "integration_retries_total{endpoint,service}",
        "plugin_call_duration_seconds{hook,plugin}",
        "plugin_custom_cards_amount{kind,plugin,service}",
        "plugin_custom_cards_declined_total{kind,plugin,service}",
        "plugin_custom_tries_total{kind,plugin,service}",
        "plugin_failures_total{hook,kind,plugin}",
        "plugin_side_requests_total{plugin,result,service,target}",
        "rate_limit_decisions_total{result,service}",
        "timeouts_total{endpoint,kind,service}",
    ];
    let text = metrics.scrape();
    assert_eq!(shapes(&text), expected.map(str::to_owned).into_iter().collect(), "{text}");
    assert!(text.contains(
        "integration_requests_total{endpoint=\"get_current\",service=\"weather\",status=\"200\"} 1\n"
    ));
    assert!(text.contains("# TYPE integration_requests_total counter\n"), "{text}");
    assert!(text.contains("# TYPE circuit_breaker_state gauge\n"), "{text}");
    assert!(text.contains("circuit_breaker_state{service=\"weather\"} 1\n"), "{text}");
    let fast = "integration_request_duration_seconds_bucket{endpoint=\"get_current\",service=\"weather\",le=";
    assert!(text.contains(&format!("{fast}\"0.0025\"}} 0\n")), "{text}");
    assert!(text.contains(&format!("{fast}\"0.005\"}} 1\n")), "{text}");
    assert!(text.contains(&format!("{fast}\"10\"}} 1\n")), "{text}");
}

#[test]
fn a_call_is_observed_once_in_every_phase_that_took_time() {
    let metrics = metrics();
    let operation = metrics.operation("weather", "get_current");
    let mut first = spent(Duration::from_millis(30));
    first.add(CallPhase::Queue, Duration::from_millis(2));
    operation.request(200, &first);
    operation.request(200, &spent(Duration::from_millis(10)));
    let text = metrics.scrape();
    let line = |end: &str, phase: &str, value: &str| {
        let labels = format!("{{endpoint=\"get_current\",phase=\"{phase}\",service=\"weather\"}}");
        assert!(text.contains(&format!("deadline_spent_seconds_{end}{labels} {value}\n")), "{text}");
    };
    line("sum", "attempt", "0.04");
    line("count", "attempt", "2");
    line("sum", "queue", "0.002");
    line("count", "queue", "1");
    assert!(!text.contains("phase=\"body\""), "{text}");
    assert!(
        text.contains("request_duration_seconds_sum{endpoint=\"get_current\",service=\"weather\"} 0.042\n")
    );
}

#[test]
fn binding_again_goes_on_with_the_same_series() {
    let metrics = metrics();
    metrics.operation("weather", "get_current").request(200, &Spent::default());
    metrics.integration("weather").breaker_state(2);
    metrics.operation("weather", "get_current").request(200, &Spent::default());
    let _again = metrics.integration("weather");
    let text = metrics.scrape();
    assert!(text.contains("status=\"200\"} 2\n"), "{text}");
    assert!(text.contains("circuit_breaker_state{service=\"weather\"} 2\n"), "{text}");
}

#[test]
fn a_new_integration_shows_a_closed_breaker() {
    let metrics = metrics();
    let _integration = metrics.integration("weather");
    let text = metrics.scrape();
    assert!(text.contains("circuit_breaker_state{service=\"weather\"} 0\n"), "{text}");
    assert!(text.contains("circuit_breaker_failures_total{service=\"weather\"} 0\n"), "{text}");
}

#[test]
fn made_up_statuses_do_not_make_series_without_bound() {
    let metrics = metrics();
    let operation = metrics.operation("odd", "get");
    for status in 200..1000 {
        operation.request(status, &Spent::default());
    }
    let text = metrics.scrape();
    let series = text.lines().filter(|line| line.starts_with("integration_requests_total")).count();
    assert_eq!(series, 65, "64 statuses and `other`");
    assert!(
        text.contains("integration_requests_total{endpoint=\"get\",service=\"odd\",status=\"other\"} 736\n"),
        "{text}"
    );
}

#[test]
fn observations_from_many_threads_are_all_counted() {
    let metrics = metrics();
    let operation = metrics.operation("a", "b");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for call in 0..1000_u16 {
                    operation.request(200 + call % 10, &Spent::default());
                    metrics.plugin_call("p", "signer", Duration::ZERO, None);
                }
            });
        }
    });
    let text = metrics.scrape();
    assert!(text.contains("service=\"a\",status=\"203\"} 400\n"), "{text}");
    assert!(text.contains("integration_request_duration_seconds_count{endpoint=\"b\",service=\"a\"} 4000\n"));
    assert!(text.contains("plugin_call_duration_seconds_count{hook=\"signer\",plugin=\"p\"} 4000\n"));
}
