//! One exchange with an upstream over a kept or a new connection.

use super::{
    CallerSide, EgressPolicy, Exchange, Head, RequestBody, SendError, SendErrorKind, Tls, connect,
    error::describe,
    pool::{Kept, Pool, Shared},
    tls::is_http2,
};
use crate::{
    config::{BaseUrl, Timeouts},
    model::TimeoutKind,
    net::{StallGuard, Traffic},
};
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout, timeout_at},
};

/// Longest head of an answer, in octets. Larger ones are an attack or a mistake: 502.
const HEAD_MAX: usize = 64 * 1024;
/// Most header lines of an answer.
const HEADERS_MAX: usize = 128;
/// How long a kept connection may take to become ready.
const FINISHING_MAX: Duration = Duration::from_millis(20);
/// HTTP/2 receive windows: large enough to fill 1 Gbit/s over 40 ms, small enough to bound memory.
const H2_WINDOW: u32 = 2 * 1024 * 1024;

/// How a client connects and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct ClientSettings {
    /// Which addresses may be reached.
    pub egress: EgressPolicy,
    /// Longest stall while writing.
    pub write: Duration,
}

/// A host that an integration talks to, with its kept connections.
#[derive(Clone)]
pub struct Endpoint {
    base: BaseUrl,
    egress: EgressPolicy,
    pool: Arc<Pool>,
}

impl Endpoint {
    /// The base URL it was made from.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }
}

/// Makes exchanges. Cloning shares nothing but the TLS configuration; connections belong to endpoints.
#[derive(Clone)]
pub struct Client {
    tls: Tls,
    settings: ClientSettings,
}

enum Connection {
    One(Kept),
    Many(Shared),
}

impl Client {
    /// A client with these settings.
    pub fn new(tls: Tls, settings: ClientSettings) -> Self {
        Self { tls, settings }
    }

    /// An endpoint without connections yet. A loopback host in the configuration permits loopback.
    pub fn endpoint(&self, base: BaseUrl) -> Endpoint {
        let egress = EgressPolicy {
            allow_loopback: base.loopback || self.settings.egress.allow_loopback,
            ..self.settings.egress
        };
        Endpoint { base, egress, pool: Arc::default() }
    }

    /// Sends a request, whose URI is a path with query, and returns the head of the answer with its body
    /// still to be read. Everything up to the head happens before `deadline`. Cancel-safe: dropping the
    /// future closes the connection it was using.
    ///
    /// # Errors
    /// [`SendError`], which tells whether anything can have been sent.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        request: Request<RequestBody>,
        timeouts: &Timeouts,
        deadline: Option<(Instant, TimeoutKind)>,
    ) -> Result<(Head, Exchange), SendError> {
        let exchange = self.exchange(endpoint, request, timeouts);
        match deadline {
            None => exchange.await,
            Some((at, kind)) => timeout_at(at, exchange).await.unwrap_or_else(|_| {
                // What was sent is unknown here, so it counts as sent.
                Err(SendError::sent(SendErrorKind::Timeout(kind), format!("the {kind} timeout passed")))
            }),
        }
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        mut request: Request<RequestBody>,
        timeouts: &Timeouts,
    ) -> Result<(Head, Exchange), SendError> {
        let caller = request.body().caller_side();
        // Each turn uses up a kept connection that turned out to be closed; a new one ends the loop.
        loop {
            let (connection, kept) = match reuse(endpoint).await {
                Some(connection) => (connection, true),
                None => (self.open(endpoint, timeouts.connect).await?, false),
            };
            let sent = match connection {
                Connection::One(one) => {
                    send_one(endpoint, one, request, timeouts, kept, caller.as_deref()).await
                }
                Connection::Many(many) => {
                    send_many(endpoint, many, request, timeouts, caller.as_deref()).await
                }
            };
            match sent {
                Ok(answer) => return Ok(answer),
                Err(Unsent::Returned(back)) if kept => request = *back,
                Err(Unsent::Returned(_)) => {
                    return Err(SendError::unsent(
                        SendErrorKind::Connect,
                        "the new connection closed at once",
                    ));
                }
                Err(Unsent::Failed(error)) => {
                    let broke = caller.as_deref().and_then(CallerSide::broke);
                    return Err(broke.map_or(error, SendError::caller));
                }
            }
        }
    }

    async fn open(&self, endpoint: &Endpoint, limit: Duration) -> Result<Connection, SendError> {
        let deadline = Instant::now() + limit;
        let base = &endpoint.base;
        let stream = connect(&base.host, base.port, endpoint.egress, limit).await?;
        if !base.https {
            return handshake_http1(StallGuard::new(stream, self.settings.write)).await;
        }
        let stream = timeout_at(deadline, self.tls.handshake(&base.host, stream)).await.map_err(|_| {
            let message = format!("no TLS session with {} within {} ms", base.host, limit.as_millis());
            SendError::unsent(SendErrorKind::Timeout(TimeoutKind::Connect), message)
        })??;
        let http2 = is_http2(&stream);
        let guarded = StallGuard::new(stream, self.settings.write);
        if http2 { handshake_http2(endpoint, guarded).await } else { handshake_http1(guarded).await }
    }
}

/// Why a request did not get its answer.
enum Unsent {
    /// The connection was closed before the request began: here it is again.
    Returned(Box<Request<RequestBody>>),
    Failed(SendError),
}

