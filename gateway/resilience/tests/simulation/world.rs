//! One integration, one provider, and callers at a constant rate.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bascule_resilience::simulation::{Answer, Provider, Script, Seeded, Simulation, VirtualClock};
use bascule_resilience::{
    Attempt, Clock, Deadline, Guard, GuardBuilder, GuardError, Outcome, QuotaReport, State,
};
use parking_lot::Mutex;

/// Calls at a constant rate.
#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) per_second: u32,
    pub(crate) lasts: Duration,
    /// Whether each caller gives up after so long.
    pub(crate) patience: Option<Duration>,
}

/// What came of it.
pub(crate) struct World {
    /// Everything that happened, one line each.
    pub(crate) trace: String,
    /// Calls that ended well.
    pub(crate) good: u64,
    /// Calls that were made and failed.
    pub(crate) failed: u64,
    /// Calls that the circuit refused.
    pub(crate) refused: u64,
    /// Calls that ran out of time.
    pub(crate) timed_out: u64,
    /// Calls that found no place or no token.
    pub(crate) held_back: u64,
    /// Calls that reached the provider.
    pub(crate) sent: u64,
    /// Calls that the provider refused because its quota was spent.
    pub(crate) throttled: u64,
    /// Most calls at the provider at a time.
    pub(crate) busiest: u64,
    /// When the circuit changed, and to what.
    pub(crate) changes: Vec<(Duration, State)>,
    /// How long the good calls took.
    pub(crate) latencies: Vec<Duration>,
}

/// Plays a script with a guard, from a seed.
pub(crate) fn play(
    seed: u64,
    script: Script,
    traffic: Traffic,
    guarded: impl FnOnce(GuardBuilder) -> GuardBuilder,
) -> World {
    let mut simulation = Simulation::new(Instant::now());
    let clock = simulation.clock();
    let trace = Arc::new(Mutex::new(String::new()));
    let changes = Arc::new(Mutex::new(Vec::new()));
    let builder = Guard::new("provider")
        .clock(Arc::new(clock.clone()))
        .random(Arc::new(Seeded::new(seed)))
        .on_state_change({
            let (clock, trace, changes) = (clock.clone(), Arc::clone(&trace), Arc::clone(&changes));
            move |change| {
                line(
                    &trace,
                    &clock,
                    format_args!("circuit {} -> {} ({})", change.from, change.to, change.reason),
                );
                changes.lock().push((clock.elapsed(), change.to));
            }
        });
    let guard = guarded(builder).build();
    let provider = Provider::new(script, clock.clone(), Arc::new(Seeded::new(seed ^ 0xBA5C)));
    let world = Rc::new(RefCell::new(World::empty()));
    let caller = Caller {
        clock,
        trace: Arc::clone(&trace),
        guard,
        provider: Arc::clone(&provider),
        patience: traffic.patience,
    };
    let callers = {
        let (spawner, world) = (simulation.spawner(), Rc::clone(&world));
        async move {
            let calls = u64::from(traffic.per_second) * traffic.lasts.as_secs();
            let pace = caller.clock.clone();
            for number in 0..calls {
                let (caller, world) = (caller.clone(), Rc::clone(&world));
                spawner.spawn(async move {
                    let begun = caller.clock.elapsed();
                    let result = caller.call(number).await;
                    world.borrow_mut().count(&result, caller.clock.elapsed() - begun);
                });
                pace.sleep(Duration::from_secs(1) / traffic.per_second).await;
            }
        }
    };
    simulation.spawn(callers);
    let hanging = simulation.run();
    assert_eq!(hanging, 0, "calls wait for ever");
    let mut world = world.replace(World::empty());
    world.trace = std::mem::take(&mut trace.lock());
    world.changes = std::mem::take(&mut changes.lock());
    world.sent = provider.calls();
    world.throttled = provider.throttled();
    world.busiest = provider.busiest();
    world
}

/// What every call is made with.
#[derive(Clone)]
struct Caller {
    clock: VirtualClock,
    trace: Arc<Mutex<String>>,
    guard: Guard,
    provider: Arc<Provider>,
    patience: Option<Duration>,
}

