//! The breaker against the reference model: thousands of random histories under virtual time.
//!
//! What the two must agree on after each step is everything an outsider can see, and whether each permit still stands.
//! Each step is taken by one of several threads' numbers, so that the stripes are proven to add up as one counter would.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::model::{Call, Model, Phase, millis};
use super::*;

/// What may happen. Indices choose among the permits that are out.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Acquire,
    Settle { index: usize, outcome: Outcome, slow: bool },
    Neutral(usize),
    Drop(usize),
    Forget(usize),
    BreakLate(usize),
    Reset,
    ForceOpen,
    ForceClosed,
    Auto,
}

/// A step, the number of the thread that takes it, and its chance.
type Taken = (Step, usize, f64);

/// How long a call takes that is not quick.
const SLOW: Duration = Duration::from_secs(2);

struct History {
    base: Instant,
    clock: u64,
    breaker: Arc<Breaker>,
    model: Model,
    out: Vec<(Permit, Call)>,
    settled: Vec<(Settled, Call)>,
}

impl History {
    fn new(config: BreakerConfig) -> Self {
        Self {
            base: Instant::now(),
            clock: 0,
            breaker: Breaker::new(config.clone(), |_| ()),
            model: Model::new(config),
            out: Vec::new(),
            settled: Vec::new(),
        }
    }

    fn at(&self, millis: u64) -> Instant {
        self.base + Duration::from_millis(millis)
    }

    fn step(&mut self, step: Step, unit: f64) -> Result<(), TestCaseError> {
        let (clock, now) = (self.clock, self.at(self.clock));
        match step {
            Step::Pass(millis) => self.clock += millis,
            Step::Acquire => match (self.breaker.acquire(now, unit), self.model.acquire(clock, unit)) {
                (Ok(permit), Some(call)) => {
                    prop_assert_eq!(permit.is_probe(), call.role == Role::Probe);
                    self.out.push((permit, call));
                }
                (Err(_), None) => {}
                (real, expected) => prop_assert!(false, "{:?} but expected {:?}", real, expected),
            },
            Step::Settle { index, outcome, slow } if !self.out.is_empty() => {
                let (permit, mut call) = self.out.swap_remove(index % self.out.len());
                call.failed = outcome == Outcome::Failure;
                let took = if slow { SLOW } else { Duration::ZERO };
                let done = match outcome {
                    Outcome::Success => permit.success(now, took, unit),
                    Outcome::Failure => permit.failure(now, took, unit),
                };
                let slow = self.model.config.slow_call.as_ref().map(|_| slow);
                self.model.settle(call, slow, clock, unit);
                self.settled.push((done, call));
            }
            Step::Neutral(index) if !self.out.is_empty() => {
                let (permit, call) = self.out.swap_remove(index % self.out.len());
                self.settled.push((permit.neutral(now), call));
                self.model.give_back(call);
            }
            Step::Drop(index) if !self.out.is_empty() => {
                let (permit, call) = self.out.swap_remove(index % self.out.len());
                drop(permit);
                self.model.give_back(call);
            }
            Step::Forget(index) if !self.out.is_empty() => {
                std::mem::forget(self.out.swap_remove(index % self.out.len()));
            }
            Step::BreakLate(index) if !self.settled.is_empty() => {
                let (done, call) = self.settled.swap_remove(index % self.settled.len());
                done.late_failure(now, unit);
                self.model.break_late(call, clock, unit);
            }
            Step::Reset => {
                self.breaker.reset(now);
                self.model.reset(clock);
            }
            Step::ForceOpen => {
                self.breaker.force_open(now);
                self.model.force(Mode::ForcedOpen, clock);
            }
            Step::ForceClosed => {
                self.breaker.force_closed(now);
                self.model.force(Mode::ForcedClosed, clock);
            }
            Step::Auto => {
                self.breaker.auto(now);
                self.model.auto(clock);
            }
            Step::Settle { .. } | Step::Neutral(_) | Step::Drop(_) | Step::Forget(_) | Step::BreakLate(_) => {
            }
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        let (clock, now) = (self.clock, self.at(self.clock));
        self.model.lapse(clock);
        // The breaker has not been told yet what time it is: so it shows what will be, without going there.
        self.compare_snapshots(now)?;
        for (permit, call) in &self.out {
            prop_assert_eq!(permit.stands(now), self.model.stands(*call));
        }
        let checked = self.breaker.check(now);
        prop_assert_eq!(checked.is_ok(), self.model.passes(clock));
        if self.model.phase != Phase::Closed {
            self.model.arrive(clock);
        }
        let Err(refused) = checked else { return Ok(()) };
        self.model.refused += 1;
        let until = match self.model.phase {
            Phase::Open { until: Some(until) } => until - clock,
            Phase::HalfOpen { .. } => millis(self.model.config.reset_after).min(1000),
            _ => millis(self.model.config.reset_after),
        };
        prop_assert_eq!(millis(refused.retry_after), until);
        self.compare_snapshots(now)
    }

    fn compare_snapshots(&self, now: Instant) -> Result<(), TestCaseError> {
        let (seen, model) = (self.breaker.snapshot(now), &self.model);
        let (mut next_probe_at, mut since, mut probing) = (None, model.since, (0, 0));
        match model.phase {
            Phase::Closed => {}
            Phase::Open { until } => {
                next_probe_at = until;
                since = if model.state(self.clock) == State::HalfOpen { until } else { since };
            }
            Phase::HalfOpen { out, successes, .. } => probing = (out, successes),
        }
        prop_assert_eq!(seen.state, model.state(self.clock));
        prop_assert_eq!(self.breaker.state(now), seen.state);
        prop_assert_eq!(seen.since, since.map(|at| self.at(at)));
        prop_assert_eq!(seen.mode, model.mode);
        prop_assert_eq!(seen.generation, u64::from(model.epoch));
        prop_assert_eq!(seen.next_probe_at, next_probe_at.map(|at| self.at(at)));
        prop_assert_eq!((seen.probes_out, seen.half_open_successes), probing);
        prop_assert_eq!(seen.reopenings, model.reopenings);
        prop_assert_eq!(seen.last_failure, model.last_failure.map(|at| self.at(at)));
        prop_assert_eq!(seen.last_success, model.last_success.map(|at| self.at(at)));
        prop_assert_eq!(seen.failures, model.failures(self.clock));
        prop_assert_eq!(seen.refused, model.refused);
        Ok(())
    }
}

fn steps() -> impl Strategy<Value = Vec<Taken>> {
    let settle = |outcome| {
        (any::<usize>(), prop::bool::weighted(0.2)).prop_map(move |(index, slow)| Step::Settle {
            index,
            outcome,
            slow,
        })
    };
    let step = prop_oneof![
        6 => (0u64..2_000).prop_map(Step::Pass),
        2 => (0u64..40_000).prop_map(Step::Pass),
        1 => (500_000u64..700_000).prop_map(Step::Pass),
        16 => Just(Step::Acquire),
        10 => settle(Outcome::Failure),
        10 => settle(Outcome::Success),
        2 => any::<usize>().prop_map(Step::Neutral),
        2 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::Forget),
        2 => any::<usize>().prop_map(Step::BreakLate),
        2 => prop_oneof![Just(Step::Reset), Just(Step::ForceOpen), Just(Step::ForceClosed), Just(Step::Auto)],
    ];
    let chance = prop_oneof![Just(0.0), Just(0.5), Just(1.0)];
    prop::collection::vec((step, 0usize..4, chance), 1..80)
}

