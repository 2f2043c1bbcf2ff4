//! A caller's part in a fetch: the seat that keeps the fetch alive, and the place where the answer arrives.
//!
//! The decision: leaving is dropping. There is no method to call and none to forget, and a caller whose deadline
//! cuts `land` off has left by that alone.

use std::sync::Arc;

use super::Coalescer;
use crate::{
    key::Key,
    sync::{Mutex, watch},
};

/// One caller's place among those who wait for a fetch. As long as one of them exists, the fetch goes on.
#[must_use = "dropping a flight leaves it, and the last one to leave aborts the fetch"]
pub struct Flight<T, P = T> {
    coalescer: Arc<Coalescer<T, P>>,
    key: Key,
    seat: Seat,
    handover: Arc<Handover<P>>,
    arrival: watch::Receiver<Option<Arrival<T>>>,
}

/// How a fetch ended for one of those who waited for it.
pub enum Landed<T, P = T> {
    /// The answer, or the failure, that all get.
    Shared(Arc<T>),
    /// The answer that only the leader gets.
    Private(P),
    /// The answer was for the leader alone: fetch for yourself, without joining again.
    NotShared,
    /// The fetch panicked, or its runtime is going down. All get this, and it is a failure like any other: fetching
    /// again at once would send all waiters to the provider together.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    Leader,
    Waiter,
}

/// What the task tells everybody.
pub(super) enum Arrival<T> {
    Shared(Arc<T>),
    NotShared,
    /// It ended without a word.
    Failed,
}

/// Where the task leaves a private answer for the leader. Its address is the flight's identity: the same key may
/// have flown again meanwhile.
pub(super) struct Handover<P>(Mutex<Option<P>>);

impl<T, P> Flight<T, P> {
    pub(super) fn new(
        coalescer: Arc<Coalescer<T, P>>,
        key: Key,
        seat: Seat,
        handover: Arc<Handover<P>>,
        arrival: watch::Receiver<Option<Arrival<T>>>,
    ) -> Self {
        Self { coalescer, key, seat, handover, arrival }
    }

    /// Whether this caller's own fetch is the one that runs.
    pub fn is_leader(&self) -> bool {
        self.seat == Seat::Leader
    }

    /// Waits for the end of the fetch, without a limit of its own. Cancel-safe: dropping it leaves the flight, and
    /// the fetch goes on if anybody else waits.
    pub async fn land(mut self) -> Landed<T, P> {
        self.arrive().await
    }

    /// [`land`](Self::land) without leaving: for an answer that was told before its end, and whose fetch is to go on.
    /// Cancel-safe. To be called once: a private answer is given away by the first call.
    pub async fn arrive(&mut self) -> Landed<T, P> {
        let arrival = match self.arrival.wait_for(Option::is_some).await {
            Ok(arrival) => arrival.clone(),
            Err(_) => None,
        };
        match arrival {
            Some(Arrival::Shared(answer)) => Landed::Shared(answer),
            Some(Arrival::NotShared) => match self.private() {
                Some(answer) => Landed::Private(answer),
                None => Landed::NotShared,
            },
            Some(Arrival::Failed) | None => Landed::Failed,
        }
    }

    fn private(&self) -> Option<P> {
        if self.is_leader() { self.handover.take() } else { None }
    }
}

impl<T, P> Drop for Flight<T, P> {
    fn drop(&mut self) {
        self.coalescer.leave(&self.key, &self.handover, self.seat);
    }
}

impl<P> Handover<P> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Gives back what was there before.
    pub(super) fn put(&self, answer: P) -> Option<P> {
        self.0.lock().replace(answer)
    }

    pub(super) fn take(&self) -> Option<P> {
        self.0.lock().take()
    }
}

impl<T> Clone for Arrival<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Shared(answer) => Self::Shared(Arc::clone(answer)),
            Self::NotShared => Self::NotShared,
            Self::Failed => Self::Failed,
        }
    }
}
