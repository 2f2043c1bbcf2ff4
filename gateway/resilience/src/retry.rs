//! When a failed call may be tried again, and how long to wait before.
//!
//! The policy only computes: whoever calls it sleeps, counts attempts, and knows whether the call is safe to repeat
//! and whether its failure was transient. Two guards are kept apart on purpose: the policy bounds one call, the
//! [`RetryBudget`] bounds all calls of a dependency together, so that retries cannot multiply an outage.

mod budget;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

pub use self::budget::{BudgetConfig, RetryBudget};
use crate::span::{exponential, jittered};

/// How often, and at what distance, a call is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included. Default 3.
    pub max_attempts: NonZeroU32,
    /// Wait before the first retry. Default 100 ms.
    pub base_delay: Duration,
    /// Growth of the wait from one retry to the next. Default 2.
    pub multiplier: f64,
    /// Longest wait, before jitter. Default 30 s.
    pub max_delay: Duration,
    /// Share by which a wait is shortened or lengthened at random, 0 to 1. Default 0.25.
    pub jitter: f64,
    /// Explicit waits, one per retry; the last one repeats. When not empty it replaces the exponential rule, and is
    /// followed to the letter: neither `max_delay` nor `jitter` applies. Default empty.
    pub delays: Vec<Duration>,
    /// Longest wait that a provider may ask for. Default 60 s.
    pub retry_after_max: Duration,
    /// What the time allowed to one attempt is multiplied with after an attempt that timed out. Default 1.
    pub timeout_factor: f64,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait this long, then try again.
    Wait(Duration),
    /// Give up and answer with the last outcome.
    Stop(StopReason),
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// `max_attempts` were made.
    AttemptsSpent,
    /// The provider asked for a longer wait than `retry_after_max`.
    AskedTooLong,
    /// The wait would leave nothing of the time that is left.
    DeadlineTooClose,
}

impl RetryPolicy {
    /// The wait before retry number `retry` (1 = the first retry; 0 counts as 1), with `unit` in `[0, 1)` for jitter.
    #[must_use]
    pub fn delay(&self, retry: u32, unit: f64) -> Duration {
        let before = retry.max(1) - 1;
        if let Some(last) = self.delays.last() {
            let index = usize::try_from(before).unwrap_or(usize::MAX);
            return *self.delays.get(index).unwrap_or(last);
        }
        let delay = exponential(self.base_delay, self.multiplier, before, self.max_delay);
        jittered(delay, self.jitter, unit)
    }

    /// What follows after `attempts_made` attempts, the last of which failed in a way worth trying again.
    ///
    /// `asked` is the wait that the provider asked for (`Retry-After`, a quota's reset): it wins when it is longer than
    /// ours. `remaining` is the time left until the deadline, `None` if there is none.
    #[must_use]
    pub fn next(
        &self,
        attempts_made: u32,
        asked: Option<Duration>,
        remaining: Option<Duration>,
        unit: f64,
    ) -> Next {
        if attempts_made >= self.max_attempts.get() {
            return Next::Stop(StopReason::AttemptsSpent);
        }
        if asked.is_some_and(|asked| asked > self.retry_after_max) {
            return Next::Stop(StopReason::AskedTooLong);
        }
        let wait = self.delay(attempts_made, unit).max(asked.unwrap_or(Duration::ZERO));
        if remaining.is_some_and(|remaining| wait >= remaining) {
            return Next::Stop(StopReason::DeadlineTooClose);
        }
        Next::Wait(wait)
    }

    /// The time allowed to an attempt that follows `timed_out` attempts which ran into `attempt_timeout`.
    #[must_use]
    pub fn attempt_timeout(&self, attempt_timeout: Duration, timed_out: u32) -> Duration {
        exponential(attempt_timeout, self.timeout_factor, timed_out, Duration::MAX)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: NonZeroU32::MIN.saturating_add(2),
            base_delay: Duration::from_millis(100),
            multiplier: 2.0,
            max_delay: Duration::from_secs(30),
            jitter: 0.25,
            delays: Vec::new(),
            retry_after_max: Duration::from_secs(60),
            timeout_factor: 1.0,
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AttemptsSpent => "all attempts are spent",
            Self::AskedTooLong => "the provider asked for too long a wait",
            Self::DeadlineTooClose => "the deadline is too close",
        })
    }
}

#[cfg(test)]
mod tests;
