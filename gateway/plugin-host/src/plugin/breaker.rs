//! The breaker of one plugin: a plugin that keeps failing is left alone for a while.
//!
//! | state | calls | leaves it |
//! | --- | --- | --- |
//! | closed | all pass | 5 failures in a row, or half of at least 20 calls in 10 s → open |
//! | open | none | after 10 s, doubling with each failed probe up to 5 min → half-open |
//! | half-open | one probe | probe succeeds → closed; fails → open; is dropped → next call is the probe |
//!
//! A probe that takes long can succeed before its end: a backend's has when the head of its answer is there. What becomes
//! of it then is the outcome of a call like any other.
//!
//! Failures are traps and passed limits, and a backend's answers that cannot be any; a fault that a plugin answers with
//! is an answer. Outcomes of calls let in before a change of state move nothing. The numbers are the defaults of
//! [`BreakerLimits`]. Time is passed in.

use std::time::{Duration, Instant};

use crate::limits::BreakerLimits;

/// Length of the window over which the share is taken.
const WINDOW: Duration = Duration::from_secs(10);

/// The state machine of the table above.
#[derive(Debug)]
pub(crate) struct Breaker {
    limits: BreakerLimits,
    state: State,
    /// Counts changes of state; permits of another generation are void.
    generation: u64,
    /// How long it stays open next time.
    open_for: Duration,
}

#[derive(Debug)]
enum State {
    Closed { streak: u32, window: Window },
    Open { until: Instant },
    HalfOpen { probing: bool },
}

/// A call that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Permit {
    generation: u64,
}

fn closed() -> State {
    State::Closed { streak: 0, window: Window::default() }
}

impl Breaker {
    /// Closed, with those numbers.
    pub(crate) fn new(limits: BreakerLimits) -> Self {
        Self { limits, state: closed(), generation: 0, open_for: limits.open }
    }