async fn reuse(endpoint: &Endpoint) -> Option<Connection> {
    if let Some(mut shared) = endpoint.pool.shared()
        && shared.sender.ready().await.is_ok()
    {
        return Some(Connection::Many(shared));
    }
    while let Some(mut kept) = endpoint.pool.take() {
        // A connection that has just been given back may still be finishing. One that takes long is still
        // sending the last caller's body to a provider that answered early: nobody shall wait for that.
        if kept.sender.is_ready()
            || timeout(FINISHING_MAX, kept.sender.ready()).await.is_ok_and(|ready| ready.is_ok())
        {
            return Some(Connection::One(kept));
        }
    }
    None
}

async fn handshake_http1<S>(stream: StallGuard<S>) -> Result<Connection, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let traffic = stream.traffic();
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| SendError::unsent(SendErrorKind::Connect, describe(&error)))?;
    // Ends when the sender is dropped or the peer closes; its errors reach whoever waits for an answer.
    tokio::spawn(connection);
    Ok(Connection::One(Kept { sender, traffic }))
}

async fn handshake_http2<S>(endpoint: &Endpoint, stream: StallGuard<S>) -> Result<Connection, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let traffic = stream.traffic();
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_MAX as u32)
        .initial_stream_window_size(H2_WINDOW)
        .initial_connection_window_size(H2_WINDOW)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| SendError::unsent(SendErrorKind::Connect, describe(&error)))?;
    tokio::spawn(connection);
    let shared = Shared { sender, traffic };
    endpoint.pool.share(shared.clone());
    Ok(Connection::Many(shared))
}

async fn send_one(
    endpoint: &Endpoint,
    mut kept: Kept,
    mut request: Request<RequestBody>,
    timeouts: &Timeouts,
    was_kept: bool,
    caller: Option<&CallerSide>,
) -> Result<(Head, Exchange), Unsent> {
    // hyper sends no body of unknown length with GET and its kin unless it is told how.
    if matches!(request.body(), RequestBody::Stream(..)) && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let read_before = kept.traffic.read();
    let traffic = Arc::clone(&kept.traffic);
    let sent = until_silent(kept.sender.try_send_request(request), &traffic, timeouts.read, caller).await?;
    match sent {
        Ok(response) => {
            let lease = (Arc::clone(&endpoint.pool), kept);
            head(response, timeouts, Some(lease))
        }
        Err(mut error) => match error.take_message() {
            Some(request) => Err(Unsent::Returned(Box::new(request))),
            None => {
                let answer_begun = traffic.read() > read_before;
                let mut failure = SendError::from_hyper(error.error(), answer_begun);
                failure.stale = was_kept && failure.kind == SendErrorKind::Reset;
                Err(Unsent::Failed(failure))
            }
        },
    }
}

async fn send_many(
    endpoint: &Endpoint,
    mut shared: Shared,
    mut request: Request<RequestBody>,
    timeouts: &Timeouts,
    caller: Option<&CallerSide>,
) -> Result<(Head, Exchange), Unsent> {
    absolute(endpoint, &mut request).map_err(Unsent::Failed)?;
    let traffic = Arc::clone(&shared.traffic);
    match until_silent(shared.sender.try_send_request(request), &traffic, timeouts.read, caller).await? {
        Ok(response) => head(response, timeouts, None),
        Err(mut error) => match error.take_message() {
            Some(request) => Err(Unsent::Returned(Box::new(request))),
            None => Err(Unsent::Failed(SendError::from_hyper(error.error(), false))),
        },
    }
}

/// HTTP/2 carries scheme and authority as pseudo-headers instead of `Host`.
fn absolute(endpoint: &Endpoint, request: &mut Request<RequestBody>) -> Result<(), SendError> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::builder()
        .scheme(if endpoint.base.https { "https" } else { "http" })
        .authority(endpoint.base.authority.as_str())
        .path_and_query(path)
        .build()
        .map_err(|error| SendError::unsent(SendErrorKind::Protocol, error.to_string()))?;
    *request.uri_mut() = uri;
    request.headers_mut().remove(HOST);
    Ok(())
}

/// Waits for an answer for as long as octets move in either direction, or the next ones are the caller's.
async fn until_silent<T>(
    answer: impl Future<Output = T>,
    traffic: &Traffic,
    limit: Duration,
    caller: Option<&CallerSide>,
) -> Result<T, Unsent> {
    let mut answer = std::pin::pin!(answer);
    let mut begun = Instant::now();
    loop {
        let due = traffic.last().max(begun) + limit;
        tokio::select! {
            biased;
            answered = &mut answer => return Ok(answered),
            () = sleep_until(due) => {
                if caller.is_some_and(CallerSide::is_awaited) {
                    begun = Instant::now();
                } else if traffic.last().max(begun) + limit <= Instant::now() {
                    let message = format!("no answer within {} ms", limit.as_millis());
                    let kind = SendErrorKind::Timeout(TimeoutKind::Read);
                    return Err(Unsent::Failed(SendError::sent(kind, message)));
                }
            }
        }
    }
}

fn head(
    response: Response<Incoming>,
    timeouts: &Timeouts,
    lease: Option<(Arc<Pool>, Kept)>,
) -> Result<(Head, Exchange), Unsent> {
    let (parts, incoming) = response.into_parts();
    let octets: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let broken = |message: &str| Err(Unsent::Failed(SendError::sent(SendErrorKind::Protocol, message)));
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return broken("the provider switched protocols without being asked");
    }
    if parts.headers.len() > HEADERS_MAX || octets > HEAD_MAX {
        return broken("the head of the answer is too large");
    }
    let exchange = Exchange::new(incoming, timeouts.read, timeouts.body, lease);
    Ok((Head { status: parts.status, headers: parts.headers }, exchange))
}
