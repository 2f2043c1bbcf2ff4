//! One fetch per key at a time, whoever asks for it.
//!
//! The decision: a fetch is a task of its own, owned by all who wait for it and by none of them alone. The caller
//! who started it may leave without harm to the others; when the last one leaves, it is aborted.
//!
//! ```text
//! join, nobody there ──► leader ──┐                       ┌─► Shared(answer)    to all
//! join, in flight    ──► waiter ──┼─► the fetch, a task ──┼─► Private(answer)   to the leader; NotShared to waiters
//! refresh            ──► (nobody) ┘                       ├─► Failed            it panicked
//!                                                         └─  aborted           the last one has left
//! ```
//!
//! A key leaves the map *before* anybody is woken by the end of a fetch, so that a late comer starts a new one and never
//! boards a flight that has landed. A fetch may tell its answer before its end, through a [`Herald`]: a head whose body
//! is still [coming](crate::SharedBody). Then the key stays, late comers get that answer at once, and as long as somebody
//! keeps his flight the fetch goes on. An answer that could not be shared marks its key for one second, during
//! which every caller is told at once to fetch for itself instead of waiting in vain.
//!
//! It puts no time limit on a fetch or a wait, and stores nothing; both are the caller's.

mod flight;
mod landing;
mod marks;
mod table;

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use self::{
    flight::{Arrival, Handover, Seat},
    landing::Landing,
    table::{Boarding, Table},
};
use crate::{
    key::Key,
    sync::{Mutex, Notify, spawn, watch},
};

pub use self::{
    flight::{Flight, Landed},
    landing::Herald,
};

/// The background refreshes that run at a time, over all keys. Each holds an answer in memory and wants a place in
/// its integration's concurrency limit; without a bound, a crawl over many stale entries would start one for each.
pub const REFRESHES_MAX: usize = 1024;

/// The fetches in flight, by key.
///
/// `T` is the answer that can be shared. `P` is what only the leader can have, such as a streamed body; it need not
/// be `Sync`. Dropping the last handle aborts the refreshes that are still running.
pub struct Coalescer<T, P = T> {
    table: Mutex<Table<T, P>>,
    max_waiters_per_key: usize,
    landed: Notify,
}

/// What a fetch came back with.
pub enum Fetched<T, P = T> {
    /// For everybody who waits. Failures belong here too, so that the waiters do not all try again at once.
    Shared(Arc<T>),
    /// Only for the one who started the fetch; dropped if that one has left.
    Private(P),
}

/// Why a caller has no part in a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// As many wait for the key as may.
    #[error("too many callers wait for the same answer")]
    Full,
    /// The last answer could not be shared, less than a second ago: the caller fetches for itself.
    #[error("the answer cannot be shared between callers")]
    NotShared,
}

