//! Half-open in time: what is shown, how long it may last, and that nothing keeps it for ever.

use super::*;
use crate::breaker::standing::PROBE_LOST_AFTER;

#[test]
fn an_open_circuit_whose_probe_is_due_reads_half_open_but_changes_only_with_the_probe() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let breaker = Breaker::new(config(1), {
        let told = Arc::clone(&told);
        move |change| told.lock().push(change.to)
    });
    let now = Instant::now();
    fail(&breaker, now);
    let due = now + 30 * SECOND;
    let seen = breaker.snapshot(due + SECOND);
    assert_eq!((seen.state, seen.since, seen.next_probe_at), (State::HalfOpen, Some(due), Some(due)));
    assert_eq!((seen.generation, seen.probes_out), (1, 0));
    assert_eq!(breaker.snapshot(now).state, State::Open, "looking ahead has moved nothing");
    assert_eq!(*told.lock(), [State::Open]);
    let _probe = breaker.acquire(due + SECOND, 0.5).unwrap();
    let seen = breaker.snapshot(due + 2 * SECOND);
    assert_eq!((seen.state, seen.since, seen.next_probe_at), (State::HalfOpen, Some(due + SECOND), None));
    assert_eq!(*told.lock(), [State::Open, State::HalfOpen]);
}

#[test]
fn a_snapshot_tells_how_the_recovery_goes() {
    let config = BreakerConfig { half_open_probes: some(2), ..config(1) };
    let (breaker, now) = tripped(config);
    for _ in 0..3 {
        breaker.check(now).unwrap_err();
    }
    assert_eq!((breaker.snapshot(now).refused, breaker.snapshot(now).reopenings), (3, 0));
    let due = now + 30 * SECOND;
    fail(&breaker, due);
    assert_eq!((breaker.snapshot(due).refused, breaker.snapshot(due).reopenings), (0, 1));
    let due = due + 30 * SECOND;
    succeed(&breaker, due);
    let _held = (breaker.enter(due, 0.5).unwrap(), breaker.enter(due, 0.5).unwrap());
    breaker.enter(due, 0.5).unwrap_err();
    let seen = breaker.snapshot(due);
    assert_eq!((seen.probes_out, seen.half_open_successes, seen.refused), (2, 1, 1));
    breaker.reset(due);
    let seen = breaker.snapshot(due);
    assert_eq!((seen.reopenings, seen.refused, seen.probes_out, seen.since), (0, 0, 0, Some(due)));
}

#[test]
fn an_expired_half_open_without_traffic_makes_the_next_call_wait_no_longer_than_a_busy_one() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let config = BreakerConfig { max_half_open: Some(10 * SECOND), ..config(1) };
    let breaker = Breaker::new(config, {
        let told = Arc::clone(&told);
        move |change| told.lock().push((change.reason, change.at))
    });
    let now = Instant::now();
    fail(&breaker, now);
    let due = now + 30 * SECOND;
    succeed(&breaker, due);
    // Nobody calls for an hour; the two successes that were missing never came.
    let next = due + 3600 * SECOND;
    assert_eq!(breaker.state(due + 15 * SECOND), State::Open);
    assert_eq!(breaker.snapshot(due + 15 * SECOND).since, Some(due + 10 * SECOND));
    assert_eq!(breaker.state(next), State::HalfOpen);
    assert!(breaker.enter(next, 0.5).unwrap().is_probe(), "it opened long ago, and its time is up");
    let expected = [
        (Reason::Tripped, now),
        (Reason::ProbeDue, due),
        (Reason::HalfOpenExpired, due + 10 * SECOND),
        (Reason::ProbeDue, next),
    ];
    assert_eq!(*told.lock(), expected);
}

#[test]
fn a_probe_that_reports_after_half_open_has_expired_moves_nothing() {
    let config =
        BreakerConfig { max_half_open: Some(10 * SECOND), half_open_successes: some(1), ..config(1) };
    for good in [true, false] {
        let (breaker, now) = tripped(config.clone());
        let due = now + 30 * SECOND;
        let probe = breaker.acquire(due, 0.5).unwrap();
        let late = due + 10 * SECOND;
        if good {
            probe.success(late, QUICK, 0.5)
        } else {
            probe.failure(late, QUICK, 0.5)
        };
        assert_eq!((breaker.state(late), breaker.snapshot(late).reopenings), (State::Open, 1));
    }
}

