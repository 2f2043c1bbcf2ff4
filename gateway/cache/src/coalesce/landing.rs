//! The fetch task's side of a flight: it tells the answer once, and cannot end without the key being free again.
//!
//! The decision: a guard that moves into the task. Panic, abort and the end of the runtime all drop it, and
//! dropping it is the announcement of a failure, so no way out of the task needs code of its own.

use std::sync::{Arc, Weak};

use super::{
    Coalescer, Fetched,
    flight::{Arrival, Handover},
};
use crate::{key::Key, sync::watch};

/// Tells the answer of a fetch to all who wait, and to all who come, before the fetch has ended.
pub struct Herald<T>(Arc<watch::Sender<Option<Arrival<T>>>>);

impl<T> Herald<T> {
    /// Tells it. What the fetch comes back with in the end is dropped then, and if it never does, nobody is told: the
    /// answer itself must make its incompleteness known, as a [`SharedBody`](crate::SharedBody) does.
    pub fn announce(self, answer: Arc<T>) {
        tell(&self.0, Arrival::Shared(answer));
    }
}

/// Only the first word counts.
fn tell<T>(sender: &watch::Sender<Option<Arrival<T>>>, arrival: Arrival<T>) {
    sender.send_if_modified(|told| {
        let first = told.is_none();
        if first {
            *told = Some(arrival);
        }
        first
    });
}

pub(super) struct Landing<T, P> {
    /// Weak, so that a refresh does not keep alive what would abort it.
    coalescer: Weak<Coalescer<T, P>>,
    key: Key,
    handover: Arc<Handover<P>>,
    sender: Arc<watch::Sender<Option<Arrival<T>>>>,
}

impl<T, P> Landing<T, P> {
    pub(super) fn new(
        coalescer: &Arc<Coalescer<T, P>>,
        key: Key,
        handover: Arc<Handover<P>>,
        sender: watch::Sender<Option<Arrival<T>>>,
    ) -> Self {
        Self { coalescer: Arc::downgrade(coalescer), key, handover, sender: Arc::new(sender) }
    }

    pub(super) fn herald(&self) -> Herald<T> {
        Herald(Arc::clone(&self.sender))
    }

    pub(super) fn identity(&self) -> (Key, Arc<Handover<P>>) {
        (self.key, Arc::clone(&self.handover))
    }

    /// Frees the key, then wakes everybody.
    pub(super) fn publish(self, fetched: Fetched<T, P>) {
        // Without a coalescer nobody waits either: every flight holds one.
        let Some(coalescer) = self.coalescer.upgrade() else { return };
        match fetched {
            Fetched::Shared(answer) => {
                coalescer.retire(&self.key, &self.handover);
                tell(&self.sender, Arrival::Shared(answer));
            }
            // What is known to all cannot be for one.
            Fetched::Private(_) if self.sender.borrow().is_some() => {}
            Fetched::Private(answer) => {
                let unclaimed = coalescer.retire_private(&self.key, &self.handover, answer);
                tell(&self.sender, Arrival::NotShared);
                drop(unclaimed);
            }
        }
    }
}

impl<T, P> Drop for Landing<T, P> {
    /// After `publish` it finds nothing to do.
    fn drop(&mut self) {
        if let Some(coalescer) = self.coalescer.upgrade() {
            coalescer.retire(&self.key, &self.handover);
        }
        // A herald that somebody kept must not keep the others waiting.
        tell(&self.sender, Arrival::Failed);
    }
}
