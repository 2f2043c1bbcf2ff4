//! The breaker against a reference model: thousands of random histories, virtual time.
//!
//! The model is written for obviousness: it remembers every event and counts anew each time. What it and the breaker
//! must agree on after each step is everything an outsider can see.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

/// What may happen. Indices choose among the permits that are out.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Acquire,
    Settle(usize, Outcome),
    Neutral(usize),
    Drop(usize),
    BreakLate(usize),
    Reset,
    ForceOpen,
    ForceClosed,
    Auto,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Closed,
    Open { until: Option<u64> },
    HalfOpen { since: u64, out: u32, successes: u32 },
}

/// A call as the model sees it.
#[derive(Clone, Copy, Debug)]
struct Call {
    epoch: u32,
    probe: bool,
    failed: bool,
}

struct Model {
    config: BreakerConfig,
    mode: Mode,
    phase: Phase,
    epoch: u32,
    reopenings: u32,
    /// Milliseconds and whether it failed, since the counts were last cleared.
    events: Vec<(u64, bool)>,
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}

impl Model {
    fn new(config: BreakerConfig) -> Self {
        let mode = config.mode;
        Self { config, mode, phase: Phase::Closed, epoch: 0, reopenings: 0, events: Vec::new() }
    }

    fn failures(&self, now: u64) -> u32 {
        let failures = match &self.config.trip {
            Trip::Count { failures, window } => {
                let within = |at: &u64| now - at < millis(*window);
                let all = self.events.iter().filter(|(at, failed)| *failed && within(at)).count();
                all.min(failures.get() as usize)
            }
            Trip::Consecutive { .. } => self.events.iter().rev().take_while(|(_, failed)| *failed).count(),
            Trip::Rate { .. } => self.recent(now).filter(|failed| *failed).count(),
        };
        u32::try_from(failures).unwrap()
    }

    /// The outcomes within the last sixty parts of the window, the present one included.
    fn recent(&self, now: u64) -> impl Iterator<Item = bool> {
        let origin = self.events.first().map_or(now, |(at, _)| *at);
        let width = millis(self.config.trip.window()) / 60;
        let part = move |at: u64| (at - origin) / width;
        self.events.iter().filter(move |(at, _)| part(now) - part(*at) < 60).map(|(_, failed)| *failed)
    }

    fn trips(&self, now: u64) -> bool {
        match &self.config.trip {
            Trip::Count { failures, .. } | Trip::Consecutive { failures } => {
                self.failures(now) >= failures.get()
            }
            Trip::Rate { rate, min_calls, .. } => {
                let (calls, failures) = (self.recent(now).count(), self.failures(now));
                calls >= min_calls.get() as usize
                    && f64::from(failures) >= rate * calls as f64
                    && failures > 0
            }
        }
    }

    fn go(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }

    fn restart(&mut self, phase: Phase) {
        self.reopenings = 0;
        self.events.clear();
        self.go(phase);
    }

    fn open(&mut self, now: u64) {
        let lasts = match &self.config.reopen {
            Some(reopen) if self.reopenings > 0 => {
                let grown = self.reopenings.saturating_sub(reopen.fixed);
                if grown > reopen.exponential && reopen.then == AfterReopen::Hold {
                    None
                } else {
                    let mut lasts = millis(reopen.interval);
                    for _ in 0..grown.min(reopen.exponential) {
                        lasts *= 2;
                    }
                    Some(lasts.min(millis(reopen.max_interval)))
                }
            }
            _ => Some(millis(self.config.reset_after)),
        };
        self.events.clear();
        self.go(Phase::Open { until: lasts.map(|lasts| now + lasts) });
    }

    fn passes(&self, now: u64) -> bool {
        self.mode == Mode::Observe
            || match self.phase {
                Phase::Closed => true,
                Phase::Open { until } => until.is_some_and(|until| until <= now),
                Phase::HalfOpen { since, out, .. } => {
                    out < self.config.half_open_probes.get()
                        || self.config.max_half_open.is_some_and(|max| now - since >= millis(max))
                }
            }
    }

