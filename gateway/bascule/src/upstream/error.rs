//! Why an exchange with an upstream failed.

use crate::model::{BodyError, Cause, TimeoutKind};
use std::sync::Arc;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendErrorKind {
    /// The name did not resolve.
    Dns,
    /// No connection.
    Connect,
    /// No TLS session.
    Tls,
    /// The connection broke before the first octet of the answer.
    Reset,
    /// The answer was malformed or broke off.
    Protocol,
    /// A time limit passed.
    Timeout(TimeoutKind),
    /// The address is not allowed.
    Egress,
    /// The caller's own body broke off, so the request could not be completed.
    CallerBody,
    /// The caller's own body stalled.
    CallerStalled,
}

impl SendErrorKind {
    /// The name in spans and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Timeout(_) => "timeout",
            Self::Egress => "egress-denied",
            Self::CallerBody => "caller-body",
            Self::CallerStalled => "caller-stalled",
        }
    }

    /// The ladder's word for it; none where no fallback applies.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Dns | Self::Connect | Self::Tls | Self::Reset => Some(Cause::Connect),
            Self::Protocol => Some(Cause::Protocol),
            Self::Timeout(_) => Some(Cause::Timeout),
            Self::Egress | Self::CallerBody | Self::CallerStalled => None,
        }
    }
}

/// A failed exchange.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    /// What went wrong.
    pub kind: SendErrorKind,
    /// Whether any octet of the request may have left.
    pub sent: bool,
    /// Whether a kept connection broke before any octet of the answer: most likely the provider had closed
    /// it while idle, so a request that may be repeated deserves a fresh one at once.
    pub stale: bool,
    /// For operators: names, addresses and system errors, never credentials.
    pub message: Arc<str>,
}

impl SendError {
    /// Nothing left this machine.
    pub fn unsent(kind: SendErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self { kind, sent: false, stale: false, message: message.into() }
    }

    /// The provider may have seen the request.
    pub fn sent(kind: SendErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self { kind, sent: true, stale: false, message: message.into() }
    }

    /// The caller's body ended early.
    pub(crate) fn caller(error: &BodyError) -> Self {
        let kind = match error {
            BodyError::TimedOut(_) => SendErrorKind::CallerStalled,
            _ => SendErrorKind::CallerBody,
        };
        Self::sent(kind, error.to_string())
    }

    /// Sorts a hyper error that came before a whole response head. hyper reports "closed before message
    /// completed" alike for no octet and for half a head, hence `answer_begun`.
    pub(crate) fn from_hyper(error: &hyper::Error, answer_begun: bool) -> Self {
        let kind = if timed_out(error) {
            SendErrorKind::Timeout(TimeoutKind::Write)
        } else if error.is_parse() || error.is_parse_too_large() || answer_begun {
            SendErrorKind::Protocol
        } else {
            SendErrorKind::Reset
        };
        Self::sent(kind, describe(error))
    }
}

/// Whether the stall guard ended the connection.
fn timed_out(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::TimedOut;
        }
        source = cause.source();
    }
    false
}

/// An error and its causes in one line.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}
