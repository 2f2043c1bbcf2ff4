//! Side requests: grant, budget, secrets, caps, and whose time it is while a plugin waits.

use std::sync::Arc;
use std::time::Duration;

use bascule_plugin_host::{
    CallContext, Grants, HostBody, Plugin, PluginError, PluginSpec, ResponseHead, SideError, SideFuture,
    SideRequest, SideRequests, SideResponse, TimeoutKind,
};
use parking_lot::Mutex;

use crate::support::*;

const SEND: &str = r#"
  (import "bascule:plugin/http@0.1.0" "send" (func $send
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "bascule:plugin/types@0.1.0" "[method]body.read" (func $read (param i32 i32)))
  (import "bascule:plugin/types@0.1.0" "[resource-drop]body" (func $drop (param i32)))
  (import "bascule:plugin/context@0.1.0" "attempt" (func $attempt (result i32)))"#;
const WORLD: &str = "import bascule:plugin/types@0.1.0; import bascule:plugin/context@0.1.0;
    import bascule:plugin/http@0.1.0;";

/// A token source that sends as many requests to that endpoint as the context's attempt says. Its token is
/// the body of the last answer, or "error N", N the http-error.
fn source(endpoint: Option<&str>, path: &str) -> Vec<u8> {
    let mut image = Image::new();
    let (method, path) = (image.text("POST"), image.text(path));
    let (some, endpoint) = endpoint.map_or((0, [0, 0]), |endpoint| (1, image.text(endpoint)));
    let (name, lead, secret) = (image.text("Authorization"), image.text("Basic "), image.text("client"));
    let field = [&name[..], &[1], &lead, &[4096, 0], &secret, &[4096, 0], &[1]].concat();
    let (auth, error) = (image.words(&field), image.text("error 0"));
    let token = image.words(&[0, error[0], error[1], 0, 0, 0, 0, 0, 0, 0, 0]);
    let wat = format!(
        r#"(module {SEND} {RUNTIME} {segment}
          (func (export "bascule:plugin/token-source@0.1.0#fetch-token") (param i32 i32) (result i32)
            (local $left i32)
            (local.set $left (call $attempt))
            (loop $on
              (call $send
                (i32.const {}) (i32.const {}) (i32.const {some}) (i32.const {}) (i32.const {})
                (i32.const {}) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const {auth}) (i32.const 1)
                (i32.const 0) (i32.const 0) (i32.const 2048))
              (local.set $left (i32.sub (local.get $left) (i32.const 1)))
              (br_if $on (i32.gt_s (local.get $left) (i32.const 0))))
            (if (i32.load8_u (i32.const 2048))
              (then (i32.store8 (i32.const {}) (i32.add (i32.const 48) (i32.load8_u (i32.const 2052)))))
              (else
                (call $read (i32.load (i32.const 2064)) (i32.const 3000))
                (if (i32.load8_u (i32.const 3000)) (then unreachable))
                (i32.store (i32.const {}) (i32.load (i32.const 3008)))
                (i32.store (i32.const {}) (i32.load (i32.const 3012)))))
            (i32.const {token})))"#,
        method[0],
        method[1],
        endpoint[0],
        endpoint[1],
        path[0],
        path[1],
        error[0] + 6,
        token + 4,
        token + 8,
        segment = image.segment(),
    );
    guest(&format!("{WORLD} export bascule:plugin/token-source@0.1.0;"), &wat)
}

/// Answers as its function says, and keeps what it was sent.
struct Sender<F> {
    answer: F,
    sent: Mutex<Vec<SideRequest>>,
}

impl<F: Fn() -> SideFuture<'static> + Send + Sync> SideRequests for Sender<F> {
    fn send(&self, request: SideRequest) -> SideFuture<'_> {
        self.sent.lock().push(request);
        (self.answer)()
    }
}

fn sender<F: Fn() -> SideFuture<'static> + Send + Sync>(answer: F) -> Arc<Sender<F>> {
    Arc::new(Sender { answer, sent: Mutex::default() })
}

