//! A ring of buckets over a sliding window.
//!
//! The window is cut into equal parts; the oldest part falls out whole. What is summed therefore spans between
//! `(n − 1)/n` of the window and all of it. Memory is `n` buckets, whatever the traffic.

use std::time::{Duration, Instant};

use super::WINDOW_MIN;

/// `T` per part of a window. The first thing recorded sets where the parts begin.
#[derive(Debug)]
pub(crate) struct Buckets<T> {
    /// Nanoseconds per bucket, at least 1.
    width: u64,
    origin: Option<Instant>,
    /// The latest part reached; an earlier `now` counts as this one.
    latest: u64,
    count: usize,
    /// Empty until something is recorded.
    slots: Vec<Slot<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    /// Which part since the origin this slot holds; `None` when it was never used.
    part: Option<u64>,
    value: T,
}

impl<T: Default> Buckets<T> {
    /// `count` buckets (at least one) over `window`.
    pub(crate) fn new(window: Duration, count: usize) -> Self {
        let count = count.max(1);
        let window = u64::try_from(window.max(WINDOW_MIN).as_nanos()).unwrap_or(u64::MAX);
        let width = (window / u64::try_from(count).unwrap_or(u64::MAX)).max(1);
        Self { width, origin: None, latest: 0, count, slots: Vec::new() }
    }

    /// Lets the parts begin at `origin` instead of at the first thing recorded. Has no effect after that.
    pub(crate) fn anchor(&mut self, origin: Instant) {
        self.origin.get_or_insert(origin);
    }

    /// Lets `record` change the bucket of `now`, emptied first if it held an older part. Gives the part's number.
    pub(crate) fn record(&mut self, now: Instant, record: impl FnOnce(&mut T)) -> u64 {
        self.origin.get_or_insert(now);
        let part = self.part(now);
        if self.slots.is_empty() {
            self.slots.resize_with(self.count, || Slot { part: None, value: T::default() });
        }
        if let Some(slot) = self.slot_of(part) {
            if slot.part != Some(part) {
                *slot = Slot { part: Some(part), value: T::default() };
            }
            record(&mut slot.value);
        }
        part
    }

    /// The buckets that lie within the window at `now`.
    pub(crate) fn recent(&mut self, now: Instant) -> impl Iterator<Item = &T> {
        let latest = self.part(now);
        let count = u64::try_from(self.count).unwrap_or(u64::MAX);
        self.slots
            .iter()
            .filter(move |slot| slot.part.is_some_and(|part| latest.saturating_sub(part) < count))
            .map(|slot| &slot.value)
    }

    /// Forgets all, and where the parts began.
    pub(crate) fn clear(&mut self) {
        self.origin = None;
        self.latest = 0;
        for slot in &mut self.slots {
            slot.part = None;
        }
    }

    /// The number of the part that `now` lies in, or of the latest one reached if that is later.
    pub(crate) fn part(&mut self, now: Instant) -> u64 {
        let since = self.origin.map_or(Duration::ZERO, |origin| now.saturating_duration_since(origin));
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.latest = self.latest.max(nanos / self.width);
        self.latest
    }

    fn slot_of(&mut self, part: u64) -> Option<&mut Slot<T>> {
        let count = u64::try_from(self.slots.len()).ok().filter(|count| *count > 0)?;
        self.slots.get_mut(usize::try_from(part % count).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sum(buckets: &mut Buckets<u32>, now: Instant) -> u32 {
        buckets.recent(now).sum()
    }

    #[test]
    fn what_is_older_than_the_window_falls_out_bucket_by_bucket() {
        let base = Instant::now();
        let mut buckets = Buckets::<u32>::new(10 * SECOND, 10);
        for at in 0..10 {
            buckets.record(base + at * SECOND, |count| *count += 1);
        }
        assert_eq!(sum(&mut buckets, base + 9 * SECOND), 10);
        assert_eq!(sum(&mut buckets, base + 10 * SECOND), 9);
        assert_eq!(sum(&mut buckets, base + 18 * SECOND), 1);
        assert_eq!(sum(&mut buckets, base + 19 * SECOND), 0);
    }

    #[test]
    fn a_reused_slot_starts_empty_after_a_long_silence() {
        let base = Instant::now();
        let mut buckets = Buckets::<u32>::new(10 * SECOND, 10);
        buckets.record(base, |count| *count += 7);
        buckets.record(base + 100 * SECOND, |count| *count += 1);
        assert_eq!(sum(&mut buckets, base + 100 * SECOND), 1);
    }

    #[test]
    fn a_clock_going_backwards_counts_as_the_latest_time_seen() {
        let base = Instant::now();
        let mut buckets = Buckets::<u32>::new(10 * SECOND, 10);
        buckets.record(base, |_| ());
        buckets.record(base + 30 * SECOND, |count| *count += 1);
        buckets.record(base + 2 * SECOND, |count| *count += 1);
        assert_eq!(sum(&mut buckets, base), 2);
    }

    #[test]
    fn zero_sizes_still_count() {
        let base = Instant::now();
        let mut buckets = Buckets::<u32>::new(Duration::ZERO, 0);
        buckets.record(base, |count| *count += 1);
        assert_eq!(sum(&mut buckets, base), 1);
        buckets.clear();
        assert_eq!(sum(&mut buckets, base), 0);
    }
}
