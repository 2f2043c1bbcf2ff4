//! Room for one call, as a guard: held to the end of the answer's body, given to the next waiter when dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Bulkhead;
use crate::outcome::Outcome;

/// Room for one call; dropping it gives the room to the next waiter.
#[derive(Debug)]
#[must_use = "the room is given back when the permit is dropped"]
pub struct BulkheadPermit {
    bulkhead: Arc<Bulkhead>,
    observed: AtomicBool,
    held: bool,
}

impl BulkheadPermit {
    /// A permit for a slot that was taken.
    pub(super) fn new(bulkhead: &Arc<Bulkhead>) -> Self {
        Self { bulkhead: Arc::clone(bulkhead), observed: AtomicBool::new(false), held: true }
    }

    /// Tells how the call went: `latency` is the time to the answer's head, which ended at `now`.
    ///
    /// It feeds the service time that shedding goes by, and the adaptive limit. Only the first word counts; the slot is
    /// held on until the permit is dropped. [`Outcome::Cancelled`] says nothing, and a permit that is dropped unobserved
    /// neither.
    pub fn observe(&self, now: Instant, latency: Duration, outcome: Outcome) {
        if !self.observed.swap(true, Ordering::Relaxed) {
            self.bulkhead.observe(now, latency, outcome);
        }
    }

    /// Gives the slot back without handing it to the next waiter.
    pub(super) fn give_back(mut self) {
        self.held = false;
        self.bulkhead.release();
    }
}

impl Drop for BulkheadPermit {
    fn drop(&mut self) {
        if self.held {
            if *self.observed.get_mut() {
                self.bulkhead.streaming.fetch_sub(1, Ordering::Relaxed);
            }
            self.bulkhead.release();
            self.bulkhead.serve_line();
        }
    }
}
