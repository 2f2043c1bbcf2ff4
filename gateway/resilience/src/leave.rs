//! Leave to send: what has to agree before an attempt is made, or an attempt that is under way is doubled.
//!
//! | asked         | for an attempt                                                 | for a hedge                |
//! |---------------|----------------------------------------------------------------|----------------------------|
//! | circuit       | does not open while the attempt waits; its permit still stands | is closed                  |
//! | rate limits   | a token of each, in order, after a wait if need be             | a token of each, at once   |
//! | bulkhead      | – (the call has its place)                                     | a place of its own, at once |
//! | retry budget  | – (asked when the retry was decided)                           | one                        |
//! | time          | after a wait: what is left is enough for a usual attempt       | –                          |
//!
//! All are looked at before anything is taken, so that a refusal by one wastes nothing of the others; only who loses a
//! race for the last token, between the look and the taking, has spent what came before it. An attempt that need not
//! wait is granted on the `now` that it came with: the clock is not read, and nothing is allocated.
//!
//! What counts these refusals or shows them is the caller's, and so is the retry rule.

use std::borrow::Borrow;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::breaker::{Breaker, Permit, Refused, State};
use crate::bulkhead::{Bulkhead, BulkheadPermit};
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::health::HealthStats;
use crate::rate_limit::{Demand, Limited, RateLimiter};
use crate::retry::RetryBudget;

/// How soon to come back to a circuit that is half-open: a probe seldom takes longer.
const PROBE: Duration = Duration::from_secs(1);

/// What an attempt or a hedge takes from rate limits, which either of them has to be given leave for.
///
/// ```
/// use std::time::{Duration, Instant};
/// use bascule_resilience::{Demand, HedgeRefused, Leave, LimitedBy, RateLimiter, RateLimiterConfig};
///
/// let now = Instant::now();
/// let [ours, theirs] = [(); 2].map(|()| RateLimiter::new(RateLimiterConfig::default(), now));
/// theirs.hold_until(now + Duration::from_secs(5), now);
///
/// let limits = [&ours, &theirs].map(|limiter| (&**limiter, Duration::ZERO));
/// let leave = Leave { limits: limits.into_iter(), demand: Demand::default() };
/// let Err(HedgeRefused::Limited { index, limited }) = leave.for_hedge(now, None, None, None) else { panic!() };
/// assert_eq!((index, limited.by), (1, LimitedBy::Hold));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Leave<L> {
    /// The limits, in the order in which they are asked, each with the longest wait for a token of it. The narrowest
    /// comes first: an attempt may lose its wait for a later one, and what the earlier ones gave is spent.
    pub limits: L,
    /// What is taken from each.
    pub demand: Demand,
}

/// Why an attempt must not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttemptRefused {
    /// The circuit has opened while it waited; or is half-open by now, and its probes are others'.
    #[error(transparent)]
    CircuitOpen(#[from] Refused),
    /// There is no token within the wait that is allowed.
    #[error("rate limit {index} gives no token")]
    Limited {
        /// Which of the limits refused, counted from 0.
        index: usize,
        /// Its word.
        #[source]
        limited: Limited,
    },
    /// It waited so long that an attempt as they usually are could not end before the deadline.
    #[error("too little time is left for an attempt")]
    TooLate,
}

/// Why an attempt must not be doubled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HedgeRefused {
    /// The circuit does not fully trust the dependency.
    #[error("circuit breaker is {0}")]
    CircuitNotClosed(State),
    /// There is no token at once.
    #[error("rate limit {index} gives no token")]
    Limited {
        /// Which of the limits refused, counted from 0.
        index: usize,
        /// Its word.
        #[source]
        limited: Limited,
    },
    /// There is no place at once.
    #[error("too many calls at a time")]
    NoPlace,
    /// Retries and hedges have used up their share.
    #[error("the retry budget is spent")]
    BudgetSpent,
}

