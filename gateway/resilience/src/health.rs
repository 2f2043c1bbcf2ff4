//! How a dependency has fared over the last minute: calls, success rate, latency.
//!
//! It is fed with every outcome and read by a status page. It decides nothing: the circuit breaker keeps its own counts.
//! Who needs a quantile per call (a hedge's delay, the typical time of an attempt) is given one that is up to 100 ms
//! old, so that asking costs a look-up and not a sum. Memory is fixed (about 11 KiB each), whatever the traffic.

mod histogram;

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::histogram::Histogram;
use crate::span::clamped;
use crate::window::Buckets;

/// What "recently" means on a status page.
const WINDOW: Duration = Duration::from_secs(60);

/// Parts of the window. Twelve of 5 s each: the numbers move smoothly enough to the eye.
const BUCKETS: usize = 12;

/// How old a quantile may be that is asked for call by call. Short beside the minute that it is taken over.
const QUANTILE_AGE_MAX: Duration = Duration::from_millis(100);

/// Quantiles that are remembered: the few that a configuration names, not whatever a caller may think of.
const QUANTILES_MAX: usize = 4;

/// Statistics of the calls of the last minute.
pub struct HealthStats {
    buckets: Mutex<Buckets<Tally>>,
    quantiles: Mutex<Vec<Quantile>>,
}

/// [`HealthStats`] at one point in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthSnapshot {
    /// Calls of the last minute.
    pub calls: u64,
    /// Share of good calls, 0 to 1; 1 when there were none.
    pub success_rate: f64,
    /// `1 − success_rate`.
    pub error_rate: f64,
    /// Median latency, exact to 7 %; `None` when there were no calls.
    pub p50: Option<Duration>,
    /// Latency that 99 % of the calls stayed under, exact to 7 %; `None` when there were no calls.
    pub p99: Option<Duration>,
}

/// A quantile of the last minute, as it was at some point in time.
#[derive(Clone, Copy, Debug)]
struct Quantile {
    q: f64,
    at: Instant,
    value: Option<Duration>,
    calls: u64,
}

#[derive(Debug, Default)]
struct Tally {
    good: u64,
    latencies: Histogram,
}

impl HealthStats {
    /// Statistics without any call.
    #[must_use]
    pub fn new() -> Self {
        Self { buckets: Mutex::new(Buckets::new(WINDOW, BUCKETS)), quantiles: Mutex::new(Vec::new()) }
    }

    /// Counts one call that ended at `now`.
    pub fn record(&self, now: Instant, good: bool, latency: Duration) {
        self.buckets.lock().record(now, |tally| {
            tally.good += u64::from(good);
            tally.latencies.record(latency);
        });
    }

    /// The latency that a share `q` (0 to 1) of the last minute's calls stayed at or under, exact to 7 %; `None` when
    /// there were no calls.
    ///
    /// Cheap enough to be asked for every call: up to four different `q` are remembered for 100 ms, so that what is
    /// returned may lack the calls of that span.
    #[must_use]
    pub fn quantile(&self, q: f64, now: Instant) -> Option<Duration> {
        self.quantile_of_calls(q, now).0
    }

    /// [`quantile`](Self::quantile), and how many calls it was taken of.
    pub(crate) fn quantile_of_calls(&self, q: f64, now: Instant) -> (Option<Duration>, u64) {
        let q = clamped(q, 0.5);
        let mut remembered = self.quantiles.lock();
        let fresh =
            |known: &&Quantile| known.q == q && now.saturating_duration_since(known.at) < QUANTILE_AGE_MAX;
        if let Some(known) = remembered.iter().find(fresh) {
            return (known.value, known.calls);
        }
        // Held while it is summed up, so that it is summed up by one caller and not by all at once.
        let (_, latencies) = self.sum(now);
        let found = Quantile { q, at: now, value: latencies.quantile(q), calls: latencies.count() };
        remembered.retain(|known| known.q != q);
        if remembered.len() >= QUANTILES_MAX {
            remembered.remove(0);
        }
        remembered.push(found);
        (found.value, found.calls)
    }

    fn sum(&self, now: Instant) -> (u64, Histogram) {
        let mut good = 0u64;
        let mut latencies = Histogram::default();
        for tally in self.buckets.lock().recent(now) {
            good += tally.good;
            latencies.merge(&tally.latencies);
        }
        (good, latencies)
    }

    /// The last minute, seen from `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> HealthSnapshot {
        let (good, latencies) = self.sum(now);
        let calls = latencies.count();
        let success_rate = if calls == 0 { 1.0 } else { good as f64 / calls as f64 };
        HealthSnapshot {
            calls,
            success_rate,
            error_rate: 1.0 - success_rate,
            p50: latencies.quantile(0.50),
            p99: latencies.quantile(0.99),
        }
    }
}

impl Default for HealthStats {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn without_calls_all_is_well() {
        let snapshot = HealthStats::new().snapshot(Instant::now());
        let expected = HealthSnapshot { calls: 0, success_rate: 1.0, error_rate: 0.0, p50: None, p99: None };
        assert_eq!(snapshot, expected);
    }

    #[test]
    fn a_quantile_is_remembered_for_a_tenth_of_a_second_and_no_longer() {
        let now = Instant::now();
        let stats = HealthStats::new();
        assert_eq!(stats.quantile(0.5, now), None);
        stats.record(now, true, SECOND);
        let later = |millis| now + Duration::from_millis(millis);
        assert_eq!(stats.quantile(0.5, later(99)), None);
        assert_eq!(stats.quantile_of_calls(0.5, later(100)).1, 1);
        assert_eq!(stats.quantile_of_calls(0.9, later(100)).1, 1, "another quantile is another entry");
        assert_eq!(stats.quantile(0.5, later(100)), stats.snapshot(later(100)).p50);
        assert_eq!(stats.quantile(0.5, now + 70 * SECOND), None, "that call is too old");
    }

    #[test]
    fn the_memory_for_quantiles_is_bounded() {
        let now = Instant::now();
        let stats = HealthStats::new();
        for q in 0..100 {
            assert_eq!(stats.quantile(f64::from(q) / 100.0, now), None);
        }
        assert_eq!(stats.quantiles.lock().len(), QUANTILES_MAX);
    }

    #[test]
    fn rates_and_quantiles_come_from_the_last_minute_only() {
        let base = Instant::now();
        let stats = HealthStats::new();
        for _ in 0..100 {
            stats.record(base, false, 20 * SECOND);
        }
        for n in 1..=100u32 {
            stats.record(base + 61 * SECOND, n % 4 != 0, n * Duration::from_millis(1));
        }
        let snapshot = stats.snapshot(base + 62 * SECOND);
        assert_eq!(snapshot.calls, 100);
        assert!((snapshot.success_rate - 0.75).abs() < 1e-9);
        assert!((snapshot.error_rate - 0.25).abs() < 1e-9);
        let near = |found: Option<Duration>, millis: f64| {
            let found = found.unwrap().as_secs_f64() * 1000.0;
            assert!((found / millis - 1.0).abs() < 0.07, "{found} is not near {millis}");
        };
        near(snapshot.p50, 50.0);
        near(snapshot.p99, 99.0);
        assert_eq!(stats.snapshot(base + 200 * SECOND).calls, 0);
    }
}
