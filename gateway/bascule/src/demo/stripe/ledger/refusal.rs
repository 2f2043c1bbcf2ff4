//! Stripe's errors: a type, for some a code and a parameter, and the status that goes with them.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

/// A request that is not carried out.
#[derive(Debug)]
pub(in crate::demo::stripe) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
}

impl Refusal {
    /// A request that makes no sense as a whole.
    pub(in crate::demo::stripe) fn request(message: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "invalid_request_error",
            code: None,
            param: None,
            message: message.to_owned(),
        }
    }

    /// A parameter that must be there.
    pub(super) fn missing(param: &str) -> Self {
        let message = format!("Missing required param: {param}.");
        Self { code: Some("parameter_missing"), param: Some(param.to_owned()), ..Self::request(&message) }
    }

    /// A parameter that is not as it must be.
    pub(super) fn invalid(param: &str, message: &str) -> Self {
        Self { param: Some(param.to_owned()), ..Self::request(message) }
    }

    /// An id that names nothing.
    pub(super) fn no_such(what: &str, id: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: Some("resource_missing"),
            param: Some(what.to_owned()),
            ..Self::request(&format!("No such {what}: '{id}'"))
        }
    }

    /// Nothing is left to give back.
    pub(super) fn already_refunded(id: &str) -> Self {
        let message = format!("Charge {id} has already been refunded.");
        Self { code: Some("charge_already_refunded"), ..Self::request(&message) }
    }

    /// A key that was used for another request.
    pub(in crate::demo::stripe) fn idempotency(key: &str) -> Self {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. \
             Try using a key other than '{key}' if you meant to execute a different request."
        );
        Self { kind: "idempotency_error", ..Self::request(&message) }
    }

    /// No API key, or a wrong one.
    pub(in crate::demo::stripe) fn bad_key(message: &str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, ..Self::request(message) }
    }

    /// A path that does not exist.
    pub(in crate::demo::stripe) fn unknown_url(method: &Method, path: &str) -> Self {
        let message = format!("Unrecognized request URL ({method}: {path}).");
        Self { status: StatusCode::NOT_FOUND, ..Self::request(&message) }
    }

    /// The status of the answer.
    pub(in crate::demo::stripe) fn status(&self) -> StatusCode {
        self.status
    }

    /// The body of the answer.
    pub(in crate::demo::stripe) fn body(&self) -> Value {
        let mut error = Map::new();
        error.insert("type".to_owned(), self.kind.into());
        error.insert("message".to_owned(), self.message.as_str().into());
        error.extend(self.code.map(|code| ("code".to_owned(), code.into())));
        error.extend(self.param.as_deref().map(|param| ("param".to_owned(), param.into())));
        json!({ "error": error })
    }
}
