//! The rules of the breaker, one test each. The instants are virtual: one base, and spans added to it.

mod half_open;

use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::Barrier;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_millis(5);

fn some(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn config(failures: u32) -> BreakerConfig {
    let trip = Trip::Count { failures: some(failures), window: 60 * SECOND };
    BreakerConfig { trip, ..BreakerConfig::default() }
}

fn breaker(config: BreakerConfig) -> (Arc<Breaker>, Instant) {
    (Breaker::new(config, |_| ()), Instant::now())
}

fn fail(breaker: &Arc<Breaker>, now: Instant) -> Settled {
    breaker.acquire(now, 0.5).unwrap().failure(now, QUICK, 0.5)
}

fn succeed(breaker: &Arc<Breaker>, now: Instant) -> Settled {
    breaker.acquire(now, 0.5).unwrap().success(now, QUICK, 0.5)
}

/// A breaker that has just tripped.
fn tripped(config: BreakerConfig) -> (Arc<Breaker>, Instant) {
    let (breaker, now) = breaker(config);
    while breaker.state(now) == State::Closed {
        fail(&breaker, now);
    }
    (breaker, now)
}

#[test]
fn defaults_are_five_failures_in_a_minute_thirty_seconds_and_three_successes() {
    let (breaker, now) = breaker(BreakerConfig::default());
    for _ in 0..4 {
        fail(&breaker, now);
    }
    assert_eq!(breaker.state(now), State::Closed);
    fail(&breaker, now);
    assert_eq!(breaker.state(now), State::Open);
    assert_eq!(breaker.check(now), Err(Refused { retry_after: 30 * SECOND, state: State::Open }));
    let due = now + 30 * SECOND;
    for _ in 0..3 {
        assert_ne!(breaker.state(due), State::Closed);
        succeed(&breaker, due);
    }
    assert_eq!(breaker.state(due), State::Closed);
}

#[test]
fn the_circuit_recovers_after_reset_after() {
    let (breaker, now) = tripped(config(1));
    let almost = now + 30 * SECOND - Duration::from_nanos(1);
    assert!(breaker.acquire(almost, 0.5).is_err());
    assert_eq!(breaker.state(almost), State::Open);
    assert_eq!(breaker.check(now + 30 * SECOND), Ok(()));
    assert_eq!(breaker.state(now + 30 * SECOND), State::HalfOpen, "the next call is a probe");
    assert_eq!(breaker.snapshot(now + 30 * SECOND).generation, 1, "but nothing has changed yet");
    assert!(breaker.acquire(now + 30 * SECOND, 0.5).unwrap().is_probe());
    assert_eq!(breaker.state(now + 30 * SECOND), State::HalfOpen);
    assert_eq!(breaker.snapshot(now + 30 * SECOND).generation, 2);
}

#[test]
fn half_open_admits_only_its_probes_under_concurrency() {
    for probes in [1, 3] {
        let (breaker, now) = tripped(BreakerConfig { half_open_probes: some(probes), ..config(1) });
        let due = now + 30 * SECOND;
        let barrier = Barrier::new(16);
        let admitted: Vec<Option<Permit>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        breaker.acquire(due, 0.5).ok()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(admitted.iter().flatten().count(), probes as usize);
        let refused = breaker.acquire(due, 0.5).unwrap_err();
        assert_eq!(refused, Refused { retry_after: SECOND, state: State::HalfOpen });
        assert_eq!(breaker.check(due), Err(refused));
    }
}

#[test]
fn a_dropped_probe_is_given_back() {
    let (breaker, now) = tripped(config(1));
    let due = now + 30 * SECOND;
    for _ in 0..100 {
        drop(breaker.acquire(due, 0.5).unwrap());
    }
    assert_eq!(breaker.state(due), State::HalfOpen);
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let _permit = breaker.acquire(due, 0.5).unwrap();
        std::panic::resume_unwind(Box::new("the call panicked"));
    }));
    assert!(panicked.is_err());
    assert!(breaker.check(due).is_ok());
}

#[test]
fn neutral_outcomes_release_a_probe_and_count_nothing() {
    let (breaker, now) = tripped(config(2));
    let due = now + 30 * SECOND;
    for _ in 0..100 {
        breaker.acquire(due, 0.5).unwrap().neutral(due);
    }
    assert_eq!(breaker.state(due), State::HalfOpen, "neither closed nor opened again");
    breaker.reset(due);
    let before = breaker.snapshot(due);
    for _ in 0..100 {
        breaker.acquire(due, 0.5).unwrap().neutral(due);
    }
    assert_eq!(breaker.snapshot(due), before);
}

