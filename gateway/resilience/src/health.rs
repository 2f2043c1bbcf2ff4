//! How a dependency has fared over the last minute: calls, success rate, latency.
//!
//! It is fed with every outcome and read by a status page. It decides nothing: the circuit breaker keeps its own counts.
//! Memory is fixed (about 11 KiB each), whatever the traffic.

mod histogram;

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::histogram::Histogram;
use crate::window::Buckets;

/// What "recently" means on a status page.
const WINDOW: Duration = Duration::from_secs(60);

/// Parts of the window. Twelve of 5 s each: the numbers move smoothly enough to the eye.
const BUCKETS: usize = 12;

/// Statistics of the calls of the last minute.
pub struct HealthStats {
    buckets: Mutex<Buckets<Tally>>,
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

#[derive(Debug, Default)]
struct Tally {
    good: u64,
    latencies: Histogram,
}

impl HealthStats {
    /// Statistics without any call.
    #[must_use]
    pub fn new() -> Self {
        Self { buckets: Mutex::new(Buckets::new(WINDOW, BUCKETS)) }
    }

    /// Counts one call that ended at `now`.
    pub fn record(&self, now: Instant, good: bool, latency: Duration) {
        self.buckets.lock().record(now, |tally| {
            tally.good += u64::from(good);
            tally.latencies.record(latency);
        });
    }

    /// The last minute, seen from `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> HealthSnapshot {
        let mut good = 0u64;
        let mut latencies = Histogram::default();
        for tally in self.buckets.lock().recent(now) {
            good += tally.good;
            latencies.merge(&tally.latencies);
        }
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