impl<T, P> Coalescer<T, P>
where
    T: Send + Sync + 'static,
    P: Send + 'static,
{
    /// No fetch in flight. At most `max_waiters_per_key` callers (1024 is usual) wait for one fetch beside its
    /// leader; with zero, a key that is in flight refuses everybody else.
    #[must_use]
    pub fn new(max_waiters_per_key: usize) -> Arc<Self> {
        Arc::new(Self { table: Mutex::new(Table::new()), max_waiters_per_key, landed: Notify::new() })
    }

    /// Waits for the fetch of this key that is in flight, or starts `fetch` and leads it.
    ///
    /// `fetch` is called only by the leader, before this returns; its future runs as a task of its own. `now` is
    /// the reading of the caller's clock that the marks on keys are measured by.
    ///
    /// # Errors
    /// [`JoinError::Full`] when `max_waiters_per_key` wait already, [`JoinError::NotShared`] while the key is marked.
    ///
    /// # Panics
    /// Outside of a tokio runtime, and with whatever `fetch` itself panics with. Neither leaves a key in flight.
    pub fn join<F>(
        self: &Arc<Self>,
        key: Key,
        now: Instant,
        fetch: impl FnOnce() -> F,
    ) -> Result<Flight<T, P>, JoinError>
    where
        F: Future<Output = Fetched<T, P>> + Send + 'static,
    {
        self.join_heralded(key, now, |_| fetch())
    }

    /// [`join`](Self::join) for a fetch that may tell its answer before it ends. Who wants the rest of such an answer
    /// keeps the [`Flight`] until it has it, and so uses [`Flight::arrive`] instead of `land`.
    ///
    /// # Errors
    /// As `join`.
    ///
    /// # Panics
    /// As `join`.
    pub fn join_heralded<F>(
        self: &Arc<Self>,
        key: Key,
        now: Instant,
        fetch: impl FnOnce(Herald<T>) -> F,
    ) -> Result<Flight<T, P>, JoinError>
    where
        F: Future<Output = Fetched<T, P>> + Send + 'static,
    {
        let boarding = self.table.lock().board(key, now, self.max_waiters_per_key)?;
        match boarding {
            Boarding::Waiter(handover, arrival) => Ok(self.flight(key, Seat::Waiter, handover, arrival)),
            Boarding::Leader(handover, sender, arrival) => {
                let flight = self.flight(key, Seat::Leader, Arc::clone(&handover), arrival);
                self.launch(Landing::new(self, key, handover, sender), fetch);
                Ok(flight)
            }
        }
    }

    /// Starts `fetch` for nobody in particular, as for an entry that is answered with while it is revalidated. True
    /// if it was started; it then runs to completion, and callers who join meanwhile wait for it.
    ///
    /// False, and `fetch` is not called, while one for the key is in flight, while the key is marked as not shared,
    /// or while [`REFRESHES_MAX`] refreshes are running.
    ///
    /// # Panics
    /// As [`join`](Self::join).
    pub fn refresh<F>(self: &Arc<Self>, key: Key, now: Instant, fetch: impl FnOnce() -> F) -> bool
    where
        F: Future<Output = Fetched<T, P>> + Send + 'static,
    {
        let Some((handover, sender)) = self.table.lock().board_refresh(key, now) else { return false };
        self.launch(Landing::new(self, key, handover, sender), |_| fetch());
        true
    }

    /// The fetches in flight, refreshes included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.table.lock().in_flight()
    }

    /// Returns at a moment when nothing is in flight, which is how a drain waits for the refreshes. Cancel-safe;
    /// the caller bounds the wait.
    pub async fn idle(&self) {
        loop {
            let mut landed = pin!(self.landed.notified());
            // Registered before the look, so that a landing between the look and the wait is not missed.
            landed.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            landed.await;
        }
    }

    fn flight(
        self: &Arc<Self>,
        key: Key,
        seat: Seat,
        handover: Arc<Handover<P>>,
        arrival: watch::Receiver<Option<Arrival<T>>>,
    ) -> Flight<T, P> {
        Flight::new(Arc::clone(self), key, seat, handover, arrival)
    }

    /// `landing` exists before `fetch` is called: should that panic, the key is taken out again all the same.
    fn launch<F>(&self, landing: Landing<T, P>, fetch: impl FnOnce(Herald<T>) -> F)
    where
        F: Future<Output = Fetched<T, P>> + Send + 'static,
    {
        let (key, handover) = landing.identity();
        let fetched = fetch(landing.herald());
        let task = spawn(async move {
            if let Some(fetched) = caught(fetched).await {
                landing.publish(fetched);
            }
        });
        self.table.lock().own(&key, &handover, task.abort_handle());
    }
}

impl<T, P> Coalescer<T, P> {
    /// The flight's end: nobody can board it any more.
    fn retire(&self, key: &Key, handover: &Arc<Handover<P>>) {
        let course = self.table.lock().take(key, handover);
        if course.is_some() {
            self.landed.notify_waiters();
        }
    }

    /// The same for an answer that cannot be shared: marks the key, and leaves the answer for the leader to fetch.
    /// Gives it back if the leader has left.
    fn retire_private(&self, key: &Key, handover: &Arc<Handover<P>>, answer: P) -> Option<P> {
        let (course, unclaimed) = {
            let mut table = self.table.lock();
            table.mark(*key);
            let course = table.take(key, handover);
            // Under the same lock as the leader's leaving, so that the answer is never left where nobody looks.
            let led = course.as_ref().is_some_and(|course| course.is_led());
            (course, if led { handover.put(answer) } else { Some(answer) })
        };
        if course.is_some() {
            self.landed.notify_waiters();
        }
        unclaimed
    }

    /// Somebody leaves, with or without an answer. The last one out stops the fetch.
    fn leave(&self, key: &Key, handover: &Arc<Handover<P>>, seat: Seat) {
        let (abandoned, unclaimed) = {
            let mut table = self.table.lock();
            let unclaimed = if seat == Seat::Leader { handover.take() } else { None };
            (table.leave(key, handover, seat), unclaimed)
        };
        // Outside of the lock: an answer's own drop may do anything.
        drop(unclaimed);
        if let Some(course) = abandoned {
            self.landed.notify_waiters();
            if let Some(abort) = course.abort {
                abort.abort();
            }
        }
    }
}

impl<T, P> Drop for Coalescer<T, P> {
    fn drop(&mut self) {
        // Every flight holds a handle, so these are refreshes that nobody waits for.
        for abort in self.table.get_mut().abort_handles() {
            abort.abort();
        }
    }
}

/// None if the fetch panicked, so that its end is the flight's affair alone and not that of whoever runs the task.
async fn caught<F: Future>(fetched: F) -> Option<F::Output> {
    let mut fetched = pin!(fetched);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| fetched.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
