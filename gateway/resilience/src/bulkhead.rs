//! A bulkhead: at most so many calls at a time, at most so many waiting.
//!
//! One slow dependency must not take every thread, socket and byte of memory. Whoever finds the queue full is refused at
//! once, because a longer queue only makes everybody late. Four things are decided here:
//!
//! - **Who goes next.** [`Priority::High`](crate::Priority::High) before `Normal` before `Low`; within one priority the order of arrival. A
//!   full queue makes room for a call of higher priority by displacing the youngest waiter of the lowest one. Low
//!   priority may starve: that is what it is for.
//! - **Who is not worth waiting.** With `shed`, a call that by the service time observed lately cannot be answered
//!   before its deadline is refused at once, and a waiter for whom it has become too late gives its turn to the next.
//! - **How many at a time.** `max`, or with `adaptive` a limit found by experiment, never above `max`.
//! - **How a slot moves.** It is handed from the call that ends to the first in line; nobody overtakes the line.
//!
//! While nobody waits, taking and giving back a slot are a few atomic instructions; the queue has a lock, under which
//! nobody is woken. It uses no timers of its own: who waits is woken by the clock that it brings along.

mod adaptive;
mod aimd;
mod config;
mod gradient;
mod line;
mod permit;
mod service;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use self::adaptive::{AdaptiveLimit, Algorithm};
use self::adaptive::{Limit, Sample};
pub use self::config::{Ask, BulkheadConfig, Overloaded};
use self::line::{Line, Ticket, Waiter};
pub use self::permit::BulkheadPermit;
use self::service::ServiceTime;
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::outcome::Outcome;
use crate::sync::{AtomicUsize, Mutex, oneshot};

/// Limits how many calls run at a time.
pub struct Bulkhead {
    config: BulkheadConfig,
    limit: AtomicUsize,
    in_flight: AtomicUsize,
    /// Calls in flight that were observed: their answers have begun.
    streaming: AtomicUsize,
    /// The length of `line`, to be read without its lock.
    waiting: AtomicUsize,
    line: Mutex<Line>,
    service: ServiceTime,
    adaptive: Option<Mutex<Limit>>,
}

impl Bulkhead {
    /// An empty bulkhead.
    #[must_use]
    pub fn new(config: BulkheadConfig) -> Arc<Self> {
        let adaptive = config.adaptive.as_ref().map(|adaptive| Limit::new(adaptive, config.max));
        let limit = adaptive.as_ref().map_or(config.max.get(), Limit::present);
        Arc::new(Self {
            limit: AtomicUsize::new(limit),
            in_flight: AtomicUsize::new(0),
            streaming: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            line: Mutex::new(Line::default()),
            service: ServiceTime::default(),
            adaptive: adaptive.map(Mutex::new),
            config,
        })
    }

