//! Each phase with its answer, two phases in one plugin, and answers that break the contract.

use bascule_plugin_host::{
    Cause, FaultKind, HostBody, Mapping, OutgoingBody, Phase, PluginError, PluginSpec, Verdict,
};

use crate::support::*;

/// A request mapper and a response mapper in one plugin, answering with what lies at these addresses.
pub(crate) fn mappers(image: &Image, mapping: u32, reply: u32) -> Vec<u8> {
    let wat = format!(
        r#"(module
          (import "bascule:plugin/types@0.1.0" "[constructor]body"
            (func $body_new (param i32 i32) (result i32)))
          (import "bascule:plugin/types@0.1.0" "[resource-drop]body" (func $drop (param i32)))
          {RUNTIME} {}
          (func (export "bascule:plugin/request-mapper@0.1.0#map-request")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (call $drop (local.get 12))
            (if (i32.eq (i32.load (i32.add (i32.const {mapping}) (i32.const 56))) (i32.const 2)) (then
              (i32.store (i32.add (i32.const {mapping}) (i32.const 60))
                (call $body_new (i32.const 4096) (i32.const 4)))))
            (i32.const {mapping}))
          (func (export "bascule:plugin/response-mapper@0.1.0#map-response")
            (param $status i32) (param i32 i32) (param $body i32) (param $carry i32) (param $len i32)
            (result i32)
            (call $drop (local.get $body))
            ;; the answer's body is the carry
            (i32.store (i32.add (i32.const {reply}) (i32.const 20))
              (call $body_new (local.get $carry) (local.get $len)))
            (i32.const {reply})))"#,
        image.segment()
    );
    let world = "import bascule:plugin/types@0.1.0;
        export bascule:plugin/request-mapper@0.1.0; export bascule:plugin/response-mapper@0.1.0;";
    guest(world, &wat)
}

/// `ok(send(request))` with that path, body case and carry.
pub(crate) fn send(
    image: &mut Image,
    path: &str,
    headers: &[(&str, &[u8])],
    body: u32,
    carry: [u32; 2],
) -> u32 {
    let (method, path, query) = (image.text("POST"), image.text(path), image.text("a=1"));
    let headers = image.headers(headers);
    let words = [&[0, 0][..], &method, &[0, 0, 0], &path, &[1], &query, &headers, &[body, 0], &carry];
    image.words(&words.concat())
}

/// `ok(reply)` with that status and a body.
pub(crate) fn reply(image: &mut Image, status: u32) -> u32 {
    let headers = image.headers(&[("Content-Type", b"text/plain")]);
    image.words(&[0, status, headers[0], headers[1], 1, 0])
}

#[tokio::test]
async fn two_mappers_in_one_plugin_hand_the_carry_through_the_gateway() {
    let mut image = Image::new();
    image.put(b"body");
    let carry = image.text("from the first");
    let mapping = send(&mut image, "/v2/charge", &[("X-Api", b"1")], 2, carry);
    let reply = reply(&mut image, 201);
    let (plugin, recorder) = loaded(mappers(&image, mapping, reply));
    assert_eq!(plugin.phases(), [Phase::RequestMapper, Phase::ResponseMapper]);
    assert!(plugin.has(Phase::RequestMapper) && !plugin.has(Phase::Signer));

    let mapping = plugin.map_request(&context(), get("/"), HostBody::bytes("{}")).await.unwrap();
    let Mapping::Send(request) = mapping else { panic!("{mapping:?}") };
    assert_eq!((request.head.method.as_str(), request.head.path.as_str()), ("POST", "/v2/charge"));
    assert_eq!(request.head.query.as_deref(), Some("a=1"));
    assert_eq!(
        (request.head.headers[0].name.as_str(), &request.head.headers[0].value[..]),
        ("x-api", &b"1"[..])
    );
    let OutgoingBody::Replace(body) = &request.body else { panic!("{:?}", request.body) };
    assert_eq!((&body.bytes[..], body.secret), (&b"body"[..], false));

    let answer =
        plugin.map_response(&context(), status(200), HostBody::bytes("x"), request.carry).await.unwrap();
    assert_eq!((answer.status, answer.headers[0].name.as_str()), (201, "content-type"));
    assert_eq!(answer.body.as_deref(), Some(&b"from the first"[..]));
    let phases: Vec<_> = recorder.calls.lock().iter().map(|(phase, _)| phase.clone()).collect();
    assert_eq!(phases, ["request-mapper", "response-mapper"]);
}

