//! Why a guarded call has no result.

use std::time::Duration;

use crate::breaker::Refused;
use crate::bulkhead::Overloaded;
use crate::rate_limit::Limited;

/// Why a call through a [`Guard`](super::Guard) has no result. All but [`Failed`](Self::Failed) say that the operation
/// was not made, or gave no answer in time.
#[derive(Debug, thiserror::Error)]
pub enum GuardError<E> {
    /// The circuit did not let it pass; nothing was called.
    #[error("circuit breaker is open")]
    CircuitOpen(#[from] Refused),
    /// There was no place for it among the calls under way; nothing was called.
    #[error("too many calls at a time")]
    Overloaded(#[from] Overloaded),
    /// There was no token for it; nothing was called.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// No result within the time limit.
    #[error("no result within {} ms", after.as_millis())]
    Timeout {
        /// How long the call had been under way.
        after: Duration,
    },
    /// It was made, and failed; after retries, the last error.
    #[error("the call failed")]
    Failed(#[source] E),
}

impl<E> GuardError<E> {
    /// Whether the circuit refused the call.
    #[must_use]
    pub const fn is_circuit_open(&self) -> bool {
        matches!(self, Self::CircuitOpen(_))
    }

    /// Whether a time limit passed.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// Whether a rate limit refused the call.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        matches!(self, Self::Limited(_))
    }

    /// Whether the limit of concurrent calls refused the call.
    #[must_use]
    pub const fn is_overloaded(&self) -> bool {
        matches!(self, Self::Overloaded(_))
    }

    /// When it is worth trying again, as far as that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::CircuitOpen(refused) => Some(refused.retry_after),
            Self::Limited(limited) => Some(limited.retry_after),
            Self::Overloaded(_) | Self::Timeout { .. } | Self::Failed(_) => None,
        }
    }

    /// The operation's own error, if it was made and failed.
    pub fn into_failure(self) -> Option<E> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}
