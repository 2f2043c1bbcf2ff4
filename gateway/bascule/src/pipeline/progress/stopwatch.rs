//! The stopwatch of a call: always in exactly one phase, so that the phases add up to the call's duration.
//!
//! Each switch books the time since the last one on the phase that ends; nothing is measured twice and nothing is
//! left out, whatever the stages forget. It reads no clock: who switches has usually just read it for something else.
//!
//! | state | a switch |
//! | --- | --- |
//! | running | books the past on the old phase, goes on in the new one |
//! | several branches at once ([`Stopwatch::overlap`]) | is ignored: what one branch does is not what the call does |
//! | ended, or never begun | is ignored |

use crate::model::{CallPhase, Spent};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Who runs several branches: told apart by address, never followed.
pub(super) type Owner = usize;

/// Books a call's time.
pub(super) struct Stopwatch {
    /// None once it has ended, and where nobody measures.
    state: Mutex<Option<State>>,
}

struct State {
    phase: CallPhase,
    since: Instant,
    spent: Spent,
    /// Whose branches run at once.
    overlapping: Option<Owner>,
}

impl State {
    /// Books what has passed. Readings of two threads may come in the wrong order; time does not run backwards then.
    fn book(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed > Duration::ZERO {
            self.spent.add(self.phase, passed);
            self.since = now;
        }
    }
}

impl Stopwatch {
    /// Running since `begun`, in [`CallPhase::Accept`].
    pub(super) fn started(begun: Instant) -> Self {
        let state =
            State { phase: CallPhase::Accept, since: begun, spent: Spent::default(), overlapping: None };
        Self { state: Mutex::new(Some(state)) }
    }

    /// For work that no caller waits for.
    pub(super) fn off() -> Self {
        Self { state: Mutex::new(None) }
    }

    /// Goes on in another phase if `still` holds, which is asked under the lock. Returns the phase that ended; none
    /// when the switch was ignored.
    pub(super) fn switch(
        &self,
        phase: CallPhase,
        now: Instant,
        still: impl FnOnce() -> bool,
    ) -> Option<CallPhase> {
        let mut state = self.state.lock();
        let state = state.as_mut().filter(|state| state.overlapping.is_none() && still())?;
        state.book(now);
        Some(std::mem::replace(&mut state.phase, phase))
    }

    /// Several branches begin to run at once: until [`rejoin`](Self::rejoin) the call is in this one phase. False,
    /// and nothing changes, within another overlap.
    pub(super) fn overlap(
        &self,
        phase: CallPhase,
        now: Instant,
        owner: Owner,
        still: impl FnOnce() -> bool,
    ) -> bool {
        let mut state = self.state.lock();
        match &mut *state {
            Some(state) if state.overlapping.is_none() && still() => {
                state.book(now);
                state.phase = phase;
                state.overlapping = Some(owner);
                true
            }
            _ => false,
        }
    }

    /// The overlap is over, unless it has ended with its owner. Without a reading of the clock, which a drop does not have, its phase goes on until the
    /// next switch.
    pub(super) fn rejoin(&self, owner: Owner, after: Option<(CallPhase, Instant)>) {
        let mut state = self.state.lock();
        if let Some(state) = state.as_mut().filter(|state| state.overlapping == Some(owner)) {
            state.overlapping = None;
            if let Some((phase, now)) = after {
                state.book(now);
                state.phase = phase;
            }
        }
    }

    /// The owner no longer belongs to the call: `work` says so while nobody can switch, and its overlap is over.
    pub(super) fn detach(&self, owner: Owner, work: impl FnOnce()) {
        let mut state = self.state.lock();
        work();
        if let Some(state) = state.as_mut().filter(|state| state.overlapping == Some(owner)) {
            state.overlapping = None;
        }
    }

