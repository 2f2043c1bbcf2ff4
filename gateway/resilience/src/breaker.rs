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

mod circuit;
mod config;
mod counts;
mod event;
mod outbox;
mod permit;
mod schedule;
mod ticket;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use self::circuit::{Circuit, Outcome};
pub use self::config::{AfterReopen, BreakerConfig, Mode, Reopen, SlowCall, Trip};
pub use self::event::{BreakerSnapshot, Reason, Refused, RetryPhase, State, Transition};
pub use self::permit::{Permit, Settled};
use self::ticket::{Gate, Ticket};

/// One circuit. Share it as an `Arc`; all methods may be called from any thread.
///
/// `now` is monotonic time as the caller reads it. A `now` before the latest one seen counts as the latest.
/// `unit` is a random number in `[0, 1)`, used for the jitter of a reopening schedule only.
pub struct Breaker {
    config: Arc<BreakerConfig>,
    /// What [`Circuit::gate`] said when the lock was last held: lets calls pass a closed circuit without the lock.
    gate: AtomicU64,
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
        let circuit = Circuit::new(Arc::clone(&config));
        Arc::new(Self {
            config,
            gate: AtomicU64::new(circuit.gate().pack()),
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

    /// Says whether a call would pass now, without letting it: takes no probe and changes no state.
    ///
    /// An open circuit whose probe is due passes here; the permit then turns it half-open. In mode `observe` and `off`
    /// everything passes.
    ///
    /// # Errors
    /// [`Refused`] while the circuit is open, or half-open with all probes out.
    pub fn check(&self, now: Instant) -> Result<(), Refused> {
        match Gate::unpack(self.gate.load(Ordering::Acquire)) {
            Gate::Counted(_) | Gate::Unwatched(_) => Ok(()),
            Gate::Ask => self.change(|circuit| circuit.verdict(now)),
        }
    }

    /// Lets one call pass and hands out the guard that takes its outcome.
    ///
    /// # Errors
    /// [`Refused`] while the circuit is open, or half-open with all probes out.
    pub fn acquire(self: &Arc<Self>, now: Instant, unit: f64) -> Result<Permit, Refused> {
        let ticket = match Gate::unpack(self.gate.load(Ordering::Acquire)) {
            Gate::Counted(generation) => Ticket::counted(generation),
            Gate::Unwatched(generation) => Ticket::unwatched(generation),
            Gate::Ask => self.change(|circuit| circuit.admit(now, unit))?,
        };
        Ok(Permit::new(Arc::clone(self), ticket))
    }

    /// The state at `now`. An open circuit whose probe is due reads open until a call takes the probe.
    pub fn state(&self, _now: Instant) -> State {
        self.circuit.lock().state()
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

    fn settle(&self, ticket: Ticket, outcome: Outcome, now: Instant, elapsed: Duration, unit: f64) {
        self.change(|circuit| circuit.settle(ticket, outcome, now, elapsed, unit));
    }

    fn late_failure(&self, ticket: Ticket, now: Instant, unit: f64) -> bool {
        self.change(|circuit| circuit.late_failure(ticket, now, unit))
    }

    fn give_back(&self, ticket: Ticket) {
        self.change(|circuit| circuit.give_back(ticket));
    }

    /// Runs `f` under the lock, then, without it, wakes and tells whoever has to know.
    fn change<R>(&self, f: impl FnOnce(&mut Circuit) -> R) -> R {
        let mut circuit = self.circuit.lock();
        let refused_before = circuit.refuses_all();
        let result = f(&mut circuit);
        self.gate.store(circuit.gate().pack(), Ordering::Release);
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
mod model;
#[cfg(test)]
mod tests;
