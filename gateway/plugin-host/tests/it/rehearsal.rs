//! Recorded exchanges: what is compared, what is recorded, and that nobody else notices.

use bascule_plugin_host::{Exchange, ExchangeError, Grants, Plugin, Rehearsal};
use serde_json::{Value, json};

use crate::phases::{mappers, reply, send};
use crate::support::*;

const SIGNER: &str = "export bascule:plugin/signer@0.1.0;";

/// A signer whose patch is the header `x-key` with the secret `api_key` put in after `Key `.
fn signer() -> Vec<u8> {
    let mut image = Image::new();
    let (name, lead, secret) = (image.text("X-Key"), image.text("Key "), image.text("api_key"));
    let field = image.words(&[name[0], name[1], 1, lead[0], lead[1], 0, 0, secret[0], secret[1], 0, 0, 0]);
    let patch = image.words(&[0, field, 1, 0, 0]);
    let wat = format!(
        r#"(module {RUNTIME} {}
          (func (export "bascule:plugin/signer@0.1.0#sign")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (i32.const {patch})))"#,
        image.segment()
    );
    guest(SIGNER, &wat)
}

fn sign(expect: Value) -> Value {
    json!({
        "name": "a get",
        "credentials": {"api_key": "test-secret"},
        "steps": [{"phase": "signer", "request": {"method": "GET", "path": "/"}, "authority": "host", "expect": expect}]
    })
}

fn classify(name: &str, expect: Value) -> Value {
    json!({"name": name, "steps": [{"phase": "classifier", "response": {"status": 200}, "expect": expect}]})
}

fn rehearse(plugin: &Plugin, document: &Value) -> Rehearsal {
    let exchanges = Exchange::read(document.to_string().as_bytes()).unwrap();
    plugin.rehearse(&exchanges).unwrap()
}

fn differences(rehearsal: &Rehearsal) -> Vec<String> {
    rehearsal.steps.iter().flat_map(|step| step.differences.iter().map(ToString::to_string)).collect()
}

#[test]
fn a_version_is_compared_under_test_values_and_the_difference_is_named() {
    let (plugin, recorder) = loaded_with(signer(), |spec| {
        spec.credentials.insert("api_key".into(), "real-secret".into());
    });
    let good = rehearse(&plugin, &sign(json!({"patch": {"headers": [["x-key", "Key test-secret"]]}})));
    assert!(good.passed(), "{good:?}");
    let bad = rehearse(&plugin, &sign(json!({"patch": {"headers": [["x-key", "Key other"]], "query": []}})));
    assert_eq!(
        differences(&bad),
        [
            r#"/patch/headers/0/1: expected "Key other", got "Key test-secret""#,
            "/patch/query: expected [], got nothing"
        ]
    );
    assert!(!format!("{good:?}{bad:?}").contains("real-secret"));
    assert!(recorder.calls.lock().is_empty(), "a rehearsal is no call");
}

#[test]
fn chance_comes_from_the_seed_and_needs_its_grant() {
    let random = r#"(import "bascule:plugin/random@0.1.0" "bytes" (func $bytes (param i32 i32)))"#;
    // some(quota) whose `remaining` are eight random octets
    let body = "(call $bytes (i32.const 8) (i32.const 2048)) (i32.store8 (i32.const 1040) (i32.const 1))
        (i64.store (i32.const 1064) (i64.load (i32.load (i32.const 2048))))";
    let world = format!("import bascule:plugin/random@0.1.0; {CLASSIFIER}");
    let (plugin, _) = loaded_with(guest(&world, &classifier(random, body)), |spec| {
        spec.grants = Grants::parse(["random"]).unwrap();
    });
    let mut exchange = classify(
        "seeded",
        json!({"classification": {"verdict": "success", "quota": {"remaining": 6_457_827_717_110_365_317_u64}}}),
    );
    exchange["seed"] = json!(1_234_567);
    exchange["grants"] = json!(["random"]);
    assert_eq!(differences(&rehearse(&plugin, &json!([exchange, exchange]))), [""; 0], "each begins anew");
    exchange["seed"] = json!(1);
    assert_eq!(differences(&rehearse(&plugin, &exchange)).len(), 1);
    exchange["grants"] = json!(["randomly"]);
    let unknown = rehearse(&plugin, &exchange);
    assert!(differences(&unknown)[0].contains("unknown grant `randomly`"), "{unknown:?}");
}

#[test]
fn failures_can_be_expected_and_do_not_reach_the_breaker() {
    let body = "(if (i32.eq (local.get $status) (i32.const 500)) (then unreachable)) (loop (br 0))";
    let (plugin, recorder) = loaded(guest(CLASSIFIER, &classifier("", body)));
    let mut trap = classify("trap", json!({"failure": "trap"}));
    trap["steps"][0]["response"]["status"] = json!(500);
    let mut all = vec![trap; 8];
    all.push(classify("loop", json!({"failure": "cpu"})));
    let rehearsal = rehearse(&plugin, &json!(all));
    assert!(rehearsal.passed(), "{rehearsal:?}");
    assert!(rehearsal.steps[8].note.as_deref().unwrap().contains("20ms"), "why it failed is for people");
    assert!(plugin.out_of_service().is_none() && recorder.out_of_service.lock().is_empty());
}

