//! One fetch: the task's side of a [`Renewing`](super::Renewing) value.
//!
//! The decision: a guard that moves into the task. However the task ends, by an answer, a panic, its limit or by being
//! dropped, the next fetch may begin and those who wait are told, in this order, so that nobody is woken to find the
//! fetch still standing there.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::{Core, Fresh, Held, Landed, RenewError, Sender};
use crate::span::{later, scaled};

pub(super) struct Fetching<T, E> {
    core: Arc<Core<T, E>>,
    sender: Sender<T, E>,
    settled: bool,
}

impl<T, E> Fetching<T, E> {
    pub(super) fn new(core: Arc<Core<T, E>>, sender: Sender<T, E>) -> Self {
        Self { core, sender, settled: false }
    }

    pub(super) async fn run(mut self) {
        let begun = self.core.clock.now();
        let fetched = self.fetch().await;
        if let Err(error) = &*self.settle(fetched, begun) {
            (self.core.told)(error);
        }
    }

    /// The fetch, which is gone when this returns: the next one never runs beside what is left of it.
    async fn fetch(&self) -> Result<Fresh<T>, RenewError<E>> {
        let until = later(self.core.clock.now(), self.core.fetch_timeout);
        let mut limit = self.core.clock.sleep_until(until);
        // To start it is part of it: that may panic as well.
        let mut fetch = Box::pin(async { (self.core.source)().await });
        poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| fetch.as_mut().poll(cx))) {
            Ok(Poll::Ready(fetched)) => Poll::Ready(fetched.map_err(RenewError::Failed)),
            Ok(Poll::Pending) => limit.as_mut().poll(cx).map(|()| Err(RenewError::TimedOut)),
            Err(_) => Poll::Ready(Err(RenewError::Panicked)),
        })
        .await
    }

    /// Gives back what everybody was told. A life counts from when the fetch was `begun`: that the answer was slow does
    /// not lengthen it.
    fn settle(&mut self, fetched: Result<Fresh<T>, RenewError<E>>, begun: Instant) -> Arc<Landed<T, E>> {
        self.settled = true;
        let now = self.core.clock.now();
        let (landed, renew) = match fetched {
            Ok(Fresh { value, life }) => {
                let renew = later(begun, scaled(life, self.core.renew_at));
                (Ok(Arc::new(Held { value, end: later(begun, life) })), renew)
            }
            Err(error) => (Err(error), later(now, self.core.retry_pause)),
        };
        let replaced = self.core.settle(&landed, renew);
        let landed = Arc::new(landed);
        self.sender.send_replace(Some(Arc::clone(&landed)));
        drop(replaced);
        landed
    }
}

impl<T, E> Drop for Fetching<T, E> {
    fn drop(&mut self) {
        if !self.settled {
            let now = self.core.clock.now();
            self.settle(Err(RenewError::Dropped), now);
        }
    }
}
