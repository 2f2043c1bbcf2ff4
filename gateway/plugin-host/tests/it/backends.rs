//! Components that serve whole requests: what goes in and comes out, what they may ask for themselves, and how they end.
//!
//! The guest is made with the crate of the standard (`tests/guests/backend`, built by `cargo xtask plugins`).

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bascule_plugin_host::*;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use parking_lot::Mutex;

use crate::support::*;

fn bytes(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/dist").join(name);
    std::fs::read(file.with_extension("wasm")).expect("`cargo xtask plugins` builds it")
}

fn spec(calls: &[&str]) -> PluginSpec {
    let mut spec = PluginSpec::new("backend", bytes("backend"));
    spec.grants = Grants::parse(["random"]).unwrap();
    spec.role = Role::Backend { calls: calls.iter().map(|name| (*name).to_owned()).collect() };
    spec
}

fn backend_with(change: impl FnOnce(&mut PluginSpec)) -> (Arc<Plugin>, Arc<Recorder>) {
    let (host, recorder) = host();
    let mut spec = spec(&["github", "Stripe"]);
    change(&mut spec);
    (host.load(spec).unwrap(), recorder)
}

fn backend() -> (Arc<Plugin>, Arc<Recorder>) {
    backend_with(|_| {})
}

fn body(octets: &'static str) -> HttpBody {
    Full::new(Bytes::from_static(octets.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

fn request(method: &str, target: &str, octets: &'static str) -> Request<HttpBody> {
    let request = Request::builder().method(method).uri(target).header("host", "shop.internal");
    request.header("x-caller", "me").body(body(octets)).unwrap()
}

async fn ask(plugin: &Arc<Plugin>, target: &str) -> Result<Response<AnswerBody>, PluginError> {
    plugin.respond(&context(), request("GET", target, ""), None).await
}

/// Status and whole body.
async fn whole(response: Response<AnswerBody>) -> (u16, String) {
    let status = response.status().as_u16();
    let octets = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(octets.to_vec()).unwrap())
}

/// Answers every request with what it was, and keeps it.
#[derive(Default)]
struct Sender {
    asked: Mutex<Vec<String>>,
    fails: Option<OutboundError>,
}

impl OutboundRequests for Sender {
    fn send(&self, request: OutboundRequest) -> OutboundFuture {
        let OutboundRequest { integration, request } = request;
        let header = request.headers().get("x-from-guest").map_or("", |value| value.to_str().unwrap());
        let asked = format!("{} {} {integration} {header}", request.method(), request.uri());
        self.asked.lock().push(asked.clone());
        let fails = self.fails;
        Box::pin(async move {
            if let Some(error) = fails {
                return Err(error);
            }
            let octets = request.into_body().collect().await.unwrap().to_bytes();
            let text = format!("{asked} {}", String::from_utf8_lossy(&octets));
            let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
            Ok(Response::builder().status(StatusCode::CREATED).body(body).unwrap())
        })
    }
}

async fn ask_through(plugin: &Arc<Plugin>, sender: &Arc<Sender>, target: &str) -> (u16, String) {
    let through = Arc::clone(sender) as Arc<dyn OutboundRequests>;
    whole(plugin.respond(&context(), request("POST", target, "payload"), Some(through)).await.unwrap()).await
}

#[tokio::test]
async fn a_request_goes_in_as_it_is_and_an_answer_comes_out() {
    let (plugin, recorder) = backend();
    assert!(plugin.is_backend() && plugin.phases().is_empty());
    let response = plugin.respond(&context(), request("POST", "/echo?a=b", "the body"), None).await.unwrap();
    let (status, text) = whole(response).await;
    assert_eq!(status, 200);
    assert_eq!(text, "Method::Post /echo?a=b shop.internal\nx-caller: me\n\nthe body");
    assert_eq!(*recorder.calls.lock(), [("incoming-handler".to_owned(), None)]);
}

#[tokio::test]
async fn bodies_stream_both_ways_at_the_same_time() {
    let (plugin, _) = backend();
    let (sender, receiver) = tokio::sync::mpsc::channel::<&'static str>(1);
    let pieces = futures_of(receiver);
    let request = Request::post("/echo").header("host", "h").body(pieces).unwrap();
    let response = plugin.respond(&context(), request, None).await.unwrap();
    let mut answer = response.into_body();
    let mut seen = String::new();
    for piece in ["first;", "second;", "third;"] {
        sender.send(piece).await.unwrap();
        // What was sent comes back before anything else is sent.
        while !seen.contains(piece) {
            let frame = answer.frame().await.unwrap().unwrap();
            seen += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
        }
    }
    drop(sender);
    assert!(answer.frame().await.is_none(), "the answer ends with the request");
}

/// A body of what comes through the channel.
fn futures_of(mut receiver: tokio::sync::mpsc::Receiver<&'static str>) -> HttpBody {
    let next = move |context: &mut std::task::Context<'_>| {
        receiver
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(http_body::Frame::data(Bytes::from_static(piece.as_bytes())))))
    };
    BodyExt::boxed_unsync(StreamBody::new(Polled(next)))
}