#[test]
fn late_outcomes_of_an_older_generation_move_nothing() {
    let (breaker, now) = breaker(BreakerConfig { half_open_successes: some(1), ..config(1) });
    let old: Vec<Permit> = (0..4).map(|_| breaker.acquire(now, 0.5).unwrap()).collect();
    fail(&breaker, now);
    let mut old = old.into_iter();
    old.next().unwrap().success(now, QUICK, 0.5);
    assert_eq!(breaker.state(now), State::Open, "a late success does not close");

    let due = now + 30 * SECOND;
    let probe = breaker.acquire(due, 0.5).unwrap();
    let before = breaker.snapshot(due);
    old.next().unwrap().success(due, QUICK, 0.5);
    old.next().unwrap().failure(due, QUICK, 0.5);
    drop(old.next().unwrap());
    assert_eq!(breaker.snapshot(due), before, "half-open listens to its probes only");
    assert!(breaker.acquire(due, 0.5).is_err(), "and no foreign permit gives back a probe");

    probe.success(due, QUICK, 0.5);
    assert_eq!(breaker.state(due), State::Closed);
}

#[test]
fn any_failed_probe_opens_again() {
    let (breaker, now) = tripped(BreakerConfig { half_open_probes: some(3), ..config(1) });
    let due = now + 30 * SECOND;
    succeed(&breaker, due);
    succeed(&breaker, due);
    fail(&breaker, due);
    assert_eq!(breaker.state(due), State::Open);
    assert_eq!(breaker.check(due), Err(Refused { retry_after: 30 * SECOND, state: State::Open }));
}

#[test]
fn the_count_window_really_slides() {
    let (breaker, now) = breaker(config(3));
    for at in [0, 40, 80, 120, 160] {
        fail(&breaker, now + at * SECOND);
    }
    assert_eq!(breaker.state(now + 160 * SECOND), State::Closed, "never three within a minute");
    assert_eq!(breaker.snapshot(now + 160 * SECOND).failures, 2);
    fail(&breaker, now + 161 * SECOND);
    assert_eq!(breaker.state(now + 161 * SECOND), State::Open);
}

#[test]
fn successes_in_between_do_not_hide_failures_within_the_window() {
    let (breaker, now) = breaker(config(3));
    for _ in 0..3 {
        succeed(&breaker, now);
        fail(&breaker, now);
    }
    assert_eq!(breaker.state(now), State::Open);
}

#[test]
fn consecutive_counts_an_unbroken_run() {
    let trip = Trip::Consecutive { failures: some(3) };
    let (breaker, now) = breaker(BreakerConfig { trip, ..BreakerConfig::default() });
    for _ in 0..10 {
        fail(&breaker, now);
        fail(&breaker, now + 3600 * SECOND);
        succeed(&breaker, now);
    }
    assert_eq!(breaker.state(now), State::Closed);
    for _ in 0..3 {
        fail(&breaker, now);
    }
    assert_eq!(breaker.state(now), State::Open);
}

#[test]
fn a_rate_trips_only_over_enough_calls() {
    let trip = Trip::Rate { rate: 0.5, min_calls: some(20), window: 60 * SECOND };
    let (breaker, now) = breaker(BreakerConfig { trip, ..BreakerConfig::default() });
    for _ in 0..19 {
        fail(&breaker, now);
    }
    assert_eq!(breaker.state(now), State::Closed);
    for _ in 0..20 {
        succeed(&breaker, now + 61 * SECOND);
    }
    for _ in 0..19 {
        fail(&breaker, now + 61 * SECOND);
    }
    assert_eq!(breaker.state(now), State::Closed, "19 of 39, the earlier ones have slid out");
    fail(&breaker, now + 61 * SECOND);
    assert_eq!(breaker.state(now), State::Open);
}

#[test]
fn a_success_trips_when_it_is_the_call_that_was_missing_or_lets_old_ones_fall_out() {
    let trip = Trip::Rate { rate: 0.5, min_calls: some(2), window: 60 * SECOND };
    let (missing, now) = breaker(BreakerConfig { trip: trip.clone(), ..BreakerConfig::default() });
    fail(&missing, now);
    succeed(&missing, now);
    assert_eq!(missing.state(now), State::Open, "one of two");

    let (sliding, now) = breaker(BreakerConfig { trip, ..BreakerConfig::default() });
    succeed(&sliding, now);
    succeed(&sliding, now);
    fail(&sliding, now + 30 * SECOND);
    assert_eq!(sliding.state(now + 30 * SECOND), State::Closed, "one of three");
    succeed(&sliding, now + 61 * SECOND);
    assert_eq!(sliding.state(now + 61 * SECOND), State::Open, "one of two");
}

