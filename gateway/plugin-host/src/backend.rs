//! Backends: components that serve whole requests through `wasi:http/incoming-handler`.
//!
//! A backend is a plugin in another role: the same files, cache, engines, permits, limits and breaker. What differs is
//! here and below: a request goes in, an answer comes out while it is being made, and the guest runs on until the end
//! of its body. So each request has a task of its own.
//!
//! ```text
//! respond: request ─→ task: admit → fresh instance → handle ──────────────→ settle
//!             └────── waits for the head ←─ response-outparam.set │
//!                     AnswerBody ←───────── pieces of the body ───┘
//! ```
//!
//! Its own requests leave through [`OutboundRequests`], whoever that is; what the host checks is the grant and the
//! number. Nothing here opens a connection.

mod answer;
mod body;
mod caller;
mod outbound;
mod serve;

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub use answer::AnswerBody;
use body::Gone;
pub use body::GuestBody;
pub(crate) use body::Present;
pub(crate) use caller::Caller;
use outbound::Gate;

use crate::error::PluginError;
use crate::state::{Shared, State};

/// What a component is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Role {
    /// It takes part in phases of other calls.
    #[default]
    Phases,
    /// It serves requests by itself. Its configuration is its environment.
    Backend {
        /// Integrations that it may call as `http://NAME.internal/…`.
        calls: BTreeSet<String>,
    },
}

impl Role {
    /// The table of the configuration that declares such a component.
    pub(crate) fn table(&self) -> &'static str {
        match self {
            Self::Phases => "[[plugins]]",
            Self::Backend { .. } => "[component]",
        }
    }
}

/// A body on its way into a backend.
pub type HttpBody = UnsyncBoxBody<Bytes, HttpBodyError>;

/// Why it broke off.
pub type HttpBodyError = Box<dyn std::error::Error + Send + Sync>;

/// Sends the requests that the backend of one call makes by itself.
pub trait OutboundRequests: Send + Sync {
    /// Sends the request and gives the answer when its head is there. What the integration itself has to say, say that
    /// its circuit is open, is an answer as well.
    ///
    /// The future is dropped when the backend's wall time is over. Every limit of the integration is the sender's to
    /// keep.
    fn send(&self, request: OutboundRequest) -> OutboundFuture;
}

impl fmt::Debug for dyn OutboundRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutboundRequests")
    }
}

/// An answer that is being waited for.
pub type OutboundFuture =
    Pin<Box<dyn Future<Output = Result<http::Response<HttpBody>, OutboundError>> + Send>>;

/// A request of a backend, granted.
pub struct OutboundRequest {
    /// Name of the integration.
    pub integration: String,
    /// The request; its URI is a path with query.
    pub request: http::Request<GuestBody>,
}

/// Why a request of a backend was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundError {
    /// The integration cannot be called this way.
    #[error("the integration cannot be called this way")]
    Denied,
    /// The path cannot be one of an integration.
    #[error("the path leads nowhere")]
    BadTarget,
    /// The guest did not end the body; nothing was sent.
    #[error("the body broke off")]
    BrokenBody,
    /// Backends that call backends have come to their end.
    #[error("too many calls within calls")]
    TooDeep,
}

/// What it takes to serve a request, beside what every instance carries.
pub(crate) struct Serving {
    http: WasiHttpCtx,
    gate: Gate,
    gone: Gone,
    caller: Caller,
}

impl Serving {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let mut http = WasiHttpCtx::new();
        // What header maps weigh in memory is some times what they weigh on the wire; that is checked by itself.
        http.set_field_size_limit(shared.limits.header_bytes.saturating_mul(4));
        let gone = Gone::default();
        Self { http, gate: Gate::new(Arc::clone(shared), gone.clone()), gone, caller: Caller::default() }
    }

    /// To be dropped before anything else of the instance is: what it left unended has not ended.
    pub(crate) fn present(&self) -> Present {
        self.gone.when_dropped()
    }

    /// For whom it serves from now on, and who sends its own requests.
    pub(crate) fn begin(&mut self, caller: Caller, outbound: Option<Arc<dyn OutboundRequests>>) {
        self.caller = caller;
        self.gate.outbound = outbound;
    }

    /// What there is to say about a request that was refused.
    pub(crate) fn take_told(&mut self) -> Option<String> {
        self.gate.take_told()
    }

    /// Whether it is for the caller's sake that the guest ended so.
    pub(crate) fn excuses(&self, error: &PluginError) -> bool {
        self.caller.excuses(error)
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let serving = self.serving.get_or_insert_with(|| Box::new(Serving::new(&self.shared)));
        WasiHttpCtxView { ctx: &mut serving.http, table: &mut self.table, hooks: &mut serving.gate }
    }
}

/// A configuration as environment variables: texts as they are, everything else as JSON.
pub(crate) fn environment(config: &serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let table = config.as_object().into_iter().flatten();
    table.map(|(name, value)| (name.clone(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_into_the_environment_as_they_are_and_the_rest_as_json() {
        let config = serde_json::json!({ "GREETING": "hello", "RETRIES": 3, "UNITS": ["m", "s"] });
        let expected = [("GREETING", "hello"), ("RETRIES", "3"), ("UNITS", r#"["m","s"]"#)];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(environment(&config), expected);
    }
}