#[tokio::test]
async fn answers_that_break_the_contract_are_refused() {
    let mut image = Image::new();
    image.put(b"body");
    let none = [4096, 0];
    let many: Vec<(&str, &[u8])> = vec![("a", b"b"); 101];
    let big = vec![b'x'; 33 << 10];
    let cases = [
        send(&mut image, "/a b", &[], 0, none),
        send(&mut image, "relative", &[], 0, none),
        send(&mut image, "/", &[("a", b"b\r\nc: d")], 0, none),
        send(&mut image, "/", &[("a b", b"")], 0, none),
        send(&mut image, "/", &many, 0, none),
        send(&mut image, "/", &[("a", &big)], 0, none),
        send(&mut image, "/", &[], 0, [0, (64 << 10) + 1]),
    ];
    let good = send(&mut image, "/", &[], 1, [0, 64 << 10]);
    let reply = reply(&mut image, 99);
    let (host, _) = host();
    let load = |mapping| host.load(PluginSpec::new("guest", mappers(&image, mapping, reply))).unwrap();
    for mapping in cases {
        let answer = load(mapping).map_request(&context(), get("/"), HostBody::bytes("")).await;
        assert!(matches!(answer, Err(PluginError::BadAnswer { .. })), "{answer:?}");
    }
    let plugin = load(good);
    let Mapping::Send(request) = plugin.map_request(&context(), get("/"), HostBody::bytes("")).await.unwrap()
    else {
        panic!("a request")
    };
    assert!(matches!(request.body, OutgoingBody::Empty));
    let answer = plugin.map_response(&context(), status(200), HostBody::bytes(""), Vec::new()).await;
    assert!(matches!(answer, Err(PluginError::BadAnswer { .. })), "the status 99: {answer:?}");
}