impl Caller {
    async fn call(&self, number: u64) -> Result<Answer, GuardError<Answer>> {
        let deadline =
            self.patience.map_or(Deadline::none(), |patience| Deadline::after(self.clock.now(), patience));
        let judge = |result: &Result<Answer, Answer>| match result {
            Ok(answer) | Err(answer) => answer.outcome,
        };
        let result = self
            .guard
            .request()
            .deadline(deadline)
            .call_judged(judge, |attempt| self.attempt(number, attempt))
            .await;
        let ended = match &result {
            Ok(_) => "good".to_owned(),
            Err(GuardError::Failed(answer)) => format!("failed: {}", answer.outcome),
            Err(error) => error.to_string(),
        };
        line(&self.trace, &self.clock, format_args!("call {number} ended {ended}"));
        result
    }

    async fn attempt(&self, number: u64, attempt: Attempt) -> Result<Answer, Answer> {
        let kind = if attempt.hedge { "hedge" } else { "attempt" };
        let begun = format!("call {number} {kind} {}", attempt.number);
        line(&self.trace, &self.clock, format_args!("{begun}"));
        let answer = self.provider.call().await;
        line(&self.trace, &self.clock, format_args!("{begun} {}", answer.outcome));
        if let Some((remaining, limit, reset)) = answer.quota {
            let report =
                QuotaReport { name: "", remaining, limit: Some(limit), window: None, reset, cost: 1 };
            self.guard.limiters().for_each(|limiter| limiter.observe_quota(&report, self.clock.now()));
        }
        if answer.outcome == Outcome::Success { Ok(answer) } else { Err(answer) }
    }
}

fn line(trace: &Mutex<String>, clock: &VirtualClock, event: std::fmt::Arguments<'_>) {
    let _ = writeln!(trace.lock(), "{:>12.6} {event}", clock.elapsed().as_secs_f64());
}

impl World {
    fn empty() -> Self {
        Self {
            trace: String::new(),
            good: 0,
            failed: 0,
            refused: 0,
            timed_out: 0,
            held_back: 0,
            sent: 0,
            throttled: 0,
            busiest: 0,
            changes: Vec::new(),
            latencies: Vec::new(),
        }
    }

    fn count(&mut self, result: &Result<Answer, GuardError<Answer>>, took: Duration) {
        match result {
            Ok(_) => {
                self.good += 1;
                self.latencies.push(took);
            }
            Err(GuardError::Failed(_)) => self.failed += 1,
            Err(GuardError::CircuitOpen(_)) => self.refused += 1,
            Err(GuardError::Timeout { .. }) => self.timed_out += 1,
            Err(GuardError::Overloaded(_) | GuardError::Limited(_)) => self.held_back += 1,
        }
    }

    /// All calls.
    pub(crate) fn calls(&self) -> u64 {
        self.good + self.failed + self.refused + self.timed_out + self.held_back
    }

    /// Calls that were sent to the provider from one time to another.
    pub(crate) fn sent_between(&self, from: Duration, to: Duration) -> u64 {
        let sent = self.trace.lines().filter(|line| {
            let mut words = line.split_whitespace();
            let at = words.next().and_then(|at| at.parse().ok()).map(Duration::from_secs_f64);
            let began =
                words.nth(2).is_some_and(|what| what == "attempt" || what == "hedge") && words.count() == 1;
            began && at.is_some_and(|at| from <= at && at < to)
        });
        sent.count() as u64
    }

    /// The latency that a share of the good calls stayed under.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (sorted.len().saturating_sub(1)) as f64 * share;
        sorted.get(rank as usize).copied().unwrap_or_default()
    }

    /// When the circuit closed for the last time.
    pub(crate) fn closed_at(&self) -> Option<Duration> {
        self.changes.iter().rev().find(|(_, to)| *to == State::Closed).map(|(at, _)| *at)
    }

    /// Whether the circuit is closed at the end.
    pub(crate) fn ends_closed(&self) -> bool {
        self.changes.last().is_none_or(|(_, to)| *to == State::Closed)
    }
}
