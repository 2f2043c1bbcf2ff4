//! The description of a value that renews itself.

use std::sync::Arc;
use std::time::Duration;

use super::{Core, RenewError, Renewing, Source, State, Told};
use crate::clock::{Clock, TokioClock};
use crate::span::clamped;
use crate::spawn::{Spawn, TokioSpawn};
use crate::sync::Mutex;

/// When an early renewal begins, as a share of the value's life. Early enough for some tries of a token of an hour
/// before it ends, late enough not to ask much more often than needed.
const RENEW_AT: f64 = 0.8;
/// How long a failed early renewal waits for the next try: the old value still serves, there is no hurry.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// The longest fetch: as long as a call may take by default.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Describes a [`Renewing`] value; [`build`](Self::build) makes it.
#[must_use = "a value comes to be with `build`"]
pub struct RenewingBuilder<T, E> {
    source: Source<T, E>,
    told: Told<E>,
    clock: Arc<dyn Clock>,
    spawner: Arc<dyn Spawn>,
    renew_at: f64,
    retry_pause: Duration,
    fetch_timeout: Duration,
}

impl<T, E> RenewingBuilder<T, E> {
    pub(super) fn new(source: Source<T, E>) -> Self {
        Self {
            source,
            told: Box::new(|_| ()),
            clock: Arc::new(TokioClock),
            spawner: Arc::new(TokioSpawn),
            renew_at: RENEW_AT,
            retry_pause: RETRY_PAUSE,
            fetch_timeout: FETCH_TIMEOUT,
        }
    }

    /// The share of a value's life, 0 to 1, after which it is renewed while it is still used. Default 0.8. At 1 it is
    /// fetched anew only after its end, with callers waiting.
    pub fn renew_at(mut self, share: f64) -> Self {
        self.renew_at = clamped(share, RENEW_AT);
        self
    }

    /// How long after a failed early renewal the next one may begin. Default 5 s. Zero: with the next caller.
    pub fn retry_pause(mut self, pause: Duration) -> Self {
        self.retry_pause = pause;
        self
    }

    /// The longest that a fetch may take, and so the longest that a caller waits. Default 30 s. Zero: no fetch has
    /// the time to wait for anything.
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.fetch_timeout = timeout;
        self
    }

    /// Called once for each fetch that failed, after those who waited for it were told and without any lock held: the
    /// only way to hear of an early renewal that failed. Not called for a fetch that was dropped by who ran it.
    pub fn on_failure(mut self, told: impl Fn(&RenewError<E>) + Send + Sync + 'static) -> Self {
        self.told = Box::new(told);
        self
    }

    /// Another clock. Default [`TokioClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another way to run the fetches. Default [`TokioSpawn`].
    pub fn spawner(mut self, spawner: Arc<dyn Spawn>) -> Self {
        self.spawner = spawner;
        self
    }

    /// Makes the value, which is not fetched yet.
    #[must_use]
    pub fn build(self) -> Renewing<T, E> {
        let renew = self.clock.now();
        let core = Core {
            source: self.source,
            told: self.told,
            clock: self.clock,
            spawner: self.spawner,
            renew_at: self.renew_at,
            retry_pause: self.retry_pause,
            fetch_timeout: self.fetch_timeout,
            state: Mutex::new(State { held: None, renew, fetching: None }),
        };
        Renewing { core: Arc::new(core) }
    }
}
