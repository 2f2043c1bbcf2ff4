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

pub(super) struct Landing<T, P> {
    /// Weak, so that a refresh does not keep alive what would abort it.
    coalescer: Weak<Coalescer<T, P>>,
    key: Key,
    handover: Arc<Handover<P>>,
    sender: watch::Sender<Option<Arrival<T>>>,
}

impl<T, P> Landing<T, P> {
    pub(super) fn new(
        coalescer: &Arc<Coalescer<T, P>>,
        key: Key,
        handover: Arc<Handover<P>>,
        sender: watch::Sender<Option<Arrival<T>>>,
    ) -> Self {
        Self { coalescer: Arc::downgrade(coalescer), key, handover, sender }
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
                self.sender.send_replace(Some(Arrival::Shared(answer)));
            }
            Fetched::Private(answer) => {
                let unclaimed = coalescer.retire_private(&self.key, &self.handover, answer);
                self.sender.send_replace(Some(Arrival::NotShared));
                drop(unclaimed);
            }
        }
    }
}

impl<T, P> Drop for Landing<T, P> {
    /// Runs before the sender is dropped, which is what wakes those who wait. After `publish` it finds nothing.
    fn drop(&mut self) {
        if let Some(coalescer) = self.coalescer.upgrade() {
            coalescer.retire(&self.key, &self.handover);
        }
    }
}
