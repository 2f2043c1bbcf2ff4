//! How long a call usually holds its slot, and how long a line of them lasts.
//!
//! A moving average over about the last sixteen calls. It errs on the short side, because it is used to refuse: a single
//! very slow call counts as four usual ones at most, and the time for streaming a body is not in it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Calls that must have been seen before the average is believed.
const SAMPLES_MIN: u32 = 8;

/// Calls that the average is over, roughly.
const MEMORY: u32 = 16;

/// A call counts as at most this many times the average…
const OUTLIER: u64 = 4;

/// …but a millisecond is never too long: an average of next to nothing must be able to grow. In nanoseconds.
const NO_OUTLIER: u64 = 1_000_000;

/// The average time of a call.
#[derive(Debug, Default)]
pub(super) struct ServiceTime {
    /// Nanoseconds.
    average: AtomicU64,
    samples: AtomicU32,
}

impl ServiceTime {
    /// Two calls that end at the very same moment may overwrite one another, which only costs a sample.
    pub(super) fn record(&self, latency: Duration) {
        let latency = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let samples = self.samples.load(Ordering::Relaxed).saturating_add(1).min(MEMORY);
        self.samples.store(samples, Ordering::Relaxed);
        let average = self.average.load(Ordering::Relaxed);
        let latency =
            if samples == 1 { latency } else { latency.min(average.saturating_mul(OUTLIER).max(NO_OUTLIER)) };
        let share = u64::from(samples);
        let next = average - average / share + latency / share;
        self.average.store(next, Ordering::Relaxed);
    }

    /// The average, once it is known well enough.
    pub(super) fn typical(&self) -> Option<Duration> {
        let known = self.samples.load(Ordering::Relaxed) >= SAMPLES_MIN;
        known.then(|| Duration::from_nanos(self.average.load(Ordering::Relaxed)))
    }
}

/// The wait of a call with `ahead` others before it, if the next slot of `limit` came free at once.
pub(super) fn expected_wait(service: Duration, ahead: usize, limit: usize) -> Duration {
    let nanos = service.as_nanos().saturating_mul(ahead as u128) / limit.max(1) as u128;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn too_few_calls_say_nothing() {
        let service = ServiceTime::default();
        for _ in 0..SAMPLES_MIN - 1 {
            service.record(SECOND);
            assert_eq!(service.typical(), None);
        }
        service.record(SECOND);
        assert_eq!(service.typical(), Some(SECOND));
    }

    #[test]
    fn it_follows_a_change_and_not_an_outlier() {
        let service = ServiceTime::default();
        (0..50).for_each(|_| service.record(SECOND));
        service.record(Duration::MAX);
        assert!(service.typical().unwrap() < 2 * SECOND);
        (0..200).for_each(|_| service.record(3 * SECOND));
        let typical = service.typical().unwrap().as_secs_f64();
        assert!((2.9..=3.0).contains(&typical), "{typical}");
    }

    #[test]
    fn a_call_of_no_time_at_all_can_be_followed_by_longer_ones() {
        let service = ServiceTime::default();
        (0..20).for_each(|_| service.record(Duration::ZERO));
        (0..2000).for_each(|_| service.record(SECOND));
        assert!(service.typical().unwrap() > Duration::ZERO);
    }

    #[test]
    fn a_line_lasts_as_long_as_its_calls_over_the_slots() {
        assert_eq!(expected_wait(SECOND, 0, 4), Duration::ZERO);
        assert_eq!(expected_wait(SECOND, 6, 4), SECOND * 3 / 2);
        assert_eq!(expected_wait(Duration::MAX, usize::MAX, 0), Duration::from_nanos(u64::MAX));
    }
}
