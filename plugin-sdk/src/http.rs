//! Side requests: what a plugin asks of a declared endpoint by itself, while a call is in progress.
//!
//! Each endpoint is a grant, `http:NAME`; `http:default` is the integration's own base URL. The gateway
//! sends the request through that endpoint's pool, deadline, limits and breaker. A call has a budget of
//! four requests, and waiting for them costs no CPU time.
//!
//! A token source that logs in with a secret which it cannot read:
//!
//! ```no_run
//! use bascule_plugin::http::Request;
//! use bascule_plugin::{Body, Fault, Token, TokenSource, json, plain, secret};
//!
//! struct Login;
//!
//! impl TokenSource for Login {
//!     fn fetch_token(scope: &str) -> Result<Token, Fault> {
//!         let form = Body::from_parts(&[
//!             plain(format!("scope={scope}&client_secret=")),
//!             secret("client_secret").percent_encoded().into(),
//!         ]);
//!         let answer = Request::post("/oauth/token").to("login").body(&form).send()?;
//!         let text = String::from_utf8(answer.body.read()?).unwrap_or_default();
//!         match json::member(&text, "access_token").and_then(json::string) {
//!             Some(token) => Ok(Token::new(token)),
//!             None => Err(Fault::upstream_invalid("no-token", "the answer has no access_token")),
//!         }
//!     }
//! }
//! ```

use crate::generated::imports::bascule::plugin::http as host;
use crate::{Body, Fault, FaultKind, Field, FieldValue, Header, RequestHead};

pub use host::{HttpError, HttpResponse};

/// A side request in the making.
#[derive(Debug)]
pub struct Request<'a> {
    head: RequestHead,
    auth: Vec<Field>,
    body: Option<&'a Body>,
}

impl<'a> Request<'a> {
    /// A request to the integration's own base URL; `path` is relative to it and percent-encoded.
    #[must_use]
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self { head: RequestHead::new(method, path), auth: Vec::new(), body: None }
    }

    /// A GET request.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// A POST request.
    #[must_use]
    pub fn post(path: impl Into<String>) -> Self {
        Self::new("POST", path)
    }

    /// Sends it to the declared endpoint of that name.
    #[must_use]
    pub fn to(mut self, endpoint: impl Into<String>) -> Self {
        self.head.endpoint = Some(endpoint.into());
        self
    }

    /// Sets the query: percent-encoded, without `?`.
    #[must_use]
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.head.query = Some(query.into());
        self
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.head.headers.push(Header::new(name, value));
        self
    }

    /// Sets a header that may carry a [`secret`](crate::secret); it replaces those of the same name.
    #[must_use]
    pub fn auth(mut self, name: impl Into<String>, value: impl Into<FieldValue>) -> Self {
        self.auth.push(Field::new(name, value));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: &'a Body) -> Self {
        self.body = Some(body);
        self
    }

    /// Sends it and waits for the answer; any status is one.
    ///
    /// # Errors
    /// [`HttpError`], which becomes a [`Fault`] by `?`.
    pub fn send(self) -> Result<HttpResponse, HttpError> {
        host::send(&self.head, &self.auth, self.body)
    }
}

/// The plugin's set-up is at fault for a missing grant and a spent budget, the provider for the rest.
impl From<HttpError> for Fault {
    fn from(error: HttpError) -> Self {
        let (kind, code, message) = match error {
            HttpError::Denied => {
                (FaultKind::Internal, "http-denied", "the grant for this endpoint or body is missing")
            }
            HttpError::Budget => {
                (FaultKind::Internal, "http-budget", "the call's budget of side requests is used up")
            }
            HttpError::Deadline => {
                (FaultKind::UpstreamFailed, "http-deadline", "a side request had no answer in time")
            }
            HttpError::BreakerOpen => {
                (FaultKind::UpstreamFailed, "http-breaker-open", "a side request met an open breaker")
            }
            HttpError::Limited => {
                (FaultKind::UpstreamFailed, "http-limited", "a side request met a limit of its endpoint")
            }
            HttpError::Connect => {
                (FaultKind::UpstreamFailed, "http-connect", "a side request had no usable answer")
            }
            HttpError::TooLarge => {
                (FaultKind::UpstreamInvalid, "http-too-large", "the answer to a side request is too large")
            }
        };
        Self::new(kind, code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret;

    #[test]
    fn a_request_is_put_together() {
        let request = Request::post("/token").to("login").query("a=1").header("X-A", "1");
        let request = request.auth("authorization", secret("key").with_lead("Key "));
        assert_eq!((request.head.method.as_str(), request.head.path.as_str()), ("POST", "/token"));
        assert_eq!(
            (request.head.endpoint.as_deref(), request.head.query.as_deref()),
            (Some("login"), Some("a=1"))
        );
        assert_eq!(request.head.headers, [Header::new("x-a", "1")]);
        assert_eq!(request.auth[0].name, "authorization");
    }

    #[test]
    fn faults_blame_the_right_side() {
        assert_eq!(Fault::from(HttpError::Budget).kind, FaultKind::Internal);
        assert_eq!(Fault::from(HttpError::Connect).kind, FaultKind::UpstreamFailed);
    }
}
