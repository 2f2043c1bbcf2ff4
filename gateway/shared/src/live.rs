//! A connection that is in use, and how it is doing.
//!
//! Answers come in the order of the calls. So one number says how many are out: calls made, less the latest one that
//! was answered. Callers that left are counted with the rest, which is what bounds the memory that a silent server can
//! cost. (Two callers may take their numbers in one order and send in the other; the count is off by as much as there
//! are callers at that very moment.)

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// So many timeouts within [`STRIKES_WITHIN`], or without any answer between them, end the connection: it is what a
/// slow server may cost.
const STRIKES_MAX: u32 = 5;

/// See [`STRIKES_MAX`].
const STRIKES_WITHIN: Duration = Duration::from_secs(1);

pub(crate) struct Live {
    pub(crate) connection: MultiplexedConnection,
    made: AtomicU64,
    answered: AtomicU64,
    strikes: Mutex<Strikes>,
    driver: JoinHandle<()>,
    over: Arc<Notify>,
}

/// Timeouts since some moment.
struct Strikes {
    since: Instant,
    /// The latest call that had been answered then.
    answered: u64,
    count: u32,
}

impl Live {
    pub(crate) fn new(
        connection: MultiplexedConnection,
        driver: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let over = Arc::new(Notify::new());
        let ended = Arc::clone(&over);
        let driver = tokio::spawn(async move {
            driver.await;
            ended.notify_one();
        });
        Self {
            connection,
            made: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            strikes: Mutex::new(Strikes { since: Instant::now(), answered: 0, count: 0 }),
            driver,
            over,
        }
    }

    /// The number of a call that may be made; `None` when too many are out.
    pub(crate) fn begin(&self, unanswered_max: u64) -> Option<u64> {
        let out = self.made.load(Ordering::Relaxed).saturating_sub(self.answered.load(Ordering::Relaxed));
        (out < unanswered_max).then(|| self.begin_anyway())
    }

    /// The number of a call that is made however many are out.
    pub(crate) fn begin_anyway(&self) -> u64 {
        self.made.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// That call was answered, and so were all before it.
    pub(crate) fn answered(&self, number: u64) {
        self.answered.fetch_max(number, Ordering::Relaxed);
    }

    /// A call was not answered in time. Says whether that was one too many.
    pub(crate) fn strike(&self, now: Instant) -> bool {
        let answered = self.answered.load(Ordering::Relaxed);
        let mut strikes = self.strikes.lock();
        if now.saturating_duration_since(strikes.since) >= STRIKES_WITHIN && answered > strikes.answered {
            *strikes = Strikes { since: now, answered, count: 0 };
        }
        strikes.count += 1;
        strikes.count >= STRIKES_MAX
    }

    /// Ends it: calls that are out fail at once.
    pub(crate) fn end(&self) {
        self.driver.abort();
        self.over.notify_one();
    }

    /// Completes once it has ended, by [`end`](Self::end) or by the server. For one who waits.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
