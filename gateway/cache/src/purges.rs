//! Purges by key and by tag, as far as they concern what is not in the store yet.
//!
//! The decision: one number counts all purges, and each key's and tag's counter holds the number of its last one. An
//! [`Epoch`](crate::Epoch) holds the number from before a fetch, so whatever was purged since is seen by one comparison,
//! although which tags the answer will have is only known when it is there.
//!
//! Keys share counters as tags do. That only keeps an answer from being stored whose fetch was under way while a key of the
//! same counter was purged.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    key::Key,
    tags::{self, Tags},
};

/// The counters of all keys, 512 KiB. With a sixteenth of them a hundred callers who write and read, as in the public
/// suite of HTTP caching, kept one of each other's answers from being stored in every second run.
const KEY_COUNTERS: usize = 1 << u16::BITS;

/// What was purged when.
pub(crate) struct Purges {
    made: AtomicU64,
    /// Those after which no fetch that is under way is joined.
    of_fetches: AtomicU64,
    keys: Box<[AtomicU64]>,
    tags: Box<[AtomicU64]>,
}

impl Purges {
    pub(crate) fn new() -> Self {
        let counters = |number| (0..number).map(|_| AtomicU64::new(0)).collect();
        Self {
            made: AtomicU64::new(0),
            of_fetches: AtomicU64::new(0),
            keys: counters(KEY_COUNTERS),
            tags: counters(tags::COUNTERS),
        }
    }

    /// The purges so far.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Acquire)
    }

    pub(crate) fn key(&self, key: &Key) {
        self.note(self.keys.get(place(key)));
    }

    /// A tag by its counter.
    pub(crate) fn tag(&self, number: u16) {
        self.note(self.tags.get(usize::from(number)));
    }

    /// Whatever is being fetched may be what was purged.
    pub(crate) fn fetches_of_all(&self) {
        self.of_fetches.fetch_add(1, Ordering::AcqRel);
    }

    /// The number of the key's last purge, and how many purges concerned all fetches.
    pub(crate) fn of_key_and_fetches(&self, key: &Key) -> (u64, u64) {
        let of_key = self.keys.get(place(key)).map_or(0, |counter| counter.load(Ordering::Acquire));
        (of_key, self.of_fetches.load(Ordering::Acquire))
    }

    /// Whether a key was purged after so many purges.
    pub(crate) fn key_since(&self, key: &Key, made: u64) -> bool {
        is_after(self.keys.get(place(key)), made)
    }

    /// Whether one of the tags was purged after so many purges.
    pub(crate) fn tag_since(&self, tags: &Tags, made: u64) -> bool {
        tags.counters().any(|counter| is_after(self.tags.get(counter), made))
    }

    fn note(&self, counter: Option<&AtomicU64>) {
        let number = self.made.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        if let Some(counter) = counter {
            counter.fetch_max(number, Ordering::AcqRel);
        }
    }
}

fn is_after(counter: Option<&AtomicU64>, made: u64) -> bool {
    counter.is_some_and(|counter| counter.load(Ordering::Acquire) > made)
}

fn place(key: &Key) -> usize {
    usize::from(key.counter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyBuilder;

    #[test]
    fn a_purge_is_seen_by_what_began_before_it_and_not_after() {
        let purges = Purges::new();
        let key = KeyBuilder::new("i", "o").finish();
        let tags = Tags::new("i", ["a", "b"]).unwrap();
        let before = purges.made();
        assert!(!purges.key_since(&key, before) && !purges.tag_since(&tags, before));
        purges.key(&key);
        purges.tag(tags::counter("i", "b"));
        assert!(purges.key_since(&key, before) && purges.tag_since(&tags, before));
        let after = purges.made();
        assert!(!purges.key_since(&key, after) && !purges.tag_since(&tags, after));
        assert!(!purges.tag_since(&Tags::default(), before));
    }
}
