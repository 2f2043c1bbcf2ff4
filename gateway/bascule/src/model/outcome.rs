//! Which time limit passed, and why a call ended without an answer of the provider's. What an attempt came to is
//! [`Outcome`](bascule_resilience::Outcome), which the resilience crate defines (`semantics.md` §2).

use std::fmt;

/// Which time limit passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutKind {
    /// Resolving, connecting, TLS.
    Connect,
    /// A stalled write.
    Write,
    /// Silence while reading.
    Read,
    /// One attempt.
    Attempt,
    /// The whole call.
    Whole,
    /// A body that is passed through.
    Body,
}

impl TimeoutKind {
    /// The name in `timeouts_total{kind}` and problem details.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Write => "write",
            Self::Read => "read",
            Self::Attempt => "attempt",
            Self::Whole => "whole",
            Self::Body => "body",
        }
    }
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a call ended without a usable answer: what `fallback_on` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Cause {
    /// The breaker refused.
    CircuitOpen = 0,
    /// A time limit passed.
    Timeout = 1,
    /// DNS, connect, TLS, or a reset before the answer began.
    Connect = 2,
    /// A malformed or truncated answer.
    Protocol = 3,
    /// The provider answered with a failure of its own (5xx, 408).
    Transient = 4,
    /// The provider's quota is spent.
    Throttled = 5,
    /// The integration's own budget is spent.
    RateLimited = 6,
    /// The concurrency limit and its queue are full.
    Overloaded = 7,
    /// No token could be had.
    Auth = 8,
}

impl Cause {
    /// All of them, in the order of `semantics.md` §8.
    pub const ALL: &[Self] = &[
        Self::CircuitOpen,
        Self::Timeout,
        Self::Connect,
        Self::Protocol,
        Self::Transient,
        Self::Throttled,
        Self::RateLimited,
        Self::Overloaded,
        Self::Auth,
    ];

    /// The name in the configuration, headers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit-open",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Protocol => "protocol",
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::RateLimited => "rate-limited",
            Self::Overloaded => "overloaded",
            Self::Auth => "auth",
        }
    }

    /// The cause of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|cause| cause.as_str() == text)
    }
}
