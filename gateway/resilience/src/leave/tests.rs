//! What each refusal is, what it costs, and that nothing is asked of the clock where nothing is waited for.

use std::cell::Cell;
use std::num::{NonZeroU32, NonZeroUsize};
use std::rc::Rc;

use super::*;
use crate::breaker::{BreakerConfig, Trip};
use crate::bulkhead::BulkheadConfig;
use crate::clock::Sleep;
use crate::rate_limit::{LimitedBy, RateLimiterConfig, RateWindow};
use crate::retry::BudgetConfig;
use crate::simulation::{Simulation, VirtualClock};

const SECOND: Duration = Duration::from_secs(1);
const UNIT: f64 = 0.5;

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// One token a second, in bursts of `burst`.
fn limiter(burst: u32, now: Instant) -> Arc<RateLimiter> {
    let window = RateWindow { requests: count(1), window: SECOND, burst: count(burst) };
    RateLimiter::new(RateLimiterConfig { windows: vec![window], reserve: 0.0 }, now)
}

/// Opens at the first failure, for so long.
fn breaker_of(reset_after: Duration) -> Arc<Breaker> {
    let trip = Trip::Consecutive { failures: count(1) };
    Breaker::new(BreakerConfig { trip, reset_after, ..BreakerConfig::default() }, |_| ())
}

fn breaker() -> Arc<Breaker> {
    breaker_of(60 * SECOND)
}

fn trip(breaker: &Breaker, now: Instant) {
    breaker.enter(now, UNIT).unwrap().failure(now, SECOND, UNIT);
}

fn left(limiter: &RateLimiter, now: Instant) -> u64 {
    limiter.remaining(now).unwrap()
}

/// Leave from these, at most `max_wait` for each.
fn leave(
    limiters: &[Arc<RateLimiter>],
    max_wait: Duration,
) -> Leave<impl Iterator<Item = (&RateLimiter, Duration)> + Clone> {
    let limits = limiters.iter().map(move |limiter| (&**limiter, max_wait));
    Leave { limits, demand: Demand::default() }
}

/// A clock that nobody may ask.
struct Unread;

impl Clock for Unread {
    fn now(&self) -> Instant {
        panic!("the clock was read")
    }

    fn sleep_until(&self, _: Instant) -> Sleep {
        panic!("somebody slept")
    }
}

/// A call that asks for leave in virtual time, and what it was told after how long.
struct Call {
    limiters: Vec<Arc<RateLimiter>>,
    breaker: Arc<Breaker>,
    max_wait: Duration,
    deadline: Deadline,
    times: HealthStats,
}

type Told = (Result<(), AttemptRefused>, Duration);

impl Call {
    fn new(limiters: &[&Arc<RateLimiter>]) -> Self {
        let limiters = limiters.iter().map(|limiter| Arc::clone(limiter)).collect();
        let (breaker, times) = (breaker(), HealthStats::new());
        Self { limiters, breaker, max_wait: 60 * SECOND, deadline: Deadline::none(), times }
    }

    /// Asks, while `meanwhile` goes on.
    fn told(
        self,
        mut simulation: Simulation,
        meanwhile: impl AsyncFnOnce(VirtualClock, &Breaker) + 'static,
    ) -> Told {
        let told = Rc::new(Cell::new(None));
        let (clock, tell, breaker) = (simulation.clock(), Rc::clone(&told), Arc::clone(&self.breaker));
        simulation.spawn(async move {
            let now = clock.now();
            let permit = self.breaker.enter(now, UNIT).unwrap();
            let leave = leave(&self.limiters, self.max_wait);
            let said = leave.for_attempt(&clock, now, Some(&permit), self.deadline, &self.times).await;
            tell.set(Some((said, clock.now() - now)));
        });
        let clock = simulation.clock();
        simulation.spawn(async move { meanwhile(clock, &breaker).await });
        assert_eq!(simulation.run(), 0);
        told.take().unwrap()
    }
}

fn start() -> (Simulation, Instant) {
    let now = Instant::now();
    (Simulation::new(now), now)
}