#[tokio::test]
async fn the_header_limits_are_the_plugins_own() {
    let mut image = Image::new();
    let mapping = send(&mut image, "/", &[("a", b"b"), ("c", b"d")], 0, [4096, 0]);
    let reply = reply(&mut image, 200);
    let map = async |change: fn(&mut PluginSpec)| {
        let (plugin, _) = loaded_with(mappers(&image, mapping, reply), change);
        plugin.map_request(&context(), get("/"), HostBody::bytes("")).await.map(drop)
    };
    assert!(map(|spec| (spec.limits.header_lines, spec.limits.header_bytes) = (2, 4)).await.is_ok());
    let lines = map(|spec| spec.limits.header_lines = 1).await;
    let octets = map(|spec| spec.limits.header_bytes = 3).await;
    for answer in [lines, octets] {
        assert!(matches!(answer, Err(PluginError::BadAnswer { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn a_phase_that_was_filtered_out_or_never_there_is_not_run() {
    let mut image = Image::new();
    let mapping = send(&mut image, "/", &[], 0, [4096, 0]);
    let reply = reply(&mut image, 200);
    let only = |spec: &mut PluginSpec| spec.phases = Some(vec![Phase::ResponseMapper]);
    let (plugin, _) = loaded_with(mappers(&image, mapping, reply), only);
    assert!(!plugin.has(Phase::RequestMapper));
    let filtered = plugin.map_request(&context(), get("/"), HostBody::bytes("")).await;
    assert!(matches!(filtered, Err(PluginError::BadAnswer { .. })));
    assert!(plugin.classify(&context(), status(200), None).await.is_err());
}

#[tokio::test]
async fn a_classifier_gives_verdict_hints_and_quota() {
    // verdict throttled, retry-after 250 ms, breaker-failure false, quota { limit 100, remaining 7, none }
    let body = r#"
      (i32.store8 (i32.const 1024) (i32.const 2))
      (i32.store8 (i32.const 1028) (i32.const 1)) (i32.store (i32.const 1032) (i32.const 250))
      (i32.store8 (i32.const 1036) (i32.const 1))
      (i32.store8 (i32.const 1040) (i32.const 1))
      (i32.store8 (i32.const 1048) (i32.const 1)) (i64.store (i32.const 1056) (i64.const 100))
      (i64.store (i32.const 1064) (i64.const 7))"#;
    let (plugin, _) = loaded(guest(CLASSIFIER, &classifier("", body)));
    let answer = plugin.classify(&context(), status(429), None).await.unwrap();
    assert_eq!(answer.verdict, Verdict::Throttled);
    assert_eq!((answer.retry_after_ms, answer.breaker_failure), (Some(250), Some(false)));
    let quota = answer.quota.unwrap();
    assert_eq!((quota.limit, quota.remaining, quota.reset_after_ms), (Some(100), 7, None));
}

#[tokio::test]
async fn an_error_mappers_fault_is_trimmed_and_known_secrets_are_blanked_out() {
    let mut image = Image::new();
    let (code, message) = (image.text("card declined!"), image.text("key sk_live_123456 is dead"));
    let details = image.text(r#"{"key":"sk_live_123456"}"#);
    let fault = [&[2][..], &code, &message, &[1], &details, &[1, 1500]].concat();
    let fault = image.words(&fault);
    let wat = format!(
        r#"(module {RUNTIME} {}
          (func (export "bascule:plugin/error-mapper@0.1.0#map-error")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const {fault})))"#,
        image.segment()
    );
    let module = guest("export bascule:plugin/error-mapper@0.1.0;", &wat);
    let (plugin, _) = loaded_with(module, |spec| {
        spec.credentials.insert("key".into(), "sk_live_123456".into());
    });
    let fault =
        plugin.map_error(&context(), Cause::Response, Some(status(402)), None, Vec::new()).await.unwrap();
    assert_eq!(fault.kind, FaultKind::PaymentRequired);
    assert_eq!((fault.code.as_str(), fault.message.as_str()), ("carddeclined", "key [redacted] is dead"));
    assert_eq!(fault.details.as_deref(), Some(r#"{"key":"[redacted]"}"#));
    assert_eq!(fault.retry_after_ms, Some(1500));
}

#[tokio::test]
async fn every_call_has_a_fresh_instance() {
    // The verdict counts the calls of this instance: success, then transient.
    let body = r#"
      (i32.store8 (i32.const 1024) (i32.load (i32.const 2048)))
      (i32.store (i32.const 2048) (i32.add (i32.const 1) (i32.load (i32.const 2048))))"#;
    let (plugin, _) = loaded(guest(CLASSIFIER, &classifier("", body)));
    for _ in 0..20 {
        let answer = plugin.classify(&context(), status(200), None).await.unwrap();
        assert_eq!(answer.verdict, Verdict::Success);
    }
}

#[test]
fn calls_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let (plugin, _) = loaded(guest(CLASSIFIER, &classifier("", "")));
    let (ctx, body) = (context(), HostBody::bytes(""));
    is_send(&plugin.key_material(&ctx, body.clone()));
    is_send(&plugin.fetch_token(&ctx, "read"));
    is_send(&plugin.map_request(&ctx, get("/"), body.clone()));
    is_send(&plugin.sign(&ctx, get("/"), "host", Some(body.clone())));
    is_send(&plugin.classify(&ctx, status(200), None));
    is_send(&plugin.map_response(&ctx, status(200), body.clone(), Vec::new()));
    is_send(&plugin.map_error(&ctx, Cause::Dns, None, None, Vec::new()));
}
