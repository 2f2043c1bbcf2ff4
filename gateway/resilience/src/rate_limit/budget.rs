//! Our own budget: the generic cell rate algorithm, as the governor crate implements it.
//!
//! Governor decides about every token. We give it its clock (the `now` that was passed in, never running backwards)
//! and its store (one number that we can also read), because it can neither be asked without taking nor tell what the
//! tenth call from now would have to wait. Every quantity is cut so that its arithmetic in nanoseconds cannot overflow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::RateLimiterConfig;
use crate::window::WINDOW_MIN;

/// One token per year is the slowest refill; a full bucket refills within a hundred years.
const INTERVAL_MAX: u64 = 365 * 24 * 3600 * 1_000_000_000;
const REFILL_MAX: u64 = 100 * INTERVAL_MAX;

/// A token bucket.
pub(super) struct Budget {
    origin: Instant,
    clock: FedClock,
    tokens: Arc<AtomicU64>,
    limiter: RateLimiter<NotKeyed, Tokens, FedClock, NoOpMiddleware<Nanos>>,
    /// Nanoseconds between two tokens.
    interval: u64,
    burst: u64,
}

/// The latest time that was passed in, in nanoseconds since the origin.
#[derive(Clone)]
struct FedClock(Arc<AtomicU64>);

/// Governor's state: the time at which the bucket will be full again, 0 before the first token.
struct Tokens(Arc<AtomicU64>);

impl Budget {
    pub(super) fn new(config: &RateLimiterConfig, now: Instant) -> Self {
        let requests = u128::from(config.requests.get());
        let window = config.window.max(WINDOW_MIN).as_nanos();
        // Rounded up: the budget is never exceeded for the sake of a fraction.
        let interval = u64::try_from(window.div_ceil(requests)).unwrap_or(u64::MAX).clamp(1, INTERVAL_MAX);
        let burst_max = u32::try_from(REFILL_MAX / interval).unwrap_or(u32::MAX);
        let burst = config.burst.min(std::num::NonZeroU32::new(burst_max).unwrap_or(config.burst));
        let clock = FedClock(Arc::default());
        let tokens = Arc::<AtomicU64>::default();
        let quota = Quota::with_period(Duration::from_nanos(interval))
            .unwrap_or_else(|| Quota::per_second(std::num::NonZeroU32::MIN))
            .allow_burst(burst);
        let limiter = RateLimiter::new(quota, Tokens(Arc::clone(&tokens)), clock.clone());
        Self { origin: now, clock, tokens, limiter, interval, burst: u64::from(burst.get()) }
    }

    /// Takes a token, or says how long until there is one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let now = self.feed(now);
        self.limiter.check().map_err(|not_until| not_until.wait_time_from(now.into()))
    }

    /// How long a call has to wait that comes after `ahead` others; zero when it need not.
    pub(super) fn wait(&self, now: Instant, ahead: u64) -> Duration {
        let now = self.feed(now);
        let turn = self.full_at(now).saturating_add(ahead.saturating_mul(self.interval));
        let tolerance = (self.burst - 1) * self.interval;
        Duration::from_nanos(turn.saturating_sub(tolerance).saturating_sub(now))
    }

    /// Tokens in the bucket.
    pub(super) fn remaining(&self, now: Instant) -> u64 {
        let now = self.feed(now);
        let missing = (self.full_at(now) - now).div_ceil(self.interval);
        self.burst.saturating_sub(missing)
    }

    fn full_at(&self, now: u64) -> u64 {
        self.tokens.load(Ordering::Acquire).max(now)
    }

    fn feed(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.origin).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).min(REFILL_MAX);
        self.clock.0.fetch_max(nanos, Ordering::AcqRel).max(nanos)
    }
}

impl Clock for FedClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.load(Ordering::Acquire).into()
    }
}

impl StateStore for Tokens {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            let (answer, next) = decide((seen != 0).then(|| seen.into()))?;
            match self.0.compare_exchange_weak(seen, next.into(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(answer),
                Err(changed) => seen = changed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    fn config(requests: u32, window: Duration, burst: u32) -> RateLimiterConfig {
        let some = |n| NonZeroU32::new(n).unwrap();
        RateLimiterConfig { requests: some(requests), window, burst: some(burst) }
    }

    #[test]
    fn absurd_configurations_neither_overflow_nor_let_everything_pass() {
        let now = Instant::now();
        for (requests, burst) in [(1, 1), (1, u32::MAX), (u32::MAX, u32::MAX)] {
            for window in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
                let budget = Budget::new(&config(requests, window, burst), now);
                assert!(budget.take(now).is_ok());
                let later = now + Duration::from_secs(3600);
                let _ = (budget.take(later), budget.wait(later, u64::MAX), budget.remaining(now));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whatever comes when: no span of the window's length sees more than the burst plus the window's requests.
        #[test]
        fn no_window_sees_more_than_burst_plus_requests(
            requests in 1u32..20,
            burst in 1u32..10,
            steps in prop::collection::vec(0u64..400, 1..150),
        ) {
            let origin = Instant::now();
            let window = Duration::from_secs(1);
            let budget = Budget::new(&config(requests, window, burst), origin);
            let mut now = origin;
            let mut granted = Vec::new();
            for step in steps {
                now += Duration::from_millis(step / 10);
                let expected = budget.remaining(now) > 0;
                prop_assert_eq!(budget.wait(now, 0).is_zero(), expected);
                prop_assert_eq!(budget.take(now).is_ok(), expected);
                if expected {
                    granted.push(now);
                }
            }
            for (n, first) in granted.iter().enumerate() {
                let within = granted[n..].iter().filter(|at| **at < *first + window).count();
                prop_assert!(within <= (requests + burst) as usize, "{within} within a window");
            }
        }

        /// What `wait` promises to the call after `ahead` others is what those calls then see.
        #[test]
        fn the_promised_wait_is_exact(requests in 1u32..20, burst in 1u32..10, ahead in 0u64..30) {
            let origin = Instant::now();
            let budget = Budget::new(&config(requests, Duration::from_secs(1), burst), origin);
            let promised = budget.wait(origin, ahead);
            let mut now = origin;
            for _ in 0..=ahead {
                while let Err(wait) = budget.take(now) {
                    now += wait;
                }
            }
            prop_assert_eq!(now - origin, promised);
        }
    }
}