async fn nothing(_: VirtualClock, _: &Breaker) {}

#[tokio::test]
async fn who_need_not_wait_is_granted_without_a_look_at_the_clock() {
    let now = Instant::now();
    let limiters = [limiter(2, now), limiter(1, now)];
    let (circuit, times) = (breaker(), HealthStats::new());
    let permit = circuit.enter(now, UNIT).unwrap();
    let leave = leave(&limiters, 60 * SECOND);
    let asked = leave.for_attempt(&Unread, now, Some(&permit), Deadline::after(now, SECOND), &times);
    assert_eq!(asked.await, Ok(()));
    assert_eq!(limiters.each_ref().map(|limiter| left(limiter, now)), [1, 0]);
}

#[test]
fn an_attempt_waits_for_a_token_of_each_limit() {
    let (simulation, now) = start();
    let (one, other) = (limiter(1, now), limiter(1, now));
    one.try_acquire(now, Demand::default()).unwrap();
    other.try_acquire(now + SECOND / 2, Demand::default()).unwrap();
    assert_eq!(Call::new(&[&one, &other]).told(simulation, nothing), (Ok(()), SECOND + SECOND / 2));
}

#[tokio::test]
async fn what_one_limit_is_sure_to_refuse_costs_nothing_of_the_others_and_no_look_at_the_clock() {
    let now = Instant::now();
    let limiters = [limiter(5, now), limiter(5, now)];
    let times = HealthStats::new();
    let limited = Limited { retry_after: 10 * SECOND, by: LimitedBy::Hold };
    for held in [0, 1] {
        limiters[held].hold_until(now + 10 * SECOND, now);
        let leave = leave(&limiters, 9 * SECOND);
        let asked = leave.for_attempt::<&Breaker>(&Unread, now, None, Deadline::none(), &times).await;
        // Those behind the first are looked at before it gives anything.
        assert_eq!(asked, Err(AttemptRefused::Limited { index: held, limited }));
    }
    let after = now + 10 * SECOND;
    assert_eq!(limiters.each_ref().map(|limiter| left(limiter, after)), [5, 5]);
}

#[test]
fn a_wait_that_becomes_longer_names_its_limit() {
    let (simulation, now) = start();
    let (one, other) = (limiter(1, now), limiter(1, now));
    other.try_acquire(now, Demand::default()).unwrap();
    let mut call = Call::new(&[&one, &other]);
    call.max_wait = 5 * SECOND;
    let holds = async move |clock: VirtualClock, _: &Breaker| {
        clock.sleep(SECOND / 2).await;
        other.hold_until(clock.now() + 30 * SECOND, clock.now());
    };
    let (said, after) = call.told(simulation, holds);
    let limited = Limited { retry_after: 30 * SECOND, by: LimitedBy::Hold };
    assert_eq!((said, after), (Err(AttemptRefused::Limited { index: 1, limited }), SECOND / 2));
}

#[test]
fn a_circuit_that_opens_ends_the_wait_and_takes_no_token() {
    let (simulation, now) = start();
    let one = limiter(1, now);
    one.try_acquire(now, Demand::default()).unwrap();
    let trips = async |clock: VirtualClock, breaker: &Breaker| {
        clock.sleep(SECOND / 2).await;
        trip(breaker, clock.now());
    };
    let told = Call::new(&[&one]).told(simulation, trips);
    let open = Refused { retry_after: 60 * SECOND, state: State::Open };
    assert_eq!(told, (Err(open.into()), SECOND / 2));
    assert_eq!(left(&one, now + SECOND), 1);
    assert_eq!(one.waiting(), 0);
}

#[test]
fn who_finds_the_circuit_half_open_after_a_wait_leaves_its_probes_to_others() {
    let (simulation, now) = start();
    let one = limiter(1, now);
    one.try_acquire(now, Demand::default()).unwrap();
    let mut call = Call::new(&[&one]);
    // Due for a probe as soon as it opens: there is no opening to be heard.
    call.breaker = breaker_of(Duration::ZERO);
    let probes = async |clock: VirtualClock, breaker: &Breaker| {
        clock.sleep(SECOND / 2).await;
        trip(breaker, clock.now());
        drop(breaker.enter(clock.now(), UNIT).unwrap());
    };
    let half_open = Refused { retry_after: Duration::ZERO, state: State::HalfOpen };
    assert_eq!(call.told(simulation, probes), (Err(half_open.into()), SECOND));
}

