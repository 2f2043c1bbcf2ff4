//! Keys whose last answer could not be shared.
//!
//! The decision: a mark is made when a fetch ends, where there is no `now` to be had, so its second begins with the
//! first `now` that anybody brings afterwards, for whatever key. Under load that is the same moment; without load
//! a late mark costs nothing, because nobody is there to wait in vain or to be sent away.
//!
//! Marks are bounded in number. Forgetting one early only makes a caller wait once for an answer it cannot have.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::key::Key;

/// Long enough that the callers of a busy key do not queue up behind each private answer, short enough that a key
/// whose answers can be shared again soon is.
const MARKED_FOR: Duration = Duration::from_secs(1);

/// Less than 1 MiB in all. A provider that sends nothing but private answers to ever new keys must not fill memory.
const MARKS_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Marks {
    until: HashMap<Key, Instant>,
    /// Every mark once more, in the order of their ends, for the sweep.
    order: VecDeque<(Key, Instant)>,
    /// Marks that wait for a `now`.
    unstamped: Vec<Key>,
}

impl Marks {
    /// Marks a key for one second from the next `now`.
    pub(super) fn note(&mut self, key: Key) {
        if self.unstamped.len() < MARKS_MAX {
            self.unstamped.push(key);
        }
    }

    /// Whether the key is marked at `now`. Sweeps what is over by then.
    pub(super) fn contains(&mut self, key: &Key, now: Instant) -> bool {
        self.settle(now);
        self.until.get(key).is_some_and(|until| now < *until)
    }

    fn settle(&mut self, now: Instant) {
        for key in self.unstamped.drain(..) {
            let until = now.checked_add(MARKED_FOR).unwrap_or(now);
            self.until.insert(key, until);
            self.order.push_back((key, until));
        }
        while let Some(&(key, until)) = self.order.front() {
            if now < until && self.order.len() <= MARKS_MAX {
                break;
            }
            self.order.pop_front();
            // A key that was marked again since has a later place in the queue.
            if self.until.get(&key) == Some(&until) {
                self.until.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyBuilder;

    fn key(index: usize) -> Key {
        KeyBuilder::new("i", "o").field("index", &index.to_be_bytes()).finish()
    }

    fn sizes(marks: &Marks) -> [usize; 3] {
        [marks.until.len(), marks.order.len(), marks.unstamped.len()]
    }

    #[test]
    fn a_mark_lasts_one_second_from_the_next_reading() {
        let (mut marks, start) = (Marks::default(), Instant::now());
        marks.note(key(1));
        let first = start + Duration::from_secs(100);
        assert!(!marks.contains(&key(2), first));
        assert!(marks.contains(&key(1), first));
        assert!(marks.contains(&key(1), first + Duration::from_millis(999)));
        assert!(!marks.contains(&key(1), first + MARKED_FOR));
        assert_eq!(sizes(&marks), [0, 0, 0]);
    }

    #[test]
    fn marking_again_starts_the_second_anew() {
        let (mut marks, start) = (Marks::default(), Instant::now());
        marks.note(key(1));
        assert!(marks.contains(&key(1), start));
        marks.note(key(1));
        let later = start + Duration::from_millis(600);
        assert!(marks.contains(&key(1), later));
        assert!(marks.contains(&key(1), start + Duration::from_millis(1_500)));
        assert!(!marks.contains(&key(1), later + MARKED_FOR));
        assert_eq!(sizes(&marks), [0, 0, 0]);
    }

    #[test]
    fn a_flood_of_marks_is_bounded_and_keeps_the_newest() {
        let (mut marks, now) = (Marks::default(), Instant::now());
        for index in 0..3 * MARKS_MAX {
            marks.note(key(index));
            if index % 100 == 0 {
                assert!(marks.contains(&key(index), now));
            }
            assert!(sizes(&marks).iter().all(|size| *size <= MARKS_MAX));
        }
        assert!(marks.contains(&key(3 * MARKS_MAX - 1), now));
        assert!(!marks.contains(&key(0), now));
    }

    #[test]
    fn a_flood_without_any_reading_is_bounded() {
        let mut marks = Marks::default();
        (0..2 * MARKS_MAX).for_each(|index| marks.note(key(index)));
        assert_eq!(sizes(&marks), [0, 0, MARKS_MAX]);
    }
}
