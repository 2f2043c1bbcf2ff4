//! Transitions on their way to the callback.
//!
//! They are written down under the circuit's lock and told without it. So that two threads cannot tell them in the
//! wrong order (a gauge would show "open" for ever), only one thread delivers at a time; the others leave theirs here.

use std::collections::VecDeque;

use super::event::Transition;

/// How many transitions may wait for a slow callback. Beyond it the oldest are skipped: the last one is what counts.
const WAITING_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Transition>,
    delivering: bool,
}

impl Outbox {
    pub(super) fn push(&mut self, transition: Transition) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(transition);
    }

    /// Whether the caller has to deliver: there is something, and nobody else does.
    pub(super) fn begin(&mut self) -> bool {
        if self.delivering || self.waiting.is_empty() {
            return false;
        }
        self.delivering = true;
        true
    }

    /// The next one to tell. `None` ends the caller's turn.
    pub(super) fn next(&mut self) -> Option<Transition> {
        let next = self.waiting.pop_front();
        self.delivering = next.is_some();
        next
    }

    /// Ends the turn early; what is left is told with the next change.
    pub(super) fn abandon(&mut self) {
        self.delivering = false;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::breaker::event::{Reason, State};

    #[test]
    fn a_callback_that_falls_behind_loses_the_oldest() {
        let mut outbox = Outbox::default();
        let at = Instant::now();
        for n in 0..1000 {
            let (from, to) =
                if n % 2 == 0 { (State::Closed, State::Open) } else { (State::Open, State::Closed) };
            outbox.push(Transition { from, to, reason: Reason::Reset, at });
        }
        assert!(outbox.begin());
        assert!(!outbox.begin(), "one delivers at a time");
        let told: Vec<_> = std::iter::from_fn(|| outbox.next()).collect();
        assert_eq!(told.len(), WAITING_MAX);
        assert_eq!(told.last().unwrap().to, State::Closed);
    }
}
