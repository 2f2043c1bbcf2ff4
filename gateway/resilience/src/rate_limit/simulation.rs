//! A provider with a quota, and many callers: what learning from its answers is worth.
//!
//! The provider counts calls in fixed windows, says with every answer what is left, and answers 429 beyond. Calls take
//! tens of milliseconds each way, so that answers come late and out of order. Everything is seeded and virtual.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::clock::Random;
use crate::simulation::{Behaviour, Provider, Quota, Script, Seeded, Simulation};

const CALLERS: u64 = 40;
const LIMIT: u32 = 100;
const LENGTH: Duration = Duration::from_secs(10);
const WINDOWS: usize = 8;

/// Per window of the provider's: calls answered, and calls answered with 429.
type Counts = [(u64, u64); WINDOWS + 1];

/// What answers say about the quota.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// The limit and the length of its windows, too.
    Everything,
    OnlyWhatIsLeft,
}

/// Runs all callers over all windows; without anything told they are naive and just call again.
fn run(told: Option<Told>, seed: u64) -> Counts {
    let mut simulation = Simulation::new(Instant::now());
    let clock = simulation.clock();
    let quota = Quota { limit: LIMIT, window: LENGTH, reports: true, retry_after: true };
    let latency = Duration::from_millis(22);
    let usual = Behaviour { latency, spread: 0.75, quota: Some(quota), ..Behaviour::default() };
    let script = Script::new().then(Duration::ZERO, usual);
    let provider = Provider::new(script, clock.clone(), Arc::new(Seeded::new(seed)));
    let learning = told.map(|told| (told, RateLimiter::new(RateLimiterConfig::default(), clock.now())));
    let end = clock.at(LENGTH * u32::try_from(WINDOWS).unwrap());
    let counts = Rc::new(RefCell::new(Counts::default()));
    for caller in 0..CALLERS {
        let (clock, provider, learning) = (clock.clone(), Arc::clone(&provider), learning.clone());
        let (counts, random) = (Rc::clone(&counts), Seeded::new(seed * 1000 + caller));
        let millis =
            move |from: f64, to: f64| Duration::from_secs_f64((from + random.unit() * (to - from)) / 1e3);
        simulation.spawn(async move {
            while clock.now() < end {
                if let Some((_, limiter)) = &learning
                    && limiter.acquire(&clock, Demand::default(), Duration::MAX, Some(end)).await.is_err()
                {
                    break;
                }
                // On its way there.
                clock.sleep(millis(5.0, 40.0)).await;
                let window = usize::try_from(clock.elapsed().as_nanos() / LENGTH.as_nanos()).unwrap();
                let answer = provider.call().await;
                let throttled = answer.outcome != Outcome::Success;
                {
                    let (served, refused) = &mut counts.borrow_mut()[window.min(WINDOWS)];
                    *served += u64::from(!throttled);
                    *refused += u64::from(throttled);
                }
                if let (Some((told, limiter)), Some((remaining, limit, reset))) = (&learning, answer.quota) {
                    let (limit, window) = match told {
                        Told::Everything => (Some(limit), Some(LENGTH)),
                        Told::OnlyWhatIsLeft => (None, None),
                    };
                    let report = QuotaReport { name: "", remaining, limit, window, reset, cost: 1 };
                    limiter.observe_quota(&report, clock.now());
                    limiter.heed(answer.outcome, LENGTH, clock.now());
                }
                clock.sleep(if throttled { millis(200.0, 800.0) } else { millis(1.0, 60.0) }).await;
            }
        });
    }
    assert_eq!(simulation.run(), 0, "a caller waits for ever");
    counts.take()
}

#[test]
fn a_learnt_quota_brings_no_429_after_the_first_window_where_a_naive_client_gets_hundreds() {
    for seed in 1..=20 {
        for told in [Told::Everything, Told::OnlyWhatIsLeft] {
            let counts = run(Some(told), seed);
            let later = &counts[1..WINDOWS];
            let throttled: u64 = later.iter().map(|(_, throttled)| throttled).sum();
            assert_eq!(throttled, 0, "seed {seed}, told {told:?}: {later:?}");
            let served: u64 = later.iter().map(|(served, _)| served).sum();
            let whole = u64::from(LIMIT) * later.len() as u64;
            assert!(served >= whole * 95 / 100, "seed {seed}, told {told:?}: {served} of {whole} were used");
        }
        let naive: u64 = run(None, seed)[1..WINDOWS].iter().map(|(_, throttled)| throttled).sum();
        assert!(naive >= 300, "seed {seed}: {naive}");
    }
}

#[test]
fn the_same_seed_makes_the_same_history() {
    let history = || run(Some(Told::OnlyWhatIsLeft), 7);
    assert_eq!(history(), history());
}
