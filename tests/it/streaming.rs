//! Bodies that are passed through: unbuffered, with back-pressure, and gone when the caller is.

use crate::support::{Gate, Gateway, RawProvider, Served, config_folder, eventually, read_head, reply};
use bytes::Bytes;
use http::{Method, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

const MIB: usize = 1024 * 1024;

fn config(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 1
[operations.get]
path = "/get"
[operations.kept]
path = "/kept"
cache = "1h"
[operations.upload]
method = "PUT"
path = "/upload"
body = "raw"
"#
    )
}

/// So many octets, made when they are asked for.
struct Octets {
    left: usize,
    sized: bool,
}

impl Body for Octets {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let count = CHUNK.len().min(self.left);
        self.left -= count;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK[..count])))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized { SizeHint::with_exact(self.left as u64) } else { SizeHint::new() }
    }
}

async fn drain(mut body: Incoming) -> usize {
    let mut octets = 0;
    while let Some(frame) = body.frame().await {
        octets += frame.expect("a whole body").data_ref().map_or(0, Bytes::len);
    }
    octets
}

/// Takes any body and answers with as many octets as it was sent.
async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: http::Request<Incoming>| async {
                let left = drain(request.into_body()).await;
                Ok::<_, Infallible>(Response::new(Octets { left, sized: false }))
            });
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// A figure of the process's memory, in octets.
fn memory(process: u32, figure: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).expect("the figure");
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_mebibytes_pass_both_ways_in_little_memory() {
    let provider = mirror().await;
    let folder = config_folder(&Gateway::base(""), &[("api", &config(&format!("http://{provider}")))]);
    let served = Served::start(folder.path(), &[], &[]).await;
    let before = memory(served.id(), "VmRSS:");
    for (method, path, sized) in [
        (Method::PUT, "/v1/api/upload", true),
        (Method::PUT, "/v1/api/upload", false),
        (Method::POST, "/proxy/api/any", true),
    ] {
        let body = Octets { left: 100 * MIB, sized };
        let response = served.data().begin_with(method, path, body).await;
        assert_eq!(response.status(), 200);
        assert_eq!(drain(response.into_body()).await, 100 * MIB);
    }
    let growth = memory(served.id(), "VmHWM:").saturating_sub(before);
    assert!(growth < 64 * MIB, "grew by {} KiB", growth / 1024);
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    for path in ["/v1/api/get", "/v1/api/kept", "/proxy/api/events"] {
        let gate = Gate::closed();
        let held = gate.clone();
        let provider = RawProvider::new(move |mut stream| {
            let gate = held.clone();
            async move {
                read_head(&mut stream).await;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                let _ = stream.write_all(head.as_bytes()).await;
                for number in 0..3 {
                    let _ = stream.write_all(format!("9\r\ndata: {number}\n\n\r\n").as_bytes()).await;
                    gate.pass().await;
                }
                let _ = stream.write_all(b"0\r\n\r\n").await;
            }
        })
        .await;
        let gateway = Gateway::start(&[("api", &config(&provider.url()))]).await;
        let response = gateway.data().begin(Method::GET, path, "").await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        for number in 0..3 {
            // The provider sends the next one only when this one has arrived.
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), format!("data: {number}\n\n"), "{path}");
            gate.admit(1);
        }
        assert!(body.frame().await.is_none(), "{path}");
    }
}

/// Waits until a counter stands still, and says where.
async fn standstill(counter: &AtomicUsize) -> usize {
    let mut last = usize::MAX;
    loop {
        let now = counter.load(Ordering::SeqCst);
        if now == last && now > 0 {
            return now;
        }
        last = now;
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_the_provider_back() {
    const TOTAL: usize = 128 * MIB;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let provider = RawProvider::new(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let chunk = vec![b'x'; 64 * 1024];
            while counter.load(Ordering::SeqCst) < TOTAL && stream.write_all(&chunk).await.is_ok() {
                counter.fetch_add(chunk.len(), Ordering::SeqCst);
            }
        }
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url()))]).await;
    let response = gateway.data().begin(Method::GET, "/v1/api/get", "").await;
    let stopped = standstill(&written).await;
    assert!(stopped < TOTAL / 2, "{} MiB were taken from the provider", stopped / MIB);
    assert_eq!(drain(response.into_body()).await, TOTAL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_provider_holds_the_caller_back() {
    const TOTAL: usize = 128 * MIB;
    let gate = Gate::closed();
    let held = gate.clone();
    let provider = RawProvider::new(move |mut stream| {
        let gate = held.clone();
        async move {
            read_head(&mut stream).await;
            gate.pass().await;
            let (mut taken, mut buffer) = (0, vec![0; 64 * 1024]);
            while taken < TOTAL {
                taken += stream.read(&mut buffer).await.expect("more octets");
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url()))]).await;
    let mut stream = TcpStream::connect(gateway.data().address()).await.unwrap();
    let head = format!("PUT /v1/api/upload HTTP/1.1\r\nhost: x\r\ncontent-length: {TOTAL}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let upload = tokio::spawn(async move {
        let chunk = vec![b'x'; 64 * 1024];
        while counter.load(Ordering::SeqCst) < TOTAL {
            stream.write_all(&chunk).await.expect("a listener");
            counter.fetch_add(chunk.len(), Ordering::SeqCst);
        }
        String::from_utf8(read_head(&mut stream).await).unwrap()
    });
    let stopped = standstill(&written).await;
    assert!(stopped < TOTAL / 2, "{} MiB were taken from the caller", stopped / MIB);
    gate.open();
    assert!(upload.await.unwrap().starts_with("HTTP/1.1 200"));
}