    fn acquire(&mut self, now: u64) -> Option<Call> {
        if let (Phase::HalfOpen { since, .. }, Some(max)) = (self.phase, self.config.max_half_open)
            && now - since >= millis(max)
        {
            self.reopenings += 1;
            self.open(now);
        }
        if matches!(self.phase, Phase::Open { until: Some(until) } if until <= now) {
            self.go(Phase::HalfOpen { since: now, out: 0, successes: 0 });
        }
        let call = Call { epoch: self.epoch, probe: false, failed: false };
        match &mut self.phase {
            Phase::Closed => Some(call),
            Phase::HalfOpen { out, .. } if *out < self.config.half_open_probes.get() => {
                *out += 1;
                Some(Call { probe: true, ..call })
            }
            _ => (self.mode == Mode::Observe).then_some(call),
        }
    }

    fn settle(&mut self, call: Call, failed: bool, now: u64) {
        if call.epoch != self.epoch {
            return;
        }
        if !call.probe {
            if self.phase == Phase::Closed {
                self.events.push((now, failed));
                if matches!(self.mode, Mode::Auto | Mode::Observe) && self.trips(now) {
                    self.open(now);
                }
            }
            return;
        }
        if failed {
            self.reopenings += 1;
            return self.open(now);
        }
        if let Phase::HalfOpen { out, successes, .. } = &mut self.phase {
            *out -= 1;
            *successes += 1;
            if *successes >= self.config.half_open_successes.get() {
                self.restart(Phase::Closed);
            }
        }
    }

    fn give_back(&mut self, call: Call) {
        if let Phase::HalfOpen { out, .. } = &mut self.phase
            && call.epoch == self.epoch
            && call.probe
        {
            *out -= 1;
        }
    }

    fn break_late(&mut self, call: Call, now: u64) {
        if call.epoch == self.epoch && !call.failed {
            // A probe that was settled is out no more, but its failure is one all the same.
            self.settle(call, true, now);
        }
    }

    fn auto(&mut self, now: u64) {
        let held = matches!(self.phase, Phase::Open { until: None });
        if held || self.mode == Mode::ForcedClosed {
            self.mode = self.config.mode;
            let half_open = Phase::HalfOpen { since: now, out: 0, successes: 0 };
            self.restart(if held { half_open } else { Phase::Closed });
        }
    }
}

/// Runs one history through both.
fn run(config: BreakerConfig, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let base = Instant::now();
    let breaker = Breaker::new(config.clone(), |_| ());
    let mut model = Model::new(config);
    let mut clock = 0u64;
    let mut out: Vec<(Permit, Call)> = Vec::new();
    let mut settled: Vec<(Settled, Call)> = Vec::new();
    for step in steps {
        let now = base + Duration::from_millis(clock);
        match step {
            Step::Pass(millis) => clock += millis,
            Step::Acquire => match (breaker.acquire(now, 0.5), model.acquire(clock)) {
                (Ok(permit), Some(call)) => {
                    prop_assert_eq!(permit.is_probe(), call.probe);
                    out.push((permit, call));
                }
                (Err(_), None) => {}
                (real, expected) => prop_assert!(false, "{:?} but expected {:?}", real, expected),
            },
            Step::Settle(index, outcome) if !out.is_empty() => {
                let (permit, mut call) = out.swap_remove(index % out.len());
                call.failed = outcome == Outcome::Failure;
                let took = Duration::ZERO;
                let done = match outcome {
                    Outcome::Success => permit.success(now, took, 0.5),
                    Outcome::Failure => permit.failure(now, took, 0.5),
                };
                model.settle(call, call.failed, clock);
                settled.push((done, call));
            }
            Step::Neutral(index) if !out.is_empty() => {
                let (permit, call) = out.swap_remove(index % out.len());
                settled.push((permit.neutral(now), call));
                model.give_back(call);
            }
            Step::Drop(index) if !out.is_empty() => {
                let (permit, call) = out.swap_remove(index % out.len());
                drop(permit);
                model.give_back(call);
            }
            Step::BreakLate(index) if !settled.is_empty() => {
                let (done, call) = settled.swap_remove(index % settled.len());
                done.late_failure(now, 0.5);
                model.break_late(call, clock);
            }
            Step::Reset => {
                breaker.reset(now);
                model.mode = model.config.mode;
                model.restart(Phase::Closed);
            }
            Step::ForceOpen => {
                breaker.force_open(now);
                model.mode = Mode::ForcedOpen;
                model.restart(Phase::Open { until: None });
            }
            Step::ForceClosed => {
                breaker.force_closed(now);
                model.mode = Mode::ForcedClosed;
                model.restart(Phase::Closed);
            }
            Step::Auto => {
                breaker.auto(now);
                model.auto(clock);
            }
            Step::Settle(..) | Step::Neutral(_) | Step::Drop(_) | Step::BreakLate(_) => {}
        }
        compare(&breaker, &model, base, clock)?;
    }
    Ok(())
}