#[test]
fn a_rate_of_nothing_does_not_trip_on_successes() {
    for rate in [0.0, -1.0] {
        let trip = Trip::Rate { rate, min_calls: some(1), window: 60 * SECOND };
        let (breaker, now) = breaker(BreakerConfig { trip, ..BreakerConfig::default() });
        succeed(&breaker, now);
        assert_eq!(breaker.state(now), State::Closed);
        fail(&breaker, now);
        assert_eq!(breaker.state(now), State::Open);
    }
}

#[test]
fn slow_calls_trip_even_when_they_succeed_and_a_slow_probe_opens_again() {
    let slow_call = Some(SlowCall { threshold: SECOND, rate: 0.8, min_calls: some(10) });
    let (breaker, now) = breaker(BreakerConfig { slow_call, ..config(5) });
    let call = |now, elapsed| breaker.acquire(now, 0.5).unwrap().success(now, elapsed, 0.5);
    for n in 0..10 {
        assert_eq!(breaker.state(now), State::Closed);
        call(now, if n < 2 { SECOND } else { 2 * SECOND });
    }
    assert_eq!(breaker.state(now), State::Open);
    let due = now + 30 * SECOND;
    call(due, 2 * SECOND);
    assert_eq!(breaker.state(due), State::Open);
}

#[test]
fn a_late_failure_counts_once_within_its_generation_only() {
    let (breaker, now) = breaker(config(3));
    succeed(&breaker, now).late_failure(now, 0.5);
    assert_eq!(breaker.snapshot(now).failures, 1);
    fail(&breaker, now).late_failure(now, 0.5);
    assert_eq!(breaker.snapshot(now).failures, 2, "a call that failed has counted already");
    let from_before = succeed(&breaker, now);
    breaker.acquire(now, 0.5).unwrap().neutral(now).late_failure(now, 0.5);
    assert_eq!(breaker.state(now), State::Open);

    let due = now + 30 * SECOND;
    let probe = succeed(&breaker, due);
    from_before.late_failure(due, 0.5);
    assert_eq!(breaker.state(due), State::HalfOpen);
    probe.late_failure(due, 0.5);
    assert_eq!(breaker.state(due), State::Open, "the probe's body broke after all");
}

#[test]
fn half_open_that_lasts_too_long_opens_again() {
    let config = BreakerConfig { max_half_open: Some(10 * SECOND), ..config(1) };
    let (breaker, now) = tripped(config);
    let due = now + 30 * SECOND;
    let stuck = breaker.acquire(due, 0.5).unwrap();
    assert!(breaker.acquire(due + 9 * SECOND, 0.5).is_err());
    assert_eq!(breaker.state(due), State::HalfOpen);
    let late = due + 10 * SECOND;
    assert_eq!(breaker.state(late), State::Open, "also when nobody has called meanwhile");
    let refused = Refused { retry_after: 30 * SECOND, state: State::Open };
    assert_eq!(breaker.check(late), Err(refused));
    assert_eq!(breaker.acquire(late, 0.5).unwrap_err(), refused);
    stuck.success(late, QUICK, 0.5);
    assert_eq!(breaker.state(late), State::Open);
}

#[test]
fn the_reopening_schedule_shows_its_phases_and_ends_in_a_hold() {
    let reopen = Reopen {
        fixed: 1,
        interval: 60 * SECOND,
        exponential: 2,
        multiplier: 2.0,
        max_interval: 3600 * SECOND,
        jitter: 0.0,
        then: AfterReopen::Hold,
    };
    let (breaker, mut now) = tripped(BreakerConfig { reopen: Some(reopen), ..config(1) });
    let mut seen = Vec::new();
    for _ in 0..9 {
        let snapshot = breaker.snapshot(now);
        let wait = snapshot.next_probe_at.map(|at| (at - now).as_secs());
        seen.push((snapshot.retry_phase.unwrap().as_str(), wait));
        let Some(due) = snapshot.next_probe_at else { break };
        now = due;
        fail(&breaker, now);
    }
    let expected = [
        ("fixed", Some(30)),
        ("fixed", Some(60)),
        ("exponential", Some(120)),
        ("exponential", Some(240)),
        ("held", None),
    ];
    assert_eq!(seen, expected);
    let forever = now + 365 * 24 * 3600 * SECOND;
    assert_eq!(breaker.check(forever), Err(Refused { retry_after: 30 * SECOND, state: State::Open }));
    breaker.auto(forever);
    assert_eq!(breaker.state(forever), State::HalfOpen, "an operator lets it go");
    fail(&breaker, forever);
    assert_eq!(breaker.snapshot(forever).retry_phase, Some(RetryPhase::Fixed), "from the beginning");
}

