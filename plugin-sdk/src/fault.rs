//! Making faults: the way in which a plugin says no.

use std::time::Duration;

use crate::{BodyError, Cause, Fault, FaultKind};

impl Fault {
    /// A fault of that kind. `code` is stable and documented by the integration (`card-declined`);
    /// `message` is for people and must not contain credentials.
    #[must_use]
    pub fn new(kind: FaultKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), details: None, retry_after_ms: None }
    }

    /// The caller's input does not fit.
    #[must_use]
    pub fn invalid_input(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::InvalidInput, code, message)
    }

    /// The third party answered something that cannot be understood.
    #[must_use]
    pub fn upstream_invalid(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::UpstreamInvalid, code, message)
    }

    /// A fault of the plugin or its configuration.
    #[must_use]
    pub fn internal(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Internal, code, message)
    }

    /// What an error mapper says when there is no response to map: the gateway's own code for that cause.
    ///
    /// [`Cause::Response`] gives `upstream-failed`; a mapper that has looked at the response says more.
    #[must_use]
    pub fn without_response(cause: Cause) -> Self {
        let (code, message) = match cause {
            Cause::Response => ("upstream-failed", "the provider answered with a failure"),
            Cause::Timeout => ("upstream-timeout", "the provider did not answer in time"),
            Cause::Dns | Cause::Connect | Cause::Tls | Cause::Reset => {
                ("upstream-unreachable", "the provider could not be reached")
            }
            Cause::Protocol => ("upstream-protocol", "the provider's answer was malformed"),
            Cause::CircuitOpen => ("circuit-open", "the circuit breaker is open"),
            Cause::RateLimited => ("rate-limited", "the budget of calls is spent"),
            Cause::Overloaded => ("overloaded", "too many calls are under way"),
            Cause::Auth => ("upstream-auth", "no token or signature could be had"),
        };
        let kind =
            if cause == Cause::RateLimited { FaultKind::RateLimited } else { FaultKind::UpstreamFailed };
        Self::new(kind, code, message)
    }

    /// Adds extra data for the caller: the text of a JSON object.
    #[must_use]
    pub fn with_details(mut self, json: impl Into<String>) -> Self {
        self.details = Some(json.into());
        self
    }

    /// Adds how long the caller should wait; capped at 49 days, which is what the field holds.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_ms = Some(millis(wait));
        self
    }
}

/// A body that could not be had, as a fault: the interrupted caller's fault is the input's, the rest the
/// plugin's set-up (a missing grant, a limit that is too low, a stream where a held body is needed).
impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::internal(
                "body-too-large",
                format!("the body is larger than the {limit} octets a plugin may read"),
            ),
            BodyError::NotReplayable => {
                Self::internal("body-not-replayable", "the body is a stream that cannot be read ahead")
            }
            BodyError::Denied => {
                Self::internal("body-denied", "the grant `body-read` is missing for this phase")
            }
            BodyError::Interrupted => Self::invalid_input("body-interrupted", "the body broke off"),
        }
    }
}

/// Whole milliseconds, at most what the WIT's `u32` holds.
pub(crate) fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_carries_what_it_was_given() {
        let fault = Fault::new(FaultKind::Conflict, "taken", "the name is taken")
            .with_details(r#"{"name":"x"}"#)
            .with_retry_after(Duration::from_secs(2));
        assert_eq!(fault.kind, FaultKind::Conflict);
        assert_eq!((fault.code.as_str(), fault.message.as_str()), ("taken", "the name is taken"));
        assert_eq!(fault.details.as_deref(), Some(r#"{"name":"x"}"#));
        assert_eq!(fault.retry_after_ms, Some(2_000));
    }

    #[test]
    fn a_wait_beyond_the_field_is_capped() {
        let fault = Fault::internal("x", "y").with_retry_after(Duration::from_secs(u64::MAX));
        assert_eq!(fault.retry_after_ms, Some(u32::MAX));
    }

    #[test]
    fn a_failure_without_a_response_has_the_gateways_code() {
        let fault = Fault::without_response(Cause::RateLimited);
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::RateLimited, "rate-limited"));
        let fault = Fault::without_response(Cause::Tls);
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::UpstreamFailed, "upstream-unreachable"));
    }

    #[test]
    fn body_errors_keep_their_reason() {
        assert_eq!(Fault::from(BodyError::Denied).code, "body-denied");
        assert!(Fault::from(BodyError::TooLarge(7)).message.contains("7 octets"));
        assert_eq!(Fault::from(BodyError::Interrupted).kind, FaultKind::InvalidInput);
    }
}