fn compare(breaker: &Arc<Breaker>, model: &Model, base: Instant, clock: u64) -> Result<(), TestCaseError> {
    let now = base + Duration::from_millis(clock);
    let seen = breaker.snapshot(now);
    let (state, next_probe) = match model.phase {
        Phase::Closed => (State::Closed, None),
        Phase::Open { until } => (State::Open, until),
        Phase::HalfOpen { .. } => (State::HalfOpen, None),
    };
    prop_assert_eq!(seen.state, state);
    prop_assert_eq!(seen.mode, model.mode);
    prop_assert_eq!(seen.generation, u64::from(model.epoch));
    prop_assert_eq!(seen.next_probe_at, next_probe.map(|at| base + Duration::from_millis(at)));
    prop_assert_eq!(seen.failures, model.failures(clock));
    prop_assert_eq!(breaker.check(now).is_ok(), model.passes(clock));
    if let (Err(refused), Some(at)) = (breaker.check(now), next_probe) {
        prop_assert_eq!(millis(refused.retry_after), at - clock);
    }
    Ok(())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u64..2_000).prop_map(Step::Pass),
        1 => (0u64..40_000).prop_map(Step::Pass),
        8 => Just(Step::Acquire),
        5 => any::<usize>().prop_map(|index| Step::Settle(index, Outcome::Failure)),
        4 => any::<usize>().prop_map(|index| Step::Settle(index, Outcome::Success)),
        1 => any::<usize>().prop_map(Step::Neutral),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::BreakLate),
        1 => prop_oneof![Just(Step::Reset), Just(Step::ForceOpen), Just(Step::ForceClosed), Just(Step::Auto)],
    ];
    prop::collection::vec(step, 1..120)
}

fn configs() -> impl Strategy<Value = BreakerConfig> {
    let some = |n| NonZeroU32::new(n).unwrap();
    let window = Duration::from_secs(6);
    let trip = prop_oneof![
        3 => (1u32..5).prop_map(move |n| Trip::Count { failures: some(n), window }),
        1 => (1u32..5).prop_map(move |n| Trip::Consecutive { failures: some(n) }),
        2 => (1u32..6, 0.1f64..1.0).prop_map(move |(n, rate)| Trip::Rate { rate, min_calls: some(n), window }),
    ];
    let reopen = (0u32..3, 0u32..3, any::<bool>()).prop_map(|(fixed, exponential, hold)| Reopen {
        fixed,
        interval: Duration::from_secs(2),
        exponential,
        multiplier: 2.0,
        max_interval: Duration::from_secs(7),
        jitter: 0.0,
        then: if hold { AfterReopen::Hold } else { AfterReopen::Cap },
    });
    let mode = prop_oneof![4 => Just(Mode::Auto), 1 => Just(Mode::Observe)];
    let max_half_open = prop::option::of((1u64..10).prop_map(Duration::from_secs));
    (trip, 0u64..5_000, 1u32..4, 1u32..4, max_half_open, prop::option::of(reopen), mode).prop_map(
        move |(trip, reset_after, probes, successes, max_half_open, reopen, mode)| BreakerConfig {
            trip,
            reset_after: Duration::from_millis(reset_after),
            half_open_probes: some(probes),
            half_open_successes: some(successes),
            max_half_open,
            reopen,
            mode,
            slow_call: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn every_history_agrees_with_the_reference_model(config in configs(), steps in steps()) {
        run(config, steps)?;
    }
}