#[test]
fn a_recovery_starts_the_reopening_schedule_anew() {
    let reopen = Reopen {
        fixed: 0,
        interval: 60 * SECOND,
        exponential: 9,
        multiplier: 2.0,
        max_interval: 3600 * SECOND,
        jitter: 0.0,
        then: AfterReopen::Cap,
    };
    let (breaker, now) =
        tripped(BreakerConfig { reopen: Some(reopen), half_open_successes: some(1), ..config(1) });
    let mut now = now + 30 * SECOND;
    fail(&breaker, now);
    now += 120 * SECOND;
    succeed(&breaker, now);
    assert_eq!(breaker.state(now), State::Closed);
    assert_eq!(breaker.snapshot(now).retry_phase, None);
    fail(&breaker, now);
    assert_eq!(breaker.check(now).unwrap_err().retry_after, 30 * SECOND);
}

#[test]
fn forced_open_refuses_until_it_is_released_to_half_open() {
    let (breaker, now) = breaker(config(1));
    breaker.force_open(now);
    let forever = now + 365 * 24 * 3600 * SECOND;
    assert_eq!(breaker.check(forever), Err(Refused { retry_after: 30 * SECOND, state: State::Open }));
    assert!(breaker.acquire(forever, 0.5).is_err());
    assert_eq!(breaker.snapshot(forever).mode, Mode::ForcedOpen);
    assert_eq!(breaker.snapshot(forever).next_probe_at, None);
    breaker.auto(forever);
    assert_eq!(breaker.state(forever), State::HalfOpen);
    for _ in 0..3 {
        succeed(&breaker, forever);
    }
    assert_eq!(breaker.state(forever), State::Closed);
}

#[test]
fn forced_closed_lets_all_pass_and_is_released_to_closed() {
    let (breaker, now) = tripped(config(2));
    breaker.force_closed(now);
    for _ in 0..50 {
        fail(&breaker, now);
    }
    assert_eq!(breaker.state(now), State::Closed);
    assert_eq!(breaker.snapshot(now).failures, 2, "shown up to the threshold");
    breaker.auto(now);
    assert_eq!((breaker.state(now), breaker.snapshot(now).failures), (State::Closed, 0));
    fail(&breaker, now);
    fail(&breaker, now);
    assert_eq!(breaker.state(now), State::Open);
}

#[test]
fn auto_leaves_a_circuit_alone_that_runs_by_itself() {
    let (breaker, now) = tripped(config(1));
    let before = breaker.snapshot(now);
    breaker.auto(now);
    assert_eq!(breaker.snapshot(now), before);
}

#[test]
fn reset_closes_clears_and_gives_up_a_mode_forced_by_hand() {
    let (breaker, now) = tripped(config(2));
    breaker.force_open(now);
    breaker.reset(now);
    let snapshot = breaker.snapshot(now);
    assert_eq!((snapshot.state, snapshot.mode, snapshot.failures), (State::Closed, Mode::Auto, 0));
    fail(&breaker, now);
    assert_eq!(breaker.state(now), State::Closed);
}

#[test]
fn a_mode_forced_by_configuration_holds_from_the_start_and_after_a_reset() {
    let (breaker, now) = breaker(BreakerConfig { mode: Mode::ForcedOpen, ..config(1) });
    assert!(breaker.check(now).is_err());
    breaker.reset(now);
    assert!(breaker.check(now).is_err());
    breaker.auto(now);
    assert_eq!((breaker.state(now), breaker.snapshot(now).mode), (State::HalfOpen, Mode::Auto));
}

