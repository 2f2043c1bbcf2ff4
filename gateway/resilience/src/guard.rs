//! All mechanisms around the calls of one dependency, in one value.
//!
//! A [`Guard`] is put together once and shared; each call goes through whatever it was given, always in the same order:
//!
//! ```text
//! circuit ─► place (bulkhead) ─► permit ─► [ token (rate limit) ─► attempt, perhaps hedged ─► judge ]×n ─► outcome
//!    │            │                             │                        │
//!    └─ refused   └─ overloaded                 └─ limited               └─ timed out, failed      ─► fallback
//! ```
//!
//! What was not asked for is not there: a guard with nothing in it just makes the call. One outcome after all retries is
//! what the circuit counts. It knows nothing of the client it guards: an operation is any closure that makes a future of
//! a `Result`, for each attempt anew, and [`Outcome`] is what the caller makes of its results.
//!
//! It spawns nothing and cancels by dropping: losers of a hedge, timed-out attempts, and the whole call.

mod builder;
mod error;
mod run;
mod verdict;

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::builder::GuardBuilder;
pub use self::error::GuardError;
pub use self::verdict::Verdict;
use crate::breaker::Breaker;
use crate::bulkhead::Bulkhead;
use crate::clock::{Clock, Random};
use crate::deadline::Deadline;
use crate::health::HealthStats;
use crate::hedge::HedgeConfig;
use crate::leave::Leave;
use crate::outcome::Outcome;
use crate::priority::Priority;
use crate::rate_limit::{Demand, RateLimiter};
use crate::retry::{RetryBudget, RetryPolicy};

/// The mechanisms around one dependency. Clones share them.
///
/// ```
/// use std::time::Duration;
/// use bascule_resilience::{BreakerConfig, BulkheadConfig, Guard, RetryPolicy};
///
/// async fn quote() -> Result<u32, std::io::Error> {
///     Ok(42)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let prices = Guard::new("prices")
///     .circuit_breaker(BreakerConfig::default())
///     .retry(RetryPolicy::default())
///     .timeout(Duration::from_secs(2))
///     .bulkhead(BulkheadConfig::default())
///     .build();
///
/// let price: Result<u32, std::io::Error> = prices.call_or(|_attempt| quote(), |_error| async { Ok(40) }).await;
/// assert_eq!(price.unwrap(), 42);
/// # }
/// ```
#[derive(Clone)]
pub struct Guard {
    shared: Arc<Shared>,
}

/// One attempt, as the operation is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first; hedges have the number of the attempt that they double.
    pub number: u32,
    /// Whether it doubles an attempt that is still under way.
    pub hedge: bool,
    /// When it is given up: the nearer of its own time limit and the call's.
    pub deadline: Deadline,
}

/// A call that differs from the usual: more urgent, more expensive, bounded by a caller's deadline, or not to be repeated.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    guard: &'a Guard,
    priority: Priority,
    cost: NonZeroU32,
    deadline: Deadline,
    once: bool,
}

struct Shared {
    name: Arc<str>,
    breaker: Option<Arc<Breaker>>,
    bulkhead: Option<Arc<Bulkhead>>,
    /// With the longest wait for a token of each.
    limiters: Vec<(Arc<RateLimiter>, Duration)>,
    quota_reset_max: Duration,
    retry: RetryPolicy,
    budget: Option<Arc<RetryBudget>>,
    hedge: Option<HedgeConfig>,
    timeout: Option<Duration>,
    attempt_timeout: Option<Duration>,
    /// Calls, for status pages.
    health: Arc<HealthStats>,
    /// Successful attempts, for "is there time for another?" and for hedging.
    times: Arc<HealthStats>,
    /// Those that hedging goes by instead.
    hedge_times: Option<Arc<HealthStats>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Guard {
    /// Begins the description of a guard around the dependency of that name.
    #[expect(clippy::new_ret_no_self, reason = "the builder is the documented way in")]
    pub fn new(name: impl Into<String>) -> GuardBuilder {
        GuardBuilder::new(name.into())
    }

    /// Makes the call. Every `Err` counts as a transient failure: it is retried by the rule and counts for the circuit.
    ///
    /// Cancel-safe: dropping the future drops the attempt under way, and counts neither as success nor as failure.
    ///
    /// # Errors
    /// [`GuardError::Failed`] with the last attempt's error; the other variants when there was no result.
    pub async fn call<T, E, F, Fut>(&self, operation: F) -> Result<T, GuardError<E>>
    where
        F: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.request().call(operation).await
    }

