//! What callers get when a plugin says no: faults by kind and phase, as `contract.md` §3 has them.

use crate::support::{
    Gateway, Metrics, Provider, guest, reply,
    wat::{CLASSIFY, Image, MAP_ERROR, MAP_RESPONSE, RUNTIME, SIGN, write_guest, write_trapping},
};
use serde_json::{Value, json};

/// Kind of fault, status, last part of the problem's type.
const KINDS: [(&str, u16, &str); 11] = [
    ("invalid-input", 422, "plugin-rejected"),
    ("unauthorized", 401, "plugin-rejected"),
    ("payment-required", 402, "plugin-rejected"),
    ("forbidden", 403, "plugin-rejected"),
    ("not-found", 404, "plugin-rejected"),
    ("conflict", 409, "plugin-rejected"),
    ("rate-limited", 429, "plugin-rejected"),
    ("unsupported", 501, "plugin-failed"),
    ("upstream-invalid", 502, "plugin-failed"),
    ("upstream-failed", 502, "plugin-failed"),
    ("internal", 502, "plugin-failed"),
];

/// An integration whose plugin fails in the phase and with the kind that the parameters name.
fn faulty(url: &str) -> String {
    with(url, &format!("[[plugins]]\nsource = \"{}\"\n", guest("faulty")))
}

fn with(url: &str, plugins: &str) -> String {
    format!(
        r#"
base_url = "{url}"
fallback = [{{ default = {{ rung = true }} }}]
fallback_on = ["circuit-open"]
[retry]
max_attempts = 3
base_delay = "1ms"
[circuit_breaker]
failures = 1
{plugins}
[operations.get]
path = "/x"
query = {{ phase = "{{phase}}", kind = "{{kind}}" }}
params.phase = {{ type = "string" }}
params.kind = {{ type = "string" }}
[operations.send]
method = "POST"
path = "/x"
query = {{ phase = "{{phase}}", kind = "{{kind}}" }}
params.phase = {{ type = "string" }}
params.kind = {{ type = "string" }}
"#
    )
}

/// An integration with a guest that was written for the test.
fn with_file(url: &str, folder: &std::path::Path, name: &str) -> String {
    with(url, &format!("[[plugins]]\nsource = \"{}\"\n", folder.join(format!("{name}.wasm")).display()))
}

async fn circuit(gateway: &Gateway) -> Value {
    gateway.admin().get("/integrations/shop/health").await.json()["circuit_state"].take()
}

#[tokio::test]
async fn a_request_mappers_fault_becomes_a_status_by_its_kind() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = Gateway::start(&[("shop", &faulty(&provider.url()))]).await;
    for (kind, status, code) in KINDS {
        for operation in ["get", "send"] {
            let params = json!({"phase": "request-mapper", "kind": kind});
            let answer = gateway.call("shop", operation, params).await;
            assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (status, code), "{kind}");
            let problem = answer.json();
            assert_eq!(problem["status"], status, "{kind}");
            assert_eq!(
                (&problem["code"], &problem["detail"]),
                (&json!("as-asked"), &json!("a fault was asked for"))
            );
            assert_eq!(problem["details"], json!({"phase": "request-mapper"}));
            assert_eq!(problem["retry_after_ms"], 1500);
            assert_eq!(answer.header("retry-after"), "2", "rounded up");
            assert_eq!((&problem["attempts"], answer.header("bascule-attempts")), (&json!(0), "0"));
            assert_eq!((&problem["integration"], &problem["operation"]), (&json!("shop"), &json!(operation)));
        }
    }
    assert_eq!(provider.count(), 0, "nothing is sent, nothing is tried again");
    assert_eq!(circuit(&gateway).await, "closed");
    let metrics = Metrics::of(&gateway.admin()).await;
    let labels = [("plugin", "faulty"), ("hook", "request-mapper"), ("kind", "fault")];
    assert_eq!(metrics.value("plugin_failures_total", &labels), 22.0);
    // A fault is an answer: 22 of them in a row do not take the plugin out of service.
    assert_eq!(gateway.call("shop", "get", json!({})).await.status, 200);
}

