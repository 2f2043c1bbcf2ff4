//! The breaker as a library of its own: wrap any async call of any client in a circuit.
//!
//! A [`CircuitBreaker`] is a [`Breaker`] with a name, a clock and a source of chance, and a [`call`](CircuitBreaker::call)
//! that does the bookkeeping. A [`Registry`] keeps them by name, a [`HealthStatus`] shows how one fares. Here every `Err` counts as a failure unless the caller
//! says which ones do ([`call_judged`](CircuitBreaker::call_judged)); retries, limits and timeouts are not included.

mod builder;
mod health;
mod registry;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

pub use self::builder::CircuitBreakerBuilder;
pub use self::health::{Health, HealthStatus};
pub use self::registry::Registry;
use crate::breaker::{Breaker, BreakerSnapshot, Refused, State};
use crate::clock::{Clock, Random};
use crate::health::HealthStats;

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
    health: Arc<HealthStats>,
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
        Self { name: name.into(), breaker, clock, random, health: Arc::default() }
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
        let permit = self.breaker.enter(start, self.random.unit())?;
        let result = call().await;
        let now = self.clock.now();
        let elapsed = now.saturating_duration_since(start);
        let good = match &result {
            Ok(_) => {
                permit.success(now, elapsed, self.random.unit());
                true
            }
            Err(error) if is_failure(error) => {
                permit.failure(now, elapsed, self.random.unit());
                false
            }
            // The dependency has answered; that the call made no sense is not its fault.
            Err(_) => {
                permit.neutral(now);
                true
            }
        };
        self.health.record(now, good, elapsed);
        result.map_err(CallError::Failed)
    }

    /// The circuit's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The state now. After `timeout`, an open circuit reads half-open: the next call is a probe.
    #[must_use]
    pub fn state(&self) -> State {
        self.breaker.state(self.clock.now())
    }

    /// Whether calls are refused. Asynchronous as its users expect it to be; it does not wait.
    pub async fn is_open(&self) -> bool {
        self.state() == State::Open
    }

    /// Whether the next call is a probe, or probes are under way. It does not wait.
    pub async fn is_half_open(&self) -> bool {
        self.state() == State::HalfOpen
    }

    /// Whether calls pass. It does not wait.
    pub async fn is_closed(&self) -> bool {
        self.state() == State::Closed
    }

    /// How the dependency fares, by the calls of the last minute. It calls nothing and does not wait.
    pub async fn health_check(&self) -> HealthStatus {
        self.health()
    }

    /// What [`health_check`](Self::health_check) gives, for callers that are not asynchronous.
    #[must_use]
    pub fn health(&self) -> HealthStatus {
        let now = self.clock.now();
        HealthStatus::new(&self.name, &self.breaker.snapshot(now), &self.health.snapshot(now), now)
    }

    /// Where the outcomes of its calls are counted.
    pub(crate) const fn calls(&self) -> &Arc<HealthStats> {
        &self.health
    }

    /// What it has seen.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let BreakerSnapshot { state, failures, last_failure, last_success, .. } =
            self.breaker.snapshot(self.clock.now());
        Stats { name: self.name.to_string(), state, failures, last_failure, last_success }
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
