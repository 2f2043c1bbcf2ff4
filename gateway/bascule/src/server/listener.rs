//! Accepting, serving and draining connections.

use super::ServerTls;
use crate::{model::BodyError, net::StallGuard};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

/// Most connections at a time; the next one waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 16_384;
/// How long a client may take to send a request head (and to finish a TLS handshake).
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client may leave an answer unread before its connection is closed: it holds a place among
/// the integration's calls as long as it reads.
const UNREAD_MAX: Duration = Duration::from_secs(30);
/// hyper's own cap on header lines; the data plane's lower limit answers with a proper problem.
const HEADERS_MAX: usize = 512;
/// hyper's own cap on a request head, in octets.
const HEAD_MAX: usize = 256 * 1024;
/// HTTP/2 streams per connection.
const STREAMS_MAX: u32 = 256;
/// Pause after a failed accept: long enough not to spin when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The body of an answer.
pub type ServerBody = UnsyncBoxBody<Bytes, BodyError>;

/// Answers requests. The future is dropped when the client goes away.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request; failures are answers too.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Response<ServerBody>> + Send;
}

/// A listener that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenerError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A bound socket.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<ServerTls>,
}

impl Listener {
    /// Binds the address; port 0 picks a free one.
    ///
    /// # Errors
    /// [`ListenerError`] when the address is taken or not ours.
    pub async fn bind(address: SocketAddr, tls: Option<ServerTls>) -> Result<Self, ListenerError> {
        let failed = |source| ListenerError { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address, tls })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` turns true, then lets calls in flight finish for at most `drain`. Returns
    /// whether all of them did.
    ///
    /// While draining, new connections are still accepted, one request each, so that a readiness probe
    /// is answered instead of refused; what else they get is the handler's decision.
    pub async fn serve<H: Handler>(
        self,
        handler: H,
        mut stop: watch::Receiver<bool>,
        drain: Duration,
    ) -> bool {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.accept(&places) => accepted,
            };
            let watcher = graceful.watcher();
            tokio::spawn(serve_connection(accepted, self.tls.clone(), handler.clone(), Some(watcher)));
        }
        let finished = timeout(drain, graceful.shutdown());
        let mut finished = std::pin::pin!(finished);
        loop {
            let accepted = tokio::select! {
                biased;
                finished = &mut finished => return finished.is_ok(),
                accepted = self.accept(&places) => accepted,
            };
            tokio::spawn(serve_connection(accepted, self.tls.clone(), handler.clone(), None));
        }
    }

    /// The next connection, once there is a place for it. Errors are waited out. Cancel-safe.
    async fn accept(&self, places: &Arc<Semaphore>) -> Accepted {
        loop {
            let Ok(place) = Arc::clone(places).acquire_owned().await else { std::future::pending().await };
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    return Accepted { stream, peer, _place: place };
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection and its place among those that there may be.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
}

/// Serves a connection to its end. Without a watcher it came while draining.
async fn serve_connection<H: Handler>(
    accepted: Accepted,
    tls: Option<ServerTls>,
    handler: H,
    watcher: Option<Watcher>,
) {
    let Accepted { stream, peer, _place } = accepted;
    match tls {
        None => serve_stream(stream, handler, peer, watcher).await,
        Some(tls) => match timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve_stream(stream, handler, peer, watcher).await,
            Ok(Err(error)) => tracing::debug!(peer = %peer, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %peer, "a TLS handshake took too long"),
        },
    }
}

async fn serve_stream<S, H>(stream: S, handler: H, peer: SocketAddr, watcher: Option<Watcher>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let service = service_fn(move |request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler.handle(request).await) }
    });
    let guarded = StallGuard::new(stream, UNREAD_MAX).expecting_words_within(HEAD_TIMEOUT);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .keep_alive(watcher.is_some())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_MAX as u32)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    let connection = builder.serve_connection(TokioIo::new(guarded), service).into_owned();
    let served = match watcher {
        Some(watcher) => watcher.watch(connection).await,
        None => connection.await,
    };
    if let Err(error) = served {
        tracing::debug!(peer = %peer, %error, "a connection broke off");
    }
}
