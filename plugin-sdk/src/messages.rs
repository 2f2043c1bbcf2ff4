//! Builders for what the mappers and token sources return, and for a plugin's description.

use std::time::Duration;

use crate::fault::millis;
use crate::{Body, Description, Header, MappedRequest, Mapping, OutgoingBody, Reply, RequestHead, Token};

impl MappedRequest {
    /// That head, with the caller's body as it is and nothing carried over.
    #[must_use]
    pub fn unchanged(head: RequestHead) -> Self {
        Self { head, body: OutgoingBody::Unchanged, carry: Vec::new() }
    }

    /// Sends no body.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.body = OutgoingBody::Empty;
        self
    }

    /// Sends these octets as the body; the content type is left to the head.
    #[must_use]
    pub fn with_body(mut self, octets: &[u8]) -> Self {
        self.body = OutgoingBody::Replace(Body::new(octets));
        self
    }

    /// Hands octets over to the response mapper and the error mapper; at most 64 KiB.
    #[must_use]
    pub fn with_carry(mut self, carry: impl Into<Vec<u8>>) -> Self {
        self.carry = carry.into();
        self
    }
}

impl From<MappedRequest> for Mapping {
    fn from(request: MappedRequest) -> Self {
        Self::Send(request)
    }
}

impl From<Reply> for Mapping {
    fn from(reply: Reply) -> Self {
        Self::Answer(reply)
    }
}

impl Reply {
    /// That status, no headers, and the upstream's body passed through untouched.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: None }
    }

    /// A JSON answer; `text` must be JSON already.
    #[must_use]
    pub fn json(status: u16, text: &str) -> Self {
        Self::new(status).with_header("content-type", "application/json").with_body(text.as_bytes())
    }

    /// Adds a header line.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, octets: &[u8]) -> Self {
        self.body = Some(Body::new(octets));
        self
    }
}

impl Token {
    /// A token of unknown life time; the gateway then asks anew when the provider refuses it.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self { value: value.into(), expires_in_ms: None }
    }

    /// Says how long it lives; capped at 49 days, which is what the field holds.
    #[must_use]
    pub fn expires_in(mut self, span: Duration) -> Self {
        self.expires_in_ms = Some(millis(span));
        self
    }
}

impl Description {
    /// A name and a version, usually `env!("CARGO_PKG_NAME")` and `env!("CARGO_PKG_VERSION")`.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), config_schema: None }
    }

    /// Adds the JSON Schema of the plugin's `config` object.
    #[must_use]
    pub fn with_config_schema(mut self, schema: impl Into<String>) -> Self {
        self.config_schema = Some(schema.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_request_keeps_the_callers_body() {
        let request = MappedRequest::unchanged(RequestHead::new("GET", "/a")).with_carry("x");
        assert!(matches!(request.body, OutgoingBody::Unchanged));
        assert_eq!(request.carry, b"x");
        assert!(matches!(request.without_body().body, OutgoingBody::Empty));
    }

    #[test]
    fn a_token_tells_its_life_time_in_milliseconds() {
        assert_eq!(Token::new("t").expires_in_ms, None);
        assert_eq!(Token::new("t").expires_in(Duration::from_secs(3)).expires_in_ms, Some(3_000));
    }

    #[test]
    fn a_reply_without_a_body_passes_the_upstreams_through() {
        let reply = Reply::new(204).with_header("X-A", "1");
        assert!(reply.body.is_none());
        assert_eq!(reply.headers, [Header::new("x-a", "1")]);
    }
}
