//! What became of one attempt, in the one vocabulary that every mechanism reads.
//!
//! A classifier makes an [`Outcome`] of whatever a client returns; retry, breaker, limiter, concurrency limit and
//! statistics all go by this value, so that they can never disagree about what happened. How an HTTP status, a database
//! error or a queue's refusal becomes an outcome is the caller's knowledge.
//!
//! | outcome        | retried, if that is safe | breaker | limiter                    | health   |
//! |----------------|--------------------------|---------|----------------------------|----------|
//! | success        | no                       | success | a doubling hold is over    | good     |
//! | rejected       | no                       | neutral | a doubling hold is over    | good     |
//! | throttled      | after the asked wait     | neutral | holds all calls            | –        |
//! | transient      | with backoff             | failure | –                          | bad      |
//! | auth-expired   | once, after renewing     | neutral | –                          | –        |
//! | contract-broken| with backoff             | failure | –                          | bad      |
//! | cancelled      | no                       | neutral | –                          | –        |

use std::fmt;
use std::time::Duration;

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It worked. (HTTP: 1xx to 3xx.)
    Success,
    /// Permanent, and the provider is healthy: the request is at fault. (HTTP: other 4xx, 501, 505.)
    Rejected,
    /// The provider's quota is spent. The span is what it asked for, already clamped; none: it gave no time.
    Throttled {
        /// How long to hold all calls.
        retry_after: Option<Duration>,
    },
    /// It may work another time: no connection, a reset, a timeout, a failure of the provider's own.
    Transient {
        /// The wait that the provider asked for.
        retry_after: Option<Duration>,
    },
    /// The token or signature is no longer valid; it may work with a new one.
    AuthExpired,
    /// A malformed or truncated answer.
    ContractBroken,
    /// The caller left.
    Cancelled,
}

impl Outcome {
    /// It may work another time, and the provider named no time.
    pub const TRANSIENT: Self = Self::Transient { retry_after: None };

    /// What breaker and health make of it: `Some(true)` good, `Some(false)` a failure, `None` neutral.
    #[must_use]
    pub const fn breaker(self) -> Option<bool> {
        match self {
            Self::Success => Some(true),
            Self::Transient { .. } | Self::ContractBroken => Some(false),
            Self::Rejected | Self::Throttled { .. } | Self::AuthExpired | Self::Cancelled => None,
        }
    }

    /// The name in metrics, spans, logs and journals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Rejected => "rejected",
            Self::Throttled { .. } => "throttled",
            Self::Transient { .. } => "transient",
            Self::AuthExpired => "auth-expired",
            Self::ContractBroken => "contract-broken",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
