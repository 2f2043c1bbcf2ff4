//! CPU time of a guest that waits again and again.
//!
//! Phases are measured in ticks, and a wait gives one back. A backend waits as often as it likes, so that would be
//! time for nothing: what counts here is the time in which its future was being polled, host calls included.

use std::future::poll_fn;
use std::pin::pin;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The CPU time of one instance.
#[derive(Default)]
pub(crate) struct Meter(Mutex<Reading>);

#[derive(Default)]
struct Reading {
    /// In polls that are over.
    spent: Duration,
    /// When the one that goes on began.
    running_since: Option<Instant>,
}

impl Meter {
    /// How long the guest has run, the poll that goes on included.
    pub(crate) fn used(&self) -> Duration {
        let reading = self.0.lock();
        reading.spent + reading.running_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Runs the guest under the meter. Cancel-safe if the guest is.
    pub(crate) async fn of<R>(&self, guest: impl Future<Output = R>) -> R {
        let mut guest = pin!(guest);
        poll_fn(|context| {
            let began = Instant::now();
            self.0.lock().running_since = Some(began);
            let polled = guest.as_mut().poll(context);
            let mut reading = self.0.lock();
            reading.spent += began.elapsed();
            reading.running_since = None;
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_costs_nothing_and_running_costs_its_time() {
        let meter = Meter::default();
        let began = Instant::now();
        meter.of(tokio::time::sleep(Duration::from_millis(50))).await;
        let waited = meter.used();
        assert!(waited < began.elapsed(), "{waited:?}");
        let busy = async {
            let until = Instant::now() + Duration::from_millis(50);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        };
        meter.of(busy).await;
        assert!(meter.used() >= waited + Duration::from_millis(50));
    }
}
