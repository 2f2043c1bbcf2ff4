//! How many calls a provider is sent: by our own budget, and by what the provider says.
//!
//! Three things can hold a call back; the strictest decides.
//!
//! | by     | is                                                                              | ends                    |
//! |--------|---------------------------------------------------------------------------------|-------------------------|
//! | budget | windows of our own, each `requests` per `window` in bursts of up to `burst` (GCRA) | one token after another |
//! | hold   | the provider answered 429: all calls wait                                        | at the time it named    |
//! | quota  | what the provider says is left, counted down by our own calls, per named policy   | at its reset            |
//!
//! A call has a cost, taken from all windows and quotas or from none, and a priority: a share of every budget can be
//! kept for the high ones. Whoever may wait, waits by priority and then in the order of arrival, and is refused at once
//! when the wait cannot fit. Nothing is taken until the call may go.
//!
//! All that is decided is decided in one ledger behind one lock; while tokens are plentiful, threads take from leases
//! of their own instead (`lease.rs`). Parsing of headers happens elsewhere, and so does the choice of what bounds them.

mod budget;
mod forecast;
mod hold;
mod learnt;
mod lease;
mod ledger;
mod line;
mod waiting;

use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use self::forecast::{Forecast, ForecastOf, LedgerEntry};
pub use self::learnt::QuotaReport;

use self::budget::{Budget, tokens};
use self::lease::Lanes;
use self::ledger::{Ledger, Terms, Want};
use self::line::Ticket;
use self::waiting::{Waiting, wake};
use crate::clock::Clock;
use crate::outcome::Outcome;
use crate::priority::Priority;
use crate::span::{clamped, later};
use crate::sync::{AtomicBool, Mutex};

/// How long a spent quota may hold all calls where nothing says otherwise: an hour is the longest window that is usual.
pub const QUOTA_RESET_MAX: Duration = Duration::from_secs(3600);

/// The budget that we set ourselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RateLimiterConfig {
    /// What is allowed; all have to agree, as in 10 a second and 5000 an hour. None: no budget of our own, and only
    /// what the provider says counts. Up to four are decided without a common lock while tokens are plentiful.
    pub windows: Vec<RateWindow>,
    /// The share of every window's burst, and of every quota learnt, that only calls of high priority may use: 0 to 1,
    /// default 0. Rounded down to whole tokens. At 1 no other call ever goes.
    pub reserve: f64,
}

impl RateLimiterConfig {
    /// Whether a call of this cost and priority would ever be let through: whether it fits into every full bucket.
    #[must_use]
    pub fn can_ever(&self, cost: NonZeroU32, priority: Priority) -> bool {
        self.windows.iter().all(|window| Budget::new(window, self.reserve).can_ever(tokens(cost), priority))
    }
}

/// So many calls in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateWindow {
    /// Calls per `window`.
    pub requests: NonZeroU32,
    /// The span that `requests` refers to. Less than a millisecond counts as one.
    pub window: Duration,
    /// Calls that may be made at once after a pause. As many as `requests` is usual.
    pub burst: NonZeroU32,
}

impl RateWindow {
    /// How many tokens of its burst a reserve of that share keeps: rounded down.
    #[must_use]
    pub fn reserved(&self, reserve: f64) -> u32 {
        u32::try_from(budget::share(reserve, self.burst.get().into())).unwrap_or(self.burst.get())
    }
}

/// What a call asks for. One token, at normal priority, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Demand {
    /// Tokens, taken from every window and counted against every quota.
    pub cost: NonZeroU32,
    /// Its place in line, and whether it may use the reserve.
    pub priority: Priority,
}

/// Limits the calls to one provider.
pub struct RateLimiter {
    config: RateLimiterConfig,
    terms: Terms,
    ledger: Mutex<Ledger>,
    /// Whether a throttling without a named end is being remembered: keeps successes off the lock.
    doubling: AtomicBool,
}

/// A call that may not go yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rate limited by {by}")]
pub struct Limited {
    /// How long until it is worth asking again, as things stand; [`Duration::MAX`] when it never is.
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
    /// It costs more than a full window holds for its priority: waiting does not help.
    Never,
}

/// How an attempt to get tokens, or a place in line for them, ended.
enum Entry {
    Over(Result<(), Limited>),
    Joined(Ticket),
}

