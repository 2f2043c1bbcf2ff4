//! Hedging: when an answer is slow to come, ask once more and take whichever comes first.
//!
//! It cuts the tail of latencies where slowness is the luck of one call (a slow replica, a lost packet), at the price of
//! a few more calls; see "The Tail at Scale" (Dean and Barroso, Communications of the ACM, 2013), which waits for the
//! 95th percentile first. It is only for what may be sent twice without harm, and each extra attempt should be paid
//! for out of the retry budget, or an overload would be answered with more load:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use bascule_resilience::{BudgetConfig, Clock, RetryBudget, TokioClock, hedged};
//!
//! async fn ask(attempt: u32) -> Result<&'static str, std::io::Error> {
//!     if attempt == 0 {
//!         std::future::pending::<()>().await; // this one has no luck
//!     }
//!     Ok("answer")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let budget = RetryBudget::new(BudgetConfig::default());
//! budget.record_call(TokioClock.now());
//!
//! let granted = |attempt| budget.try_retry(TokioClock.now()).then(|| ask(attempt));
//! let ended = hedged(&TokioClock, Duration::from_millis(20), 1, ask(0), granted, Result::is_ok).await;
//!
//! assert_eq!(ended.value.unwrap(), "answer");
//! assert_eq!((ended.winner, ended.launched), (1, 2));
//! # }
//! ```
//!
//! Retrying is another matter: an attempt that fails before its hedge was due ends the race, and the retry rule decides
//! what follows.

use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Sleep};
use crate::health::HealthStats;
use crate::span::{later, scaled};

/// Successful attempts of the last minute that must be known before a percentile of them is believed.
const SAMPLES_MIN: u64 = 20;

/// Most extra attempts of one call, whatever the configuration says: more would be an attack and not a hedge.
const HEDGES_MAX: u32 = 16;

/// When a call is hedged, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct HedgeConfig {
    /// How long an attempt is waited for before another one begins beside it.
    pub after: HedgeAfter,
    /// Extra attempts at most, each a further delay later; more than 16 count as 16. Default 1.
    pub max: NonZeroU32,
}

/// How long an attempt is waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HedgeAfter {
    /// Always this long.
    Delay(Duration),
    /// As long as most successful attempts of the last minute took.
    Percentile {
        /// The share of them, 0 to 1. Default 0.95, so that about one call in twenty is hedged.
        q: f64,
        /// Never shorter than this, however quick the dependency is. Default 10 ms.
        at_least: Duration,
    },
}

/// How a hedged call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedged<T> {
    /// The first good result; if there is none, the last bad one.
    pub value: T,
    /// Which attempt it is from: 0 for the first, 1 for the first hedge.
    pub winner: u32,
    /// Attempts that were begun, the first included.
    pub launched: u32,
}

impl HedgeConfig {
    /// How long to wait before a hedge, if `times` holds the latencies of successful attempts.
    ///
    /// `None`: fewer than 20 of them in the last minute, too few to know a percentile. Cheap, see
    /// [`HealthStats::quantile`].
    #[must_use]
    pub fn delay(&self, times: &HealthStats, now: Instant) -> Option<Duration> {
        match self.after {
            HedgeAfter::Delay(delay) => Some(delay),
            HedgeAfter::Percentile { q, at_least } => {
                let (latency, samples) = times.quantile_of_calls(q, now);
                latency.filter(|_| samples >= SAMPLES_MIN).map(|latency| latency.max(at_least))
            }
        }
    }
}

impl Default for HedgeAfter {
    fn default() -> Self {
        Self::Percentile { q: 0.95, at_least: Duration::from_millis(10) }
    }
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self { after: HedgeAfter::default(), max: NonZeroU32::MIN }
    }
}

/// Runs `first`, and beside it up to `max` hedges, one each time a further `delay` has passed without a good result.
///
/// `hedge` makes the hedge of the given number, 1 for the first; `None` does not grant it and ends the hedging of this
/// call. The first result that is `good` wins and the others are dropped, which cancels them. A bad result is returned
/// at once when nothing else runs; otherwise the others are waited for, and the last bad one is returned when all
/// are bad.
///
/// Cancel-safe in the sense that dropping it drops, and so cancels, all attempts.
pub async fn hedged<T, Fut>(
    clock: &dyn Clock,
    delay: Duration,
    max: u32,
    first: Fut,
    hedge: impl FnMut(u32) -> Option<Fut>,
    good: impl Fn(&T) -> bool,
) -> Hedged<T>
where
    Fut: Future<Output = T>,
{
    let mut race = Race {
        clock,
        delay,
        begun: clock.now(),
        left: max.min(HEDGES_MAX),
        launched: 1,
        timer: None,
        running: vec![(0, Box::pin(first))],
    };
    let mut hedge = hedge;
    poll_fn(|cx| race.poll(cx, &mut hedge, &good)).await
}

/// The attempts under way.
struct Race<'a, Fut> {
    clock: &'a dyn Clock,
    delay: Duration,
    begun: Instant,
    /// Hedges that may still be launched.
    left: u32,
    launched: u32,
    /// Wakes when the next hedge is due.
    timer: Option<Sleep>,
    /// In the order of their launch, never empty while the race is on.
    running: Vec<(u32, Pin<Box<Fut>>)>,
}

impl<T, Fut: Future<Output = T>> Race<'_, Fut> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        hedge: &mut impl FnMut(u32) -> Option<Fut>,
        good: &impl Fn(&T) -> bool,
    ) -> Poll<Hedged<T>> {
        loop {
            if let Poll::Ready(ended) = self.poll_running(cx, good) {
                return Poll::Ready(ended);
            }
            if !self.is_due(cx) {
                return Poll::Pending;
            }
            match hedge(self.launched) {
                Some(attempt) => {
                    self.running.push((self.launched, Box::pin(attempt)));
                    self.launched += 1;
                    self.left -= 1;
                }
                None => self.left = 0,
            }
        }
    }

    /// Polls every attempt once; ready with a good result, or with a bad one when nothing else runs.
    fn poll_running(&mut self, cx: &mut Context<'_>, good: &impl Fn(&T) -> bool) -> Poll<Hedged<T>> {
        let mut index = 0;
        while let Some((number, attempt)) = self.running.get_mut(index) {
            let winner = *number;
            let Poll::Ready(value) = attempt.as_mut().poll(cx) else {
                index += 1;
                continue;
            };
            drop(self.running.remove(index));
            if good(&value) || self.running.is_empty() {
                return Poll::Ready(Hedged { value, winner, launched: self.launched });
            }
        }
        Poll::Pending
    }

    /// Whether the next hedge is due; arranges to be woken when it is not.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        if self.left == 0 {
            return false;
        }
        let clock = self.clock;
        let due = later(self.begun, scaled(self.delay, f64::from(self.launched)));
        let timer = self.timer.get_or_insert_with(|| clock.sleep_until(due));
        let is_due = timer.as_mut().poll(cx).is_ready();
        if is_due {
            self.timer = None;
        }
        is_due
    }
}

#[cfg(test)]
mod tests;
