//! The line of calls that wait for a token.
//!
//! Only the first in line watches the clock; the others wait for its place. That keeps the order of arrival, and one
//! token that comes free wakes one call. The line is bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Most calls in line. At a usual rate they could wait for minutes; more would only use memory and time out.
pub(super) const WAITING_MAX: usize = 1024;

pub(super) struct Queue {
    /// Held by the first in line. Tokio's semaphore is fair.
    turn: Semaphore,
    waiting: AtomicUsize,
}

/// A place in line, left when dropped.
pub(super) struct Place<'a>(&'a Queue);

impl Queue {
    pub(super) fn new() -> Self {
        Self { turn: Semaphore::new(1), waiting: AtomicUsize::new(0) }
    }

    /// Takes a place at the end; `None` when the line is full.
    pub(super) fn join(&self) -> Option<Place<'_>> {
        let room = |waiting| (waiting < WAITING_MAX).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        Some(Place(self))
    }

    /// Completes when the caller is the first in line. Cancel-safe.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // An error means a closed semaphore, which this one never is; going on without order is then the lesser evil.
        self.turn.acquire().await.ok()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