#[test]
fn observe_never_refuses_but_reports_the_state_it_would_have() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let breaker = Breaker::new(BreakerConfig { mode: Mode::Observe, ..config(2) }, {
        let told = Arc::clone(&told);
        move |change| told.lock().push(change.to)
    });
    let now = Instant::now();
    for _ in 0..50 {
        fail(&breaker, now);
        assert_eq!(breaker.check(now), Ok(()));
    }
    assert_eq!(breaker.state(now), State::Open);
    let due = now + 30 * SECOND;
    let held: Vec<Permit> = (0..10).map(|_| breaker.acquire(due, 0.5).unwrap()).collect();
    assert_eq!(held.iter().filter(|permit| permit.is_probe()).count(), 1);
    drop(held);
    for _ in 0..3 {
        succeed(&breaker, due);
    }
    assert_eq!(*told.lock(), [State::Open, State::HalfOpen, State::Closed]);
}

#[test]
fn off_lets_all_pass_and_counts_nothing() {
    let (breaker, now) = breaker(BreakerConfig { mode: Mode::Off, ..config(1) });
    for _ in 0..50 {
        fail(&breaker, now).late_failure(now, 0.5);
    }
    let snapshot = breaker.snapshot(now);
    assert_eq!((snapshot.state, snapshot.failures, snapshot.last_failure), (State::Closed, 0, None));
    breaker.force_open(now);
    assert!(breaker.check(now).is_err());
    breaker.auto(now);
    assert_eq!(breaker.snapshot(now).mode, Mode::Off);
    assert_eq!(breaker.check(now), Ok(()));
}

#[test]
fn a_clock_that_stands_still_or_runs_backwards_never_panics() {
    let base = Instant::now() + 3600 * SECOND;
    let (breaker, _) = breaker(BreakerConfig { max_half_open: Some(SECOND), ..config(3) });
    for at in [3600, 10, 0, 3599, 1] {
        if let Ok(permit) = breaker.acquire(base - at * SECOND, 0.5) {
            permit.failure(base - 2 * at * SECOND / 3, Duration::ZERO, 0.5);
        }
    }
    assert_eq!(breaker.state(base), State::Open);
    let refused = breaker.check(base - 3600 * SECOND).unwrap_err();
    assert!(refused.retry_after <= 30 * SECOND, "the latest time seen counts");
}

#[test]
fn zeroes_and_huge_spans_never_panic() {
    for span in [Duration::ZERO, Duration::MAX] {
        let trip = Trip::Count { failures: some(1), window: span };
        let config =
            BreakerConfig { trip, reset_after: span, max_half_open: Some(span), ..BreakerConfig::default() };
        let (breaker, now) = tripped(config);
        let _ = (breaker.check(now), breaker.acquire(now, 0.5).map(drop), breaker.snapshot(now));
    }
}

#[test]
fn the_callback_is_told_every_change_in_order_and_may_use_the_breaker() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let slot: Arc<parking_lot::Mutex<Option<Arc<Breaker>>>> = Arc::default();
    let breaker = Breaker::new(config(1), {
        let (told, slot) = (Arc::clone(&told), Arc::clone(&slot));
        move |change| {
            told.lock().push((change.from, change.to, change.reason));
            let breaker = slot.lock().clone().unwrap();
            // Would block for ever, were the circuit's lock held; and changes the circuit from within.
            if breaker.state(change.at) == State::Open {
                breaker.force_closed(change.at);
            }
        }
    });
    *slot.lock() = Some(Arc::clone(&breaker));
    let now = Instant::now();
    fail(&breaker, now);
    let expected =
        [(State::Closed, State::Open, Reason::Tripped), (State::Open, State::Closed, Reason::ForcedClosed)];
    assert_eq!(*told.lock(), expected);
    *slot.lock() = None;
}

#[test]
fn a_panicking_callback_does_not_silence_later_changes() {
    let told = Arc::new(Mutex::new(0));
    let breaker = Breaker::new(config(1), {
        let told = Arc::clone(&told);
        move |_| {
            *told.lock() += 1;
            if *told.lock() == 1 {
                std::panic::resume_unwind(Box::new("callback"));
            }
        }
    });
    let now = Instant::now();
    let failing = std::panic::catch_unwind(AssertUnwindSafe(|| drop(fail(&breaker, now))));
    assert!(failing.is_err());
    breaker.reset(now);
    assert_eq!(*told.lock(), 2);
}