struct Polled<F>(F);

impl<T, F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin> futures_core::Stream
    for Polled<F>
{
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        (self.0)(context)
    }
}

#[tokio::test]
async fn the_configuration_is_the_environment_and_the_console_is_the_log() {
    let (plugin, recorder) = backend_with(|spec| {
        spec.config = serde_json::json!({ "GREETING": "hello", "TRIES": 3 });
    });
    let answer = whole(ask(&plugin, "/environment").await.unwrap()).await;
    assert_eq!(answer, (200, "GREETING=hello\nTRIES=3\n".to_owned()));
    whole(ask(&plugin, "/lines").await.unwrap()).await;
    // The guest ends a moment after its answer has.
    until(|| recorder.calls.lock().len() == 2).await;
    let expected = [(LogLevel::Info, "said aloud".to_owned()), (LogLevel::Warn, "complained".to_owned())];
    assert_eq!(*recorder.lines.lock(), expected);
}

/// Waits for what happens elsewhere; a test that waits for too long fails by its runner's patience.
async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn requests_of_its_own_go_to_granted_integrations() {
    let (plugin, _) = backend();
    let sender = Arc::new(Sender::default());
    let answer = ask_through(&plugin, &sender, "/post?https://github.internal/users/x?y=z").await;
    assert_eq!(answer, (201, "POST /users/x?y=z github yes payload".to_owned()));
    // As some libraries write hosts.
    let answer = ask_through(&plugin, &sender, "/call?http://stripe.internal").await;
    assert_eq!(answer, (201, "GET / Stripe yes ".to_owned()));
}

#[tokio::test]
async fn everything_else_is_refused_and_the_log_says_which_line_would_grant_it() {
    let sender = Arc::new(Sender::default());
    let line = r#"a request to the integration `weather` was refused; `calls = ["Stripe", "github", "weather"]` in its [component] table grants it"#;
    let name =
        "a request to `example.com` was refused: components call integrations, as http://NAME.internal/…";
    for (url, expected) in [("http://weather.internal/now", line), ("https://example.com/", name)] {
        let (plugin, recorder) = backend();
        let answer = ask_through(&plugin, &sender, &format!("/calls?{url}")).await;
        assert_eq!(answer, (599, "ErrorCode::HttpRequestDenied".to_owned()));
        // Once, however often it asks, and when the guest has ended.
        until(|| !recorder.calls.lock().is_empty()).await;
        assert_eq!(*recorder.lines.lock(), [(LogLevel::Warn, expected.to_owned())]);
    }
    for url in [
        "http://github.internal:8080/",
        "http://github.internal.evil/",
        "http://.internal/",
        "http://u@github.internal/",
    ] {
        let (plugin, _) = backend();
        assert_eq!(ask_through(&plugin, &sender, &format!("/call?{url}")).await.0, 599, "{url}");
    }
    assert!(sender.asked.lock().is_empty());
    let (plugin, _) = backend();
    let unheard = whole(ask(&plugin, "/call?http://github.internal/").await.unwrap()).await;
    assert_eq!(unheard, (599, "ErrorCode::HttpRequestDenied".to_owned()), "there is nobody to send it");
}