#[test]
fn a_circuit_that_has_closed_again_lets_the_wait_go_on() {
    let (simulation, now) = start();
    let one = limiter(1, now);
    one.try_acquire(now, Demand::default()).unwrap();
    let flickers = async |clock: VirtualClock, breaker: &Breaker| {
        clock.sleep(SECOND / 2).await;
        trip(breaker, clock.now());
        breaker.reset(clock.now());
    };
    assert_eq!(Call::new(&[&one]).told(simulation, flickers), (Ok(()), SECOND));
    assert_eq!(left(&one, now + SECOND), 0, "it has its token");
}

#[test]
fn a_wait_that_leaves_too_little_time_for_an_attempt_is_for_nothing() {
    let (simulation, now) = start();
    let one = limiter(1, now);
    let with = |typical| {
        let mut call = Call::new(&[&one]);
        call.deadline = Deadline::after(now, 3 * SECOND);
        (0..20).for_each(|_| call.times.record(now, true, typical));
        call
    };
    // Nothing was waited for: whoever has the time may try it.
    assert_eq!(with(30 * SECOND).told(simulation, nothing), (Ok(()), Duration::ZERO));
    let told = with(30 * SECOND).told(Simulation::new(now), nothing);
    assert_eq!(told, (Err(AttemptRefused::TooLate), SECOND));
    let told = with(SECOND / 10).told(Simulation::new(now), nothing);
    assert_eq!(told, (Ok(()), 2 * SECOND));
}

#[test]
fn a_hedge_is_refused_by_each_and_then_costs_nothing_of_the_others() {
    let now = Instant::now();
    let limiters = [limiter(1, now), limiter(1, now)];
    let places = BulkheadConfig { max: NonZeroUsize::MIN, max_waiting: 0, ..BulkheadConfig::default() };
    let (circuit, bulkhead) = (breaker(), Bulkhead::new(places));
    let once = BudgetConfig { ratio: 0.0, floor: 1, window: 10 * SECOND };
    let (budget, spent) =
        (RetryBudget::new(once.clone()), RetryBudget::new(BudgetConfig { floor: 0, ..once }));
    let ask = |now, budget| {
        leave(&limiters, 60 * SECOND).for_hedge(now, Some(&*circuit), Some(&bulkhead), Some(budget))
    };

    circuit.force_open(now);
    assert_eq!(ask(now, &budget).unwrap_err(), HedgeRefused::CircuitNotClosed(State::Open));
    circuit.reset(now);
    limiters[1].hold_until(now + SECOND, now);
    let limited = Limited { retry_after: SECOND, by: LimitedBy::Hold };
    assert_eq!(ask(now, &budget).unwrap_err(), HedgeRefused::Limited { index: 1, limited }, "it never waits");
    let now = now + SECOND;
    let taken = bulkhead.try_acquire().unwrap();
    assert_eq!(ask(now, &budget).unwrap_err(), HedgeRefused::NoPlace);
    drop(taken);
    assert_eq!(ask(now, &spent).unwrap_err(), HedgeRefused::BudgetSpent);

    assert_eq!((bulkhead.in_flight(), limiters.each_ref().map(|limiter| left(limiter, now))), (0, [1, 1]));
    let place = ask(now, &budget).unwrap();
    assert!(place.is_some());
    assert_eq!((bulkhead.in_flight(), limiters.each_ref().map(|limiter| left(limiter, now))), (1, [0, 0]));
    assert!(!budget.try_retry(now), "it was paid for");
}

#[test]
fn what_is_absent_has_nothing_against_a_hedge() {
    assert!(leave(&[], SECOND).for_hedge(Instant::now(), None, None, None).unwrap().is_none());
}
