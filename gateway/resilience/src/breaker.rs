//! The circuit breaker: stops calling a dependency that keeps failing, and finds out when it works again.
//!
//! ```text
//!            tripped                      probe due
//!  CLOSED ───────────────► OPEN ─────────────────────────► HALF-OPEN
//!    ▲                      ▲   (by the call that probes)    │    │
//!    │                      └──── a probe failed, expired ───┘    │
//!    └────────────────────────── enough probes succeeded ─────────┘
//! ```
//!
//! | state     | a call                                   | its outcome                                              |
//! |-----------|------------------------------------------|----------------------------------------------------------|
//! | closed    | passes, at the price of an atomic read   | is counted; too many failures trip the circuit           |
//! | open      | is refused with the time until the probe | –                                                        |
//! | half-open | is a probe if one is free, else refused  | enough successes close, one failure opens again          |
//!
//! The decision behind it: every permit carries the *generation* of the circuit it was given in, and each transition
//! starts a new generation. An outcome of an older generation moves nothing, so that slow answers from before a trip
//! can neither close nor reopen anything, and the probes of a half-open circuit are exactly those it has handed out.
//!
//! The rules are in `circuit` (a plain struct behind a short lock); this file adds the lock-free path of a closed
//! circuit and the delivery of events. It does not classify failures, sleep, or read a clock.
//!
//! # What threads may rely on
//!
//! A success in a closed circuit takes no shared lock and writes to no line that other successes touch: it goes to a
//! stripe (see `stripes`). All else is done one at a time. Exact under any interleaving are therefore the generations,
//! the probes, failures by number, and runs: a success ends the run that had begun when it was reported. Under a rate,
//! an outcome is in the sum of a judgement or has the circuit judged once more, so that no trip is lost between two
//! threads, and no outcome ever counts twice or in a newer generation.
//!
//! Approximate is only this. Rates are counted to a sixtieth of their window. A time that lies behind that of another
//! thread is lifted to it at the next failure and not before, so that a success may be dated, and counted, as much too
//! early as the threads' clocks differ.

mod circuit;
mod config;
mod counts;
mod event;
mod outbox;
mod permit;
mod problem;
mod schedule;
mod standing;
mod stripes;
mod ticket;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::circuit::{Circuit, Outcome};
pub use self::config::{AfterReopen, BreakerConfig, Mode, Reopen, SlowCall, Trip};
pub use self::event::{BreakerSnapshot, Reason, Refused, RetryPhase, State, Transition};
pub use self::permit::{Permit, Settled};
pub use self::problem::ConfigProblem;
use self::stripes::{Padded, Stripes};
use self::ticket::{Gate, Role, Ticket};
use crate::sync::{AtomicU64, Mutex};

/// One circuit. Share it as an `Arc`; all methods may be called from any thread.
///
/// `now` is monotonic time as the caller reads it. A `now` before the latest one seen counts as the latest.
/// `unit` is a random number in `[0, 1)`, used for the jitter of a reopening schedule only.
pub struct Breaker {
    config: Arc<BreakerConfig>,
    /// What [`Circuit::gate`] said when the lock was last held: lets calls pass a closed circuit without the lock. On
    /// lines of its own, so that who counts references to the breaker does not slow down who reads it.
    gate: Padded<AtomicU64>,
    stripes: Arc<Stripes>,
    circuit: Mutex<Circuit>,
    /// Woken when the circuit starts to refuse all calls.
    opened: Notify,
    on_transition: Box<dyn Fn(&Transition) + Send + Sync>,
}

