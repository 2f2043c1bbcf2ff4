//! A small HTTP client for the tour: one connection per request, a time limit, a bounded answer.
//!
//! The gateway's own upstream pool is not used here: the demo stands outside the gateway, as a caller does.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tokio::net::TcpStream;

/// How long one request may take: far longer than any call of the tour, far shorter than a person's patience.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read: well over the largest object of the tour (2 MiB).
const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
}

/// No answer was had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens there, or the connection broke.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The exchange failed.
    #[error("the exchange with {address} failed")]
    Exchange {
        /// With whom.
        address: SocketAddr,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The body broke off or was too long.
    #[error("the answer of {address} cannot be read")]
    Body {
        /// Whose.
        address: SocketAddr,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("no answer from {address} within {TIMEOUT:?}")]
    Timeout {
        /// From whom.
        address: SocketAddr,
    },
    /// The request itself is none.
    #[error("the request is not well formed")]
    Request(#[from] http::Error),
}

impl Reply {
    /// A header's text; empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// Sends a request. `Host` is filled in; the URI is the path and query only.
///
/// Dropping the future closes the connection.
///
/// # Errors
/// [`ClientError`] when there is no answer; an answer of any status is none.
pub(crate) async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Reply, ClientError> {
    match tokio::time::timeout(TIMEOUT, exchange(address, request)).await {
        Ok(result) => result,
        Err(_) => Err(ClientError::Timeout { address }),
    }
}

/// `GET path`, with a bearer token when one is given.
///
/// # Errors
/// As [`send`].
pub(crate) async fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Result<Reply, ClientError> {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    send(address, request.body(Full::default())?).await
}

/// `POST path` with a JSON body.
///
/// # Errors
/// As [`send`].
pub(crate) async fn post(address: SocketAddr, path: &str, body: &Value) -> Result<Reply, ClientError> {
    let request = Request::post(path).header("content-type", "application/json");
    send(address, request.body(Full::from(body.to_string()))?).await
}

async fn exchange(address: SocketAddr, mut request: Request<Full<Bytes>>) -> Result<Reply, ClientError> {
    let host = address.to_string().parse().map_err(http::Error::from)?;
    request.headers_mut().entry(HOST).or_insert(host);
    let stream =
        TcpStream::connect(address).await.map_err(|source| ClientError::Connect { address, source })?;
    let failed = |source| ClientError::Exchange { address, source };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let work = async {
        let answer = sender.send_request(request).await.map_err(failed)?;
        let (head, body) = answer.into_parts();
        let whole = Limited::new(body, ANSWER_MAX_BYTES).collect().await;
        let whole = whole.map_err(|source| ClientError::Body { address, source })?;
        Ok(Reply { status: head.status, headers: head.headers, body: whole.to_bytes() })
    };
    // The connection is driven here and not in a task of its own, so that it ends with this future.
    tokio::pin!(connection, work);
    tokio::select! {
        biased;
        reply = &mut work => reply,
        ended = &mut connection => match ended {
            Ok(()) => work.await,
            Err(source) => Err(failed(source)),
        },
    }
}
