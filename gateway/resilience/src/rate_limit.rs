//! How many calls a provider is sent: by our own budget, and by what the provider says.
//!
//! Three things can hold a call back; the strictest decides.
//!
//! | by     | is                                                                             | ends                   |
//! |--------|--------------------------------------------------------------------------------|------------------------|
//! | budget | `requests` per `window`, in bursts of up to `burst` (GCRA, by the governor crate) | one token after another |
//! | hold   | the provider answered 429: all calls wait                                       | at the time it named   |
//! | quota  | the provider's remaining/reset headers, counted down by our own calls           | at its reset           |
//!
//! Whoever may wait, waits in the order of arrival, and is refused at once when the wait cannot fit. Nothing is taken
//! until the call may go. Parsing of headers and clamping of what they ask for happen elsewhere.

mod budget;
mod provider;
mod queue;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::budget::Budget;
use self::provider::Provider;
use self::queue::Queue;
use crate::clock::Clock;
use crate::span::later;

/// The shortest wait that a refused caller is told, where the computed one is zero because others are ahead.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(1);

/// The budget that we set ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimiterConfig {
    /// Calls per `window`.
    pub requests: NonZeroU32,
    /// The span that `requests` refers to. Less than a millisecond counts as one.
    pub window: Duration,
    /// Calls that may be made at once after a pause. As many as `requests` is usual.
    pub burst: NonZeroU32,
}

/// Limits the calls to one provider.
pub struct RateLimiter {
    config: Option<RateLimiterConfig>,
    state: Mutex<State>,
    queue: Queue,
    /// Whether a throttling without a named end is being remembered: keeps successes off the lock.
    doubling: AtomicBool,
}

/// A call that may not go yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rate limited by {by}")]
pub struct Limited {
    /// How long until it is worth asking again, as things stand.
    pub retry_after: Duration,
    /// What holds it back longest.
    pub by: LimitedBy,
}

/// What holds a call back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitedBy {
    /// Our own budget.
    Budget,
    /// The provider throttled a call.
    Hold,
    /// The provider's quota is used up.
    Quota,
}

struct State {
    budget: Option<Budget>,
    provider: Provider,
}

impl RateLimiter {
    /// A limiter with a full budget at `now`; `None` has no budget of its own and knows only what the provider says.
    #[must_use]
    pub fn new(config: Option<RateLimiterConfig>, now: Instant) -> Arc<Self> {
        let budget = config.as_ref().map(|config| Budget::new(config, now));
        Arc::new(Self {
            config,
            state: Mutex::new(State { budget, provider: Provider::default() }),
            queue: Queue::new(),
            doubling: AtomicBool::new(false),
        })
    }

    /// The budget it was made with.
    #[must_use]
    pub const fn config(&self) -> Option<&RateLimiterConfig> {
        self.config.as_ref()
    }

    /// Says whether a call could go at `now`, without taking anything.
    ///
    /// # Errors
    /// [`Limited`] when it could not. Calls that wait already come first.
    pub fn check(&self, now: Instant) -> Result<(), Limited> {
        let ahead = self.queue.waiting();
        self.state.lock().wait(now, ahead).map_or(Ok(()), Err)
    }

    /// Takes one token if that is possible at `now` and leaves enough for those who wait already.
    ///
    /// # Errors
    /// [`Limited`] when there is none; then nothing was taken.
    pub fn try_acquire(&self, now: Instant) -> Result<(), Limited> {
        let ahead = self.queue.waiting();
        self.state.lock().take(now, ahead)
    }