impl Breaker {
    /// A circuit in the state that its configured mode asks for: closed, or open when forced open.
    ///
    /// `on_transition` is told of every change of state, one after the other, never while a lock is held; it may call
    /// the breaker. Should it fall behind by more than 64 changes, the oldest are skipped.
    pub fn new(
        config: BreakerConfig,
        on_transition: impl Fn(&Transition) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let config = Arc::new(config);
        let stripes = Arc::new(Stripes::new(&config));
        let circuit = Circuit::new(Arc::clone(&config), Arc::clone(&stripes));
        Arc::new(Self {
            config,
            gate: Padded(AtomicU64::new(circuit.gate().pack())),
            stripes,
            circuit: Mutex::new(circuit),
            opened: Notify::new(),
            on_transition: Box::new(on_transition),
        })
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &BreakerConfig {
        &self.config
    }

    /// Says whether a call would pass now, without letting it: takes no probe. Until something is reported or time
    /// passes, [`acquire`](Self::acquire) says the same.
    ///
    /// An open circuit whose probe is due passes here; the permit then turns it half-open. In mode `observe` and `off`
    /// everything passes.
    ///
    /// # Errors
    /// [`Refused`] while the circuit is open, or half-open with all probes out.
    pub fn check(&self, now: Instant) -> Result<(), Refused> {
        match self.gate() {
            Gate::Counted(_) | Gate::Heeded(_) | Gate::Unwatched(_) => Ok(()),
            Gate::Ask => self.change(|circuit| circuit.verdict(now)),
        }
    }

    /// Lets one call pass and hands out the guard that takes its outcome.
    ///
    /// # Errors
    /// [`Refused`] while the circuit is open, or half-open with all probes out.
    pub fn acquire(self: &Arc<Self>, now: Instant, unit: f64) -> Result<Permit, Refused> {
        let ticket = self.admit(now, unit)?;
        Ok(Permit::new(Arc::clone(self), ticket))
    }

    /// Like [`acquire`](Self::acquire), for a call that ends where it began: the guard borrows the breaker. Threads that
    /// share a closed circuit then write to nothing that is shared.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    pub fn enter(&self, now: Instant, unit: f64) -> Result<Permit<&Self>, Refused> {
        Self::enter_with(self, now, unit)
    }

