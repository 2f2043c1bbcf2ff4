//! The breaker as a library of its own: wrap any async call of any client in a circuit.
//!
//! A [`CircuitBreaker`] is a [`Breaker`] with a name, a clock and a source of chance, and a [`call`](CircuitBreaker::call)
//! that does the bookkeeping. A [`Registry`] keeps them by name. Here every `Err` counts as a failure unless the caller
//! says which ones do ([`call_judged`](CircuitBreaker::call_judged)); retries, limits and timeouts are not included.

mod builder;
mod registry;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

pub use self::builder::CircuitBreakerBuilder;
pub use self::registry::Registry;
use crate::breaker::{Breaker, BreakerSnapshot, Refused, State};
use crate::clock::{Clock, Random};

/// A named circuit around calls of one dependency. Clones share the circuit.
///
/// ```
/// use std::time::Duration;
/// use bascule_resilience::CircuitBreaker;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let redis = CircuitBreaker::new("redis").failure_threshold(1).timeout(Duration::from_secs(10)).build();
///
/// let answer = redis.call(|| async { Err::<(), _>("connection reset") }).await;
/// assert!(!answer.unwrap_err().is_circuit_open(), "the call itself failed");
/// assert!(redis.is_open().await);
///
/// let answer = redis.call(|| async { Ok::<_, &str>("PONG") }).await;
/// assert!(answer.unwrap_err().is_circuit_open(), "it was not even tried");
/// # }
/// ```
#[derive(Clone)]
pub struct CircuitBreaker {
    name: Arc<str>,
    breaker: Arc<Breaker>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// Why a call through a circuit has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError<E> {
    /// The circuit did not let it pass; nothing was called.
    #[error("circuit breaker is open")]
    CircuitOpen(#[from] Refused),
    /// It was made, and failed.
    #[error("call through the circuit breaker failed")]
    Failed(#[source] E),
}

/// What a circuit has seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// The circuit's name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Failures that count towards the next trip.
    pub failures: u32,
    /// When a call last failed.
    pub last_failure: Option<Instant>,
    /// When a call last succeeded.
    pub last_success: Option<Instant>,
}

/// How a dependency fares.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthStatus {
    /// The circuit's name.
    pub name: String,
    /// The verdict.
    pub status: Health,
    /// The circuit's state.
    pub state: State,
    /// Failures that count towards the next trip.
    pub failures: u32,
    /// When a call last failed.
    pub last_failure: Option<Instant>,
}

/// The verdict of a [`HealthStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The circuit is closed.
    Healthy,
    /// It is half-open: probes decide.
    Degraded,
    /// It is open.
    Unhealthy,
}

impl CircuitBreaker {
    /// Begins the description of a circuit of that name; [`CircuitBreakerBuilder::build`] makes it.
    #[expect(clippy::new_ret_no_self, reason = "the builder is the documented way in")]
    pub fn new(name: impl Into<String>) -> CircuitBreakerBuilder {
        CircuitBreakerBuilder::new(name.into())
    }

    pub(crate) fn assemble(
        name: String,
        breaker: Arc<Breaker>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self { name: name.into(), breaker, clock, random }
    }

    /// Makes the call if the circuit lets it pass. Every `Err` counts as a failure.
    ///
    /// Cancel-safe: a dropped call counts as neither success nor failure.
    ///
    /// # Errors
    /// [`CallError::CircuitOpen`] when it was refused, [`CallError::Failed`] with the call's own error.
    pub async fn call<T, E, F, Fut>(&self, call: F) -> Result<T, CallError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.call_judged(|_| true, call).await
    }

    /// Like [`call`](Self::call), where `is_failure` says which errors are the dependency's fault. Others ("no such
    /// row", "bad request") say nothing about its health and count as neutral.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn call_judged<T, E, F, Fut>(
        &self,
        is_failure: impl FnOnce(&E) -> bool,
        call: F,
    ) -> Result<T, CallError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let start = self.clock.now();
        let permit = self.breaker.acquire(start, self.random.unit())?;
        let result = call().await;
        let now = self.clock.now();
        let elapsed = now.saturating_duration_since(start);
        match &result {
            Ok(_) => permit.success(now, elapsed, self.random.unit()),
            Err(error) if is_failure(error) => permit.failure(now, elapsed, self.random.unit()),
            Err(_) => permit.neutral(now),
        };
        result.map_err(CallError::Failed)
    }

    /// The circuit's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The state now. An open circuit whose probe is due reads half-open, although the next call makes it so.
    #[must_use]
    pub fn state(&self) -> State {
        let now = self.clock.now();
        let BreakerSnapshot { state, next_probe_at, .. } = self.breaker.snapshot(now);
        let probe_is_due = next_probe_at.is_some_and(|at| at <= now);
        if state == State::Open && probe_is_due { State::HalfOpen } else { state }
    }

    /// Whether calls are refused, and the next probe is not due yet.
    pub async fn is_open(&self) -> bool {
        self.state() == State::Open
    }

    /// Whether probes are under way or due.
    pub async fn is_half_open(&self) -> bool {
        self.state() == State::HalfOpen
    }

    /// Whether calls pass.
    pub async fn is_closed(&self) -> bool {
        self.state() == State::Closed
    }

    /// How the dependency fares, in a word for a status page and the numbers behind it.
    pub async fn health_check(&self) -> HealthStatus {
        let Stats { name, state, failures, last_failure, .. } = self.stats();
        let status = match state {
            State::Closed => Health::Healthy,
            State::HalfOpen => Health::Degraded,
            State::Open => Health::Unhealthy,
        };
        HealthStatus { name, status, state, failures, last_failure }
    }

    /// What it has seen.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let BreakerSnapshot { failures, last_failure, last_success, .. } =
            self.breaker.snapshot(self.clock.now());
        Stats { name: self.name.to_string(), state: self.state(), failures, last_failure, last_success }
    }

    /// Closes the circuit and forgets what it has counted.
    pub fn reset(&self) {
        self.breaker.reset(self.clock.now());
    }

    /// The mechanism behind it, for permits, forced modes and snapshots.
    #[must_use]
    pub const fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker").field("name", &self.name).field("breaker", &self.breaker).finish()
    }
}

impl<E> CallError<E> {
    /// Whether the call was refused by the circuit, and not made.
    #[must_use]
    pub const fn is_circuit_open(&self) -> bool {
        matches!(self, Self::CircuitOpen(_))
    }

    /// The call's own error, if it was made.
    pub fn into_failure(self) -> Option<E> {
        match self {
            Self::CircuitOpen(_) => None,
            Self::Failed(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests;
