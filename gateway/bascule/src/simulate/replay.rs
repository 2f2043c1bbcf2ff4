//! The replay: every call at its time, through the mechanisms, to the model of the provider.
//!
//! One task brings the calls, and each is a task of its own. All of it runs in one [`Simulation`], which alone decides
//! the order of events.

use super::{
    Journal, Report,
    mechanisms::{Mechanisms, Nature, Subject},
    provider::{Provider, Turn},
    recorded::{Answer, Call, Fate, Place, Way},
};
use crate::config::Config;
use bascule_resilience::{
    Attempt, Clock, Deadline, GuardError, Outcome, Verdict,
    simulation::{Seeded, Simulation, Spawner, VirtualClock},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    convert::Infallible,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// Replays a journal against a configuration. `only` names the one integration that is looked at; jitter is decided by
/// `seed`; `start` is any point in time, from which nothing but differences count.
pub fn simulate(config: &Config, journal: Journal, only: Option<&str>, seed: u64, start: Instant) -> Report {
    let mut simulation = Simulation::new(start);
    let world = Rc::new(World::new(config, journal, only, seed, simulation.clock()));
    simulation.spawn(Rc::clone(&world).bring(simulation.spawner()));
    simulation.run();
    Report::of(&world, seed)
}

/// Everything that the calls share.
pub(super) struct World {
    pub(super) journal: Journal,
    pub(super) mechanisms: Mechanisms,
    pub(super) clock: VirtualClock,
    provider: Provider,
    /// Calls of operations that the configuration does not have.
    pub(super) unknown: RefCell<BTreeMap<Rc<Place>, u64>>,
}

/// One call on its way.
struct Course {
    world: Rc<World>,
    subject: Rc<Subject>,
    call: Rc<Call>,
    turn: Turn,
    /// Whether the latest answer is the last one that the call was given when it was recorded.
    last: Cell<bool>,
}

impl World {
    fn new(
        config: &Config,
        mut journal: Journal,
        only: Option<&str>,
        seed: u64,
        clock: VirtualClock,
    ) -> Self {
        let nature = Nature { clock: Arc::new(clock.clone()), random: Arc::new(Seeded::new(seed)) };
        Self {
            mechanisms: Mechanisms::new(config, only, &nature),
            provider: Provider::new(&mut journal),
            journal,
            clock,
            unknown: RefCell::default(),
        }
    }

    /// Begins every call at its time.
    async fn bring(self: Rc<Self>, spawner: Spawner) {
        let begins = self.journal.begins();
        for call in &self.journal.calls {
            let Some(subject) = self.mechanisms.operations.get(&*call.place) else {
                *self.unknown.borrow_mut().entry(Rc::clone(&call.place)).or_default() += 1;
                continue;
            };
            subject.whole.figures.borrow_mut().recorded(call);
            if call.way != Way::Provider {
                continue;
            }
            let at = self.clock.at(Duration::from_micros(call.at - begins));
            self.clock.sleep_until(at).await;
            let course = Course {
                world: Rc::clone(&self),
                subject: Rc::clone(subject),
                call: Rc::clone(call),
                turn: Turn::default(),
                last: Cell::new(false),
            };
            spawner.spawn(course.run());
        }
    }
}

impl Course {
    async fn run(self) {
        let Self { world, subject, call, .. } = &self;
        let begun = world.clock.now();
        let cap = call.cap.map_or(Deadline::none(), |cap| Deadline::after(begun, cap));
        let mut request =
            subject.guard(call).request().priority(call.priority).cost(subject.cost).deadline(cap);
        if !call.safe {
            request = request.once();
        }
        let judge = |verdict: &Result<Verdict, Infallible>| verdict.unwrap_or_else(|never| match never {});
        let guarded = request.call_judged(judge, |attempt| self.attempt(attempt));
        let ended = if call.fate == Fate::Left {
            tokio::select! {
                biased;
                ended = guarded => Some(ended),
                () = world.clock.sleep(call.elapsed) => None,
            }
        } else {
            Some(guarded.await)
        };
        let mut took = world.clock.now().saturating_duration_since(begun);
        let mut fate = ended.map_or(Fate::Left, fate);
        if fate == Fate::Succeeded && self.last.get() && !call.fate.is_answered() {
            // The provider had done its part then, too: what came after it comes again.
            fate = call.fate;
        }
        if fate.is_answered() && self.last.get() {
            took += after_the_answer(call);
        }
        subject.whole.figures.borrow_mut().simulated(call, &self.turn, fate, took);
    }

    async fn attempt(&self, attempt: Attempt) -> Result<Verdict, Infallible> {
        let Self { world, subject, call, turn, last } = self;
        let now = world.clock.elapsed();
        let given = world.provider.answer(call, turn, world.journal.begins(), now);
        subject.sent(now);
        {
            let mut figures = subject.whole.figures.borrow_mut();
            figures.assumed += u64::from(given.assumed);
            figures.simulated.attempts += 1;
            figures.simulated.hedges += u64::from(attempt.hedge);
            figures.simulated.retries += u64::from(attempt.number > 1 && !attempt.hedge);
        }
        world.clock.sleep(given.took).await;
        if matches!(given.answer.outcome, Outcome::Throttled { .. }) {
            let mut figures = subject.whole.figures.borrow_mut();
            figures.simulated.throttled += 1;
            figures.throttled_provoked += u64::from(given.assumed);
        }
        last.set(given.last);
        subject.learn(&given.answer, world.clock.now());
        Ok(subject.verdict(call, &given.answer))
    }
}

fn fate(ended: Result<Verdict, GuardError<Infallible>>) -> Fate {
    match ended {
        Ok(verdict) => match verdict.outcome {
            Outcome::Success => Fate::Succeeded,
            Outcome::Rejected => Fate::Rejected,
            _ if verdict.timed_out => Fate::TimedOut,
            Outcome::Cancelled => Fate::Left,
            _ => Fate::Failed,
        },
        Err(GuardError::CircuitOpen(_)) => Fate::CircuitOpen,
        Err(GuardError::Overloaded(_)) => Fate::Overloaded,
        Err(GuardError::Limited(_)) => Fate::RateLimited,
        Err(GuardError::Timeout { .. }) => Fate::TimedOut,
        Err(GuardError::Failed(never)) => match never {},
    }
}

/// What the call took beyond its last attempt: mapping, and the answer's body on its way to the caller.
fn after_the_answer(call: &Call) -> Duration {
    let judged = call.answers.last().map(|answer: &Rc<Answer>| answer.end());
    judged.map_or(Duration::ZERO, |judged| call.elapsed.saturating_sub(judged))
}
