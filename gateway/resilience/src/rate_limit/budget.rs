//! One window of our own: the generic cell rate algorithm (GCRA), as arithmetic without state.
//!
//! A bucket of `burst` tokens is one number: the time at which it will be full again. Taking a token moves that time
//! one interval on; tokens in the bucket are the intervals between it and now. What holds the number is elsewhere
//! (the ledger, and each lease for what was spent from it), so that a call of any cost takes from several windows or
//! from none, and the wait of the tenth call from now is a sum and not a simulation. Tests hold this against the
//! governor crate. Every quantity is cut so that its arithmetic in nanoseconds cannot overflow.

use std::num::NonZeroU32;

use super::RateWindow;
use crate::priority::Priority;
use crate::span::clamped;
use crate::window::WINDOW_MIN;

/// One token per year is the slowest refill; a full bucket refills within a hundred years.
const INTERVAL_MAX: u64 = 365 * 24 * 3600 * 1_000_000_000;
/// The furthest that a bucket's time to be full lies ahead, and the latest point in time that is told apart.
pub(super) const REFILL_MAX: u64 = 100 * INTERVAL_MAX;

/// What a window allows. Times are nanoseconds since the limiter's origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Nanoseconds between two tokens.
    interval: u64,
    burst: u64,
    /// Tokens that only calls of high priority may take.
    reserved: u64,
}

impl Budget {
    pub(super) fn new(window: &RateWindow, reserve: f64) -> Self {
        let requests = u128::from(window.requests.get());
        let span = window.window.max(WINDOW_MIN).as_nanos();
        // Rounded up: the budget is never exceeded for the sake of a fraction.
        let interval = u64::try_from(span.div_ceil(requests)).unwrap_or(u64::MAX).clamp(1, INTERVAL_MAX);
        let burst = u64::from(window.burst.get()).min(REFILL_MAX / interval);
        Self { interval, burst, reserved: share(reserve, burst) }
    }

    /// The time at which the bucket is full after `cost` was taken `at`.
    pub(super) const fn spend(&self, full_at: u64, at: u64, cost: u64) -> u64 {
        let from = if full_at > at { full_at } else { at };
        from.saturating_add(cost.saturating_mul(self.interval))
    }

    /// Several takes made elsewhere, together: `spent` is what [`spend`](Self::spend) made of them from an empty
    /// start. Exact when all of them came after all that `full_at` knows, and never too early when not: a take that
    /// `full_at` knows and that came later has moved it at least as far.
    pub(super) const fn merge(&self, full_at: u64, cost: u64, spent: u64) -> u64 {
        let moved = full_at.saturating_add(cost.saturating_mul(self.interval));
        if moved > spent { moved } else { spent }
    }

    /// Tokens in the bucket.
    pub(super) const fn level(&self, full_at: u64, at: u64) -> u64 {
        self.burst.saturating_sub(full_at.saturating_sub(at).div_ceil(self.interval))
    }

    /// Whether a bucket that is full holds enough for one such call.
    pub(super) const fn can_ever(&self, cost: u64, priority: Priority) -> bool {
        cost <= self.usable(priority)
    }

    /// When the last of `tokens` can be taken, if taking starts `from`.
    pub(super) fn when(&self, full_at: u64, from: u64, tokens: u64, priority: Priority) -> u64 {
        let slack = self.usable(priority).saturating_mul(self.interval);
        self.spend(full_at, from, tokens).saturating_sub(slack).max(from)
    }

    /// Tokens that all may take.
    pub(super) const fn common(&self, full_at: u64, at: u64) -> u64 {
        self.level(full_at, at).saturating_sub(self.reserved)
    }

    pub(super) const fn burst(&self) -> u64 {
        self.burst
    }

    /// Tokens that come back each second.
    pub(super) fn refill(&self) -> f64 {
        1e9 / self.interval as f64
    }

    const fn usable(&self, priority: Priority) -> u64 {
        if matches!(priority, Priority::High) { self.burst } else { self.burst - self.reserved }
    }
}

/// `reserve` of `whole`, rounded down: a reserve never takes the only token away from everybody else.
pub(super) fn share(reserve: f64, whole: u64) -> u64 {
    // The smallest amount on top mends products such as 0.29 × 100 = 28.999….
    ((clamped(reserve, 0.0) * whole as f64 + 1e-9) as u64).min(whole)
}

