//! When a failed call may be tried again, and how long to wait before.
//!
//! | part            | answers                                                                          |
//! |-----------------|----------------------------------------------------------------------------------|
//! | [`RetryPolicy`] | how many attempts, at what distances                                             |
//! | [`Jitter`]      | how those distances are spread, so that callers do not come back all at once     |
//! | [`Attempts`]    | one call's memory: after an attempt, is there another, and when?                 |
//! | [`RetryBudget`] | how many retries all calls of a dependency may make together                     |
//!
//! All of them only compute: whoever calls them sleeps, and knows whether the call is safe to repeat. Two guards are
//! kept apart on purpose: the policy bounds one call, the budget bounds all of them, so that retries cannot multiply
//! an outage.

mod attempts;
mod budget;
mod jitter;

use std::num::NonZeroU32;
use std::time::Duration;

pub use self::attempts::{Around, Attempted, Attempts, Next, StopReason};
pub use self::budget::{BudgetConfig, RetryBudget};
pub use self::jitter::Jitter;
use crate::span::exponential;

/// How often, and at what distance, a call is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included. Default 3.
    pub max_attempts: NonZeroU32,
    /// Wait before the first retry. Default 100 ms.
    pub base_delay: Duration,
    /// Growth of the wait from one retry to the next. Default 2. [`Jitter::Decorrelated`] has its own growth.
    pub multiplier: f64,
    /// Longest wait, before jitter. Default 30 s.
    pub max_delay: Duration,
    /// How waits are spread at random. Default ±25 %.
    pub jitter: Jitter,
    /// Explicit waits, one per retry; the last one repeats. When not empty it replaces the exponential rule, and is
    /// followed to the letter: neither `max_delay` nor `jitter` applies. Default empty.
    pub delays: Vec<Duration>,
    /// Longest wait that a provider may ask for. Default 60 s.
    pub retry_after_max: Duration,
    /// What the time allowed to one attempt is multiplied with after an attempt that timed out. Default 1.
    pub timeout_factor: f64,
}

impl RetryPolicy {
    /// The wait before retry number `retry` (1 = the first retry; 0 counts as 1), with `unit` in `[0, 1)` for jitter.
    ///
    /// [`Jitter::Decorrelated`] goes by the wait before, which is taken to be `base_delay` here; [`Attempts`] remembers
    /// the real one and asks [`delay_after`](Self::delay_after).
    #[must_use]
    pub fn delay(&self, retry: u32, unit: f64) -> Duration {
        self.delay_after(retry, None, unit)
    }

    /// As [`delay`](Self::delay), after a wait of `previous` before the attempt that failed; `None` before the first
    /// retry.
    #[must_use]
    pub fn delay_after(&self, retry: u32, previous: Option<Duration>, unit: f64) -> Duration {
        let before = retry.max(1) - 1;
        if let Some(last) = self.delays.last() {
            let index = usize::try_from(before).unwrap_or(usize::MAX);
            return *self.delays.get(index).unwrap_or(last);
        }
        let plain = exponential(self.base_delay, self.multiplier, before, self.max_delay);
        self.jitter.spread(plain, self.base_delay, previous, self.max_delay, unit)
    }

    /// What follows after `attempts_made` attempts, the last of which failed in a way worth trying again.
    ///
    /// `asked` is the wait that the provider asked for (`Retry-After`, a quota's reset): it wins when it is longer than
    /// ours. `remaining` is the time left until the deadline, `None` if there is none. [`Attempts::after`] asks this
    /// and everything else that a retry depends on.
    #[must_use]
    pub fn next(
        &self,
        attempts_made: u32,
        asked: Option<Duration>,
        remaining: Option<Duration>,
        unit: f64,
    ) -> Next {
        self.next_after(self.delay(attempts_made, unit), attempts_made, asked, remaining)
    }

    /// [`next`](Self::next) with our own wait computed already.
    fn next_after(
        &self,
        delay: Duration,
        attempts_made: u32,
        asked: Option<Duration>,
        remaining: Option<Duration>,
    ) -> Next {
        if attempts_made >= self.max_attempts.get() {
            return Next::Stop(StopReason::AttemptsSpent);
        }
        if asked.is_some_and(|asked| asked > self.retry_after_max) {
            return Next::Stop(StopReason::AskedTooLong);
        }
        let wait = delay.max(asked.unwrap_or(Duration::ZERO));
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
            jitter: Jitter::default(),
            delays: Vec::new(),
            retry_after_max: Duration::from_secs(60),
            timeout_factor: 1.0,
        }
    }
}

#[cfg(test)]
mod tests;