impl RateLimiter {
    /// A limiter with full buckets at `now`.
    #[must_use]
    pub fn new(config: RateLimiterConfig, now: Instant) -> Arc<Self> {
        let reserve = clamped(config.reserve, 0.0);
        let budgets: Vec<_> = config.windows.iter().map(|window| Budget::new(window, reserve)).collect();
        let ledger = Mutex::new(Ledger::new(budgets.len(), now));
        let terms = Terms { origin: now, budgets, reserve, lanes: Lanes::new() };
        Arc::new(Self { config, terms, ledger, doubling: AtomicBool::new(false) })
    }

    /// The budget it was made with.
    #[must_use]
    pub const fn config(&self) -> &RateLimiterConfig {
        &self.config
    }

    /// Says whether a call could go at `now`, without taking anything.
    ///
    /// # Errors
    /// [`Limited`] when it could not. Calls of the same or a higher priority that wait already come first.
    pub fn check(&self, now: Instant, demand: Demand) -> Result<(), Limited> {
        if self.terms.lanes.covers(Lanes::mine(), self.terms.nanos(now), tokens(demand.cost)) {
            return Ok(());
        }
        self.decide(now, demand, false)
    }

    /// Takes what the call costs if that is possible at `now` and leaves enough for those who wait already.
    ///
    /// # Errors
    /// [`Limited`] when it is not; then nothing was taken.
    pub fn try_acquire(&self, now: Instant, demand: Demand) -> Result<(), Limited> {
        if self.take_leased(now, demand) {
            return Ok(());
        }
        self.decide(now, demand, true)
    }

    /// Takes what the call costs, waiting for it in line, at most `max_wait` and never beyond `deadline`.
    ///
    /// High priority goes before normal before low, and the first come goes first within each. Cancel-safe: who is
    /// dropped leaves the line and has taken nothing. Only `clock` wakes it, so that any runtime and any clock will do.
    ///
    /// # Errors
    /// [`Limited`] at once when the wait cannot fit, or 1024 calls wait already, or the call could never go; later when
    /// something made the wait longer meanwhile (a hold, a quota used up by others, calls of higher priority).
    pub async fn acquire(
        &self,
        clock: &dyn Clock,
        demand: Demand,
        max_wait: Duration,
        deadline: Option<Instant>,
    ) -> Result<(), Limited> {
        let now = clock.now();
        if self.take_leased(now, demand) {
            return Ok(());
        }
        let until = later(now, max_wait);
        let until = deadline.map_or(until, |deadline| deadline.min(until));
        let ticket = match self.enter(now, demand, until) {
            Entry::Over(result) => return result,
            Entry::Joined(ticket) => ticket,
        };
        let mut waiting = Waiting::new(self, clock, demand, until, ticket);
        poll_fn(|ctx| waiting.poll(ctx)).await
    }

    /// The provider said to wait: no call goes before `until`. Of several holds the longest wins. Waiting calls whose
    /// patience ends before are turned away.
    pub fn hold_until(&self, until: Instant, now: Instant) {
        let mut ledger = self.ledger.lock();
        let now = ledger.advance(now);
        ledger.call_back_all(&self.terms);
        ledger.holds.hold_until(until, now);
        let impatient = ledger.line.impatient(until);
        drop(ledger);
        wake(impatient);
    }

    /// The provider throttled a call without saying for how long: holds all calls for 1 s, twice as long each time it
    /// happens again, at most 60 s, until a call succeeds. Answers to calls that were under way already when the hold
    /// began do not lengthen it. Returns when the hold ends.
    pub fn throttled(&self, now: Instant) -> Instant {
        let mut ledger = self.ledger.lock();
        self.doubling.store(true, Ordering::Relaxed);
        let now = ledger.advance(now);
        ledger.call_back_all(&self.terms);
        let until = ledger.holds.throttled(now);
        let impatient = ledger.line.impatient(until);
        drop(ledger);
        wake(impatient);
        until
    }

    /// A call succeeded: the next throttling starts at 1 s again. A hold that is under way goes on.
    pub fn succeeded(&self) {
        if self.doubling.load(Ordering::Relaxed) {
            let mut ledger = self.ledger.lock();
            self.doubling.store(false, Ordering::Relaxed);
            ledger.holds.succeeded();
        }
    }

