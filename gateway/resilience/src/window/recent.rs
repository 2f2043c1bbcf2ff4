//! The exact number of failures within a sliding window.
//!
//! Each failure is kept as its instant until it is a window old. Thresholds beyond [`ENTRIES_MAX`] lose precision
//! instead of taking memory: failures closer together than a fraction of the window share an entry.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::WINDOW_MIN;

/// How many instants are kept apart: 16 KiB. Thresholds of more failures are counted in steps of window / 1024.
const ENTRIES_MAX: u32 = 1024;

/// Failures of the last `window`.
#[derive(Debug)]
pub(crate) struct RecentFailures {
    window: Duration,
    /// Failures less than this apart share an entry; zero for the usual, small thresholds.
    grain: Duration,
    entries_max: usize,
    entries: VecDeque<Entry>,
    total: u32,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    failures: u32,
}

impl RecentFailures {
    /// Counts over `window` for a caller who asks about thresholds up to `threshold`.
    pub(crate) fn new(window: Duration, threshold: u32) -> Self {
        let window = window.max(WINDOW_MIN);
        let grain = if threshold <= ENTRIES_MAX { Duration::ZERO } else { window / ENTRIES_MAX };
        let entries_max = usize::try_from(threshold.clamp(1, ENTRIES_MAX + 1)).unwrap_or(1);
        Self { window, grain, entries_max, entries: VecDeque::new(), total: 0 }
    }

    /// Counts one failure at `now`.
    pub(crate) fn add(&mut self, now: Instant) {
        self.forget(now);
        match self.entries.back_mut() {
            Some(last) if now.saturating_duration_since(last.since) < self.grain => {
                last.failures = last.failures.saturating_add(1);
            }
            last => {
                let since = last.map_or(now, |last| last.since.max(now));
                if self.entries.len() >= self.entries_max {
                    // The count is at the threshold already: the oldest tells nothing more.
                    self.drop_oldest();
                }
                self.entries.push_back(Entry { since, failures: 1 });
            }
        }
        self.total = self.total.saturating_add(1);
    }

    /// How many failures are less than a window old at `now`; never more than the threshold for small thresholds.
    pub(crate) fn count(&mut self, now: Instant) -> u32 {
        self.forget(now);
        self.total
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.total = 0;
    }

    fn forget(&mut self, now: Instant) {
        while self.entries.front().is_some_and(|e| now.saturating_duration_since(e.since) >= self.window) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.total = self.total.saturating_sub(entry.failures);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_window_slides_with_every_failure() {
        let base = Instant::now();
        let mut recent = RecentFailures::new(60 * SECOND, 10);
        for at in [0, 20, 40] {
            recent.add(base + at * SECOND);
        }
        assert_eq!(recent.count(base + 59 * SECOND), 3);
        assert_eq!(recent.count(base + 60 * SECOND), 2, "the first is exactly a window old");
        assert_eq!(recent.count(base + 80 * SECOND), 1);
        assert_eq!(recent.count(base + 100 * SECOND), 0);
    }

    #[test]
    fn memory_is_bounded_by_the_threshold() {
        let base = Instant::now();
        let mut recent = RecentFailures::new(60 * SECOND, 5);
        for at in 0..10_000 {
            recent.add(base + at * Duration::from_millis(1));
        }
        assert_eq!(recent.count(base + 10 * SECOND), 5);
        assert_eq!(recent.entries.len(), 5);
    }

    #[test]
    fn huge_thresholds_are_counted_in_bounded_memory() {
        let base = Instant::now();
        let mut recent = RecentFailures::new(60 * SECOND, 1_000_000);
        for at in 0..100_000u32 {
            recent.add(base + at * Duration::from_millis(1));
        }
        assert!(recent.entries.len() <= 1025, "{}", recent.entries.len());
        let counted = recent.count(base + 100 * SECOND);
        assert!((59_800..=60_000).contains(&counted), "{counted}");
    }

    #[test]
    fn a_clock_going_backwards_changes_nothing() {
        let base = Instant::now();
        let mut recent = RecentFailures::new(60 * SECOND, 5);
        recent.add(base + 30 * SECOND);
        recent.add(base);
        assert_eq!(recent.count(base), 2);
        assert_eq!(recent.count(base + 89 * SECOND), 2);
        assert_eq!(recent.count(base + 90 * SECOND), 0);
    }

    #[test]
    fn a_window_of_zero_still_counts() {
        let base = Instant::now();
        let mut recent = RecentFailures::new(Duration::ZERO, 2);
        recent.add(base);
        recent.add(base);
        assert_eq!(recent.count(base), 2);
    }
}
