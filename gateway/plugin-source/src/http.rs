//! One request over one connection: every socket of this crate is opened here.
//!
//! An address is put to the egress rule after it was resolved and before it is connected to, for every
//! request anew, so a redirect or a name that changes cannot lead past it. There is no pool and no
//! HTTP/2: a fetch is a handful of requests, once. Nothing is retried, and time is the caller's to
//! limit: dropping the future closes the connection.

mod dial;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;
use url::{Position, Url};

use crate::error::FetchError;
use crate::fetcher::Egress;

/// Redirects of one request. Registries send to a store of blobs, which may move once more.
const REDIRECTS_MAX: usize = 3;

/// Octets and lines of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;

/// Makes requests; holds no connection.
pub(crate) struct Http {
    pub(crate) tls: TlsConnector,
    pub(crate) egress: Arc<Egress>,
    pub(crate) connect: Duration,
}

/// A request.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Most octets of an answer's body.
    pub(crate) answer_max: u64,
}

/// An answer, read whole.
pub(crate) struct Answer {
    /// Without the query, for messages.
    pub(crate) url: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Which redirects of a `GET` are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redirects {
    /// To the same scheme, host and port.
    SameOrigin,
    /// Anywhere with TLS, without our headers: for what is checked against a digest anyway.
    Anywhere,
}

impl Redirects {
    /// Whether one URL may send to another. Never from TLS to none, even on this machine: what is served
    /// there to us is not for a remote server to choose.
    fn lead(self, from: &Url, to: &Url) -> bool {
        match self {
            Self::SameOrigin => from.origin() == to.origin(),
            Self::Anywhere => to.scheme() == "https" || (from.scheme() == "http" && to.scheme() == "http"),
        }
    }
}

impl Ask {
    pub(crate) fn get(url: Url, answer_max: u64) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new(), answer_max }
    }
}

impl Answer {
    /// The answer, if its status is that one.
    pub(crate) fn expect(self, status: StatusCode) -> Result<Self, FetchError> {
        if self.status == status {
            return Ok(self);
        }
        Err(FetchError::Status { url: self.url, status: self.status })
    }

    /// The media type without its parameters, in lower case; empty when there is none.
    pub(crate) fn media_type(&self) -> String {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Where the answer points to, from where it came.
    pub(crate) fn location(&self, from: &Url) -> Option<Url> {
        from.join(self.headers.get(LOCATION)?.to_str().ok()?).ok()
    }
}

impl Http {
    /// The answer to one request, after such redirects as may be followed.
    pub(crate) async fn follow(&self, mut ask: Ask, redirects: Redirects) -> Result<Answer, FetchError> {
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask(&ask).await?;
            // What changes something is not sent anywhere else than it was meant for.
            if !answer.status.is_redirection() || !ask.method.is_safe() {
                return Ok(answer);
            }
            let to = answer.location(&ask.url);
            let refused = |to: Option<Url>| {
                let to = to.as_ref().map(shown).unwrap_or_default();
                FetchError::Redirected { url: answer.url.clone(), to }
            };
            let Some(next) = to else { return Err(refused(None)) };
            if !redirects.lead(&ask.url, &next) {
                return Err(refused(Some(next)));
            }
            if next.origin() != ask.url.origin() {
                // What authenticates us at one host is none of another's business.
                ask.headers.clear();
            }
            ask.url = next;
        }
        let url = shown(&ask.url);
        Err(FetchError::Redirected { to: url.clone(), url })
    }

    /// The answer to one request, whatever its status.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Answer, FetchError> {
        let url = shown(&ask.url);
        let protocol = |source| FetchError::Protocol { url: url.clone(), source };
        let stream = self.dial(&ask.url).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(protocol)?;
        let request = request(ask);
        let exchange = async {
            let response = sender.send_request(request).await.map_err(protocol)?;
            let (head, body) = response.into_parts();
            let body = read(body, &head.headers, ask.answer_max, &url).await?;
            Ok(Answer { url: url.clone(), status: head.status, headers: head.headers, body })
        };
        let mut exchange = pin!(exchange);
        // The connection is driven beside the exchange, not in a task that somebody would have to own.
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            _ended = connection => exchange.await,
        }
    }
}

fn request(ask: &Ask) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(ask.body.clone()));
    *request.method_mut() = ask.method.clone();
    // What a parsed URL has between host and fragment is a valid request target.
    *request.uri_mut() = target(&ask.url).parse().unwrap_or_default();
    *request.headers_mut() = ask.headers.clone();
    if let Ok(host) = HeaderValue::from_str(authority(&ask.url)) {
        request.headers_mut().insert(HOST, host);
    }
    let agent = HeaderValue::from_static(concat!("bascule/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, agent);
    request
}

async fn read(mut body: Incoming, headers: &HeaderMap, limit: u64, url: &str) -> Result<Bytes, FetchError> {
    let too_large = || FetchError::TooLarge { url: url.to_owned(), limit };
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|declared| declared > limit) && !hyper::body::Body::is_end_stream(&body) {
        return Err(too_large());
    }
    let mut octets = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| FetchError::Protocol { url: url.to_owned(), source })?;
        let Ok(data) = frame.into_data() else { continue };
        if (octets.len() as u64).saturating_add(data.len() as u64) > limit {
            return Err(too_large());
        }
        octets.extend_from_slice(&data);
    }
    Ok(octets.freeze())
}

/// Scheme, host and path: what may stand in a message.
pub(crate) fn shown(url: &Url) -> String {
    let path = url.path();
    format!("{}://{}{path}", url.scheme(), authority(url))
}

fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

fn target(url: &Url) -> &str {
    &url[Position::BeforePath..Position::AfterQuery]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_no_weaker_place() {
        let lead = |redirects: Redirects, from: &str, to: &str| {
            redirects.lead(&Url::parse(from).unwrap(), &Url::parse(to).unwrap())
        };
        let cases = [
            ("https://a/x", "https://a/y", true, true),
            ("https://a/x", "https://a:444/x", false, true),
            ("https://a/x", "https://b/x", false, true),
            ("https://a/x", "http://127.0.0.1/x", false, false),
            ("https://a/x", "file:///etc/passwd", false, false),
            ("http://127.0.0.1:1/x", "http://127.0.0.1:2/x", false, true),
            ("http://127.0.0.1:1/x", "https://b/x", false, true),
        ];
        for (from, to, same, anywhere) in cases {
            assert_eq!(lead(Redirects::SameOrigin, from, to), same, "{from} {to}");
            assert_eq!(lead(Redirects::Anywhere, from, to), anywhere, "{from} {to}");
        }
    }
}