fn some(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn trips() -> impl Strategy<Value = Trip> {
    let window = Duration::from_secs(6);
    prop_oneof![
        3 => (1u32..5).prop_map(move |n| Trip::Count { failures: some(n), window }),
        2 => (1u32..5).prop_map(move |n| Trip::Consecutive { failures: some(n) }),
        3 => (1u32..8, 0.1f64..1.0).prop_map(move |(n, rate)| Trip::Rate { rate, min_calls: some(n), window }),
    ]
}

fn reopenings() -> impl Strategy<Value = Reopen> {
    (0u32..3, 0u32..3, any::<bool>(), any::<bool>()).prop_map(|(fixed, exponential, hold, jitter)| Reopen {
        fixed,
        interval: Duration::from_secs(2),
        exponential,
        multiplier: 2.0,
        max_interval: Duration::from_secs(7),
        jitter: if jitter { 0.5 } else { 0.0 },
        then: if hold { AfterReopen::Hold } else { AfterReopen::Cap },
    })
}

fn configs() -> impl Strategy<Value = BreakerConfig> {
    let mode = prop_oneof![
        8 => Just(Mode::Auto),
        2 => Just(Mode::Observe),
        1 => Just(Mode::ForcedOpen),
        1 => Just(Mode::ForcedClosed),
        1 => Just(Mode::Off),
    ];
    let slow_call = (0.1f64..1.0, 1u32..8).prop_map(|(rate, min_calls)| SlowCall {
        threshold: SLOW / 2,
        rate,
        min_calls: some(min_calls),
    });
    let max_half_open = prop::option::of((1u64..10).prop_map(Duration::from_secs));
    let optional = (max_half_open, prop::option::of(reopenings()), prop::option::weighted(0.3, slow_call));
    (trips(), 0u64..5_000, 1u32..4, 1u32..4, mode, optional).prop_map(
        |(trip, reset_after, probes, successes, mode, (max_half_open, reopen, slow_call))| BreakerConfig {
            trip,
            reset_after: Duration::from_millis(reset_after),
            half_open_probes: some(probes),
            half_open_successes: some(successes),
            max_half_open,
            reopen,
            mode,
            slow_call,
        },
    )
}

/// A rule by rates that nothing but outcomes disturbs, and small steps through its window.
fn rates() -> impl Strategy<Value = BreakerConfig> {
    let window = Duration::from_secs(6);
    let rate =
        (0.2f64..0.8, 1u32..6).prop_map(move |(rate, n)| Trip::Rate { rate, min_calls: some(n), window });
    rate.prop_map(|trip| BreakerConfig { trip, ..BreakerConfig::default() })
}

fn outcomes() -> impl Strategy<Value = Vec<Taken>> {
    let settle = |outcome| Just(Step::Settle { index: 0, outcome, slow: false });
    let step = prop_oneof![
        4 => (0u64..2_000).prop_map(Step::Pass),
        7 => settle(Outcome::Success),
        2 => settle(Outcome::Failure),
    ];
    let taken =
        (step, 0usize..4).prop_map(|(step, thread)| [(Step::Acquire, thread, 0.5), (step, thread, 0.5)]);
    prop::collection::vec(taken, 1..40).prop_map(|steps| steps.concat())
}

fn agree(config: BreakerConfig, steps: Vec<Taken>) -> Result<(), TestCaseError> {
    let mut history = History::new(config);
    for (step, thread, unit) in steps {
        crate::thread::pin(thread);
        history.step(step, unit)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn every_history_agrees_with_the_reference_model(config in configs(), steps in steps()) {
        agree(config, steps)?;
    }

    #[test]
    fn rates_counted_by_several_threads_agree_with_the_reference_model(config in rates(), steps in outcomes()) {
        agree(config, steps)?;
    }
}
