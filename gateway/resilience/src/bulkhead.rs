//! A bulkhead: at most so many calls at a time, at most so many waiting.
//!
//! One slow dependency must not take every thread, socket and byte of memory. Whoever finds the queue full is refused at
//! once, because a longer queue only makes everybody late. Waiters are served in the order of their arrival.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits how many calls run at a time.
#[derive(Debug)]
pub struct Bulkhead {
    max: usize,
    max_waiting: usize,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Room for one call; dropping it gives the room to the next waiter.
#[derive(Debug)]
#[must_use = "the room is given back when the permit is dropped"]
pub struct BulkheadPermit {
    _slot: OwnedSemaphorePermit,
}

/// The bulkhead has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overloaded {
    /// All slots are taken and the queue is full.
    #[error("all slots are taken and the queue is full")]
    Full,
    /// The deadline passed while the call was waiting.
    #[error("the deadline passed while waiting for a slot")]
    Deadline,
}

impl Bulkhead {
    /// Room for `max` calls, with up to `max_waiting` more waiting (0 = nobody waits).
    #[must_use]
    pub fn new(max: NonZeroUsize, max_waiting: usize) -> Arc<Self> {
        let max = max.get().min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            max,
            max_waiting,
            slots: Arc::new(Semaphore::new(max)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Takes a slot, waiting for one in the order of arrival until `deadline` (none: as long as it takes).
    ///
    /// A slot that is free is granted whatever the deadline. Cancel-safe: a dropped waiter leaves the queue.
    ///
    /// # Errors
    /// [`Overloaded::Full`] at once when all slots are taken and `max_waiting` calls wait already;
    /// [`Overloaded::Deadline`] when the deadline passes first.
    pub async fn acquire(self: &Arc<Self>, deadline: Option<Instant>) -> Result<BulkheadPermit, Overloaded> {
        // A slot that somebody waits for is handed over directly and never seen as free here.
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(BulkheadPermit { _slot: slot });
        }
        let _place = Place::take(self).ok_or(Overloaded::Full)?;
        let slot = Arc::clone(&self.slots).acquire_owned();
        let slot = match deadline {
            None => slot.await,
            Some(deadline) => tokio::time::timeout_at(tokio::time::Instant::from_std(deadline), slot)
                .await
                .map_err(|_elapsed| Overloaded::Deadline)?,
        };
        // The semaphore is never closed, so that the error cannot come up; it would mean that there is no room.
        slot.map(|slot| BulkheadPermit { _slot: slot }).map_err(|_closed| Overloaded::Full)
    }

    /// Calls that hold a slot.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.max.saturating_sub(self.slots.available_permits())
    }

    /// Calls that wait for one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Most calls that run at a time.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Most calls that wait.
    #[must_use]
    pub const fn max_waiting(&self) -> usize {
        self.max_waiting
    }
}

/// A place in the queue, left when dropped.
struct Place<'a>(&'a Bulkhead);

impl<'a> Place<'a> {
    fn take(bulkhead: &'a Bulkhead) -> Option<Self> {
        let room = |waiting| (waiting < bulkhead.max_waiting).then_some(waiting + 1);
        bulkhead.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        Some(Self(bulkhead))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::yield_now;

    use super::*;
    use crate::clock::{Clock, TokioClock};

    fn bulkhead(max: usize, max_waiting: usize) -> Arc<Bulkhead> {
        Bulkhead::new(NonZeroUsize::new(max).unwrap(), max_waiting)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once() {
        let bulkhead = bulkhead(1, 1);
        let first = bulkhead.acquire(None).await.unwrap();
        let waiter = tokio::spawn({
            let bulkhead = Arc::clone(&bulkhead);
            async move { bulkhead.acquire(None).await }
        });
        yield_now().await;
        assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (1, 1));
        assert_eq!(bulkhead.acquire(None).await.unwrap_err(), Overloaded::Full);
        drop(first);
        let second = waiter.await.unwrap().unwrap();
        assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (1, 0));
        drop(second);
        assert_eq!(bulkhead.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_gives_up_at_its_deadline_and_leaves_the_queue() {
        let bulkhead = bulkhead(1, 8);
        let _held = bulkhead.acquire(None).await.unwrap();
        let start = TokioClock.now();
        let deadline = Some(start + Duration::from_secs(2));
        assert_eq!(bulkhead.acquire(deadline).await.unwrap_err(), Overloaded::Deadline);
        assert_eq!(TokioClock.now().duration_since(start).as_secs(), 2);
        assert_eq!(bulkhead.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_waiter_leaves_the_queue_and_takes_no_slot() {
        let bulkhead = bulkhead(1, 1);
        let held = bulkhead.acquire(None).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_secs(1), bulkhead.acquire(None)).await;
        assert!(waited.is_err());
        assert_eq!(bulkhead.waiting(), 0);
        drop(held);
        assert_eq!(bulkhead.in_flight(), 0);
        assert!(bulkhead.acquire(None).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiters_are_served_in_the_order_of_arrival() {
        let bulkhead = bulkhead(1, 16);
        let held = bulkhead.acquire(None).await.unwrap();
        let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for n in 0..16 {
            let (bulkhead, order) = (Arc::clone(&bulkhead), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let _permit = bulkhead.acquire(None).await.unwrap();
                order.lock().push(n);
            }));
            yield_now().await;
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), (0..16).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_of_zero_refuses_whoever_would_have_to_wait() {
        let bulkhead = bulkhead(1, 0);
        let _held = bulkhead.acquire(None).await.unwrap();
        assert_eq!(bulkhead.acquire(None).await.unwrap_err(), Overloaded::Full);
    }
}
