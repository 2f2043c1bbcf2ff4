//! The way out of a backend: `http://NAME.internal/…` leads to the integration NAME if that is granted, and nothing else
//! leads anywhere.
//!
//! The scheme says nothing, since no octet leaves the host on the way to an integration. What is refused here gets an
//! error of the standard, and the log the line that would grant it.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::body::Gone;
use super::{GuestBody, OutboundError, OutboundFuture, OutboundRequest, OutboundRequests, Role};
use crate::error::PluginError;
use crate::limits::{BACKEND_CHUNK_BYTES, Limits};
use crate::state::Shared;
use crate::state::log_budget::cut;

/// What makes a name one of an integration. The name is reserved for private use, so no server of the world has it.
const DOMAIN: &str = ".internal";

/// Octets of a guest's own choice in a line of the log.
const NAME_BYTES_MAX: usize = 256;

/// Judges the requests of one instance.
pub(super) struct Gate {
    shared: Arc<Shared>,
    pub(super) outbound: Option<Arc<dyn OutboundRequests>>,
    sent: usize,
    /// The line about the first refusal: it says what to change, more would be a flood.
    told: Option<String>,
    /// Whether it was taken to be logged.
    logged: bool,
    /// For the bodies that the instance writes.
    gone: Gone,
}

impl Gate {
    pub(super) fn new(shared: Arc<Shared>, gone: Gone) -> Self {
        Self { shared, outbound: None, sent: 0, told: None, logged: false, gone }
    }

    /// The answer to come, if the request is granted.
    fn admit(&mut self, request: http::Request<WasiBody>) -> Result<OutboundFuture, Error> {
        let integration = self.granted(request.uri())?;
        // No call is in progress at load time.
        let Some(outbound) = self.outbound.clone() else { return Err(Error::HttpRequestDenied) };
        if self.sent >= self.shared.limits.side_requests {
            let limit = self.shared.limits.side_requests;
            self.tell(format!(
                "more than {limit} requests of its own in one call; `limits = {{ side_requests = … }}` in its \
                 [component] table allows more"
            ));
            return Err(Error::HttpRequestDenied);
        }
        check(request.headers(), &self.shared.limits)
            .map_err(|_| Error::HttpRequestHeaderSectionSize(None))?;
        self.sent += 1;
        let (mut parts, body) = request.into_parts();
        parts.uri = target(&parts.uri)?;
        let request = http::Request::from_parts(parts, GuestBody::new(body, self.gone.clone()));
        Ok(outbound.send(OutboundRequest { integration, request }))
    }

    /// The integration that the request is for.
    fn granted(&mut self, uri: &Uri) -> Result<String, Error> {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let Some(name) = authority.strip_suffix(DOMAIN).filter(|name| !name.is_empty()) else {
            let authority = cut(authority, NAME_BYTES_MAX);
            self.tell(format!(
                "a request to `{authority}` was refused: components call integrations, as http://NAME{DOMAIN}/…"
            ));
            return Err(Error::HttpRequestDenied);
        };
        let Role::Backend { calls } = &self.shared.role else { return Err(Error::HttpRequestDenied) };
        // Some languages' libraries write hosts in lower case.
        let found = calls.get(name).or_else(|| calls.iter().find(|call| call.eq_ignore_ascii_case(name)));
        if let Some(name) = found {
            return Ok(name.clone());
        }
        let name = cut(name, NAME_BYTES_MAX);
        let mut all: Vec<String> = calls.iter().map(|name| format!("{name:?}")).collect();
        all.push(format!("{name:?}"));
        let line = format!("calls = [{}]", all.join(", "));
        self.tell(format!(
            "a request to the integration `{name}` was refused; `{line}` in its [component] table grants it"
        ));
        Err(Error::HttpRequestDenied)
    }

    fn tell(&mut self, message: String) {
        if !self.logged {
            self.told.get_or_insert(message);
        }
    }

    /// The line to log, once: it counts against what the call may log.
    pub(super) fn take_told(&mut self) -> Option<String> {
        let told = self.told.take();
        self.logged |= told.is_some();
        told
    }
}

/// What goes on beside an answer's body: nothing here.
type Rest = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Gate {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Rest,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Rest), Error>> + Send> {
        let admitted = self.admit(request);
        let patience = options.and_then(|options| options.first_byte_timeout).unwrap_or(Duration::MAX);
        Box::new(async move {
            let answered = tokio::time::timeout(patience, admitted?);
            let response = answered.await.map_err(|_elapsed| Error::ConnectionReadTimeout)??;
            let response =
                response.map(|body| body.map_err(|_| Error::HttpResponseIncomplete).boxed_unsync());
            let rest: Rest = Box::new(std::future::ready(Ok(())));
            Ok((response, rest))
        })
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BACKEND_CHUNK_BYTES
    }
}

impl From<OutboundError> for Error {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::Denied => Self::HttpRequestDenied,
            OutboundError::BrokenBody => Self::ConnectionTerminated,
            OutboundError::BadTarget => Self::HttpRequestUriInvalid,
            OutboundError::TooDeep => Self::LoopDetected,
        }
    }
}

/// Path and query alone. Only in what a guest writes can a path be empty.
fn target(uri: &Uri) -> Result<Uri, Error> {
    let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let slash = if target.starts_with('/') { "" } else { "/" };
    format!("{slash}{target}").parse().map_err(|_| Error::HttpRequestUriInvalid)
}

/// Whether headers of a backend's are within its limits.
pub(super) fn check(headers: &HeaderMap, limits: &Limits) -> Result<(), PluginError> {
    let octets = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    crate::plugin::answer::size(headers.len(), octets, limits)
}