#[tokio::test]
async fn any_fault_of_a_signer_is_signing_failed_and_nothing_is_sent() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = Gateway::start(&[("shop", &faulty(&provider.url()))]).await;
    for (kind, ..) in KINDS {
        let answer = gateway.call("shop", "get", json!({"phase": "signer", "kind": kind})).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (500, "signing-failed"), "{kind}");
        assert_eq!(answer.json()["code"], "as-asked");
    }
    assert_eq!(provider.count(), 0);
    assert_eq!(circuit(&gateway).await, "closed");
    let labels = [("plugin", "faulty"), ("hook", "signer"), ("kind", "fault")];
    assert_eq!(gateway.metric("plugin_failures_total", &labels).await, 11.0);
}

#[tokio::test]
async fn a_signer_that_traps_keeps_its_own_code_and_nothing_is_sent() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let folder = tempfile::tempdir().unwrap();
    write_trapping(folder.path(), "trapping", "signer", SIGN);
    let text = with_file(&provider.url(), folder.path(), "trapping");
    let gateway = Gateway::start(&[("shop", &text)]).await;
    let answer = gateway.call("shop", "get", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (500, "plugin-trapped"));
    assert_eq!(provider.count(), 0);
    assert_eq!(circuit(&gateway).await, "closed");
}

#[tokio::test]
async fn a_signers_answer_that_breaks_the_rules_is_not_sent() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let folder = tempfile::tempdir().unwrap();
    for (name, header) in [("host", "Host"), ("length", "Content-Length"), ("hop", "Transfer-Encoding")] {
        let mut image = Image::new();
        let (header, value) = (image.text(header), image.text("evil.example"));
        // field { name, plain(value) }, the rest of the variant's room is unused.
        let field = image.words(&[header[0], header[1], 0, value[0], value[1], 0, 0, 0, 0, 0, 0]);
        let patch = image.words(&[0, field, 1, 4096, 0]);
        let module = format!(
            r#"
  (import "bascule:plugin/types@0.1.0" "[resource-drop]body" (func $drop (param i32)))
  {RUNTIME} {}
  (func {SIGN}
    (if (local.get 14) (then (call $drop (local.get 15))))
    (i32.const {patch}))"#,
            image.segment()
        );
        let world = "import bascule:plugin/types@0.1.0; export bascule:plugin/signer@0.1.0;";
        write_guest(folder.path(), name, world, &module);
        let text = with_file(&provider.url(), folder.path(), name);
        let gateway = Gateway::start(&[("shop", &text)]).await;
        let answer = gateway.call("shop", "get", json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (500, "signing-failed"), "{name}");
    }
    assert_eq!(provider.count(), 0);
}

#[tokio::test]
async fn a_response_mappers_fault_is_502_committed_and_never_tried_again() {
    let provider = Provider::new(|_| reply(201, &[], "{}")).await;
    let gateway = Gateway::start(&[("shop", &faulty(&provider.url()))]).await;
    let mut sent = 0;
    for (kind, ..) in KINDS {
        for operation in ["get", "send"] {
            let params = json!({"phase": "response-mapper", "kind": kind});
            let answer = gateway.call("shop", operation, params).await;
            sent += 1;
            let problem = answer.json();
            assert_eq!((answer.status.as_u16(), &problem["status"]), (502, &json!(502)), "{kind}: {problem}");
            assert_eq!(answer.problem(), "plugin-failed", "a 502 is not the caller's fault: {problem}");
            assert_eq!(problem["code"], "as-asked");
            assert_eq!((&problem["upstream_status"], &problem["committed"]), (&json!(201), &json!(true)));
            assert_eq!(problem["attempts"], 1);
            assert_eq!(provider.count(), sent, "once each: it has happened");
        }
    }
    assert_eq!(circuit(&gateway).await, "closed", "the provider did its part");
    let labels = [("plugin", "faulty"), ("hook", "response-mapper"), ("kind", "fault")];
    assert_eq!(gateway.metric("plugin_failures_total", &labels).await, 22.0);
}

#[tokio::test]
async fn a_response_mapper_that_traps_is_502_with_the_traps_code() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let folder = tempfile::tempdir().unwrap();
    write_trapping(folder.path(), "trapping", "response-mapper", MAP_RESPONSE);
    let text = with_file(&provider.url(), folder.path(), "trapping");
    let gateway = Gateway::start(&[("shop", &text)]).await;
    let answer = gateway.call("shop", "get", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (502, "plugin-trapped"));
    assert_eq!((&answer.json()["upstream_status"], &answer.json()["committed"]), (&json!(200), &json!(true)));
    assert_eq!((provider.count(), circuit(&gateway).await), (1, json!("closed")));
}