fn response(body: impl Into<bytes::Bytes>) -> Result<SideResponse, SideError> {
    Ok(SideResponse { head: ResponseHead { status: 200, headers: Vec::new() }, body: body.into() })
}

fn granted(spec: &mut PluginSpec) {
    spec.grants = Grants::parse(["http:auth", "http:default"]).unwrap();
    spec.credentials.insert("client".into(), "client-secret".into());
}

fn sending(side: Arc<dyn SideRequests>, times: u32) -> CallContext {
    CallContext { side: Some(side), attempt: times, ..context() }
}

async fn fetch(plugin: &Plugin, context: &CallContext) -> Result<String, PluginError> {
    let token = plugin.fetch_token(context, "read").await?;
    Ok(String::from_utf8(token.value.expose().to_vec()).unwrap())
}

#[tokio::test]
async fn a_request_goes_to_its_endpoint_with_its_secret_and_brings_a_body_back() {
    for (endpoint, name) in [(Some("auth"), "auth"), (None, "default")] {
        let sender = sender(|| Box::pin(async { response("fresh-token") }));
        let (plugin, _) = loaded_with(source(endpoint, "/token"), granted);
        assert_eq!(fetch(&plugin, &sending(sender.clone(), 1)).await.unwrap(), "fresh-token");
        let sent = sender.sent.lock();
        assert_eq!((sent[0].endpoint.as_str(), sent[0].head.path.as_str()), (name, "/token"));
        let (header, value) = &sent[0].auth[0];
        assert_eq!(
            (header.as_str(), &value.bytes[..]),
            ("authorization", &b"Basic Y2xpZW50LXNlY3JldA=="[..])
        );
        assert!(value.secret && !format!("{sent:?}").contains("Y2xp"));
    }
}

#[tokio::test]
async fn what_is_not_granted_or_not_offered_is_denied() {
    let sender = sender(|| Box::pin(async { response("x") }));
    let (plugin, _) = loaded_with(source(Some("other"), "/"), granted);
    assert_eq!(fetch(&plugin, &sending(sender.clone(), 1)).await.unwrap(), "error 0");
    let (plugin, _) = loaded_with(source(None, "/"), granted);
    assert_eq!(fetch(&plugin, &context()).await.unwrap(), "error 0", "nobody sends in this context");
    assert!(sender.sent.lock().is_empty());
}

#[tokio::test]
async fn a_call_has_a_budget_of_requests() {
    let sender = sender(|| Box::pin(async { response("x") }));
    let (plugin, _) = loaded_with(source(None, "/"), granted);
    assert_eq!(fetch(&plugin, &sending(sender.clone(), 4)).await.unwrap(), "x");
    assert_eq!(fetch(&plugin, &sending(sender.clone(), 9)).await.unwrap(), "error 1");
    assert_eq!(sender.sent.lock().len(), 8, "and the next call has one of its own");
}

#[tokio::test]
async fn every_error_reaches_the_guest() {
    let errors = [
        (SideError::Denied, 0),
        (SideError::Deadline, 2),
        (SideError::BreakerOpen, 3),
        (SideError::Limited, 4),
        (SideError::Connect, 5),
        (SideError::TooLarge, 6),
    ];
    let (plugin, _) = loaded_with(source(None, "/"), granted);
    for (error, number) in errors {
        let sender = sender(move || Box::pin(async move { Err(error) }));
        assert_eq!(fetch(&plugin, &sending(sender, 1)).await.unwrap(), format!("error {number}"));
    }
}

#[tokio::test]
async fn answers_are_capped_and_count_as_memory() {
    let change = |spec: &mut PluginSpec| {
        granted(spec);
        spec.limits.body = 1 << 20;
        spec.limits.memory = 6 << 20;
    };
    let (plugin, _) = loaded_with(source(None, "/"), change);
    let large = sender(|| Box::pin(async { response(vec![b'x'; (1 << 20) + 1]) }));
    assert_eq!(fetch(&plugin, &sending(large.clone(), 1)).await.unwrap(), "error 6");
    assert_eq!(large.sent.lock()[0].response_bytes_max, 1 << 20);
    // A guest has 4 MiB, and each answer is one more that it never gives back.
    let many = sender(|| Box::pin(async { response(vec![b'x'; 1 << 20]) }));
    let error = fetch(&plugin, &sending(many, 4)).await.unwrap_err();
    assert!(matches!(error, PluginError::OutOfMemory { .. }), "{error:?}");
}

