//! The guard that a call holds while it passes a circuit.
//!
//! A permit ends in exactly one outcome. Dropping it (a cancelled call, a panic, an early return) is the neutral
//! outcome, so that no path can keep a probe for ever.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Breaker;
use super::circuit::Outcome;
use super::ticket::Ticket;

/// Leave for one call. Report its outcome; if dropped, the call counts as neutral and its probe is given back.
///
/// `H` is how it holds on to the breaker: an `Arc` ([`Breaker::acquire`]) that may go anywhere, or a plain reference
/// ([`Breaker::enter`]) that costs nothing.
#[derive(Debug)]
#[must_use = "a dropped permit counts as a neutral outcome"]
pub struct Permit<H: Borrow<Breaker> = Arc<Breaker>> {
    /// `None` once it is settled.
    handle: Option<H>,
    ticket: Ticket,
}

/// A call whose outcome was reported at the head of its answer, while the body is still on its way.
#[derive(Debug)]
pub struct Settled<H: Borrow<Breaker> = Arc<Breaker>> {
    handle: Option<H>,
    ticket: Ticket,
    failed: bool,
}

impl<H: Borrow<Breaker>> Permit<H> {
    pub(super) const fn new(handle: H, ticket: Ticket) -> Self {
        Self { handle: Some(handle), ticket }
    }

    /// The call succeeded after `elapsed`.
    pub fn success(self, now: Instant, elapsed: Duration, unit: f64) -> Settled<H> {
        self.settle(Outcome::Success, now, elapsed, unit)
    }

    /// The call failed after `elapsed`, and the dependency is to blame.
    pub fn failure(self, now: Instant, elapsed: Duration, unit: f64) -> Settled<H> {
        self.settle(Outcome::Failure, now, elapsed, unit)
    }

    /// The outcome says nothing about the dependency's health. A probe is given back; nothing is counted.
    pub fn neutral(mut self, _now: Instant) -> Settled<H> {
        let handle = self.give_back();
        Settled { handle, ticket: self.ticket, failed: false }
    }

    /// Whether this call is a probe of a half-open circuit.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.ticket.is_probe()
    }

    /// Whether the leave still stands at `now`: the circuit is closed, or has not changed since it gave this permit, or
    /// refuses nothing (mode `observe`).
    ///
    /// To be asked before each further attempt of the same call. One that was let through by a closed circuit must not
    /// go on beside the probes of a half-open one.
    #[must_use]
    pub fn stands(&self, now: Instant) -> bool {
        self.handle.as_ref().is_none_or(|handle| {
            let breaker: &Breaker = handle.borrow();
            breaker.stands(self.ticket, now)
        })
    }

    /// The circuit that gave it.
    pub(crate) fn breaker(&self) -> Option<&Breaker> {
        self.handle.as_ref().map(Borrow::borrow)
    }

    fn settle(mut self, outcome: Outcome, now: Instant, elapsed: Duration, unit: f64) -> Settled<H> {
        let handle = self.handle.take();
        if let Some(handle) = &handle
            && !self.ticket.is_unwatched()
        {
            let breaker: &Breaker = handle.borrow();
            breaker.settle(self.ticket, outcome, now, elapsed, unit);
        }
        Settled { handle, ticket: self.ticket, failed: outcome == Outcome::Failure }
    }

    fn give_back(&mut self) -> Option<H> {
        let handle = self.handle.take();
        if let Some(handle) = &handle
            && self.ticket.is_probe()
        {
            let breaker: &Breaker = handle.borrow();
            breaker.give_back(self.ticket);
        }
        handle
    }
}

impl<H: Borrow<Breaker>> Drop for Permit<H> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<H: Borrow<Breaker>> Settled<H> {
    /// The answer broke after its head: one failure, unless the call has counted as one, or the circuit has changed
    /// since. Says whether it was counted.
    pub fn late_failure(self, now: Instant, unit: f64) -> bool {
        if self.failed || self.ticket.is_unwatched() {
            return false;
        }
        self.handle.is_some_and(|handle| {
            let breaker: &Breaker = handle.borrow();
            breaker.late_failure(self.ticket, now, unit)
        })
    }
}