#[tokio::test]
async fn an_error_mappers_fault_is_what_the_caller_reads() {
    let provider = Provider::new(|_| reply(400, &[], r#"{"e":"bad"}"#)).await;
    let gateway = Gateway::start(&[("shop", &faulty(&provider.url()))]).await;
    for (kind, status, code) in KINDS {
        let answer = gateway.call("shop", "send", json!({"phase": "error-mapper", "kind": kind})).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (status, code), "{kind}");
        assert_eq!(answer.json()["code"], "as-asked", "{kind}");
        assert_eq!(answer.json()["details"], json!({"phase": "error-mapper"}));
    }
}

#[tokio::test]
async fn an_error_mapper_that_traps_leaves_the_providers_answer() {
    let provider =
        Provider::new(|_| reply(422, &[("content-type", "application/json")], r#"{"e":"bad"}"#)).await;
    let folder = tempfile::tempdir().unwrap();
    write_trapping(folder.path(), "trapping", "error-mapper", MAP_ERROR);
    let text = with_file(&provider.url(), folder.path(), "trapping");
    let gateway = Gateway::start(&[("shop", &text)]).await;
    let answer = gateway.call("shop", "get", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (422, json!({"e": "bad"})));
    assert_eq!(answer.header("bascule-source"), "upstream");
}

#[tokio::test]
async fn a_classifier_that_traps_leaves_the_judgement_to_the_status() {
    let provider = Provider::new(|request| match request.number {
        1 => reply(503, &[], ""),
        2 => reply(200, &[], "\"good\""),
        _ => reply(404, &[], "\"none\""),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    write_trapping(folder.path(), "trapping", "classifier", CLASSIFY);
    let text = with_file(&provider.url(), folder.path(), "trapping");
    let gateway = Gateway::start(&[("shop", &text)]).await;
    let answer = gateway.call("shop", "get", json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "\"good\""));
    assert_eq!(answer.header("bascule-attempts"), "2", "the 503 was transient");
    let answer = gateway.call("shop", "get", json!({})).await;
    assert_eq!((answer.status.as_u16(), provider.count()), (404, 3));
    assert_eq!(circuit(&gateway).await, "closed");
    let metrics = Metrics::of(&gateway.admin()).await;
    let labels = [("plugin", "trapping"), ("hook", "classifier"), ("kind", "trap")];
    assert_eq!(metrics.value("plugin_failures_total", &labels), 3.0);
}

/// A classifier that answers with this classification: verdict, then `some(breaker-failure)`.
fn classifying(folder: &std::path::Path, name: &str, verdict: u8, breaker_failure: Option<bool>) {
    let mut image = Image::new();
    // verdict @0; retry-after-ms: option<u32> @4; breaker-failure: option<bool> @12; quota: option @16.
    let mut record = [0; 56];
    record[0] = verdict;
    record[12] = u8::from(breaker_failure.is_some());
    record[13] = u8::from(breaker_failure == Some(true));
    let at = image.put(&record);
    let module = format!("{RUNTIME} {} (func {CLASSIFY} (i32.const {at}))", image.segment());
    write_guest(folder, name, "export bascule:plugin/classifier@0.1.0;", &module);
}

#[tokio::test]
async fn a_classifiers_verdict_drives_retry_and_breaker() {
    let folder = tempfile::tempdir().unwrap();
    let (success, transient, rejected) = (0, 1, 4);
    for (name, verdict, failure, status, attempts, state) in [
        ("fine", success, None, 500, 1, "closed"),
        ("again", transient, None, 200, 3, "open"),
        ("no", rejected, None, 503, 1, "closed"),
        ("forgiven", transient, Some(false), 500, 3, "closed"),
        ("blamed", rejected, Some(true), 404, 1, "open"),
    ] {
        classifying(folder.path(), name, verdict, failure);
        let provider = Provider::new(move |_| reply(status, &[], "{}")).await;
        let gateway = Gateway::start(&[("shop", &with_file(&provider.url(), folder.path(), name))]).await;
        let answer = gateway.call("shop", "get", json!({})).await;
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(provider.count(), attempts, "{name}");
        assert_eq!(circuit(&gateway).await, state, "{name}");
    }
}
