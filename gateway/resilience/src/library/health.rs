//! How a dependency fares, in one value per circuit, for health pages and readiness checks.
//!
//! It is made of what is known already: the circuit's state and the outcomes of the last minute's calls. Nothing is
//! called to find out, so that asking often costs the dependency nothing.

use std::fmt;
use std::time::{Duration, Instant};

use crate::breaker::{BreakerSnapshot, State};
use crate::health::HealthSnapshot;

/// Above this share of failed calls a dependency behind a closed circuit counts as degraded.
const DEGRADED_FROM: f64 = 0.1;

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// The circuit is closed, and at most a tenth of the last minute's calls failed.
    Healthy,
    /// The circuit is half-open, or more than a tenth of the last minute's calls failed.
    Degraded,
    /// The circuit is open.
    Unhealthy,
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
    /// Share of good calls in the last minute, 0 to 1; 1 when there were none. Refused calls are not in it.
    pub success_rate: f64,
    /// Median latency of the last minute, exact to 7 %; `None` when there were no calls.
    pub latency_p50: Option<Duration>,
    /// Latency that 99 % of the last minute's calls stayed under, exact to 7 %; `None` when there were none.
    pub latency_p99: Option<Duration>,
    /// When a call last failed.
    pub last_failure: Option<Instant>,
    /// Until the next probe may pass, zero once it may; `None` while closed, while probing, or until an operator acts.
    pub next_probe_in: Option<Duration>,
}

impl HealthStatus {
    pub(super) fn new(name: &str, breaker: &BreakerSnapshot, calls: &HealthSnapshot, now: Instant) -> Self {
        let status = match breaker.state {
            State::Open => Health::Unhealthy,
            State::HalfOpen => Health::Degraded,
            State::Closed if calls.error_rate > DEGRADED_FROM + f64::EPSILON => Health::Degraded,
            State::Closed => Health::Healthy,
        };
        Self {
            name: name.to_owned(),
            status,
            state: breaker.state,
            failures: breaker.failures,
            success_rate: calls.success_rate,
            latency_p50: calls.p50,
            latency_p99: calls.p99,
            last_failure: breaker.last_failure,
            next_probe_in: breaker.next_probe_at.map(|at| at.saturating_duration_since(now)),
        }
    }
}

impl Health {
    /// `healthy`, `degraded` or `unhealthy`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