    /// Like [`call`](Self::call), where `judge` says what each result is: an [`Outcome`], or a [`Verdict`]. The last result is returned as it is, also an
    /// `Ok` that was judged a failure (an HTTP answer with status 500, say).
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn call_judged<T, E, V, F, Fut>(
        &self,
        judge: impl Fn(&Result<T, E>) -> V,
        operation: F,
    ) -> Result<T, GuardError<E>>
    where
        V: Into<Verdict>,
        F: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.request().call_judged(judge, operation).await
    }

    /// Like [`call`](Self::call); when that ends without a result, `fallback` is told why and gives one instead.
    ///
    /// # Errors
    /// Whatever `fallback` returns.
    pub async fn call_or<T, E, E2, F, Fut, G, GFut>(&self, operation: F, fallback: G) -> Result<T, E2>
    where
        F: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        G: FnOnce(GuardError<E>) -> GFut,
        GFut: Future<Output = Result<T, E2>>,
    {
        self.request().call_or(operation, fallback).await
    }

    /// A call that differs from the usual.
    #[must_use]
    pub const fn request(&self) -> Request<'_> {
        Request {
            guard: self,
            priority: Priority::Normal,
            cost: NonZeroU32::MIN,
            deadline: Deadline::none(),
            once: false,
        }
    }

    /// The dependency's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The circuit, if it has one.
    #[must_use]
    pub fn breaker(&self) -> Option<&Arc<Breaker>> {
        self.shared.breaker.as_ref()
    }

    /// The limit of concurrent calls, if it has one.
    #[must_use]
    pub fn bulkhead(&self) -> Option<&Arc<Bulkhead>> {
        self.shared.bulkhead.as_ref()
    }

    /// The rate limits, for what the provider says about its quota.
    pub fn limiters(&self) -> impl Iterator<Item = &Arc<RateLimiter>> {
        self.shared.limiters.iter().map(|(limiter, _)| limiter)
    }

    /// How calls have fared over the last minute.
    #[must_use]
    pub fn health(&self) -> &Arc<HealthStats> {
        &self.shared.health
    }

    /// The clock it goes by.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }
}

impl Request<'_> {
    /// How much the call matters beside others. Default [`Priority::Normal`].
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Tokens that each attempt takes from the rate limits. Default 1.
    #[must_use]
    pub const fn cost(mut self, cost: NonZeroU32) -> Self {
        self.cost = cost;
        self
    }

    /// A deadline of the caller's, which bounds the guard's own timeout. When it passes, the dependency is not to blame.
    #[must_use]
    pub const fn deadline(mut self, deadline: Deadline) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sending it twice would do harm: no hedge, and no retry of what may have been sent ([`Verdict::sent`]).
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// As [`Guard::call`].
    ///
    /// # Errors
    /// As for [`Guard::call`].
    pub async fn call<T, E, F, Fut>(self, operation: F) -> Result<T, GuardError<E>>
    where
        F: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let judge =
            |result: &Result<T, E>| if result.is_ok() { Outcome::Success } else { Outcome::TRANSIENT };
        self.call_judged(judge, operation).await
    }

    /// As [`Guard::call_judged`].
    ///
    /// # Errors
    /// As for [`Guard::call`].
    pub async fn call_judged<T, E, V, F, Fut>(
        self,
        judge: impl Fn(&Result<T, E>) -> V,
        operation: F,
    ) -> Result<T, GuardError<E>>
    where
        V: Into<Verdict>,
        F: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        run::run(&self, |result| judge(result).into(), operation).await
    }

    /// As [`Guard::call_or`].
    ///
    /// # Errors
    /// Whatever `fallback` returns.
    pub async fn call_or<T, E, E2, F, Fut, G, GFut>(self, operation: F, fallback: G) -> Result<T, E2>
    where
        F: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        G: FnOnce(GuardError<E>) -> GFut,
        GFut: Future<Output = Result<T, E2>>,
    {
        match self.call(operation).await {
            Ok(value) => Ok(value),
            Err(error) => fallback(error).await,
        }
    }

    fn shared(&self) -> &Shared {
        &self.guard.shared
    }

    /// What each of its attempts and hedges has to ask for.
    fn leave(&self) -> Leave<impl Iterator<Item = (&RateLimiter, Duration)> + Clone> {
        let limits = self.shared().limiters.iter().map(|(limiter, max_wait)| (&**limiter, *max_wait));
        Leave { limits, demand: Demand { cost: self.cost, priority: self.priority } }
    }
}

impl Shared {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn unit(&self) -> f64 {
        self.random.unit()
    }
}

#[cfg(test)]
mod tests;