impl<'a, L> Leave<L>
where
    L: Iterator<Item = (&'a RateLimiter, Duration)> + Clone,
{
    /// Leave for one attempt of a call that holds `permit` (none: no circuit watches it) and must end by `deadline`.
    /// `times` are those of successful attempts. Waits for tokens; a circuit that opens meanwhile ends the wait.
    ///
    /// Cancel-safe: a dropped wait has left its line; tokens of the limits before that one are spent.
    ///
    /// # Errors
    /// [`AttemptRefused::Limited`] at once when a wait cannot fit, later when it has become longer;
    /// [`AttemptRefused::CircuitOpen`] and [`AttemptRefused::TooLate`] only after a wait.
    pub async fn for_attempt<H: Borrow<Breaker>>(
        &self,
        clock: &dyn Clock,
        now: Instant,
        permit: Option<&Permit<H>>,
        deadline: Deadline,
        times: &HealthStats,
    ) -> Result<(), AttemptRefused> {
        let Some(first) = self.at_once(now, deadline)? else { return Ok(()) };
        while_stands(permit, clock, self.wait(first, clock, deadline)).await??;
        let now = clock.now();
        permit.map_or(Ok(()), |permit| still_stands(permit, now))?;
        // An attempt that cannot end in time, because the wait has eaten it, would only be held against the dependency.
        let typical = times.quantile(0.5, now).unwrap_or_default();
        if deadline.remaining(now).is_some_and(|left| left < typical) {
            return Err(AttemptRefused::TooLate);
        }
        Ok(())
    }

    /// Leave for one hedge, with the place that it was given where there is a bulkhead. What is absent agrees.
    ///
    /// # Errors
    /// [`HedgeRefused`], by the first in the order of its variants that has something against it.
    pub fn for_hedge(
        &self,
        now: Instant,
        breaker: Option<&Breaker>,
        bulkhead: Option<&Arc<Bulkhead>>,
        budget: Option<&RetryBudget>,
    ) -> Result<Option<BulkheadPermit>, HedgeRefused> {
        if let Some(state) = breaker.map(|breaker| breaker.state(now)).filter(|state| *state != State::Closed)
        {
            return Err(HedgeRefused::CircuitNotClosed(state));
        }
        let limits = || self.limits.clone().map(|(limiter, _)| limiter).enumerate();
        let refused = |index| move |limited| HedgeRefused::Limited { index, limited };
        for (index, limiter) in limits() {
            limiter.check(now, self.demand).map_err(refused(index))?;
        }
        let place =
            bulkhead.map(|bulkhead| bulkhead.try_acquire().ok_or(HedgeRefused::NoPlace)).transpose()?;
        if budget.is_some_and(|budget| !budget.try_retry(now)) {
            return Err(HedgeRefused::BudgetSpent);
        }
        for (index, limiter) in limits() {
            limiter.try_acquire(now, self.demand).map_err(refused(index))?;
        }
        Ok(place)
    }

    /// Takes from every limit if none of them means a wait; otherwise says from which one on there is nothing taken.
    fn at_once(&self, now: Instant, deadline: Deadline) -> Result<Option<usize>, AttemptRefused> {
        let limits = || self.limits.clone().enumerate();
        let means_wait = |index, max_wait: Duration, said: Result<(), Limited>| match said {
            Ok(()) => Ok(false),
            Err(limited) => {
                let most = deadline.remaining(now).map_or(max_wait, |left| left.min(max_wait));
                let fits = limited.retry_after <= most;
                if fits { Ok(true) } else { Err(AttemptRefused::Limited { index, limited }) }
            }
        };
        let mut wait = false;
        // The first one is looked at by taking from it.
        for (index, (limiter, max_wait)) in limits().skip(1) {
            wait |= means_wait(index, max_wait, limiter.check(now, self.demand))?;
        }
        if wait {
            return Ok(Some(0));
        }
        for (index, (limiter, max_wait)) in limits() {
            if means_wait(index, max_wait, limiter.try_acquire(now, self.demand))? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Takes from every limit from the `first` on, waiting where it has to.
    async fn wait(&self, first: usize, clock: &dyn Clock, deadline: Deadline) -> Result<(), AttemptRefused> {
        for (index, (limiter, max_wait)) in self.limits.clone().enumerate().skip(first) {
            let taken = limiter.acquire(clock, self.demand, max_wait, deadline.instant()).await;
            taken.map_err(|limited| AttemptRefused::Limited { index, limited })?;
        }
        Ok(())
    }
}

/// Whether the circuit still lets a call go on that has waited.
///
/// # Errors
/// [`Refused`] when it has opened meanwhile; or is half-open by now, and its probes are others'.
pub fn still_stands<H: Borrow<Breaker>>(permit: &Permit<H>, now: Instant) -> Result<(), Refused> {
    let Some(breaker) = permit.breaker().filter(|_| !permit.stands(now)) else { return Ok(()) };
    breaker.check(now)?;
    // It is half-open by now: its probes are others'.
    let retry_after = breaker.config().reset_after.min(PROBE);
    Err(Refused { retry_after, state: State::HalfOpen })
}

/// Waits for something, for as long as the permit is good for an attempt: a circuit that opens meanwhile ends the wait.
/// Without a permit no circuit watches it.
///
/// Cancel-safe if `waiting` is; ended by the circuit, it is dropped.
///
/// # Errors
/// When the circuit has opened, as in [`still_stands`].
pub async fn while_stands<H: Borrow<Breaker>, T>(
    permit: Option<&Permit<H>>,
    clock: &dyn Clock,
    waiting: impl Future<Output = T>,
) -> Result<T, Refused> {
    let Some((permit, breaker)) = permit.and_then(|permit| Some((permit, permit.breaker()?))) else {
        return Ok(waiting.await);
    };
    let mut waiting = pin!(waiting);
    loop {
        tokio::select! {
            biased;
            done = &mut waiting => return Ok(done),
            // It may have closed again by the time that this is heard; then the wait goes on.
            () = breaker.opened() => still_stands(permit, clock.now())?,
        }
    }
}

#[cfg(test)]
mod tests;