#[tokio::test]
async fn a_refusal_is_short_and_counts_as_a_line_of_the_call() {
    let sender = Arc::new(Sender::default());
    for (lines, expected) in [(1, "was refused"), (0, "1 lines dropped")] {
        for host in ["a".repeat(5000), format!("{}.internal", "b".repeat(5000))] {
            let (plugin, recorder) = backend_with(|spec| spec.limits.log_bytes = 800 * lines + 1);
            ask_through(&plugin, &sender, &format!("/call?http://{host}/")).await;
            until(|| !recorder.calls.lock().is_empty()).await;
            let lines = recorder.lines.lock();
            assert!(lines.len() == 1 && lines[0].1.contains(expected), "{lines:?}");
        }
    }
}

#[tokio::test]
async fn a_call_may_send_so_many_requests_and_no_more() {
    let (plugin, recorder) = backend();
    let sender = Arc::new(Sender::default());
    let answer = ask_through(&plugin, &sender, "/calls?http://github.internal/").await;
    assert_eq!((answer.0, sender.asked.lock().len()), (599, 4));
    until(|| !recorder.calls.lock().is_empty()).await;
    let text = recorder.lines.lock()[0].1.clone();
    assert!(text.contains("more than 4 requests") && text.contains("side_requests"), "{text}");
    let (plugin, _) = backend_with(|spec| spec.limits.side_requests = 5);
    assert_eq!(ask_through(&plugin, &sender, "/calls?http://github.internal/").await.0, 201);
}

#[tokio::test]
async fn what_the_sender_says_is_what_the_guest_hears() {
    let (plugin, _) = backend();
    let deep = Arc::new(Sender { fails: Some(OutboundError::TooDeep), ..Sender::default() });
    let answer = ask_through(&plugin, &deep, "/call?http://github.internal/").await;
    assert_eq!(answer, (599, "ErrorCode::LoopDetected".to_owned()));
}

/// Reads the request's body beside the call, however that ends, and keeps what came of it.
#[derive(Default)]
struct Reader(Arc<Mutex<Option<Result<Bytes, String>>>>);

