//! Every case of W3C's own trace-context test suite: what a caller sends, and what a provider then gets.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{CallSpan, Origin, TraceContext};

const CASES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/trace-context/cases.json"));
const TRACE_ID: &str = "12345678901234567890123456789012";

/// The trace that goes out, relative to the one that came in.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Trace {
    Same,
    New,
}
use Trace::{New, Same};

/// What the suite expects of the `at`-th set of headers of a case: the trace, and `tracestate`.
fn expected(case: &str, at: usize, sent: &[(String, String)]) -> (Trace, Option<String>) {
    let some = |text: &str| Some(text.to_owned());
    match case {
        "test_both_traceparent_and_tracestate_missing"
        | "test_traceparent_duplicated"
        | "test_traceparent_header_name"
        | "test_traceparent_version_0x00"
        | "test_traceparent_version_0xff"
        | "test_traceparent_version_illegal_characters"
        | "test_traceparent_version_too_long"
        | "test_traceparent_version_too_short"
        | "test_traceparent_trace_id_all_zero"
        | "test_traceparent_trace_id_illegal_characters"
        | "test_traceparent_trace_id_too_long"
        | "test_traceparent_trace_id_too_short"
        | "test_traceparent_parent_id_all_zero"
        | "test_traceparent_parent_id_illegal_characters"
        | "test_traceparent_parent_id_too_long"
        | "test_traceparent_parent_id_too_short"
        | "test_traceparent_trace_flags_illegal_characters"
        | "test_traceparent_trace_flags_too_long"
        | "test_traceparent_trace_flags_too_short"
        | "test_tracestate_included_traceparent_missing"
        | "test_multiple_requests_without_traceparent"
        | "test_multiple_requests_with_illegal_traceparent" => (New, None),
        "test_traceparent_included_tracestate_missing"
        | "test_traceparent_header_name_valid_casing"
        | "test_traceparent_ows_handling"
        | "test_tracestate_header_name"
        | "test_tracestate_key_illegal_characters"
        | "test_tracestate_value_illegal_characters"
        | "test_multiple_requests_with_valid_traceparent"
        | "test_propagates_random_flag" => (Same, None),
        // Only a dash may follow the flags, in whatever version.
        "test_traceparent_version_0xcc" => (if at < 2 { Same } else { New }, None),
        "test_tracestate_included_traceparent_included" => (Same, some("foo=1,bar=2")),
        "test_tracestate_header_name_valid_casing" | "test_tracestate_duplicated_keys" => {
            (Same, some("foo=1"))
        }
        "test_tracestate_empty_header" => (Same, if at == 0 { None } else { some("foo=1") }),
        "test_tracestate_multiple_headers_different_keys" => (Same, some("foo=1,bar=2,rojo=1,congo=2,baz=3")),
        "test_tracestate_ows_handling" => (Same, some(if at < 2 { "foo=1,bar=2,baz=3" } else { "foo=1" })),
        "test_tracestate_key_illegal_vendor_format" => (Same, if at == 1 { None } else { states(sent) }),
        "test_tracestate_member_count_limit" => (Same, if at == 1 { None } else { states(sent) }),
        "test_tracestate_all_allowed_characters" => (Same, states(sent)),
        "test_tracestate_key_length_limit" => (Same, if at % 2 == 1 { None } else { states(sent) }),
        unknown => panic!("the suite has a case that is not judged here: {unknown}"),
    }
}

/// All `tracestate` lines as sent.
fn states(sent: &[(String, String)]) -> Option<String> {
    let lines: Vec<&str> =
        sent.iter().filter(|(name, _)| name == "tracestate").map(|(_, value)| value.as_str()).collect();
    Some(lines.join(","))
}

/// The sets of headers that the suite makes in code.
fn made(case: &str) -> Vec<Vec<(String, String)>> {
    let states = match case {
        "test_tracestate_all_allowed_characters" => {
            let key: String = ('a'..='z').chain('0'..='9').chain(['_', '-', '*', '/', '@']).collect();
            let value: String = (' '..='~').filter(|letter| !matches!(letter, ',' | '=')).collect();
            vec![format!("{key}={}", value.trim_start())]
        }
        "test_tracestate_key_length_limit" => vec![
            format!("foo=1,{}=1", "z".repeat(256)),
            format!("foo=1,{}=1", "z".repeat(257)),
            format!("foo=1,{}@{}=1", "t".repeat(241), "v".repeat(14)),
            format!("foo=1,{}@{}=1", "t".repeat(242), "v".repeat(14)),
        ],
        unknown => panic!("the suite has a case that is not made here: {unknown}"),
    };
    let parent = ("traceparent".to_owned(), format!("00-{TRACE_ID}-1234567890123456-00"));
    states.into_iter().map(|state| vec![parent.clone(), ("tracestate".to_owned(), state)]).collect()
}

fn sets(case: &Value) -> Vec<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let Some(sends) = case["sends"].as_array() else { return made(case["name"].as_str().unwrap()) };
    let header = |pair: &Value| (text(&pair[0]), text(&pair[1]));
    sends.iter().map(|set| set.as_array().unwrap().iter().map(header).collect()).collect()
}

fn incoming(sent: &[(String, String)]) -> HeaderMap {
    let header = |(name, value): &(String, String)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in sent.iter().map(header) {
        headers.append(name, value);
    }
    headers
}

/// What a provider gets when a call with these headers makes one attempt.
fn outgoing(headers: &HeaderMap) -> HeaderMap {
    let origin = Origin { sample: 1.0, sink: None };
    let context = TraceContext::extract(headers);
    let call = CallSpan::start(&origin, context.as_ref(), SystemTime::UNIX_EPOCH);
    let mut out = headers.clone();
    call.attempt(0, &http::Method::GET, "http://a.example/", "a.example", 80).inject(&mut out);
    out
}

#[test]
fn every_case_of_the_suite_is_propagated_as_it_expects() {
    let document: Value = serde_json::from_str(CASES).unwrap();
    let cases = document["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 41);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        for (at, sent) in sets(case).into_iter().enumerate() {
            let (trace, state) = expected(name, at, &sent);
            let headers = incoming(&sent);
            let (first, second) = (outgoing(&headers), outgoing(&headers));

            assert_eq!(first.get_all("traceparent").iter().count(), 1, "{name} {at}");
            let parent = first["traceparent"].to_str().unwrap();
            assert!(
                TraceContext::extract(&first).is_some_and(|context| context.parent.is_some()),
                "{name} {at}: {parent}"
            );
            let incoming_id = sent.iter().any(|(_, value)| value.contains(&parent[3..35]));
            assert_eq!(if incoming_id { Same } else { New }, trace, "{name} {at}: {parent}");
            assert_ne!(
                first["traceparent"], second["traceparent"],
                "{name} {at}: each attempt has its own id"
            );
            if name == "test_propagates_random_flag" {
                assert!(parent.ends_with("-02"), "{parent}");
            }
            let got = first.get("tracestate").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(got, state, "{name} {at}");
        }
    }
}
