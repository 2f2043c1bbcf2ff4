//! A small number for every thread, for state that is spread so that threads do not meet at it.
//!
//! A thread gets the smallest number that no living thread has, and gives it back when it ends: as long as there are no
//! more threads than places, no two of them share one, however many came and went before. Beyond [`NUMBERS`] threads at
//! a time numbers are handed out in turn and not given back. To share a place costs speed only.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Numbers that are given back: one bit each.
const NUMBERS: u32 = u64::BITS;

/// The numbers that living threads have.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// The next of those that are not given back.
static BEYOND: AtomicUsize = AtomicUsize::new(0);

/// A thread's number, and the bit to give back.
struct Number {
    shown: Cell<usize>,
    bit: u64,
}

impl Number {
    fn take() -> Self {
        let free = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
        match TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free) {
            Ok(before) => {
                let number = before.trailing_ones();
                Self { shown: Cell::new(number as usize), bit: 1 << (number % NUMBERS) }
            }
            Err(_) => Self { shown: Cell::new(BEYOND.fetch_add(1, Ordering::Relaxed)), bit: 0 },
        }
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        TAKEN.fetch_and(!self.bit, Ordering::Relaxed);
    }
}

#[cfg(not(feature = "loom"))]
thread_local! {
    static NUMBER: Number = Number::take();
}

// A scheduler's threads share a real one, and each of its runs has to begin with the same numbers.
#[cfg(feature = "loom")]
loom::lazy_static! {
    static ref NEXT: loom::sync::atomic::AtomicUsize = loom::sync::atomic::AtomicUsize::new(0);
}

#[cfg(feature = "loom")]
loom::thread_local! {
    static NUMBER: Number = Number { shown: Cell::new(NEXT.fetch_add(1, Ordering::Relaxed)), bit: 0 };
}

/// The present thread's number. A thread that is ending, and has none any more, is number 0.
pub(crate) fn number() -> usize {
    NUMBER.try_with(|number| number.shown.get()).unwrap_or(0)
}

/// Gives the present thread another number, for tests that decide who meets whom.
#[cfg(test)]
pub(crate) fn pin(to: usize) {
    NUMBER.with(|number| number.shown.set(to));
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ends_gives_its_number_to_the_next() {
        // Other tests' threads come and go meanwhile: only what holds whatever they do can be asked.
        let mine = number();
        assert_eq!(number(), mine, "it stays the same");
        for _ in 0..1000 {
            let other = std::thread::spawn(number).join().unwrap();
            assert_ne!(other, mine, "nobody else has it while this thread lives");
            assert!(other < 200, "numbers are given back: {other}");
        }
    }
}