impl OutboundRequests for Reader {
    fn send(&self, request: OutboundRequest) -> OutboundFuture {
        let read = Arc::clone(&self.0);
        tokio::spawn(async move {
            let whole = request.request.into_body().collect().await;
            *read.lock() = Some(whole.map(|whole| whole.to_bytes()).map_err(|error| error.to_string()));
        });
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn half_a_body_of_a_guest_that_is_gone_is_not_taken_for_all_of_it() {
    let (plugin, _) = backend();
    let reader = Arc::new(Reader::default());
    let through = Arc::clone(&reader) as Arc<dyn OutboundRequests>;
    let request = request("GET", "/half?http://github.internal/upload", "");
    let error = plugin.respond(&context(), request, Some(through)).await.err().unwrap();
    assert!(matches!(error, PluginError::Trapped { .. }), "{error}");
    until(|| reader.0.lock().is_some()).await;
    assert_eq!(*reader.0.lock(), Some(Err("the component's body broke off".to_owned())));
}

#[tokio::test]
async fn a_guest_that_fails_before_its_answer_fails_the_request() {
    let (plugin, recorder) = backend_with(|spec| {
        spec.limits.cpu = Some(Duration::from_millis(200));
        spec.limits.memory = 8 << 20;
        spec.limits.breaker.failures = 100;
    });
    let error = ask(&plugin, "/trap").await.err().unwrap();
    assert!(matches!(&error, PluginError::Trapped { message } if message.starts_with("panicked")), "{error}");
    let error = ask(&plugin, "/loop").await.err().unwrap();
    assert!(matches!(error, PluginError::TimedOut { kind: TimeoutKind::Cpu, .. }), "{error}");
    let error = ask(&plugin, "/hog").await.err().unwrap();
    assert!(matches!(error, PluginError::OutOfMemory { limit } if limit == 8 << 20), "{error}");
    let error = ask(&plugin, "/silent").await.err().unwrap();
    assert!(matches!(&error, PluginError::BadAnswer { reason } if reason == "there is none"), "{error}");
    let error = ask(&plugin, "/headers?101").await.err().unwrap();
    assert!(matches!(&error, PluginError::BadAnswer { .. }), "{error}");
    let kinds: Vec<_> = recorder.calls.lock().iter().map(|(_, failure)| failure.unwrap()).collect();
    assert_eq!(kinds, ["trap", "cpu", "memory", "bad-answer", "bad-answer"]);
    let error = ask(&plugin, "/fault").await.err().unwrap();
    assert!(matches!(&error, PluginError::Fault(fault) if fault.code == "connection-refused"), "{error}");
    assert_eq!(whole(ask(&plugin, "/status?204").await.unwrap()).await.0, 204);
}

#[tokio::test]
async fn waiting_costs_wall_time_and_no_cpu_time() {
    let (plugin, _) = backend_with(|spec| spec.limits.cpu = Some(Duration::from_millis(100)));
    let answer = whole(ask(&plugin, "/sleep?400").await.unwrap()).await;
    assert_eq!(answer, (200, "slept\n".to_owned()));
    let (plugin, _) = backend_with(|spec| spec.limits.wall = Some(Duration::from_millis(100)));
    let error = ask(&plugin, "/sleep?60000").await.err().unwrap();
    assert!(matches!(error, PluginError::TimedOut { kind: TimeoutKind::Wall, .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_says_why() {
    let (plugin, recorder) = backend();
    let mut body = ask(&plugin, "/late").await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.data_ref().unwrap(), "the first half\n");
    let error = body.frame().await.unwrap().err().unwrap();
    assert!(matches!(error, PluginError::Trapped { .. }), "{error}");
    until(|| !recorder.calls.lock().is_empty()).await;
    assert_eq!(recorder.calls.lock()[0].1, Some("trap"));
}

#[test]
fn half_an_answer_is_not_taken_for_all_of_it_when_the_runtime_goes_away() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let serving = runtime();
    let body = serving.block_on(async {
        let (plugin, _) = backend();
        let mut body = ask(&plugin, "/large?1000").await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        body
    });
    drop(serving);
    let error = runtime().block_on(body.collect()).err().unwrap();
    assert!(matches!(error, PluginError::Trapped { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_with_its_wall_time() {
    let (plugin, recorder) = backend_with(|spec| spec.limits.wall = Some(Duration::from_millis(200)));
    let response = ask(&plugin, "/large?1000").await.unwrap();
    until(|| !recorder.calls.lock().is_empty()).await;
    let error = response.into_body().collect().await.err().unwrap();
    assert!(matches!(error, PluginError::TimedOut { kind: TimeoutKind::Wall, .. }), "{error}");
}

#[tokio::test]
async fn slow_callers_never_take_a_backend_out_of_service() {
    let (plugin, recorder) = backend_with(|spec| spec.limits.wall = Some(Duration::from_millis(50)));
    for number in 1..=5 {
        let unread = ask(&plugin, "/large?1000").await.unwrap();
        until(|| recorder.calls.lock().len() == number).await;
        drop(unread);
    }
    for number in 6..=10 {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let request = Request::post("/echo").header("host", "h").body(futures_of(receiver)).unwrap();
        let response = plugin.respond(&context(), request, None).await.unwrap();
        let error = response.into_body().collect().await.err().unwrap();
        assert!(matches!(error, PluginError::TimedOut { kind: TimeoutKind::Wall, .. }), "{error}");
        until(|| recorder.calls.lock().len() == number).await;
        drop(sender);
    }
    assert!(recorder.calls.lock().iter().all(|(_, failure)| *failure == Some("wall")));
    assert!(plugin.out_of_service().is_none() && recorder.out_of_service.lock().is_empty());
    // One that waits for nobody but itself is.
    for _ in 0..5 {
        ask(&plugin, "/sleep?60000").await.err().unwrap();
    }
    assert!(plugin.out_of_service().is_some());
}

#[tokio::test]
async fn who_leaves_takes_the_instance_along() {
    let (plugin, recorder) = backend_with(|spec| spec.limits.instances = 1);
    let mut body = ask(&plugin, "/large?1000").await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    let busy = ask(&plugin, "/status?200").await.err().unwrap();
    assert!(matches!(busy, PluginError::Busy), "{busy}");
    drop(body);
    assert_eq!(whole(ask(&plugin, "/status?200").await.unwrap()).await.0, 200);
    // Neither was there an answer to wait for.
    {
        let mut leaving = pin!(ask(&plugin, "/sleep?60000"));
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut leaving).await.is_err());
    }
    assert_eq!(whole(ask(&plugin, "/status?200").await.unwrap()).await.0, 200);
    until(|| recorder.calls.lock().len() == 3).await;
    // Of those that were left nothing is told.
    let kinds: Vec<_> = recorder.calls.lock().iter().map(|(_, failure)| *failure).collect();
    assert_eq!(kinds, [Some("busy"), None, None]);
}

#[tokio::test]
async fn backends_that_hoard_leave_half_of_instances_and_memory_to_others() {
    // A good plugin has 4 MiB, a backend more than 1.
    for (memory, instances) in [(1 << 30, 8), (8 << 20, 16)] {
        let (host, _) = host_with(|config| (config.memory_total, config.instances) = (memory, instances));
        let good = host.load(PluginSpec::new("good", guest(CLASSIFIER, &classifier("", "")))).unwrap();
        let bad = host.load(spec(&[])).unwrap();
        let (mut hoard, mut refused) = (Vec::new(), 0);
        for _ in 0..instances {
            match ask(&bad, "/large?1000").await {
                Ok(unread) => hoard.push(unread),
                Err(PluginError::Busy | PluginError::OutOfMemory { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(!hoard.is_empty() && hoard.len() <= instances / 2 && refused > 0, "{}", hoard.len());
        for _ in 0..20 {
            good.classify(&context(), status(200), None).await.unwrap();
        }
        assert!(bad.out_of_service().is_none());
    }
}

#[tokio::test]
async fn a_backend_that_keeps_failing_is_left_alone() {
    for target in ["/trap", "/silent", "/headers?101"] {
        let (plugin, recorder) = backend();
        for _ in 0..5 {
            ask(&plugin, target).await.err().unwrap();
        }
        let error = ask(&plugin, "/status?200").await.err().unwrap();
        assert!(matches!(error, PluginError::Unavailable { .. }), "{error}");
        assert_eq!(*recorder.out_of_service.lock(), [plugin.id()]);
    }
}

#[tokio::test]
async fn a_probe_is_over_when_its_answer_has_begun() {
    let (plugin, _) = backend_with(|spec| {
        spec.limits.breaker.failures = 1;
        spec.limits.breaker.open = Duration::from_millis(20);
    });
    ask(&plugin, "/trap").await.err().unwrap();
    until(|| plugin.out_of_service().is_none()).await;
    let probe = ask(&plugin, "/large?1000").await.unwrap();
    assert_eq!(ask(&plugin, "/status?200").await.unwrap().status(), 200);
    drop(probe);
}

#[tokio::test]
async fn what_it_imports_has_to_be_granted_in_its_own_table() {
    let (host, _) = host();
    let error = host.load(PluginSpec { grants: Grants::default(), ..spec(&[]) }).err().unwrap();
    let text = error.to_string();
    assert!(text.ends_with(r#"; add `grants = ["random"]` to its [component] table"#), "{text}");
    let (plugin, _) = backend();
    let (status, number) = whole(ask(&plugin, "/random").await.unwrap()).await;
    assert!(status == 200 && number.parse::<u64>().is_ok(), "{number}");
}

#[tokio::test]
async fn roles_are_not_taken_for_each_other() {
    let (host, _) = host();
    let error = host.load(PluginSpec::new("backend", bytes("backend"))).err().unwrap();
    assert!(matches!(error, LoadError::IsBackend), "{error}");
    let mut plugin = PluginSpec::new("pass", bytes("pass"));
    plugin.role = Role::Backend { calls: BTreeSet::new() };
    let error = host.load(plugin).err().unwrap();
    assert!(matches!(error, LoadError::NotBackend), "{error}");
    let inspection = host.inspect(&bytes("backend")).unwrap();
    assert!(inspection.is_backend() && inspection.phases().is_empty());
    assert_eq!(inspection.warnings, [""; 0]);
}
