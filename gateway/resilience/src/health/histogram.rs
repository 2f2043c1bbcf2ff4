//! Latencies in log-spaced bins: fixed memory, a known relative error.
//!
//! Each doubling of the latency, counted in microseconds, is cut into eight bins, so that a bin's middle is at most
//! 1/16 (under 7 %) away from anything in it. Latencies beyond 17 minutes land in the last bin.

use std::time::Duration;

/// Bins per doubling, as a power of two.
const PRECISION_BITS: u32 = 3;
const PER_DOUBLING: u64 = 1 << PRECISION_BITS;

/// 2^30 µs is 17 minutes: longer than any timeout that makes sense for a call.
const DOUBLINGS_MAX: u32 = 30;
const BINS: usize = ((DOUBLINGS_MAX - PRECISION_BITS + 1) as usize) << PRECISION_BITS;

/// How many latencies fell into each bin. The bins are allocated with the first one.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    bins: Vec<u32>,
    count: u64,
}

impl Histogram {
    pub(super) fn record(&mut self, latency: Duration) {
        self.bins.resize(BINS, 0);
        if let Some(bin) = self.bins.get_mut(bin_of(latency)) {
            *bin = bin.saturating_add(1);
            self.count += 1;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.bins.resize(BINS, 0);
        for (mine, theirs) in self.bins.iter_mut().zip(&other.bins) {
            *mine = mine.saturating_add(*theirs);
        }
        self.count += other.count;
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The latency that a share `q` of all stayed at or under.
    pub(super) fn quantile(&self, q: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let rank = ((self.count as f64 * q).ceil() as u64).max(1);
        let mut seen = 0u64;
        for (bin, count) in self.bins.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return Some(middle_of(bin));
            }
        }
        None
    }
}

fn bin_of(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min((1 << DOUBLINGS_MAX) - 1);
    if micros < PER_DOUBLING {
        return usize::try_from(micros).unwrap_or(0);
    }
    let shift = micros.ilog2() - PRECISION_BITS;
    let bin = u64::from(shift) * PER_DOUBLING + (micros >> shift);
    usize::try_from(bin).unwrap_or(BINS - 1)
}

fn middle_of(bin: usize) -> Duration {
    let bin = u64::try_from(bin).unwrap_or(0);
    if bin < PER_DOUBLING {
        return Duration::from_micros(bin);
    }
    let shift = bin / PER_DOUBLING - 1;
    let low = (PER_DOUBLING + bin % PER_DOUBLING) << shift;
    Duration::from_micros(low + (1 << shift) / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn every_latency_is_found_again_within_seven_percent(micros in 1u64..(1 << DOUBLINGS_MAX)) {
            let found = middle_of(bin_of(Duration::from_micros(micros))).as_micros() as f64;
            prop_assert!((found / micros as f64 - 1.0).abs() < 0.07, "{micros} became {found}");
        }
    }

    #[test]
    fn extremes_have_a_bin() {
        assert_eq!(bin_of(Duration::ZERO), 0);
        assert_eq!(bin_of(Duration::MAX), BINS - 1);
    }

    #[test]
    fn quantiles_take_the_rank_from_below() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for micros in [1, 2, 3, 4] {
            histogram.record(Duration::from_micros(micros));
        }
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_micros(2)));
        assert_eq!(histogram.quantile(0.99), Some(Duration::from_micros(4)));
    }
}
