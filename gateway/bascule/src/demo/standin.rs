//! The server around a stand-in: a loopback listener, the switches that every one has, and `/_control`.
//!
//! What a provider answers is a [`Provider`]; that it is down, or fails the next few times, is decided here,
//! so that no provider can forget it. `GET /_control` answers the counters; `POST /_control` with a JSON object
//! changes switches and answers them too:
//!
//! | key | does |
//! | --- | --- |
//! | `outage` | while true, every request gets 503 |
//! | `fail_next` | the next n requests get 502 |
//! | others | each provider's own, see there |
//!
//! Dropping a [`StandIn`] closes its listener and its connections.

use super::web::{self, Answer};
use http::{Method, Request, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// Where the switches are.
pub(crate) const CONTROL_PATH: &str = "/_control";

/// Connections at a time; further ones wait in the listener's queue.
const CONNECTIONS_MAX: usize = 256;
/// Pause after an accept error (usually: out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a provider does.
pub(crate) trait Provider: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;

    /// The provider's way to say that it is in trouble.
    fn trouble(&self, status: StatusCode) -> Answer;

    /// Changes one of the provider's own switches; `false` when there is no such one or the value does not fit.
    fn switch(&self, name: &str, value: &Value) -> bool;

    /// Adds the provider's own counters.
    fn count(&self, counters: &mut Map<String, Value>);
}

/// A provider behind a listener.
pub(crate) struct StandIn {
    address: SocketAddr,
    task: JoinHandle<()>,
}

struct Shared<P> {
    provider: P,
    outage: AtomicBool,
    fail_next: AtomicU32,
    hits: AtomicU64,
}

impl StandIn {
    /// Listens on a free port of loopback and answers as `provider` does.
    ///
    /// # Errors
    /// When no port can be had.
    pub(crate) async fn start<P: Provider>(provider: P) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            provider,
            outage: AtomicBool::new(false),
            fail_next: AtomicU32::new(0),
            hits: AtomicU64::new(0),
        });
        Ok(Self { address, task: tokio::spawn(accept(listener, shared)) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://address` and then `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // The task owns the set of connections, which ends them when it is dropped.
        self.task.abort();
    }
}

/// Takes up to `n` from a counter of things still to do; returns whether there was one.
pub(crate) fn take_one(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
}

/// A switch's number.
pub(crate) fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

async fn accept<P: Provider>(listener: TcpListener, shared: Arc<Shared<P>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

async fn serve<P: Provider>(stream: TcpStream, shared: Arc<Shared<P>>) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    // A connection that breaks concerns its caller, who sees it; there is nobody else to tell.
    let _ =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer<P: Provider>(shared: &Shared<P>, request: Request<Incoming>) -> Answer {
    if request.uri().path() == CONTROL_PATH {
        return control(shared, request).await;
    }
    shared.hits.fetch_add(1, Ordering::Relaxed);
    if shared.outage.load(Ordering::Acquire) {
        shared.provider.trouble(StatusCode::SERVICE_UNAVAILABLE)
    } else if take_one(&shared.fail_next) {
        shared.provider.trouble(StatusCode::BAD_GATEWAY)
    } else {
        shared.provider.answer(request).await
    }
}

async fn control<P: Provider>(shared: &Shared<P>, request: Request<Incoming>) -> Answer {
    if request.method() == Method::POST {
        let body = match web::read(request.into_body()).await {
            Ok(body) => body,
            Err(answer) => return answer,
        };
        let Ok(switches) = serde_json::from_slice::<Map<String, Value>>(&body) else {
            return web::json_answer(StatusCode::BAD_REQUEST, &json!({ "message": "not a JSON object" }));
        };
        for (name, value) in &switches {
            if !switch(shared, name, value) {
                let message = format!("no switch `{name}` takes {value}");
                return web::json_answer(StatusCode::BAD_REQUEST, &json!({ "message": message }));
            }
        }
    }
    web::json_answer(StatusCode::OK, &counters(shared))
}

fn switch<P: Provider>(shared: &Shared<P>, name: &str, value: &Value) -> bool {
    match (name, value.as_bool(), number(value)) {
        ("outage", Some(outage), _) => shared.outage.store(outage, Ordering::Release),
        ("fail_next", _, Some(times)) => shared.fail_next.store(times, Ordering::Release),
        _ => return shared.provider.switch(name, value),
    }
    true
}

fn counters<P: Provider>(shared: &Shared<P>) -> Value {
    let mut counters = Map::new();
    counters.insert("outage".to_owned(), shared.outage.load(Ordering::Acquire).into());
    counters.insert("fail_next".to_owned(), shared.fail_next.load(Ordering::Acquire).into());
    counters.insert("hits".to_owned(), shared.hits.load(Ordering::Relaxed).into());
    shared.provider.count(&mut counters);
    Value::Object(counters)
}