#[tokio::test]
async fn waiting_is_not_cpu_time() {
    // A hundred waits of several ticks each, under a limit of 20 ticks.
    let wait = || -> SideFuture<'static> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(3)).await;
            response("waited")
        })
    };
    let (plugin, _) = loaded_with(source(None, "/"), |spec| {
        granted(spec);
        spec.limits.side_requests = 100;
        spec.limits.cpu = Some(Duration::from_millis(20));
        spec.limits.wall = Some(Duration::from_secs(60));
    });
    assert_eq!(fetch(&plugin, &sending(sender(wait), 100)).await.unwrap(), "waited");
}

#[tokio::test]
async fn a_plugin_that_waits_for_ever_ends_at_its_wall_time() {
    let (plugin, _) = loaded_with(source(None, "/"), |spec| {
        granted(spec);
        spec.limits.wall = Some(Duration::from_millis(20));
    });
    let never = sender(|| Box::pin(std::future::pending()));
    let error = fetch(&plugin, &sending(never, 1)).await.unwrap_err();
    assert!(matches!(error, PluginError::TimedOut { kind: TimeoutKind::Wall, .. }), "{error:?}");
    let well = sender(|| Box::pin(async { response("x") }));
    assert_eq!(fetch(&plugin, &sending(well, 1)).await.unwrap(), "x");
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_ends_the_guest() {
    let sender = sender(|| Box::pin(async { response("x") }));
    for path in ["relative", "/a b", "/a/../b", "/\r\nx: y"] {
        let (plugin, _) = loaded_with(source(None, path), granted);
        let error = fetch(&plugin, &sending(sender.clone(), 1)).await.unwrap_err();
        assert!(matches!(error, PluginError::Trapped { .. }), "{error:?}");
    }
    assert!(sender.sent.lock().is_empty());
}

/// A signer without `body-read` that sends the caller's body to an endpoint: it could read it there.
#[tokio::test]
async fn a_body_that_may_not_be_read_may_not_be_sent_either() {
    let mut image = Image::new();
    let (method, path) = (image.text("PUT"), image.text("/"));
    let wat = format!(
        r#"(module {SEND} {RUNTIME} {}
          (func (export "bascule:plugin/signer@0.1.0#sign")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (call $send
              (i32.const {}) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const 0)
              (i32.const {}) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const 0)
              (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
              (i32.const 1) (local.get 15) (i32.const 2048))
            ;; denied is what has to come back
            (if (i32.eqz (i32.load8_u (i32.const 2048))) (then unreachable))
            (if (i32.load8_u (i32.const 2052)) (then unreachable))
            (call $drop (local.get 15))
            (i32.const 1024)))"#,
        image.segment(),
        method[0],
        method[1],
        path[0],
        path[1],
    );
    let module = guest(&format!("{WORLD} export bascule:plugin/signer@0.1.0;"), &wat);
    let sender = sender(|| Box::pin(async { response("x") }));
    let body = Some(HostBody::bytes("private"));
    let (plugin, _) = loaded_with(module.clone(), granted);
    plugin.sign(&sending(sender.clone(), 1), get("/"), "host", body.clone()).await.unwrap();
    assert!(sender.sent.lock().is_empty());
    let (plugin, _) = loaded_with(module, |spec| {
        granted(spec);
        spec.grants.body_read = true;
    });
    let sent = plugin.sign(&sending(sender.clone(), 1), get("/"), "host", body).await;
    assert!(matches!(sent, Err(PluginError::Trapped { .. })), "it was not denied: {sent:?}");
    assert_eq!(sender.sent.lock()[0].body.as_ref().unwrap().bytes, "private");
}
