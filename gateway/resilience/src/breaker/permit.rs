//! The guard that a call holds while it passes a circuit.
//!
//! A permit ends in exactly one outcome. Dropping it (a cancelled call, a panic, an early return) is the neutral
//! outcome, so that no path can keep a probe for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Breaker;
use super::circuit::Outcome;
use super::ticket::Ticket;

/// Leave for one call. Report its outcome; if dropped, the call counts as neutral and its probe is given back.
#[derive(Debug)]
#[must_use = "a dropped permit counts as a neutral outcome"]
pub struct Permit {
    breaker: Arc<Breaker>,
    ticket: Ticket,
    settled: bool,
}

/// A call whose outcome was reported at the head of its answer, while the body is still on its way.
#[derive(Debug)]
pub struct Settled {
    breaker: Arc<Breaker>,
    ticket: Ticket,
    failed: bool,
}

impl Permit {
    pub(super) const fn new(breaker: Arc<Breaker>, ticket: Ticket) -> Self {
        Self { breaker, ticket, settled: false }
    }

    /// The call succeeded after `elapsed`.
    pub fn success(self, now: Instant, elapsed: Duration, unit: f64) -> Settled {
        self.settle(Outcome::Success, now, elapsed, unit)
    }

    /// The call failed after `elapsed`, and the dependency is to blame.
    pub fn failure(self, now: Instant, elapsed: Duration, unit: f64) -> Settled {
        self.settle(Outcome::Failure, now, elapsed, unit)
    }

    /// The outcome says nothing about the dependency's health. A probe is given back; nothing is counted.
    pub fn neutral(mut self, _now: Instant) -> Settled {
        self.give_back();
        Settled { breaker: Arc::clone(&self.breaker), ticket: self.ticket, failed: false }
    }

    /// Whether this call is a probe of a half-open circuit.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.ticket.is_probe()
    }

    fn settle(mut self, outcome: Outcome, now: Instant, elapsed: Duration, unit: f64) -> Settled {
        self.settled = true;
        if !self.ticket.is_unwatched() {
            self.breaker.settle(self.ticket, outcome, now, elapsed, unit);
        }
        let failed = outcome == Outcome::Failure;
        Settled { breaker: Arc::clone(&self.breaker), ticket: self.ticket, failed }
    }

    fn give_back(&mut self) {
        if !std::mem::replace(&mut self.settled, true) && self.ticket.is_probe() {
            self.breaker.give_back(self.ticket);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Settled {
    /// The answer broke after its head: one failure, unless the call has counted as one, or the circuit has changed
    /// since. Says whether it was counted.
    pub fn late_failure(self, now: Instant, unit: f64) -> bool {
        !self.failed && !self.ticket.is_unwatched() && self.breaker.late_failure(self.ticket, now, unit)
    }
}