#[test]
fn transitions_from_many_threads_are_told_as_one_unbroken_chain() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let config = BreakerConfig { reset_after: Duration::ZERO, half_open_successes: some(1), ..config(1) };
    let breaker = Breaker::new(config, {
        let told = Arc::clone(&told);
        move |change| told.lock().push((change.from, change.to))
    });
    let now = Instant::now();
    // Per round no more changes than may wait for a callback: none is skipped, however the threads are scheduled.
    for _ in 0..100 {
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let breaker = &breaker;
                scope.spawn(move || {
                    for n in 0..8 {
                        match breaker.acquire(now, 0.5) {
                            Ok(permit) if (n + thread) % 3 == 0 => drop(permit.success(now, QUICK, 0.5)),
                            Ok(permit) => drop(permit.failure(now, QUICK, 0.5)),
                            Err(_) => std::thread::yield_now(),
                        }
                    }
                });
            }
        });
    }
    let told = told.lock();
    assert_eq!(told.first().unwrap().0, State::Closed);
    // With nothing to wait for, an open circuit reads half-open: the next call is a probe.
    let last = told.last().unwrap().1;
    assert_eq!(if last == State::Open { State::HalfOpen } else { last }, breaker.state(now));
    assert!(told.windows(2).all(|pair| pair[0].1 == pair[1].0));
}

#[tokio::test]
async fn waiters_learn_that_the_circuit_opened() {
    let (breaker, now) = breaker(config(1));
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let breaker = Arc::clone(&breaker);
            tokio::spawn(async move { breaker.opened().await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    fail(&breaker, now);
    for waiter in waiters {
        waiter.await.unwrap();
    }
    breaker.opened().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_to_probe_is_not_turned_away() {
    let (breaker, now) = tripped(config(1));
    let due = now + 30 * SECOND;
    breaker.check(due).unwrap();
    let waited = tokio::time::timeout(SECOND, breaker.opened()).await;
    assert!(waited.is_err(), "the probe is due: it may take its time in the queue");
    fail(&breaker, due);
    breaker.opened().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_opening_that_refuses_nothing() {
    let (breaker, now) = breaker(BreakerConfig { mode: Mode::Observe, ..config(1) });
    fail(&breaker, now);
    assert!(tokio::time::timeout(SECOND, breaker.opened()).await.is_err());
    breaker.force_open(now);
    breaker.opened().await;
}

#[test]
fn an_opening_elsewhere_opens_until_then_and_the_probe_is_its_own() {
    let (breaker, now) = breaker(config(2));
    let until = now + 10 * SECOND;
    assert!(breaker.open_elsewhere(until, now));
    assert!(breaker.snapshot(now).opened_elsewhere);
    assert_eq!(breaker.check(now), Err(Refused { retry_after: 10 * SECOND, state: State::Open }));
    assert!(!breaker.open_elsewhere(until + SECOND, now), "it is open already");
    let probe = breaker.acquire(until, 0.5).unwrap();
    assert!(probe.is_probe() && !breaker.snapshot(until).opened_elsewhere);
    probe.failure(until, QUICK, 0.5);
    let snapshot = breaker.snapshot(until);
    assert_eq!((snapshot.state, snapshot.opened_elsewhere, snapshot.reopenings), (State::Open, false, 1));
    assert!(!breaker.open_elsewhere(until + SECOND, until));
    let due = until + 30 * SECOND;
    assert!(breaker.open_elsewhere(due + SECOND, due), "its own time had come");
    assert_eq!(breaker.state(due), State::Open);
}

#[test]
fn an_opening_elsewhere_moves_no_circuit_that_an_operator_holds_or_that_only_observes() {
    for mode in [Mode::Observe, Mode::Off, Mode::ForcedClosed, Mode::ForcedOpen] {
        let (breaker, now) = breaker(BreakerConfig { mode, ..config(1) });
        let before = breaker.snapshot(now);
        assert!(!breaker.open_elsewhere(now + SECOND, now), "{mode}");
        assert_eq!(breaker.snapshot(now), before);
    }
    let (breaker, now) = breaker(config(1));
    assert!(!breaker.open_elsewhere(now, now), "it is over");
    assert_eq!(breaker.state(now), State::Closed);
}

#[test]
fn outcomes_of_before_an_opening_elsewhere_move_nothing() {
    let (breaker, now) = breaker(config(1));
    let permit = breaker.acquire(now, 0.5).unwrap();
    assert!(breaker.open_elsewhere(now + SECOND, now));
    permit.success(now, QUICK, 0.5);
    assert_eq!(breaker.state(now), State::Open);
}
