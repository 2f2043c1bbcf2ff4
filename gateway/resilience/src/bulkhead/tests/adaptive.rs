//! The adaptive limits against a scripted provider, in virtual time: callers without number, a provider that works on so
//! many calls at once and makes the others wait (or refuses them).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

const MILLI: Duration = Duration::from_millis(1);

/// What the provider is like at some time.
#[derive(Clone, Copy)]
struct Provider {
    /// Calls that it works on at once.
    capacity: usize,
    /// Latency of a call without others.
    latency: Duration,
    /// Whether it refuses what is beyond its capacity instead of getting slower.
    refuses: bool,
    /// Calls that want to be made at the same time.
    callers: usize,
}

/// A run of calls, one after another in the order of their ends.
struct Run {
    bulkhead: Arc<Bulkhead>,
    now: Instant,
    under_way: BinaryHeap<Reverse<(Instant, usize)>>,
    calls: Vec<Option<(BulkheadPermit, Instant, Outcome)>>,
    chance: u64,
}

/// What was seen in a stretch of time.
struct Seen {
    /// The limit at every end of a call.
    limits: Vec<usize>,
    good: usize,
}

impl Seen {
    fn mean(&self) -> f64 {
        self.limits.iter().sum::<usize>() as f64 / self.limits.len() as f64
    }
}

impl Run {
    fn new(adaptive: AdaptiveLimit) -> Self {
        let max = NonZeroUsize::new(400).unwrap();
        let config = BulkheadConfig { max, adaptive: Some(adaptive), ..BulkheadConfig::default() };
        let now = Instant::now();
        Self {
            bulkhead: Bulkhead::new(config),
            now,
            under_way: BinaryHeap::new(),
            calls: Vec::new(),
            chance: 0x2545_f491_4f6c_dd1d,
        }
    }

    /// A number in [0, 1) (xorshift64): the same in every run.
    fn unit(&mut self) -> f64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) as f64 / (1u64 << 53) as f64
    }

    fn launch(&mut self, provider: Provider) {
        while self.bulkhead.in_flight() < provider.callers
            && let Some(permit) = self.bulkhead.try_acquire()
        {
            let crowd = self.bulkhead.in_flight() as f64 / provider.capacity as f64;
            // Half of it is the same for all calls, half differs: a mean of one with a long tail.
            let luck = 0.5 - 0.5 * (1.0 - self.unit()).ln();
            let (latency, outcome) = if crowd > 1.0 && provider.refuses {
                (provider.latency / 10, Outcome::TRANSIENT)
            } else {
                (provider.latency.mul_f64(crowd.max(1.0) * luck), Outcome::Success)
            };
            self.under_way.push(Reverse((self.now + latency, self.calls.len())));
            self.calls.push(Some((permit, self.now, outcome)));
        }
    }

    fn for_seconds(&mut self, seconds: u32, provider: Provider) -> Seen {
        let until = self.now + seconds * SECOND;
        let mut seen = Seen { limits: Vec::new(), good: 0 };
        while self.now < until {
            self.launch(provider);
            let Reverse((at, index)) = self.under_way.pop().unwrap();
            self.now = at;
            let (permit, began, outcome) = self.calls[index].take().unwrap();
            permit.observe(at, at - began, outcome);
            drop(permit);
            seen.good += usize::from(outcome == Outcome::Success);
            seen.limits.push(self.bulkhead.limit());
        }
        seen
    }
}

const USUAL: Provider =
    Provider { capacity: 40, latency: Duration::from_millis(100), refuses: false, callers: 1000 };

fn aimd() -> AdaptiveLimit {
    AdaptiveLimit { algorithm: Algorithm::Aimd, ..AdaptiveLimit::default() }
}

#[test]
fn the_gradient_limit_settles_near_the_capacity_whatever_it_began_with() {
    for initial in [1, 20, 400] {
        let initial = NonZeroUsize::new(initial).unwrap();
        let mut run = Run::new(AdaptiveLimit { initial, ..AdaptiveLimit::default() });
        run.for_seconds(120, USUAL);
        let seen = run.for_seconds(600, USUAL);
        assert!((40.0..65.0).contains(&seen.mean()), "{initial}: {}", seen.mean());
        // The provider is kept busy: it can answer 400 calls/s.
        assert!(seen.good as f64 > 0.96 * 400.0 * 600.0, "{initial}: {}", seen.good);
    }
}

#[test]
fn the_gradient_limit_does_not_creep_under_lasting_load() {
    let mut run = Run::new(AdaptiveLimit::default());
    run.for_seconds(600, USUAL);
    let hours = run.for_seconds(3600, USUAL);
    let late = &hours.limits[hours.limits.len() / 2..];
    assert!(late.iter().all(|limit| *limit < 110), "{:?}", late.iter().max());
}