#[test]
fn the_jitter_of_an_expiry_is_that_of_the_call_that_began_to_probe() {
    let reopen = Reopen {
        fixed: 9,
        interval: 60 * SECOND,
        exponential: 0,
        multiplier: 2.0,
        max_interval: 60 * SECOND,
        jitter: 0.5,
        then: AfterReopen::Cap,
    };
    let config = BreakerConfig { max_half_open: Some(10 * SECOND), reopen: Some(reopen), ..config(1) };
    let (breaker, now) = tripped(config);
    let due = now + 30 * SECOND;
    drop(breaker.enter(due, 0.0).unwrap());
    let expected = due + 10 * SECOND + 30 * SECOND;
    assert_eq!(breaker.snapshot(due + 20 * SECOND).next_probe_at, Some(expected));
    breaker.enter(due + 20 * SECOND, 0.9).unwrap_err();
    assert_eq!(breaker.snapshot(due + 20 * SECOND).next_probe_at, Some(expected), "whoever looks");
}

#[test]
fn probes_that_are_lost_for_ever_do_not_keep_a_circuit_half_open() {
    for max_half_open in [None, Some(3600 * SECOND)] {
        let config = BreakerConfig { half_open_probes: some(2), max_half_open, ..config(1) };
        let (breaker, now) = tripped(config);
        let mut now = now + 30 * SECOND;
        for _ in 0..100 {
            std::mem::forget(breaker.enter(now, 0.5).unwrap());
            std::mem::forget(breaker.enter(now, 0.5).unwrap());
            breaker.enter(now, 0.5).unwrap_err();
            let lost = max_half_open.unwrap_or(PROBE_LOST_AFTER);
            assert_eq!(breaker.state(now + lost - SECOND), State::HalfOpen);
            assert_eq!(breaker.state(now + lost), State::Open);
            now += lost + 30 * SECOND;
        }
        for _ in 0..3 {
            succeed(&breaker, now);
        }
        assert_eq!(breaker.state(now), State::Closed);
    }
}

#[test]
fn a_lost_probe_beside_others_that_report_is_no_reason_to_open() {
    let config = BreakerConfig { half_open_probes: some(2), half_open_successes: some(9), ..config(1) };
    let (breaker, now) = tripped(config);
    let mut now = now + 30 * SECOND;
    std::mem::forget(breaker.enter(now, 0.5).unwrap());
    for _ in 0..8 {
        now += PROBE_LOST_AFTER;
        succeed(&breaker, now);
        assert_eq!(breaker.state(now), State::HalfOpen);
    }
    now += PROBE_LOST_AFTER;
    succeed(&breaker, now);
    assert_eq!(breaker.state(now), State::Closed);
}

#[test]
fn a_permit_stands_until_the_circuit_opens_and_again_once_it_is_closed() {
    let (breaker, now) = breaker(BreakerConfig { half_open_successes: some(1), ..config(1) });
    let old = breaker.enter(now, 0.5).unwrap();
    assert!(old.stands(now));
    fail(&breaker, now);
    assert!(!old.stands(now));
    let due = now + 30 * SECOND;
    assert!(!old.stands(due), "a probe may go, but this call is none");
    let probe = breaker.enter(due, 0.5).unwrap();
    assert!(probe.stands(due) && !old.stands(due));
    probe.success(due, QUICK, 0.5);
    assert!(old.stands(due));
    breaker.force_open(due);
    assert!(!old.stands(due));
}

#[test]
fn a_permit_of_an_observing_breaker_always_stands() {
    let (breaker, now) = breaker(BreakerConfig { mode: Mode::Observe, ..config(1) });
    let permit = breaker.enter(now, 0.5).unwrap();
    fail(&breaker, now);
    assert_eq!(breaker.state(now), State::Open);
    assert!(permit.stands(now));
}

#[test]
fn a_handle_of_the_callers_own_will_do() {
    struct Service(Breaker);
    #[derive(Clone)]
    struct Handle(Arc<Service>);
    impl Borrow<Breaker> for Handle {
        fn borrow(&self) -> &Breaker {
            &self.0.0
        }
    }
    let breaker = Arc::into_inner(Breaker::new(config(1), |_| ())).unwrap();
    let (handle, now) = (Handle(Arc::new(Service(breaker))), Instant::now());
    let permit = Breaker::enter_with(handle.clone(), now, 0.5).unwrap();
    let settled = std::thread::spawn(move || permit.success(now, QUICK, 0.5)).join().unwrap();
    assert!(settled.late_failure(now, 0.5));
    assert!(Breaker::enter_with(handle, now, 0.5).is_err());
}
