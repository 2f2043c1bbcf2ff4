//! Scripted providers: one that speaks HTTP, one that says what it likes.

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A request as a provider received it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// Path with query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// 1 for the first request of this provider.
    pub number: usize,
}

impl Request {
    /// A header's text; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a printable header"))
    }
}

/// An HTTP provider that answers by a function and remembers what it was asked.
pub struct Provider {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

/// A response of a provider.
pub fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(StatusCode::from_u16(status).expect("a status"));
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).expect("a response")
}

impl Provider {
    /// A provider that answers at once.
    pub async fn new(answer: impl Fn(&Request) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Self {
        Self::slow(move |request| std::future::ready(answer(&request))).await
    }

    /// A provider that may take its time.
    pub async fn slow<F>(answer: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (answer, remembered) = (Arc::new(answer), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&remembered));
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                        let request = {
                            let mut seen = seen.lock();
                            let request = Request {
                                method: parts.method,
                                target: parts.uri.to_string(),
                                headers: parts.headers,
                                body,
                                number: seen.len() + 1,
                            };
                            seen.push(request.clone());
                            request
                        };
                        Ok::<_, Infallible>(answer(request).await)
                    }
                });
                tokio::spawn(async move {
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, seen, task }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests it has received.
    pub fn count(&self) -> usize {
        self.seen.lock().len()
    }

    /// Forgets what it has received.
    pub fn forget(&self) {
        self.seen.lock().clear();
    }

    /// What it has received.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().clone()
    }

    /// The latest request.
    pub fn last(&self) -> Request {
        self.seen.lock().last().expect("a request").clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A provider below HTTP: it gets the connection.
pub struct RawProvider {
    address: SocketAddr,
    connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl RawProvider {
    pub async fn new<F>(serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections: Arc<Mutex<usize>> = Arc::default();
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                *counted.lock() += 1;
                tokio::spawn(serve(stream));
            }
        });
        Self { address, connections, task }
    }

    /// Reads one request head, writes these octets, and closes.
    pub async fn saying(octets: &'static [u8]) -> Self {
        Self::new(move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(octets).await;
            let _ = stream.shutdown().await;
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock()
    }
}

impl Drop for RawProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads up to the empty line that ends a request head.
pub async fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(octet) => head.push(octet),
            Err(_) => break,
        }
    }
    head
}

/// A base URL where nobody listens. The port stays reserved for as long as the socket is kept, so that
/// no other test can come to listen on it.
pub fn refused_url() -> (tokio::net::TcpSocket, String) {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = socket.local_addr().expect("an address");
    (socket, format!("http://{address}"))
}
