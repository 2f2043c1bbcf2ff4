//! The breaker under loom: every way in which two or three threads can get in between each other.
//!
//! `cargo test -p bascule-resilience --features loom --test loom_breaker`. The breaker's locks and atomics are loom's
//! there; time stands still unless a test moves it. Three threads are explored with at most three preemptions each run,
//! which is where such errors live; two threads without any bound.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bascule_resilience::{Breaker, BreakerConfig, State, Trip};
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

const QUICK: Duration = Duration::from_millis(1);
const RESET: Duration = Duration::from_secs(30);
const SOME: f64 = 0.5;

fn some(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

/// Trips on the first failure and closes after so many successful probes.
fn touchy(probes: u32, successes: u32) -> BreakerConfig {
    BreakerConfig {
        trip: Trip::Consecutive { failures: some(1) },
        reset_after: RESET,
        half_open_probes: some(probes),
        half_open_successes: some(successes),
        ..BreakerConfig::default()
    }
}

fn half() -> BreakerConfig {
    let trip = Trip::Rate { rate: 0.5, min_calls: some(2), window: Duration::from_secs(60) };
    BreakerConfig { trip, ..BreakerConfig::default() }
}

fn breaker(config: BreakerConfig) -> Arc<Breaker> {
    Breaker::new(config, |_| ())
}

fn fail(breaker: &Breaker, now: Instant) {
    if let Ok(permit) = breaker.enter(now, SOME) {
        permit.failure(now, QUICK, SOME);
    }
}

fn succeed(breaker: &Breaker, now: Instant) {
    if let Ok(permit) = breaker.enter(now, SOME) {
        permit.success(now, QUICK, SOME);
    }
}

fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Probes that are out at the same time, as those see it that hold them.
struct Out {
    probes: AtomicU32,
    max: u32,
}

impl Out {
    fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { probes: AtomicU32::new(0), max })
    }

    fn came(&self) {
        let before = self.probes.fetch_add(1, Ordering::SeqCst);
        assert!(before < self.max, "more probes out than allowed");
    }

    fn goes(&self) {
        self.probes.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn no_more_probes_go_out_than_allowed_and_none_is_lost() {
    for (probes, preemptions) in [(1, 3), (2, 2)] {
        bounded(preemptions, move || {
            let base = Instant::now();
            // So many successes that none of the three calls closes the circuit: only probes pass.
            let breaker = breaker(touchy(probes, 9));
            fail(&breaker, base);
            let (due, out) = (base + RESET, Out::new(probes));
            let threads: Vec<_> = [true, false]
                .into_iter()
                .map(|reports| {
                    let (breaker, out) = (Arc::clone(&breaker), Arc::clone(&out));
                    thread::spawn(move || {
                        if let Ok(permit) = breaker.enter(due, SOME) {
                            assert!(permit.is_probe());
                            out.came();
                            out.goes();
                            if reports {
                                permit.success(due, QUICK, SOME);
                            } else {
                                drop(permit);
                            }
                        }
                    })
                })
                .collect();
            if let Ok(permit) = breaker.enter(due, SOME) {
                out.came();
                out.goes();
                permit.neutral(due);
            }
            for thread in threads {
                thread.join().unwrap();
            }
            let seen = breaker.snapshot(due);
            assert_eq!((seen.state, seen.probes_out), (State::HalfOpen, 0));
            assert!(breaker.check(due).is_ok(), "there is room for the next probe");
        });
    }
}

#[test]
fn a_probe_that_fails_opens_the_circuit_for_all() {
    bounded(3, || {
        let base = Instant::now();
        let breaker = breaker(touchy(2, 2));
        fail(&breaker, base);
        let due = base + RESET;
        let probes = [breaker.acquire(due, SOME).unwrap(), breaker.acquire(due, SOME).unwrap()];
        let [good, bad] = probes;
        let one = thread::spawn(move || {
            good.success(due, QUICK, SOME);
        });
        let other = thread::spawn(move || {
            bad.failure(due, QUICK, SOME);
        });
        // Whoever looks in between may be refused, or get the place that the good one has left.
        succeed(&breaker, due);
        one.join().unwrap();
        other.join().unwrap();
        // The good one and the one in between may have closed it before the bad one came, which then is an old one.
        let seen = breaker.snapshot(due);
        match seen.state {
            State::Open => assert!(breaker.check(due).is_err()),
            State::Closed => assert!(breaker.check(due).is_ok() && seen.failures == 0),
            State::HalfOpen => panic!("the bad probe went unheard: {seen:?}"),
        }
        assert_eq!(seen.probes_out, 0);
    });
}

#[test]
fn outcomes_of_an_older_generation_move_nothing() {
    bounded(3, || {
        let base = Instant::now();
        let breaker = breaker(touchy(1, 1));
        let (good, bad) = (breaker.acquire(base, SOME).unwrap(), breaker.acquire(base, SOME).unwrap());
        fail(&breaker, base);
        let due = base + RESET;
        let one = thread::spawn(move || {
            good.success(due, QUICK, SOME).late_failure(due, SOME);
        });
        let other = thread::spawn(move || {
            bad.failure(due, QUICK, SOME);
        });
        // Meanwhile it recovers, undisturbed.
        let probe = breaker.enter(due, SOME).unwrap();
        assert!(probe.is_probe());
        probe.success(due, QUICK, SOME);
        assert_eq!(breaker.state(due), State::Closed);
        one.join().unwrap();
        other.join().unwrap();
        let seen = breaker.snapshot(due);
        assert_eq!((seen.state, seen.failures), (State::Closed, 0));
    });
}

#[test]
fn a_trip_shuts_the_gate_before_it_is_settled() {
    loom::model(|| {
        let now = Instant::now();
        let breaker = breaker(touchy(1, 1));
        let other = Arc::clone(&breaker);
        let other = thread::spawn(move || {
            succeed(&other, now);
            drop(other.enter(now, SOME));
        });
        fail(&breaker, now);
        assert!(breaker.check(now).is_err(), "nobody but this thread's failure counts, and it has tripped");
        other.join().unwrap();
        assert!(breaker.check(now).is_err());
        assert_eq!(breaker.state(now), State::Open);
    });
}

#[test]
fn a_rate_that_is_reached_by_two_threads_together_trips() {
    loom::model(|| {
        let now = Instant::now();
        let breaker = breaker(half());
        let other = Arc::clone(&breaker);
        let other = thread::spawn(move || succeed(&other, now));
        fail(&breaker, now);
        other.join().unwrap();
        assert_eq!(breaker.state(now), State::Open, "one of two has failed, whichever came first");
    });
}

#[test]
fn a_success_that_a_judgement_has_just_missed_has_it_judge_again() {
    loom::model(|| {
        let base = Instant::now();
        let now = base + Duration::from_secs(61);
        let trip = Trip::Rate { rate: 0.3, min_calls: some(3), window: Duration::from_secs(60) };
        let breaker = breaker(BreakerConfig { trip, ..BreakerConfig::default() });
        // This thread has seen all failures slide out, and has been judged in the present part of the window.
        fail(&breaker, base);
        succeed(&breaker, now);
        let other = Arc::clone(&breaker);
        let other = thread::spawn(move || fail(&other, now));
        succeed(&breaker, now);
        other.join().unwrap();
        assert_eq!(breaker.state(now), State::Open, "one of three has failed");
    });
}

#[test]
fn a_success_on_its_way_is_not_counted_in_a_newer_generation() {
    loom::model(|| {
        let now = Instant::now();
        let breaker = breaker(half());
        let old = breaker.acquire(now, SOME).unwrap();
        let other = thread::spawn(move || {
            old.success(now, QUICK, SOME);
        });
        breaker.reset(now);
        fail(&breaker, now);
        other.join().unwrap();
        let seen = breaker.snapshot(now);
        assert_eq!((seen.state, seen.failures), (State::Closed, 1), "one call is too few to judge");
    });
}

#[test]
fn a_whole_round_leaves_a_circuit_that_works() {
    bounded(2, || {
        let now = Instant::now();
        // Nothing to wait for: the call after a trip is a probe.
        let breaker = breaker(BreakerConfig { reset_after: Duration::ZERO, ..touchy(1, 1) });
        let out = Out::new(1);
        let threads: Vec<_> = [true, false]
            .into_iter()
            .map(|good| {
                let (breaker, out) = (Arc::clone(&breaker), Arc::clone(&out));
                thread::spawn(move || {
                    for _ in 0..2 {
                        let Ok(permit) = breaker.enter(now, SOME) else { continue };
                        if permit.is_probe() {
                            out.came();
                            out.goes();
                        }
                        if good {
                            permit.success(now, QUICK, SOME);
                        } else {
                            permit.failure(now, QUICK, SOME);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(breaker.snapshot(now).probes_out, 0);
        let next = breaker.enter(now, SOME).expect("no probe is out");
        assert_eq!(next.is_probe(), breaker.state(now) == State::HalfOpen);
        next.success(now, QUICK, SOME);
        assert_eq!(breaker.state(now), State::Closed);
        assert!(!breaker.enter(now, SOME).expect("closed").is_probe());
    });
}