/// The cost of a call as it is counted.
pub(super) fn tokens(cost: NonZeroU32) -> u64 {
    u64::from(cost.get())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;
    use governor::{Quota, RateLimiter};
    use proptest::prelude::*;

    use super::*;

    fn window(requests: u32, span: Duration, burst: u32) -> RateWindow {
        let some = |n| NonZeroU32::new(n).unwrap();
        RateWindow { requests: some(requests), window: span, burst: some(burst) }
    }

    #[test]
    fn absurd_configurations_neither_overflow_nor_let_everything_pass() {
        for (requests, burst) in [(1, 1), (1, u32::MAX), (u32::MAX, 1), (u32::MAX, u32::MAX)] {
            for span in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
                let budget = Budget::new(&window(requests, span, burst), f64::INFINITY);
                assert!(budget.burst >= 1 && budget.reserved <= budget.burst);
                let after = budget.spend(0, REFILL_MAX, u64::MAX);
                let _ = (
                    budget.level(after, 0),
                    budget.when(after, 7, u64::MAX, Priority::High),
                    budget.refill(),
                );
                assert_eq!(budget.level(budget.spend(0, 5, budget.burst), 5), 0);
            }
        }
    }

    #[test]
    fn a_reserve_is_rounded_down_and_nonsense_reserves_nothing() {
        assert_eq!(share(0.29, 100), 29);
        assert_eq!(share(0.5, 1), 0);
        assert_eq!(share(1.0, 7), 7);
        assert_eq!(share(9.0, 7), 7);
        assert_eq!(share(-1.0, 7), 0);
        assert_eq!(share(f64::NAN, 7), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// The same verdict and the same wait as governor's, call by call and for calls of any cost.
        #[test]
        fn verdicts_and_waits_are_governors(
            requests in 1u32..50,
            burst in 1u32..20,
            steps in prop::collection::vec((0u64..300, 1u32..6), 1..120),
        ) {
            let budget = Budget::new(&window(requests, Duration::from_secs(1), burst), 0.0);
            let quota = Quota::with_period(Duration::from_nanos(budget.interval)).unwrap()
                .allow_burst(NonZeroU32::new(burst).unwrap());
            let clock = FakeRelativeClock::default();
            let governor = RateLimiter::direct_with_clock(quota, clock.clone());
            let (mut full_at, mut at) = (0, 0);
            for (step, cost) in steps {
                at += step * 1_000_003;
                clock.advance(Duration::from_nanos(step * 1_000_003));
                let tokens = u64::from(cost);
                match governor.check_n(NonZeroU32::new(cost).unwrap()) {
                    Err(_) => prop_assert!(!budget.can_ever(tokens, Priority::Low)),
                    Ok(Ok(())) => {
                        prop_assert_eq!(budget.when(full_at, at, tokens, Priority::Low), at);
                        full_at = budget.spend(full_at, at, tokens);
                    }
                    Ok(Err(not_until)) => {
                        let wait = not_until.wait_time_from(governor::clock::Clock::now(&clock));
                        let when = budget.when(full_at, at, tokens, Priority::Low);
                        prop_assert_eq!(Duration::from_nanos(when - at), wait);
                    }
                }
            }
        }

        /// Takes that are summed up first and merged later leave the same bucket as takes made one by one.
        #[test]
        fn merging_is_the_same_as_taking_one_by_one(
            start in 0u64..5_000,
            takes in prop::collection::vec((0u64..3_000, 1u64..5), 1..30),
        ) {
            let budget = Budget::new(&window(1, Duration::from_millis(1), 9), 0.0);
            let (mut direct, mut apart, mut at, mut sum) = (start * 1000, 0, 0, 0);
            for (step, cost) in takes {
                at += step * 1000;
                direct = budget.spend(direct, at, cost);
                apart = budget.spend(apart, at, cost);
                sum += cost;
            }
            prop_assert_eq!(budget.merge(start * 1000, sum, apart), direct);
        }

        /// In whatever order two sets of takes that overlap are merged: the bucket never counts as fuller than it is.
        #[test]
        fn merging_what_overlaps_errs_on_the_careful_side(
            start in 0u64..5_000,
            takes in prop::collection::vec((0u64..3_000, 1u64..5, any::<bool>()), 1..30),
        ) {
            let budget = Budget::new(&window(1, Duration::from_millis(1), 9), 0.0);
            let (mut direct, mut at) = (start * 1000, 0);
            let mut apart = [(0, 0); 2];
            for (step, cost, which) in takes {
                at += step * 1000;
                direct = budget.spend(direct, at, cost);
                let (sum, spent) = &mut apart[usize::from(which)];
                *sum += cost;
                *spent = budget.spend(*spent, at, cost);
            }
            let merged = apart.iter().fold(start * 1000, |full, (sum, spent)| budget.merge(full, *sum, *spent));
            prop_assert!(merged >= direct);
            prop_assert!(merged <= direct + apart[1].0 * budget.interval, "further off than what was merged last");
        }
    }
}
