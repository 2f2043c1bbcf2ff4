//! Errors for callers: RFC 9457 problem details.
//!
//! A [`Problem`] is what a caller may see. What only operators may see (causes, addresses, plugin
//! traces) goes to the log where the problem is made, never in here.

use super::{IntegrationName, OperationName};
use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:literal, $title:literal;)*) => {
        /// What went wrong: the last part of a problem's `type`, stable for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code, for documentation and the OpenAPI description.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Its usual status; plugins' codes vary it by the kind of fault.
            pub fn status(self) -> StatusCode {
                let status: u16 = match self { $(Self::$variant => $status,)* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// One line for people.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// No such integration.
    UnknownIntegration = "unknown-integration", 404, "No such integration";
    /// No such operation.
    UnknownOperation = "unknown-operation", 404, "No such operation";
    /// No such path.
    NotFound = "not-found", 404, "Not found";
    /// The path exists, the method does not.
    MethodNotAllowed = "method-not-allowed", 405, "Method not allowed";
    /// Parameters are missing, unknown or ill-typed.
    InvalidParameters = "invalid-parameters", 422, "Invalid parameters";
    /// Unreadable JSON, bad header, bad path encoding.
    InvalidRequest = "invalid-request", 400, "Invalid request";
    /// Over the body limit.
    PayloadTooLarge = "payload-too-large", 413, "Payload too large";
    /// No key, or a wrong one.
    Unauthenticated = "unauthenticated", 401, "Authentication required";
    /// The key may not do this.
    Forbidden = "forbidden", 403, "Not allowed";
    /// The caller's request did not arrive in time.
    RequestTimeout = "request-timeout", 408, "Request timeout";
    /// The body is of a type that the operation does not take.
    UnsupportedMediaType = "unsupported-media-type", 415, "Unsupported media type";
    /// Too many or too long header lines.
    HeadersTooLarge = "headers-too-large", 431, "Request headers too large";
    /// The key belongs to another call.
    IdempotencyKeyReused = "idempotency-key-reused", 422, "Idempotency key reused";
    /// A call with the key is under way.
    IdempotencyKeyInUse = "idempotency-key-in-use", 409, "Idempotency key in use";
    /// The resource is not in a state for that.
    Conflict = "conflict", 409, "Not possible at present";
    /// A request budget is spent.
    RateLimited = "rate-limited", 429, "Rate limit reached";
    /// The concurrency limit and its queue are full.
    Overloaded = "overloaded", 503, "Too many calls in flight";
    /// The breaker refuses.
    CircuitOpen = "circuit-open", 503, "Circuit open";
    /// A deadline passed.
    UpstreamTimeout = "upstream-timeout", 504, "The provider took too long";
    /// DNS, connect, TLS, reset.
    UpstreamUnreachable = "upstream-unreachable", 502, "The provider could not be reached";
    /// A malformed or truncated answer.
    UpstreamProtocol = "upstream-protocol", 502, "The provider's answer was malformed";
    /// No token could be had.
    UpstreamAuth = "upstream-auth", 502, "No credentials for the provider could be had";
    /// The address is not allowed.
    EgressDenied = "egress-denied", 502, "The provider's address is not allowed";
    /// Every branch of a fan-out failed.
    NoData = "no-data", 502, "No branch had an answer";
    /// The caller wanted a stored answer or none, and none is stored.
    NotCached = "not-cached", 504, "Nothing usable is stored";
    /// A plugin refused the input.
    PluginRejected = "plugin-rejected", 422, "Refused by the integration's plugin";
    /// A plugin could not do it.
    PluginFailed = "plugin-failed", 502, "The integration's plugin failed";
    /// A plugin trapped.
    PluginTrapped = "plugin-trapped", 500, "The integration's plugin broke down";
    /// A plugin ran too long.
    PluginTimeout = "plugin-timeout", 500, "The integration's plugin ran too long";
    /// A plugin used too much memory.
    PluginOutOfMemory = "plugin-out-of-memory", 500, "The integration's plugin ran out of memory";
    /// A signer failed; nothing was sent.
    SigningFailed = "signing-failed", 500, "The request could not be signed";
    /// The plugin's own breaker is open.
    PluginUnavailable = "plugin-unavailable", 503, "The integration's plugin is not available";
    /// A bug.
    Internal = "internal", 500, "Internal error";
    /// A reload was refused.
    InvalidConfiguration = "invalid-configuration", 422, "The configuration has problems";
}

/// One bad parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterError {
    /// JSON Pointer into the parameters, e.g. `/city`.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// An error as a caller sees it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    /// HTTP status; [`Code::status`] unless a plugin's fault or an error mapping set another.
    pub status: StatusCode,
    /// For people: what happened and what to do.
    pub detail: String,
    /// When to come back: `Retry-After` and `retry_after_ms`.
    pub retry_after: Option<Duration>,
    /// Further members, e.g. `errors`, `code`, `upstream_status`; most problems have none.
    extra: Option<Box<Map<String, Value>>>,
    /// Whether the member `code` is one that the configuration gave (`errors."404".code`): then it is
    /// the type's last part too.
    named: bool,
}

impl Problem {
    /// A problem with its code's status.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            status: code.status(),
            detail: detail.into(),
            retry_after: None,
            extra: None,
            named: false,
        }
    }

    /// Sets when to come back.
    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.retry_after = Some(span);
        self
    }

    /// Replaces the status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Replaces the type's last part by a code of the configuration's, which is also a member.
    #[must_use]
    pub fn named(mut self, code: &str) -> Self {
        self.named = true;
        self.with("code", code)
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.extra.get_or_insert_default().insert(member.to_owned(), value.into());
        self
    }

    /// The type's last part: the code, or the one that the configuration gave.
    pub fn name(&self) -> &str {
        let given = self.member("code").and_then(Value::as_str).filter(|_| self.named);
        given.unwrap_or(self.code.as_str())
    }

    /// A further member.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.extra.as_ref()?.get(name)
    }

    /// 422 with every bad parameter.
    pub fn invalid_parameters(errors: &[ParameterError]) -> Self {
        let listed: Vec<Value> =
            errors.iter().map(|e| json!({ "pointer": e.pointer, "detail": e.detail })).collect();
        let detail = match errors {
            [one] => format!("{}: {}", one.pointer, one.detail),
            many => format!("{} parameters are wrong", many.len()),
        };
        Self::new(Code::InvalidParameters, detail).with("errors", listed)
    }

    /// The document's octets. `place` names integration and operation as far as they are known.
    pub fn to_json(&self, place: Place<'_>) -> Bytes {
        let mut document = Map::new();
        document.insert("type".into(), format!("urn:bascule:problem:{}", self.name()).into());
        let title =
            if self.named { self.status.canonical_reason().unwrap_or("Error") } else { self.code.title() };
        document.insert("title".into(), title.into());
        document.insert("status".into(), self.status.as_u16().into());
        document.insert("detail".into(), self.detail.as_str().into());
        if let Some(name) = place.integration {
            document.insert("integration".into(), name.as_str().into());
        }
        if let Some(name) = place.operation {
            document.insert("operation".into(), name.as_str().into());
        }
        if let Some(attempts) = place.attempts {
            document.insert("attempts".into(), attempts.into());
        }
        if let Some(trace_id) = place.trace_id {
            document.insert("trace_id".into(), trace_id.into());
        }
        if let Some(span) = self.retry_after {
            let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            document.insert("retry_after_ms".into(), millis.into());
        }
        for (member, value) in self.extra.iter().flat_map(|extra| extra.iter()) {
            document.entry(member.clone()).or_insert_with(|| value.clone());
        }
        Bytes::from(Value::Object(document).to_string())
    }

    /// The whole response. `place` names integration and operation as far as they are known.
    pub fn response(&self, place: Place<'_>) -> Response<Bytes> {
        let mut response = Response::new(self.to_json(place));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(span) = self.retry_after {
            headers.insert(RETRY_AFTER, whole_seconds(span).into());
        }
        if self.code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let allow = self.member("allow").and_then(Value::as_str);
        if let Some(allow) = allow.and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

/// `Retry-After` knows whole seconds; coming back too early would be refused again.
fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// Where a problem happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// The integration, when the name was one.
    pub integration: Option<&'a IntegrationName>,
    /// The operation, when the name was one.
    pub operation: Option<&'a OperationName>,
    /// Attempts made upstream, once a call had begun.
    pub attempts: Option<u32>,
    /// Trace id in hex.
    pub trace_id: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_names_type_status_and_place() {
        let name = IntegrationName::new("weather").unwrap();
        let problem =
            Problem::new(Code::CircuitOpen, "closed for now").retry_after(Duration::from_millis(1500));
        let place = Place { integration: Some(&name), attempts: Some(0), ..Place::default() };
        let document: Value = serde_json::from_slice(&problem.to_json(place)).unwrap();
        assert_eq!(
            document,
            json!({
                "type": "urn:bascule:problem:circuit-open", "title": "Circuit open", "status": 503,
                "detail": "closed for now", "integration": "weather", "attempts": 0, "retry_after_ms": 1500
            })
        );
    }

    #[test]
    fn further_members_never_replace_the_standard_ones() {
        let problem = Problem::new(Code::Internal, "x").with("status", 200).with("errors", 1);
        let document: Value = serde_json::from_slice(&problem.to_json(Place::default())).unwrap();
        assert_eq!(document["status"], 500);
        assert_eq!(document["errors"], 1);
    }

    #[test]
    fn retry_after_is_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(30)), 30);
        assert_eq!(whole_seconds(Duration::from_millis(30_001)), 31);
    }

    #[test]
    fn codes_are_distinct() {
        let mut seen: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), Code::ALL.len());
    }
}