    /// Like [`acquire`](Self::acquire), for a caller who has a handle already: a reference-counted struct, say, that the
    /// breaker is a part of.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    pub fn enter_with<H: Borrow<Self>>(handle: H, now: Instant, unit: f64) -> Result<Permit<H>, Refused> {
        let ticket = handle.borrow().admit(now, unit)?;
        Ok(Permit::new(handle, ticket))
    }

    /// The state at `now`. An open circuit whose probe is due reads half-open, though it changes only when a call takes
    /// the probe; one whose half-open has lasted too long reads open.
    pub fn state(&self, now: Instant) -> State {
        self.circuit.lock().state(now)
    }

    /// All that a status page shows.
    pub fn snapshot(&self, now: Instant) -> BreakerSnapshot {
        self.circuit.lock().snapshot(now)
    }

    /// An operator's reset: forgets all counts, gives up a mode forced by hand, and starts anew as configured.
    pub fn reset(&self, now: Instant) {
        self.change(|circuit| circuit.reset(now));
    }

    /// Refuses every call until [`auto`](Self::auto) or [`reset`](Self::reset).
    pub fn force_open(&self, now: Instant) {
        self.change(|circuit| circuit.force(Mode::ForcedOpen, now));
    }

    /// Lets every call pass until [`auto`](Self::auto) or [`reset`](Self::reset); outcomes are shown but trip nothing.
    pub fn force_closed(&self, now: Instant) {
        self.change(|circuit| circuit.force(Mode::ForcedClosed, now));
    }

    /// Another breaker of the same dependency, in another process say, has opened until then: this one does as well, and
    /// lets a probe pass when that time has come. Says whether it did so: not while it is open already, and not in a
    /// mode other than `auto`. How long a stay is sensible is the caller's to judge.
    ///
    /// What becomes of the probe is this breaker's own affair: if it fails, the circuit opens again by itself, at the
    /// place of its schedule where it had been.
    pub fn open_elsewhere(&self, until: Instant, now: Instant) -> bool {
        self.change(|circuit| circuit.open_elsewhere(until, now))
    }

    /// Takes an operator's hand off: from forced-open, or held after the last reopening, to half-open; from
    /// forced-closed to closed. Does nothing to a circuit that runs by itself.
    pub fn auto(&self, now: Instant) {
        self.change(|circuit| circuit.release(now));
    }

    /// Completes when the circuit refuses all calls: at once if it does, else when it opens next.
    ///
    /// Meant for calls that wait in a queue behind [`check`](Self::check): an open circuit whose probe was seen to be
    /// due (by the latest `now` of any call) counts as passable, so that the call that would probe is not turned away.
    /// Never completes in a mode that refuses nothing. Cancel-safe.
    pub async fn opened(&self) {
        let opened = self.opened.notified();
        tokio::pin!(opened);
        // Registered before looking, so that an opening in between is not missed.
        opened.as_mut().enable();
        if self.circuit.lock().refuses_all() {
            return;
        }
        opened.await;
    }

    fn gate(&self) -> Gate {
        Gate::unpack(self.gate.0.load(Ordering::Acquire))
    }

    fn admit(&self, now: Instant, unit: f64) -> Result<Ticket, Refused> {
        match self.gate() {
            Gate::Counted(generation) | Gate::Heeded(generation) => Ok(Ticket::counted(generation)),
            Gate::Unwatched(generation) => Ok(Ticket::unwatched(generation)),
            Gate::Ask => self.change(|circuit| circuit.admit(now, unit)),
        }
    }

    fn stands(&self, ticket: Ticket, now: Instant) -> bool {
        self.gate() != Gate::Ask || self.circuit.lock().stands(ticket, now)
    }

    fn settle(&self, ticket: Ticket, outcome: Outcome, now: Instant, elapsed: Duration, unit: f64) {
        if outcome == Outcome::Success && self.succeeds_quietly(ticket, now, elapsed, unit) {
            return;
        }
        self.change(|circuit| {
            self.call_for_attention(circuit);
            circuit.settle(ticket, outcome, now, elapsed, unit);
        });
    }

    /// Counts a success that nobody needs the lock for. Says whether it was one.
    fn succeeds_quietly(&self, ticket: Ticket, now: Instant, elapsed: Duration, unit: f64) -> bool {
        let quiet = Gate::Counted(ticket.generation());
        if ticket.role() != Role::Counted || self.gate() != quiet || self.stripes.slow(elapsed) == Some(true)
        {
            return false;
        }
        let due = self.stripes.success(ticket.generation(), now);
        // A judgement that began meanwhile may have missed this success: see `call_for_attention`.
        if due || (self.stripes.tallied() && self.gate() != quiet) {
            self.change(|circuit| circuit.review(ticket, now, unit));
        }
        true
    }

    /// Before a judgement by rates reads the stripes, the gate tells successes to look again. One that is not in the sum
    /// came to its stripe after the judge had left it, and so sees the gate as it is set here or later.
    fn call_for_attention(&self, circuit: &Circuit) {
        if let Gate::Counted(generation) = circuit.gate()
            && self.stripes.tallied()
        {
            self.gate.0.store(Gate::Heeded(generation).pack(), Ordering::Release);
        }
    }

    fn late_failure(&self, ticket: Ticket, now: Instant, unit: f64) -> bool {
        self.change(|circuit| {
            self.call_for_attention(circuit);
            circuit.late_failure(ticket, now, unit)
        })
    }

    fn give_back(&self, ticket: Ticket) {
        self.change(|circuit| circuit.give_back(ticket));
    }

    /// Runs `f` under the lock, then, without it, wakes and tells whoever has to know.
    fn change<R>(&self, f: impl FnOnce(&mut Circuit) -> R) -> R {
        let mut circuit = self.circuit.lock();
        let refused_before = circuit.refuses_all();
        let result = f(&mut circuit);
        self.gate.0.store(circuit.gate().pack(), Ordering::Release);
        let opened = circuit.refuses_all() && !refused_before;
        let my_turn = circuit.outbox.begin();
        drop(circuit);
        if opened {
            self.opened.notify_waiters();
        }
        if my_turn {
            self.deliver();
        }
        result
    }

    /// Tells of the transitions in their order. One thread at a time does so, for all of them.
    fn deliver(&self) {
        let mut turn = Turn { breaker: self, over: false };
        loop {
            let next = self.circuit.lock().outbox.next();
            let Some(transition) = next else {
                turn.over = true;
                return;
            };
            (self.on_transition)(&transition);
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The turn to deliver; handed on also when the callback panics.
struct Turn<'a> {
    breaker: &'a Breaker,
    over: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.breaker.circuit.lock().outbox.abandon();
        }
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