    /// Takes one token, waiting for it in the order of arrival, at most `max_wait` and never beyond `deadline`.
    ///
    /// Cancel-safe: who leaves the queue has taken nothing. The clock has to agree with tokio's time.
    ///
    /// # Errors
    /// [`Limited`] at once when the wait cannot fit, or 1024 calls wait already; later when something made it longer
    /// meanwhile (a hold, a quota used up by others).
    pub async fn acquire(
        &self,
        clock: &dyn Clock,
        max_wait: Duration,
        deadline: Option<Instant>,
    ) -> Result<(), Limited> {
        let now = clock.now();
        let Err(limited) = self.try_acquire(now) else { return Ok(()) };
        let until = later(now, max_wait);
        let until = deadline.map_or(until, |deadline| deadline.min(until));
        if later(now, limited.retry_after) > until {
            return Err(limited);
        }
        let Some(_place) = self.queue.join() else { return Err(limited) };
        let patience = until.saturating_duration_since(now);
        let Ok(_turn) = tokio::time::timeout(patience, self.queue.turn()).await else {
            let now = clock.now();
            let others = self.queue.waiting().saturating_sub(1);
            return Err(self.state.lock().wait(now, others).unwrap_or(limited));
        };
        loop {
            let now = clock.now();
            let taken = self.state.lock().take(now, 0);
            let Err(limited) = taken else { return Ok(()) };
            if later(now, limited.retry_after) > until {
                return Err(limited);
            }
            tokio::time::sleep(limited.retry_after).await;
        }
    }

    /// The provider said to wait: no call goes before `until`. Of several holds the longest wins.
    pub fn hold_until(&self, until: Instant, now: Instant) {
        self.state.lock().provider.hold_until(until, now);
    }

    /// The provider throttled a call without saying for how long: holds all calls for 1 s, twice as long each time it
    /// happens again, at most 60 s, until a call succeeds. Answers to calls that were under way already when the hold
    /// began do not lengthen it. Returns when the hold ends.
    pub fn throttled(&self, now: Instant) -> Instant {
        let mut state = self.state.lock();
        self.doubling.store(true, Ordering::Relaxed);
        state.provider.throttled(now)
    }

    /// A call succeeded: the next throttling starts at 1 s again. A hold that is under way goes on.
    pub fn succeeded(&self) {
        if self.doubling.load(Ordering::Relaxed) {
            let mut state = self.state.lock();
            self.doubling.store(false, Ordering::Relaxed);
            state.provider.succeeded();
        }
    }

    /// The provider said that `remaining` calls are left until `reset`. Narrows what we allow; never widens it within
    /// one window of the provider's. At 0 nothing goes until `reset`. A `reset` that has passed says nothing.
    pub fn observe_quota(&self, remaining: u64, reset: Instant, now: Instant) {
        self.state.lock().provider.observe_quota(remaining, reset, now);
    }

    /// Calls that could go at once: the lower of our budget and the provider's quota, 0 during a hold, `None` when
    /// neither is known.
    pub fn remaining(&self, now: Instant) -> Option<u64> {
        let state = self.state.lock();
        let own = state.budget.as_ref().map(|budget| budget.remaining(now));
        let said = state.provider.remaining(now);
        own.into_iter().chain(said).min()
    }

    /// Calls that wait for a token.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }
}

impl State {
    /// What holds back a call with `ahead` calls before it; `None` when it may go.
    fn wait(&self, now: Instant, ahead: usize) -> Option<Limited> {
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        let own = self.budget.as_ref().map(|budget| (budget.wait(now, ahead), LimitedBy::Budget));
        let longest = own
            .into_iter()
            .chain(self.provider.waits(now, ahead))
            .max_by_key(|(wait, _)| *wait)
            .filter(|(wait, _)| !wait.is_zero())?;
        Some(Limited { retry_after: longest.0.max(RETRY_AFTER_MIN), by: longest.1 })
    }

    fn take(&mut self, now: Instant, ahead: usize) -> Result<(), Limited> {
        if let Some(limited) = self.wait(now, ahead) {
            return Err(limited);
        }
        if let Some(budget) = &self.budget {
            budget
                .take(now)
                .map_err(|wait| Limited { retry_after: wait.max(RETRY_AFTER_MIN), by: LimitedBy::Budget })?;
        }
        self.provider.count_down();
        Ok(())
    }
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Budget => "our own budget",
            Self::Hold => "a hold that the provider asked for",
            Self::Quota => "the provider's quota",
        })
    }
}

#[cfg(test)]
mod tests;
