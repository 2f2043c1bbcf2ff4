//! Where time and chance come from, for the few parts that wait by themselves.
//!
//! The mechanisms take `now` and `unit` as arguments. What runs on its own (a queue for tokens, the library facade)
//! is given a [`Clock`] and a [`Random`] when it is made. Nothing here is global, and nothing here is wall time.
//! All that waits asks its clock to wake it, so that a clock that jumps runs a day of calls in a moment, and any
//! runtime's timers will do.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::time::Instant;

/// A wait for a point in time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A monotonic clock that can wake.
pub trait Clock: Send + Sync {
    /// The present point in time. It never goes backwards in a sane clock; the mechanisms survive one that does.
    fn now(&self) -> Instant;

    /// Completes once [`now`](Self::now) has reached `until`; at once if it has already. Dropping it cancels the wait.
    fn sleep_until(&self, until: Instant) -> Sleep;
}

/// A source of chance.
pub trait Random: Send + Sync {
    /// A number in `[0, 1)`, spread evenly.
    fn unit(&self) -> f64;
}

/// The clock of the tokio runtime: real time, or the paused time of a test.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

/// Chance from the keys the standard library seeds its hash maps with. Good enough to spread load, not for secrets.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep_until(&self, until: Instant) -> Sleep {
        Box::pin(tokio::time::sleep_until(until.into()))
    }
}

impl Random for SystemRandom {
    fn unit(&self) -> f64 {
        // The upper 53 bits are what an f64 can hold without rounding up to 1.
        let bits = RandomState::new().build_hasher().finish() >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn system_random_stays_in_its_range_and_varies() {
        let units: Vec<f64> = (0..1000).map(|_| SystemRandom.unit()).collect();
        assert!(units.iter().all(|unit| (0.0..1.0).contains(unit)));
        let mean = units.iter().sum::<f64>() / 1000.0;
        assert!((0.4..0.6).contains(&mean), "mean {mean}");
    }

    #[tokio::test(start_paused = true)]
    async fn tokio_clock_follows_paused_time() {
        let before = TokioClock.now();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(TokioClock.now() - before, Duration::from_secs(60));
        TokioClock.sleep_until(before + Duration::from_secs(90)).await;
        assert_eq!((TokioClock.now() - before).as_secs(), 90);
    }
}