#[test]
fn the_gradient_limit_shrinks_in_a_brown_out_and_recovers() {
    let mut run = Run::new(AdaptiveLimit::default());
    let before = run.for_seconds(300, USUAL).mean();
    run.for_seconds(60, Provider { capacity: 4, ..USUAL });
    let brown_out = run.for_seconds(60, Provider { capacity: 4, ..USUAL });
    assert!(brown_out.mean() < 16.0, "{}", brown_out.mean());
    run.for_seconds(60, USUAL);
    let after = run.for_seconds(300, USUAL);
    assert!((after.mean() / before - 1.0).abs() < 0.25, "{before} before, {} after", after.mean());

    // Slow by itself, not by our load: fewer calls at a time would not help, so that as many are allowed.
    run.for_seconds(120, Provider { latency: SECOND, ..USUAL });
    let slow = run.for_seconds(300, Provider { latency: SECOND, ..USUAL });
    assert!((40.0..65.0).contains(&slow.mean()), "{}", slow.mean());
    run.for_seconds(60, USUAL);
    let quick = run.for_seconds(300, USUAL);
    assert!((quick.mean() / before - 1.0).abs() < 0.25, "{before} before, {} after", quick.mean());
}

#[test]
fn the_gradient_limit_shrinks_when_calls_fail() {
    let mut run = Run::new(AdaptiveLimit::default());
    run.for_seconds(60, USUAL);
    let refused = run.for_seconds(60, Provider { refuses: true, capacity: 10, ..USUAL });
    let late = Seen { limits: refused.limits[refused.limits.len() / 2..].to_vec(), good: 0 };
    assert!(late.mean() < 25.0, "{}", late.mean());
}

#[test]
fn the_aimd_limit_settles_near_the_capacity_of_a_provider_that_refuses() {
    let refusing = Provider { refuses: true, ..USUAL };
    let mut run = Run::new(aimd());
    run.for_seconds(60, refusing);
    let seen = run.for_seconds(600, refusing);
    assert!((32.0..44.0).contains(&seen.mean()), "{}", seen.mean());
    run.for_seconds(10, Provider { capacity: 4, ..refusing });
    let brown_out = run.for_seconds(30, Provider { capacity: 4, ..refusing });
    assert!(brown_out.mean() < 8.0, "{}", brown_out.mean());
    run.for_seconds(60, refusing);
    let after = run.for_seconds(60, refusing);
    assert!((32.0..44.0).contains(&after.mean()), "{}", after.mean());
}

#[test]
fn the_aimd_limit_takes_slow_calls_for_overload() {
    let latency = Some(1000 * MILLI);
    let mut run = Run::new(AdaptiveLimit { latency, ..aimd() });
    run.for_seconds(60, USUAL);
    let seen = run.for_seconds(300, USUAL);
    // The tail of the latencies is what exceeds it: somewhat over the capacity, far under the maximum.
    assert!((40.0..200.0).contains(&seen.mean()), "{}", seen.mean());
}

/// Ends `times` calls of a second with this outcome while `busy` others are in flight.
fn ended(adaptive: AdaptiveLimit, busy: usize, times: u32, outcome: Outcome) -> (usize, usize) {
    let run = Run::new(adaptive);
    let _busy: Vec<_> = (0..busy).filter_map(|_| run.bulkhead.try_acquire()).collect();
    let before = run.bulkhead.limit();
    for n in 1..=times {
        run.bulkhead.try_acquire().unwrap().observe(run.now + n * 2 * SECOND, SECOND, outcome);
    }
    (before, run.bulkhead.limit())
}

#[test]
fn failures_back_off_once_per_round_under_aimd() {
    for outcome in [Outcome::TRANSIENT, Outcome::Throttled { retry_after: None }] {
        assert_eq!(ended(aimd(), 0, 1, outcome), (20, 18));
    }
    // Ten calls that began together and fail together are one decrease.
    let run = Run::new(aimd());
    let calls: Vec<_> = (0..10).filter_map(|_| run.bulkhead.try_acquire()).collect();
    for (call, late) in calls.iter().zip(0u32..) {
        call.observe(run.now + SECOND + late * MILLI, SECOND, Outcome::TRANSIENT);
    }
    assert_eq!(run.bulkhead.limit(), 18);
}

#[test]
fn outcomes_without_a_word_on_load_change_nothing() {
    let silent = [Outcome::Rejected, Outcome::Cancelled, Outcome::AuthExpired, Outcome::ContractBroken];
    for algorithm in [Algorithm::Gradient, Algorithm::Aimd] {
        for outcome in silent {
            let adaptive = AdaptiveLimit { algorithm, ..AdaptiveLimit::default() };
            assert_eq!(ended(adaptive, 15, 500, outcome), (20, 20), "{algorithm:?} {outcome}");
        }
    }
}

