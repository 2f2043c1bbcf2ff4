//! How cache lookups ended, in numbers that the gateway itself can read.
//!
//! Instruments can only be written. What operators see of a cache at a glance, its hit ratio, needs the numbers back.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of one operation, since its integration was last built anew.
#[derive(Default)]
pub(super) struct Lookups {
    hits: AtomicU64,
    stale: AtomicU64,
    misses: AtomicU64,
    coalesced: AtomicU64,
}

/// What they came to. They add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheLookups {
    /// Answered with a fresh answer.
    pub hits: u64,
    /// Answered with a stale one.
    pub stale: u64,
    /// Not answered from what was stored, or only after the provider had been asked about it.
    pub misses: u64,
    /// Of the misses, those that had the answer of another call's fetch.
    pub coalesced: u64,
}

impl Lookups {
    pub(super) fn count(&self, result: &'static str) {
        let counter = match result {
            "hit" => &self.hits,
            "stale" => &self.stale,
            "coalesced" => &self.coalesced,
            _ => &self.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> CacheLookups {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheLookups {
            hits: read(&self.hits),
            stale: read(&self.stale),
            misses: read(&self.misses),
            coalesced: read(&self.coalesced),
        }
    }
}

impl CacheLookups {
    /// The share of lookups that were answered from what was stored, from 0 to 1; none before the first one.
    pub fn hit_ratio(&self) -> Option<f64> {
        let answered = self.hits.saturating_add(self.stale);
        let all = answered.saturating_add(self.misses);
        (all > 0).then(|| answered as f64 / all as f64)
    }
}

impl std::ops::Add for CacheLookups {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            hits: self.hits.saturating_add(other.hits),
            stale: self.stale.saturating_add(other.stale),
            misses: self.misses.saturating_add(other.misses),
            coalesced: self.coalesced.saturating_add(other.coalesced),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_of_what_was_answered_from_the_store() {
        let lookups = Lookups::default();
        assert_eq!(lookups.read().hit_ratio(), None);
        for result in ["miss", "hit", "revalidated", "stale", "coalesced"] {
            lookups.count(result);
        }
        let read = lookups.read();
        assert_eq!(read, CacheLookups { hits: 1, stale: 1, misses: 2, coalesced: 1 });
        assert_eq!((read + read).hit_ratio(), Some(0.5));
    }
}