#[test]
fn the_carry_goes_from_mapper_to_mapper_unless_it_is_given() {
    let mut image = Image::new();
    image.put(b"body");
    let carry = image.text("handed over");
    let mapping = send(&mut image, "/v2", &[], 2, carry);
    let reply = reply(&mut image, 201);
    let (plugin, _) = loaded(mappers(&image, mapping, reply));
    let answer = |body: &str| json!({"reply": {"status": 201, "headers": [["content-type", "text/plain"]], "body": body}});
    let map = json!({"phase": "response-mapper", "response": {"status": 200}, "body": "x"});
    let with = |more: Value| {
        let mut step = map.clone();
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let rehearsal = rehearse(
        &plugin,
        &json!({"name": "both", "steps": [
            {"phase": "request-mapper", "request": {"method": "GET", "path": "/"}, "body": {"json": {}}, "expect": {
                "send": {"method": "POST", "path": "/v2", "query": "a=1", "body": {"replace": {"base64": "Ym9keQ=="}}, "carry": "handed over"}
            }},
            with(json!({"expect": answer("handed over")})),
            with(json!({"carry": {"base64": "/w=="}, "expect": {"reply": {
                "status": 201, "headers": [["content-type", "text/plain"]], "body": {"base64": "/w=="}
            }}}))
        ]}),
    );
    assert_eq!(differences(&rehearsal), [""; 0]);
}

#[test]
fn what_was_blessed_is_expected_from_then_on() {
    let (plugin, _) = loaded_with(signer(), |_| {});
    let exchange = sign(Value::Null);
    let first = rehearse(&plugin, &exchange);
    assert!(!first.passed(), "nothing is expected yet, so nothing can be as expected");
    let blessed = first.blessed(exchange.to_string().as_bytes()).unwrap();
    let written: Value = serde_json::from_str(&blessed).unwrap();
    assert_eq!(written["steps"][0]["expect"], json!({"patch": {"headers": [["x-key", "Key test-secret"]]}}));
    assert_eq!(written["credentials"], exchange["credentials"], "the rest is its author's");
    assert!(rehearse(&plugin, &written).passed());
}

#[test]
fn a_phase_that_is_not_exported_is_not_run_and_cannot_be_blessed() {
    let (plugin, _) = loaded(signer());
    let exchange = classify("no classifier", json!({"failure": "trap"}));
    let rehearsal = rehearse(&plugin, &exchange);
    assert_eq!(differences(&rehearsal), ["not run: the plugin does not export this phase"]);
    let error = rehearsal.blessed(exchange.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, ExchangeError::NotRun { .. }), "{error}");
}

#[test]
fn a_phase_that_the_configuration_leaves_out_is_rehearsed_all_the_same() {
    let mut image = Image::new();
    image.put(b"body");
    let carry = image.text("c");
    let mapping = send(&mut image, "/", &[], 1, carry);
    let reply = reply(&mut image, 200);
    let (plugin, _) = loaded_with(mappers(&image, mapping, reply), |spec| {
        spec.phases = Some(vec![bascule_plugin_host::Phase::RequestMapper]);
    });
    let step = json!({"phase": "response-mapper", "response": {"status": 200}, "body": "x"});
    let rehearsal = rehearse(&plugin, &json!({"name": "x", "steps": [step]}));
    assert!(rehearsal.steps[0].got.is_some(), "{rehearsal:?}");
}

#[tokio::test]
async fn it_is_held_on_a_runtime_too() {
    let (plugin, _) = loaded(guest(CLASSIFIER, &classifier("", "")));
    let rehearsal = rehearse(&plugin, &classify("ok", json!({"classification": {"verdict": "success"}})));
    assert!(rehearsal.passed(), "{rehearsal:?}");
}

#[test]
fn a_file_brings_its_exchanges_along() {
    let document = classify("of the file", json!({"classification": {"verdict": "success"}})).to_string();
    let mut file = guest(CLASSIFIER, &classifier("", ""));
    assert!(Exchange::embedded(&file).unwrap().is_empty());
    // A custom section: id 0, size, length of the name, the name, what it holds. Sizes are in LEB128.
    let content = [&[17][..], b"bascule:exchanges", document.as_bytes()].concat();
    let size = [(content.len() & 0x7f) as u8 | 0x80, (content.len() >> 7) as u8];
    file.extend([&[0][..], &size, &content].concat());
    let exchanges = Exchange::embedded(&file).unwrap();
    assert_eq!(exchanges[0].name(), "of the file");
    let (plugin, _) = loaded(file);
    assert!(plugin.rehearse(&exchanges).unwrap().passed());
}
