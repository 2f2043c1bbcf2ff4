//! Side requests: what a plugin sends by itself while a call is in progress.
//!
//! The host crate knows no connections. It checks the grant, counts the budget, puts secrets in and caps
//! what comes back; the request itself is sent by whoever made the [`CallContext`](crate::CallContext),
//! through pool, deadline, rate limit and breaker of the endpoint.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::bindings::bascule::plugin::types::{RequestHead, ResponseHead};
use crate::secret::SecretValue;

/// Sends side requests for the plugins of one call.
pub trait SideRequests: Send + Sync {
    /// Sends the request and gives the whole answer, whatever its status.
    ///
    /// The future is dropped when the plugin's wall time is over. The call's deadline is the sender's to
    /// keep, as is every other limit of the endpoint.
    fn send(&self, request: SideRequest) -> SideFuture<'_>;
}

impl fmt::Debug for dyn SideRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SideRequests")
    }
}

/// An answer that is being waited for.
pub type SideFuture<'a> = Pin<Box<dyn Future<Output = Result<SideResponse, SideError>> + Send + 'a>>;

/// A request of a plugin, checked; secrets are put in already.
#[derive(Debug, Clone)]
pub struct SideRequest {
    /// Name of the plugin, for spans and logs.
    pub plugin: String,
    /// A granted endpoint; `default` is the integration's own base URL.
    pub endpoint: String,
    /// Path, query and headers; `endpoint` in it says nothing more. Header names are in lower case.
    pub head: RequestHead,
    /// Headers that replace those of the same name in `head`; some may be secret.
    pub auth: Vec<(String, SecretValue)>,
    /// The body; `None` = none.
    pub body: Option<SecretValue>,
    /// Octets of the answer's body beyond which [`SideError::TooLarge`] is the answer.
    pub response_bytes_max: u64,
}

/// The answer to a side request.
#[derive(Debug, Clone)]
pub struct SideResponse {
    /// Status and headers; header names are in lower case.
    pub head: ResponseHead,
    /// The whole body.
    pub body: Bytes,
}

/// Why a side request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SideError {
    /// The endpoint or its address is not allowed; nothing was sent.
    #[error("the endpoint is not allowed")]
    Denied,
    /// Rate limit or concurrency limit of the endpoint; nothing was sent.
    #[error("a limit of the endpoint is reached")]
    Limited,
    /// The call's deadline, or a timeout of the endpoint.
    #[error("there was no answer in time")]
    Deadline,
    /// The endpoint's breaker is open; nothing was sent.
    #[error("the endpoint's circuit breaker is open")]
    BreakerOpen,
    /// DNS, connect, TLS, reset, or an answer that breaks HTTP.
    #[error("no usable answer came back")]
    Connect,
    /// The answer's body is larger than the request allowed.
    #[error("the answer is too large")]
    TooLarge,
}