    /// Ends it. Empty when it had ended before.
    pub(super) fn stop(&self, now: Instant) -> Spent {
        self.state.lock().take().map_or_else(Spent::default, |mut state| {
            state.book(now);
            state.spent
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A stopwatch, and points in time by milliseconds since its start.
    fn started() -> (Stopwatch, impl Fn(u32) -> Instant) {
        let begun = Instant::now();
        (Stopwatch::started(begun), move |ms| begun + ms * MS)
    }

    fn phases(spent: &Spent) -> Vec<(CallPhase, u128)> {
        spent.phases().map(|(phase, span)| (phase, span.as_millis())).collect()
    }

    #[test]
    fn every_moment_is_booked_on_one_phase() {
        let (watch, at) = started();
        watch.switch(CallPhase::Queue, at(3), || true);
        watch.switch(CallPhase::Attempt, at(10), || true);
        let before = watch.switch(CallPhase::Plugin, at(30), || true);
        watch.switch(before.unwrap(), at(31), || true);
        watch.switch(CallPhase::Attempt, at(40), || true);
        let spent = watch.stop(at(50));
        let expected =
            [(CallPhase::Accept, 3), (CallPhase::Queue, 7), (CallPhase::Plugin, 1), (CallPhase::Attempt, 39)];
        assert_eq!(phases(&spent), expected);
        assert_eq!(spent.total(), 50 * MS);
        assert_eq!(watch.stop(at(60)), Spent::default(), "it ends once");
    }

    #[test]
    fn an_overlap_hides_what_its_branches_do() {
        let (watch, at) = started();
        watch.switch(CallPhase::Attempt, at(1), || true);
        let before = watch.switch(CallPhase::Token, at(2), || true);
        assert!(watch.overlap(CallPhase::Hedge, at(5), 1, || true));
        assert!(
            !watch.overlap(CallPhase::FanOut, at(6), 1, || true),
            "an overlap in an overlap is the same one"
        );
        watch.switch(before.unwrap(), at(7), || true);
        assert_eq!(watch.switch(CallPhase::Plugin, at(8), || true), None);
        watch.rejoin(1, Some((CallPhase::Attempt, at(9))));
        let spent = watch.stop(at(10));
        let expected =
            [(CallPhase::Accept, 1), (CallPhase::Token, 3), (CallPhase::Attempt, 2), (CallPhase::Hedge, 4)];
        assert_eq!(phases(&spent), expected);
        assert_eq!(spent.total(), 10 * MS);
    }

    #[test]
    fn an_overlap_that_is_given_up_lasts_until_the_next_switch() {
        let (watch, at) = started();
        watch.overlap(CallPhase::FanOut, at(1), 1, || true);
        watch.rejoin(1, None);
        watch.switch(CallPhase::Fallback, at(4), || true);
        let spent = watch.stop(at(5));
        assert_eq!(spent.on(CallPhase::FanOut), 3 * MS);
        assert_eq!(spent.on(CallPhase::Fallback), MS);
    }

    #[test]
    fn readings_in_the_wrong_order_lose_nothing() {
        let (watch, at) = started();
        watch.switch(CallPhase::Cache, at(10), || true);
        watch.switch(CallPhase::Queue, at(8), || true);
        watch.switch(CallPhase::Attempt, at(12), || true);
        assert_eq!(watch.stop(at(20)).total(), 20 * MS);
    }

    #[test]
    fn who_no_longer_belongs_to_the_call_switches_nothing() {
        let (watch, at) = started();
        watch.switch(CallPhase::Attempt, at(1), || false);
        assert_eq!(phases(&watch.stop(at(2))), [(CallPhase::Accept, 2)]);
        let off = Stopwatch::off();
        assert_eq!(off.switch(CallPhase::Queue, at(1), || true), None);
        assert_eq!(off.stop(at(9)), Spent::default());
    }

    #[test]
    fn an_overlap_ends_with_its_owner_whatever_that_says_later() {
        let (watch, at) = started();
        assert!(watch.overlap(CallPhase::Hedge, at(5), 7, || true));
        watch.detach(7, || ());
        watch.switch(CallPhase::Fallback, at(10), || true);
        watch.rejoin(7, Some((CallPhase::Attempt, at(20))));
        let expected = [(CallPhase::Accept, 5), (CallPhase::Hedge, 5), (CallPhase::Fallback, 20)];
        assert_eq!(phases(&watch.stop(at(30))), expected);
    }
}