    /// Takes a slot, waiting for one in the order of priority and arrival until the deadline (none: as long as it
    /// takes).
    ///
    /// A slot that is free while nobody waits is granted whatever the deadline. Cancel-safe: a dropped waiter leaves the
    /// queue, and if it was granted a slot already, passes it on.
    ///
    /// # Errors
    /// At once: [`Overloaded::Full`] when no slot is free and `max_waiting` calls wait that are not less important;
    /// [`Overloaded::Shed`] when `shed` is on and the call cannot be answered in time. Later: [`Overloaded::Deadline`]
    /// when the deadline passes first, [`Overloaded::Displaced`] when a more important call needs the place,
    /// [`Overloaded::Shed`] when the turn comes too late.
    pub async fn acquire(
        self: &Arc<Self>,
        clock: &dyn Clock,
        ask: Ask,
    ) -> Result<BulkheadPermit, Overloaded> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        let (mut place, mut turn) = self.join(clock.now(), ask)?;
        let turn = match ask.deadline.instant() {
            None => turn.await,
            Some(until) => tokio::select! {
                biased;
                turn = &mut turn => turn,
                () = clock.sleep_until(until) => return Err(Overloaded::Deadline),
            },
        };
        place.has_left = true;
        // The sender is never dropped unused; if it were, there would be no room.
        let permit = turn.unwrap_or(Err(Overloaded::Full))?;
        // A permit that comes too late is dropped here, which passes it on.
        self.worth_it(clock, ask).map(|()| permit)
    }

    /// Takes a slot if one is free and nobody waits for it.
    #[must_use]
    pub fn try_acquire(self: &Arc<Self>) -> Option<BulkheadPermit> {
        let free = self.waiting.load(Ordering::SeqCst) == 0 && self.take_slot();
        free.then(|| BulkheadPermit::new(self))
    }

    /// Calls that hold a slot. More than the limit for a while after it was lowered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Calls that wait for one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many calls may run at a time at present; [`max`](Self::max) unless the limit is adaptive.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Most calls that ever run at a time.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.config.max.get()
    }

    /// Most calls that wait.
    #[must_use]
    pub const fn max_waiting(&self) -> usize {
        self.config.max_waiting
    }

    /// The configuration it was made with.
    #[must_use]
    pub const fn config(&self) -> &BulkheadConfig {
        &self.config
    }

    /// Joins the line, and serves it: the slot may have come free meanwhile.
    fn join(
        self: &Arc<Self>,
        now: Instant,
        ask: Ask,
    ) -> Result<(Place<'_>, oneshot::Receiver<Turn>), Overloaded> {
        if ask.deadline.is_expired(now) {
            return Err(Overloaded::Deadline);
        }
        let (waiter, turn) = oneshot::channel();
        let (ticket, displaced) = {
            let mut line = self.line.lock();
            self.in_time(now, ask.deadline, line.ahead_of(ask.priority))?;
            let displaced = if line.len() < self.config.max_waiting {
                None
            } else {
                Some(line.displace(ask.priority).ok_or(Overloaded::Full)?)
            };
            let ticket = line.push(ask.priority, waiter);
            // From here on whoever gives a slot back sees that somebody waits.
            self.waiting.store(line.len(), Ordering::SeqCst);
            (ticket, displaced)
        };
        let place = Place { bulkhead: self, ticket, has_left: false };
        self.adapt(|limit| limit.tick(now));
        if let Some(displaced) = displaced {
            // Who has left already does not need to be told.
            let _ = displaced.send(Err(Overloaded::Displaced));
        }
        self.serve_line();
        Ok((place, turn))
    }

    /// Whether a call with this many ahead of it can be answered before its deadline.
    fn in_time(&self, now: Instant, deadline: Deadline, ahead: usize) -> Result<(), Overloaded> {
        let Some(remaining) = deadline.remaining(now).filter(|_| self.config.shed) else { return Ok(()) };
        let Some(service) = self.service.typical() else { return Ok(()) };
        let expected_wait = service::expected_wait(service, ahead, self.limit());
        if remaining < expected_wait.saturating_add(service) {
            return Err(Overloaded::Shed { expected_wait });
        }
        Ok(())
    }

    /// Whether a call whose turn has come still has the time to use it.
    fn worth_it(&self, clock: &dyn Clock, ask: Ask) -> Result<(), Overloaded> {
        if ask.deadline.instant().is_none() {
            return Ok(());
        }
        let now = clock.now();
        if ask.deadline.is_expired(now) {
            return Err(Overloaded::Deadline);
        }
        self.in_time(now, ask.deadline, 0)
    }

    fn take_slot(&self) -> bool {
        let room = |taken| (taken < self.limit.load(Ordering::SeqCst)).then_some(taken + 1);
        self.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, room).is_ok()
    }

    /// Gives one slot back without serving the line.
    fn release(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Hands free slots to those who wait. Called whenever a slot comes free, the limit grows, or a waiter arrives.
    ///
    /// No wake-up is lost: a waiter is counted before it looks for a slot, and a slot is given back before its giver
    /// looks for waiters, so that one of the two sees the other.
    fn serve_line(self: &Arc<Self>) {
        while let Some(waiter) = self.next_served() {
            self.grant(waiter);
        }
    }

    /// Gives a slot that was taken to this waiter, or back if the waiter has left.
    fn grant(self: &Arc<Self>, waiter: Waiter) {
        if let Err(Ok(permit)) = waiter.send(Ok(BulkheadPermit::new(self))) {
            // It left between being chosen and being told. The caller looks for the next one, so that dropping the
            // permit, which would do so too, cannot nest.
            permit.give_back();
        }
    }

    /// Takes a slot for the first in line, and the first out of it; the lock is released before anyone is told.
    fn next_served(&self) -> Option<Waiter> {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let mut line = self.line.lock();
        if line.len() == 0 || !self.take_slot() {
            return None;
        }
        let waiter = line.pop_first();
        self.waiting.store(line.len(), Ordering::SeqCst);
        waiter
    }

    fn observe(self: &Arc<Self>, now: Instant, latency: Duration, outcome: Outcome) {
        let streaming = self.streaming.fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::Cancelled {
            return;
        }
        self.service.record(latency);
        let sample = Sample { now, latency, outcome, in_flight: self.in_flight(), streaming };
        if self.adapt(|limit| limit.update(&sample)) {
            self.serve_line();
        }
    }

    /// Changes the adaptive limit, if there is one; returns whether it grew.
    fn adapt(&self, change: impl FnOnce(&mut Limit)) -> bool {
        let Some(adaptive) = &self.adaptive else { return false };
        let mut limit = adaptive.lock();
        let before = limit.present();
        change(&mut limit);
        let after = limit.present();
        if after != before {
            // Stored under the lock, so that of two changes the later one stays.
            self.limit.store(after, Ordering::SeqCst);
        }
        after > before
    }
}

/// What a waiter is told.
type Turn = Result<BulkheadPermit, Overloaded>;

/// A place in the line, left when dropped.
struct Place<'a> {
    bulkhead: &'a Bulkhead,
    ticket: Ticket,
    has_left: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        let waiter = {
            let mut line = self.bulkhead.line.lock();
            let waiter = line.remove(self.ticket);
            self.bulkhead.waiting.store(line.len(), Ordering::SeqCst);
            waiter
        };
        drop(waiter);
    }
}

impl fmt::Debug for Bulkhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulkhead")
            .field("in_flight", &self.in_flight())
            .field("limit", &self.limit())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