    /// Heeds what an attempt came to. A throttling holds all calls until the time that it named, at most `longest` from
    /// now, or as [`throttled`](Self::throttled) does where it named none; a success or a rejection is a
    /// [success](Self::succeeded). Returns the end of the hold that was asked for, if one was.
    ///
    /// `longest` bounds what a provider's mistake can do: the retry rule's `retry_after_max`, and [`QUOTA_RESET_MAX`] or
    /// the like for a quota that is known to be spent.
    pub fn heed(&self, outcome: Outcome, longest: Duration, now: Instant) -> Option<Instant> {
        match outcome {
            Outcome::Success | Outcome::Rejected => {
                self.succeeded();
                None
            }
            Outcome::Throttled { retry_after: Some(asked) } => {
                let until = later(now, asked.min(longest));
                self.hold_until(until, now);
                Some(until)
            }
            Outcome::Throttled { retry_after: None } => Some(self.throttled(now)),
            Outcome::Transient { .. }
            | Outcome::AuthExpired
            | Outcome::ContractBroken
            | Outcome::Cancelled => None,
        }
    }

    /// The provider said what is left of a quota. Narrows what we allow, and never widens it within one window of the
    /// provider's; counts down with our own calls; is remembered for the windows after it (see `learnt.rs`). At 0
    /// nothing goes until the reset. A reset that has passed says nothing.
    ///
    /// Up to 8 quotas are known by name; beyond that the one that was not heard of for longest is forgotten. A quota is
    /// forgotten, too, after two windows in which calls went and no answer named it.
    pub fn observe_quota(&self, report: &QuotaReport<'_>, now: Instant) {
        let mut ledger = self.ledger.lock();
        let now = ledger.advance(now);
        ledger.observe(&self.terms, report, now);
        let head = ledger.line.head_waker();
        drop(ledger);
        wake(head);
    }

    /// What could go at once, the reserve included: the lowest of our windows and the provider's quotas, 0 during a
    /// hold, `None` when none is known.
    pub fn remaining(&self, now: Instant) -> Option<u64> {
        let mut ledger = self.ledger.lock();
        let now = ledger.advance(now);
        ledger.remaining(&self.terms, now)
    }

    /// Calls that wait in line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ledger.lock().line.len()
    }

    /// The budget that runs out first, if calls go on as in the last half minute; if none does, the one of which least
    /// is left; `None` when there is no budget at all.
    pub fn forecast(&self, now: Instant) -> Option<Forecast> {
        let mut ledger = self.ledger.lock();
        let now = ledger.advance(now);
        ledger.forecast(&self.terms, now)
    }

    /// Every window of our own and every quota learnt, as they stand.
    pub fn ledger(&self, now: Instant) -> Vec<LedgerEntry> {
        let mut ledger = self.ledger.lock();
        let now = ledger.advance(now);
        ledger.entries(&self.terms, now)
    }

    fn take_leased(&self, now: Instant, demand: Demand) -> bool {
        let terms = &self.terms;
        terms.lanes.take(Lanes::mine(), terms.nanos(now), tokens(demand.cost), &terms.budgets)
    }

    fn decide(&self, now: Instant, demand: Demand, take: bool) -> Result<(), Limited> {
        let mut ledger = self.ledger.lock();
        let now = ledger.advance(now);
        let want = Want { ahead: ledger.line.ahead_of_newcomer(demand.priority), ..demand.want() };
        ledger.decide(&self.terms, now, want, take)
    }

    /// Takes at once, or joins the line if the wait can fit.
    fn enter(&self, now: Instant, demand: Demand, until: Instant) -> Entry {
        let mut ledger = self.ledger.lock();
        let now = ledger.advance(now);
        let want = Want { ahead: ledger.line.ahead_of_newcomer(demand.priority), ..demand.want() };
        let Err(limited) = ledger.decide(&self.terms, now, want, true) else { return Entry::Over(Ok(())) };
        if limited.by == LimitedBy::Never || later(now, limited.retry_after) > until {
            return Entry::Over(Err(limited));
        }
        let joined = ledger.line.join(demand.priority, want.cost, until);
        joined.map_or(Entry::Over(Err(limited)), Entry::Joined)
    }
}

impl Demand {
    /// As much, at another priority.
    #[must_use]
    pub const fn at(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    fn want(self) -> Want {
        Want { cost: tokens(self.cost), priority: self.priority, ahead: 0 }
    }
}

impl Default for Demand {
    fn default() -> Self {
        Self { cost: NonZeroU32::MIN, priority: Priority::Normal }
    }
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Budget => "our own budget",
            Self::Hold => "a hold that the provider asked for",
            Self::Quota => "the provider's quota",
            Self::Never => "a budget that is smaller than the call",
        })
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