/// Answers with these octets, then waits for the connection to end, and says so.
async fn noticing(octets: &'static [u8], gone: &Arc<AtomicBool>) -> RawProvider {
    let gone = Arc::clone(gone);
    RawProvider::new(move |mut stream| {
        let gone = Arc::clone(&gone);
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(octets).await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            gone.store(true, Ordering::SeqCst);
        }
    })
    .await
}

#[tokio::test]
async fn a_caller_who_leaves_takes_the_upstream_request_along() {
    let streaming = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789";
    let cases =
        [("/v1/api/get", &b""[..]), ("/v1/api/kept", b""), ("/proxy/api/x", b""), ("/v1/api/get", streaming)];
    for (path, octets) in cases {
        let gone = Arc::new(AtomicBool::new(false));
        let provider = noticing(octets, &gone).await;
        let gateway = Gateway::start(&[("api", &config(&provider.url()))]).await;
        let mut caller = TcpStream::connect(gateway.data().address()).await.unwrap();
        caller.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        eventually("the provider is asked", async || provider.connections() == 1).await;
        if !octets.is_empty() {
            assert!(read_head(&mut caller).await.starts_with(b"HTTP/1.1 200"));
        }
        assert!(!gone.load(Ordering::SeqCst));
        drop(caller);
        eventually("the provider's connection ends", async || gone.load(Ordering::SeqCst)).await;
        gateway.reaches("integration_requests_total", &[("service", "api"), ("status", "499")], 1.0).await;
        assert_eq!(gateway.metric("integration_requests_total", &[]).await, 1.0);
        let health = gateway.health("api").await;
        assert_eq!((&health["in_flight"], &health["circuit_state"]), (&json!(0), &json!("closed")));
        assert_eq!(gateway.metric("circuit_breaker_failures_total", &[]).await, 0.0);
    }
}

#[tokio::test]
async fn an_upload_whose_caller_leaves_is_no_failure_of_the_providers() {
    let gone = Arc::new(AtomicBool::new(false));
    let provider = noticing(b"", &gone).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url()))]).await;
    let mut caller = TcpStream::connect(gateway.data().address()).await.unwrap();
    let head = "PUT /v1/api/upload HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n\r\nfirst";
    caller.write_all(head.as_bytes()).await.unwrap();
    eventually("the provider is asked", async || provider.connections() == 1).await;
    drop(caller);
    eventually("the provider's connection ends", async || gone.load(Ordering::SeqCst)).await;
    gateway.reaches("integration_requests_total", &[("service", "api")], 1.0).await;
    assert_eq!(gateway.metric("circuit_breaker_failures_total", &[]).await, 0.0);
    assert_eq!(gateway.health("api").await["in_flight"], 0);
}

#[tokio::test]
async fn an_answer_may_come_before_the_upload_has_ended() {
    let provider = RawProvider::new(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url()))]).await;
    let mut caller = TcpStream::connect(gateway.data().address()).await.unwrap();
    let head = "PUT /v1/api/upload HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n\r\nfirst";
    caller.write_all(head.as_bytes()).await.unwrap();
    let answer = timeout(Duration::from_secs(20), read_head(&mut caller)).await.expect("an early answer");
    assert!(answer.starts_with(b"HTTP/1.1 403"), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn the_expectation_of_a_continue_is_met_by_the_gateway() {
    let provider = crate::support::Provider::new(|request| reply(200, &[], request.body.clone())).await;
    let gateway = Gateway::start(&[("api", &config(&provider.url()))]).await;
    let mut caller = TcpStream::connect(gateway.data().address()).await.unwrap();
    let head = "POST /proxy/api/x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    caller.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut caller).await, b"HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(b"ok").await.unwrap();
    assert!(read_head(&mut caller).await.starts_with(b"HTTP/1.1 200"));
    assert_eq!(provider.last().body, "ok");
    assert!(!provider.last().headers.contains_key("expect"));
}
