//! A clock that stands still until the test moves it, for circuits around calls that take real time.
//!
//! Tokio's paused time is no good here: it jumps whenever all tasks wait, and a task that waits for a server's answer does
//! just that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bascule_resilience::{Clock, clock::Sleep};
use tokio::sync::watch;

/// A clock moved by hand.
pub(crate) struct HandClock(watch::Sender<Instant>);

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Instant::now())))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Instant {
        *self.0.borrow()
    }

    fn sleep_until(&self, until: Instant) -> Sleep {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            if now.wait_for(|now| *now >= until).await.is_err() {
                // The clock is gone: that point in time never comes.
                std::future::pending().await
            }
        })
    }
}
