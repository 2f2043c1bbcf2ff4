//! The numbers of real threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Numbers that are given back: one bit each.
const NUMBERS: u32 = u64::BITS;

/// The numbers that living threads have.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// The next of those that are not given back.
static BEYOND: AtomicUsize = AtomicUsize::new(0);

/// A thread's number, and the bit to give back.
pub(super) struct Number {
    pub(super) shown: Cell<usize>,
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

thread_local! {
    pub(super) static NUMBER: Number = Number::take();
}