    /// A permit, or the time until it is worth asking again.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Permit, Duration> {
        match &mut self.state {
            State::Closed { .. } => {}
            State::Open { until } if now < *until => return Err(until.duration_since(now)),
            State::Open { .. } => self.change(State::HalfOpen { probing: true }),
            // The probe is short: whoever comes meanwhile may come again soon.
            State::HalfOpen { probing: true } => return Err(Duration::from_secs(1)),
            State::HalfOpen { probing } => *probing = true,
        }
        Ok(Permit { generation: self.generation })
    }

    /// How long it stays open yet; `None` when calls pass or a probe is due.
    pub(crate) fn open_for(&self, now: Instant) -> Option<Duration> {
        match &self.state {
            State::Open { until } if now < *until => Some(until.duration_since(now)),
            State::Open { .. } | State::HalfOpen { .. } | State::Closed { .. } => None,
        }
    }

    /// Counts the outcome of a call; says whether that opened it.
    pub(crate) fn settle(&mut self, permit: Permit, success: bool, now: Instant) -> bool {
        if permit.generation != self.generation {
            return false;
        }
        match &mut self.state {
            State::Closed { streak, window } => {
                *streak = if success { 0 } else { *streak + 1 };
                window.count(success, now);
                if *streak >= self.limits.failures || window.half_failed(self.limits.min_calls) {
                    self.open(now);
                }
            }
            State::HalfOpen { .. } if success => {
                self.open_for = self.limits.open;
                self.change(closed());
            }
            State::HalfOpen { .. } => self.open(now),
            State::Open { .. } => {}
        }
        matches!(self.state, State::Open { .. })
    }

    /// Closes it when the call is the probe: it has shown what there was to show, and still has its outcome to count.
    pub(crate) fn proven(&mut self, permit: &Permit) {
        if permit.generation == self.generation
            && let State::HalfOpen { .. } = self.state
        {
            self.open_for = self.limits.open;
            // Of the same generation, in which there is no other call.
            self.state = closed();
        }
    }

    /// Takes back the permit of a call without an outcome.
    pub(crate) fn give_back(&mut self, permit: Permit) {
        if permit.generation == self.generation
            && let State::HalfOpen { probing } = &mut self.state
        {
            *probing = false;
        }
    }

    fn open(&mut self, now: Instant) {
        self.change(State::Open { until: now + self.open_for });
        self.open_for = self.open_for.saturating_mul(2).min(self.limits.open_max);
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

/// Calls and failures of the last ten seconds, in buckets of one second.
#[derive(Debug, Default)]
struct Window {
    buckets: [Bucket; 10],
    start: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Bucket {
    /// Second since `start` that the bucket counts.
    second: u64,
    calls: u32,
    failures: u32,
}

impl Window {
    fn count(&mut self, success: bool, now: Instant) {
        let second = now.duration_since(*self.start.get_or_insert(now)).as_secs();
        let size = self.buckets.len() as u64;
        for (index, bucket) in self.buckets.iter_mut().enumerate() {
            if bucket.second + size <= second {
                *bucket = Bucket::default();
            }
            if index as u64 == second % size {
                bucket.second = second;
                bucket.calls += 1;
                bucket.failures += u32::from(!success);
            }
        }
        debug_assert_eq!(size, WINDOW.as_secs());
    }

    fn half_failed(&self, min_calls: u32) -> bool {
        let sum = |of: fn(&Bucket) -> u32| self.buckets.iter().map(of).sum::<u32>();
        let (calls, failures) = (sum(|bucket| bucket.calls), sum(|bucket| bucket.failures));
        calls >= min_calls && failures * 2 >= calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BreakerLimits = BreakerLimits::DEFAULT;

    fn call(breaker: &mut Breaker, success: bool, now: Instant) -> bool {
        match breaker.admit(now) {
            Ok(permit) => {
                breaker.settle(permit, success, now);
                true
            }
            Err(_) => false,
        }
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(LIMITS);
        assert!((0..LIMITS.failures).all(|_| call(&mut breaker, false, now)));
        breaker
    }

    #[test]
    fn a_streak_opens_it_and_a_success_breaks_the_streak() {
        let now = Instant::now();
        let mut breaker = Breaker::new(LIMITS);
        for _ in 0..3 {
            assert!((0..LIMITS.failures - 1).all(|_| call(&mut breaker, false, now)));
            assert!(call(&mut breaker, true, now));
            breaker = Breaker { state: closed(), ..breaker };
        }
        assert_eq!(opened(now).admit(now).unwrap_err(), LIMITS.open);
    }

    #[test]
    fn half_of_twenty_calls_opens_it_and_old_calls_are_forgotten() {
        let start = Instant::now();
        let mut breaker = Breaker::new(LIMITS);
        // 10 of 20, but spread over 20 s: never twenty within the window.
        for number in 0..20 {
            assert!(call(&mut breaker, number % 2 == 0, start + Duration::from_secs(number)));
        }
        let later = start + Duration::from_secs(60);
        assert!((0..19).all(|number| call(&mut breaker, number % 2 == 0, later)));
        assert!(call(&mut breaker, false, later), "the twentieth, which opens it");
        assert!(breaker.admit(later).is_err());
    }

    #[test]
    fn one_probe_at_a_time_and_a_dropped_one_is_given_back() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + LIMITS.open;
        let probe = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err());
        breaker.give_back(probe);
        assert!(call(&mut breaker, true, later));
        assert!((0..100).all(|_| call(&mut breaker, true, later)), "closed again");
    }

    #[test]
    fn the_time_doubles_with_failed_probes_up_to_a_bound_and_starts_anew_after_a_success() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            let wait = breaker.admit(now).unwrap_err();
            assert_eq!(wait, Duration::from_secs(seconds));
            now += wait;
            assert!(call(&mut breaker, false, now));
        }
        now += LIMITS.open_max;
        assert!(call(&mut breaker, true, now));
        assert!((0..LIMITS.failures).all(|_| call(&mut breaker, false, now)));
        assert_eq!(breaker.admit(now).unwrap_err(), LIMITS.open);
    }

    #[test]
    fn outcomes_from_before_a_change_move_nothing() {
        let now = Instant::now();
        let mut breaker = Breaker::new(LIMITS);
        let late = breaker.admit(now).unwrap();
        assert!((0..LIMITS.failures).all(|_| call(&mut breaker, false, now)));
        let probe = breaker.admit(now + LIMITS.open).unwrap();
        breaker.settle(late, true, now + LIMITS.open);
        assert!(breaker.admit(now + LIMITS.open).is_err(), "still probing");
        breaker.settle(probe, true, now + LIMITS.open);
        assert!(breaker.admit(now + LIMITS.open).is_ok());
    }

    #[test]
    fn a_probe_that_has_proven_itself_closes_it_and_then_fails_like_any_other_call() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + LIMITS.open;
        let probe = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err());
        breaker.proven(&probe);
        assert!(call(&mut breaker, true, later), "others pass while it goes on");
        assert!(!breaker.settle(probe, false, later));
        // It counted: one less is left.
        assert!((0..LIMITS.failures - 1).all(|_| call(&mut breaker, false, later)));
        assert!(breaker.admit(later).is_err());
        // What is no probe proves nothing.
        let mut breaker = Breaker::new(LIMITS);
        let old = breaker.admit(now).unwrap();
        assert!((0..LIMITS.failures).all(|_| call(&mut breaker, false, now)));
        breaker.proven(&old);
        assert!(breaker.admit(now).is_err());
        let probe = breaker.admit(later).unwrap();
        breaker.proven(&old);
        assert!(breaker.admit(later).is_err());
        breaker.give_back(probe);
    }
}
