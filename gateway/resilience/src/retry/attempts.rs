//! What one call remembers from attempt to attempt, and the decision whether there is another.
//!
//! The rules, in the order in which they are asked; the first that says no ends the call with its last outcome:
//!
//! | outcome                          | another attempt                                                        |
//! |----------------------------------|------------------------------------------------------------------------|
//! | success, rejected, cancelled     | no                                                                     |
//! | auth-expired                     | once, at once, whatever the other rules say: the request never got in   |
//! | throttled                        | if safe and listed, after what was asked, else after the limiter's hold |
//! | transient                        | if safe and listed, or if nothing was sent                              |
//! | contract-broken                  | if safe                                                                |
//!
//! Then: attempts left? is the asked wait acceptable? does the wait leave time, and more than a successful attempt
//! usually takes? The budget comes last, because asking it takes from it. What "safe" and "listed" mean is the caller's
//! knowledge; nothing here waits.

use std::fmt;
use std::time::{Duration, Instant};

use super::{RetryBudget, RetryPolicy};
use crate::outcome::Outcome;

/// One call's attempts so far. Made anew for each call.
///
/// ```
/// use std::time::{Duration, Instant};
/// use bascule_resilience::{Around, Attempted, Attempts, Next, Outcome, RetryPolicy, StopReason};
///
/// let policy = RetryPolicy::default();
/// let around = Around { now: Instant::now(), remaining: None, typical: None, budget: None, unit: 0.5 };
/// let failed = Attempted { safe: true, listed: true, ..Attempted::of(Outcome::TRANSIENT) };
///
/// let mut attempts = Attempts::new();
/// assert_eq!(attempts.begin(), 1);
/// assert_eq!(attempts.after(&policy, &failed, &around), Next::Wait(Duration::from_millis(100)));
/// assert_eq!(attempts.begin(), 2);
/// assert_eq!(attempts.after(&policy, &failed, &around), Next::Wait(Duration::from_millis(200)));
/// assert_eq!(attempts.begin(), 3);
/// assert_eq!(attempts.after(&policy, &failed, &around), Next::Stop(StopReason::AttemptsSpent));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    made: u32,
    timed_out: u32,
    renewed: bool,
    /// Our own wait before the last attempt, for decorrelated jitter.
    waited: Option<Duration>,
}

/// What is known of an attempt that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// What it came to.
    pub outcome: Outcome,
    /// Whether sending it twice does no harm.
    pub safe: bool,
    /// Whether the provider may have seen it.
    pub sent: bool,
    /// Whether the caller's rule retries this failure. Read for throttled and transient outcomes.
    pub listed: bool,
    /// Whether it ended because its own time was over.
    pub timed_out: bool,
    /// How long the rate limiter holds all calls because of it; read where the outcome names no time of its own.
    pub held_for: Option<Duration>,
}

/// What the decision depends on besides the attempt.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The present point in time.
    pub now: Instant,
    /// Time left until the call's deadline; `None` if it has none.
    pub remaining: Option<Duration>,
    /// How long a successful attempt usually takes; `None` if that is not known.
    pub typical: Option<Duration>,
    /// What bounds the retries of all calls; `None`: nothing does.
    pub budget: Option<&'a RetryBudget>,
    /// Chance for jitter, in `[0, 1)`.
    pub unit: f64,
}

/// What to do after an attempt.
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
    /// What is left after the wait is nothing, or less than an attempt usually takes.
    DeadlineTooClose,
    /// The outcome is a success, is permanent, or the rule does not list it.
    NotRetryable,
    /// The provider may have seen the request, and sending it twice could do harm.
    Unsafe,
    /// The retry budget is spent.
    BudgetSpent,
}

impl Attempts {
    /// No attempt made yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts an attempt that begins; returns its number, 1 for the first.
    pub fn begin(&mut self) -> u32 {
        self.made = self.made.saturating_add(1);
        self.made
    }

    /// Attempts that have begun.
    #[must_use]
    pub const fn made(&self) -> u32 {
        self.made
    }

    /// Attempts that ended because their time was over.
    #[must_use]
    pub const fn timed_out(&self) -> u32 {
        self.timed_out
    }

    /// The time allowed to the attempt that begins now, if `limit` is what the first one is allowed: the policy's
    /// `timeout_factor` applies once per attempt that timed out. `None` without a limit.
    #[must_use]
    pub fn attempt_timeout(&self, policy: &RetryPolicy, limit: Option<Duration>) -> Option<Duration> {
        limit.map(|limit| policy.attempt_timeout(limit, self.timed_out))
    }

    /// Decides whether another attempt follows the one that has ended. Takes from the budget if it does.
    pub fn after(&mut self, policy: &RetryPolicy, attempted: &Attempted, around: &Around<'_>) -> Next {
        self.timed_out = self.timed_out.saturating_add(u32::from(attempted.timed_out));
        if attempted.outcome == Outcome::AuthExpired && !std::mem::replace(&mut self.renewed, true) {
            return Next::Wait(Duration::ZERO);
        }
        let asked = match attempted.asked() {
            Ok(asked) => asked,
            Err(reason) => return Next::Stop(reason),
        };
        let delay = policy.delay_after(self.made, self.waited, around.unit);
        let wait = match policy.next_after(delay, self.made, asked, around.remaining) {
            Next::Wait(wait) => wait,
            stop @ Next::Stop(_) => return stop,
        };
        // An attempt that cannot finish in time only costs the provider.
        let needed = wait.saturating_add(around.typical.unwrap_or(Duration::ZERO));
        if around.remaining.is_some_and(|remaining| remaining < needed) {
            return Next::Stop(StopReason::DeadlineTooClose);
        }
        if around.budget.is_some_and(|budget| !budget.try_retry(around.now)) {
            return Next::Stop(StopReason::BudgetSpent);
        }
        self.waited = Some(delay);
        Next::Wait(wait)
    }
}

impl Attempted {
    /// An attempt with this outcome that may have been sent, is not safe to repeat and is not listed: what is not
    /// known must not be assumed.
    #[must_use]
    pub const fn of(outcome: Outcome) -> Self {
        Self { outcome, safe: false, sent: true, listed: false, timed_out: false, held_for: None }
    }

    /// The wait that the provider asked for, if the outcome is one to retry at all.
    fn asked(&self) -> Result<Option<Duration>, StopReason> {
        let repeatable = || if self.safe { Ok(()) } else { Err(StopReason::Unsafe) };
        let listed = || if self.listed { Ok(()) } else { Err(StopReason::NotRetryable) };
        match self.outcome {
            Outcome::Success | Outcome::Rejected | Outcome::Cancelled | Outcome::AuthExpired => {
                Err(StopReason::NotRetryable)
            }
            Outcome::Throttled { retry_after } => {
                repeatable().and_then(|()| listed()).map(|()| retry_after.or(self.held_for))
            }
            Outcome::Transient { retry_after } if self.safe && self.listed => Ok(retry_after),
            // Nothing reached the provider, so nothing can happen twice.
            Outcome::Transient { .. } if !self.sent => Ok(None),
            Outcome::Transient { .. } => repeatable().and_then(|()| listed()).map(|()| None),
            Outcome::ContractBroken => repeatable().map(|()| None),
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AttemptsSpent => "all attempts are spent",
            Self::AskedTooLong => "the provider asked for too long a wait",
            Self::DeadlineTooClose => "the deadline is too close",
            Self::NotRetryable => "the outcome is not one to retry",
            Self::Unsafe => "sending the request twice could do harm",
            Self::BudgetSpent => "the retry budget is spent",
        })
    }
}

#[cfg(test)]
mod tests;
