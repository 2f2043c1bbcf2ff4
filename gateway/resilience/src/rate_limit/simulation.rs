//! A provider with a quota, and many callers: what learning from its answers is worth.
//!
//! The provider counts calls in fixed windows, says with every answer what is left, and answers 429 beyond. Calls take
//! tens of milliseconds each way, so that answers come late and out of order. Everything is seeded and virtual.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::virtual_time::{Executor, VirtualClock};
use super::*;

const CALLERS: u64 = 40;
const LIMIT: u64 = 100;
const LENGTH: Duration = Duration::from_secs(10);
const WINDOWS: usize = 8;

/// Per window of the provider's: calls answered, and calls answered with 429.
type Counts = Rc<RefCell<[(u64, u64); WINDOWS + 1]>>;

struct Provider {
    clock: VirtualClock,
    start: Instant,
    counts: Counts,
    /// Whether it names the limit and the length of its windows, or only what is left.
    talkative: bool,
}

struct Answer {
    throttled: bool,
    remaining: u64,
    reset: Instant,
}

impl Provider {
    fn arrive(&self) -> Answer {
        let window = (self.clock.now() - self.start).as_nanos() / LENGTH.as_nanos();
        let window = usize::try_from(window).unwrap().min(WINDOWS);
        let (served, throttled) = &mut self.counts.borrow_mut()[window];
        let refused = *served >= LIMIT;
        *served += u64::from(!refused);
        *throttled += u64::from(refused);
        let reset = self.start + LENGTH * (u32::try_from(window).unwrap() + 1);
        Answer { throttled: refused, remaining: LIMIT - *served, reset }
    }

    async fn call(&self, dice: &Dice) -> Answer {
        self.clock.sleep_until(self.clock.now() + dice.millis(5, 40)).await;
        let answer = self.arrive();
        self.clock.sleep_until(self.clock.now() + dice.millis(5, 40)).await;
        answer
    }
}

/// Xorshift: the same seed, the same history.
struct Dice(Cell<u64>);

impl Dice {
    fn millis(&self, from: u64, below: u64) -> Duration {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        Duration::from_millis(from + x % (below - from))
    }
}

/// Runs all callers over all windows; without a limiter they are naive and just call again.
fn run(limiter: Option<&Arc<RateLimiter>>, clock: &VirtualClock, seed: u64, talkative: bool) -> Counts {
    let start = clock.now();
    let end = start + LENGTH * u32::try_from(WINDOWS).unwrap();
    let counts = Counts::default();
    let mut executor = Executor::default();
    for caller in 0..CALLERS {
        let provider = Provider { clock: clock.clone(), start, counts: Rc::clone(&counts), talkative };
        let limiter = limiter.cloned();
        let dice = Dice(Cell::new(seed * 1000 + caller + 1));
        executor.spawn(async move {
            let clock = &provider.clock;
            while clock.now() < end {
                if let Some(limiter) = &limiter {
                    let deadline = Some(end);
                    if limiter.acquire(clock, Demand::default(), Duration::MAX, deadline).await.is_err() {
                        break;
                    }
                }
                let answer = provider.call(&dice).await;
                let now = clock.now();
                if let Some(limiter) = &limiter {
                    let report = QuotaReport {
                        name: "",
                        remaining: answer.remaining,
                        limit: provider.talkative.then_some(LIMIT),
                        window: provider.talkative.then_some(LENGTH),
                        reset: answer.reset,
                        cost: 1,
                    };
                    limiter.observe_quota(&report, now);
                    if answer.throttled {
                        limiter.hold_until(answer.reset, now);
                    }
                }
                let pause = if answer.throttled { dice.millis(200, 800) } else { dice.millis(1, 60) };
                clock.sleep_until(now + pause).await;
            }
        });
    }
    executor.run_until(clock, end + LENGTH);
    counts
}

#[test]
fn a_learnt_quota_brings_no_429_after_the_first_window_where_a_naive_client_gets_hundreds() {
    for seed in 1..=20 {
        for talkative in [true, false] {
            let clock = VirtualClock::new();
            let limiter = RateLimiter::new(RateLimiterConfig::default(), clock.now());
            let counts = run(Some(&limiter), &clock, seed, talkative);
            let later = &counts.borrow()[1..WINDOWS];
            let throttled: u64 = later.iter().map(|(_, throttled)| throttled).sum();
            assert_eq!(throttled, 0, "seed {seed}: {later:?}");
            let served: u64 = later.iter().map(|(served, _)| served).sum();
            let whole = LIMIT * later.len() as u64;
            assert!(served >= whole * 95 / 100, "seed {seed}: {served} of {whole} were used");
        }
        let naive = run(None, &VirtualClock::new(), seed, true);
        let throttled: u64 = naive.borrow()[1..WINDOWS].iter().map(|(_, throttled)| throttled).sum();
        assert!(throttled >= 300, "seed {seed}: {throttled}");
    }
}

#[test]
fn the_same_seed_makes_the_same_history() {
    let history = || {
        let clock = VirtualClock::new();
        let limiter = RateLimiter::new(RateLimiterConfig::default(), clock.now());
        run(Some(&limiter), &clock, 7, false).take()
    };
    assert_eq!(history(), history());
}