#[test]
fn a_limit_that_is_not_used_does_not_grow() {
    for algorithm in [Algorithm::Gradient, Algorithm::Aimd] {
        let adaptive = AdaptiveLimit { algorithm, ..AdaptiveLimit::default() };
        assert_eq!(ended(adaptive.clone(), 5, 1000, Outcome::Success), (20, 20), "{algorithm:?}");
        let (_, used) = ended(adaptive, 15, 100, Outcome::Success);
        assert!(used > 20, "{algorithm:?}: {used}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_growing_limit_lets_waiters_in() {
    let max = NonZeroUsize::new(3).unwrap();
    let adaptive = Some(AdaptiveLimit { initial: NonZeroUsize::MIN, ..aimd() });
    let bulkhead = Bulkhead::new(BulkheadConfig { max, adaptive, ..BulkheadConfig::default() });
    let first = acquire(&bulkhead).await.unwrap();
    let second = queued(&bulkhead, Ask::default()).await;
    assert_eq!((bulkhead.limit(), bulkhead.waiting()), (1, 1));
    first.observe(TokioClock.now(), MILLI, Outcome::Success);
    let _second = second.await.unwrap().unwrap();
    assert_eq!((bulkhead.limit(), bulkhead.in_flight(), bulkhead.waiting()), (2, 2, 0));
}

#[test]
fn a_probe_is_given_up_when_long_calls_hold_the_slots() {
    let run = Run::new(AdaptiveLimit::default());
    let _long: Vec<_> = (0..19).filter_map(|_| run.bulkhead.try_acquire()).collect();
    let mut now = run.now;
    let mut lowered = 0;
    for _ in 0..2000 {
        now += 100 * MILLI;
        match run.bulkhead.try_acquire() {
            Some(call) => call.observe(now, 100 * MILLI, Outcome::Success),
            None => {
                lowered += 1;
                // A caller that finds no slot looks whether the probe is over.
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                let clock = StoppedAt(now);
                assert!(
                    Box::pin(run.bulkhead.acquire(&clock, Ask::default()))
                        .as_mut()
                        .poll(&mut cx)
                        .is_pending()
                        || run.bulkhead.waiting() == 0
                );
            }
        }
    }
    assert!(lowered > 0, "there was a probe");
    assert!(lowered < 400, "{lowered} of 2000 calls found no slot");
}

#[test]
fn a_probe_leaves_streamed_answers_alone() {
    let run = Run::new(AdaptiveLimit::default());
    let mut now = run.now;
    let streams: Vec<_> = (0..15).filter_map(|_| run.bulkhead.try_acquire()).collect();
    for stream in &streams {
        stream.observe(now, 100 * MILLI, Outcome::Success);
    }
    for _ in 0..2000 {
        now += 100 * MILLI;
        run.bulkhead.try_acquire().expect("a slot beside the streams").observe(
            now,
            100 * MILLI,
            Outcome::Success,
        );
    }
}

/// A clock that stands still.
struct StoppedAt(Instant);

impl Clock for StoppedAt {
    fn now(&self) -> Instant {
        self.0
    }

    fn sleep_until(&self, _until: Instant) -> crate::clock::Sleep {
        Box::pin(std::future::pending())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn no_history_takes_a_limit_out_of_its_bounds(
        gradient in any::<bool>(),
        (min, initial, max) in (0usize..30, 0usize..60, 0usize..40),
        (backoff, tolerance) in (prop::num::f64::ANY, prop::num::f64::ANY),
        calls in proptest::collection::vec((0usize..40, 0u64..5000, 0u64..5000, 0u8..6), 1..400),
    ) {
        let [min, initial, max] = [min, initial, max].map(|n| NonZeroUsize::MIN.saturating_add(n));
        let algorithm = if gradient { Algorithm::Gradient } else { Algorithm::Aimd };
        let latency = Some(2 * SECOND);
        let adaptive = AdaptiveLimit { algorithm, min, initial, backoff, tolerance, latency };
        let mut limit = Limit::new(&adaptive, max);
        let mut now = Instant::now();
        for (in_flight, later, latency, outcome) in calls {
            now += Duration::from_millis(later);
            let outcome = match outcome {
                0 => Outcome::TRANSIENT,
                1 => Outcome::Throttled { retry_after: None },
                2 => Outcome::Rejected,
                _ => Outcome::Success,
            };
            let latency = Duration::from_millis(latency);
            for _ in 0..30 {
                limit.update(&Sample { now, latency, outcome, in_flight, streaming: in_flight / 3 });
            }
            prop_assert!((min.min(max).get()..=max.get()).contains(&limit.present()));
        }
    }
}
