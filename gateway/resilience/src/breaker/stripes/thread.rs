//! Which stripe a thread writes to.
//!
//! Threads are numbered in the order in which they first count something. A number is all that is kept; it is not given
//! back, so that short-lived threads take turns on the stripes.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

/// A thread that has no number yet.
const NONE: usize = usize::MAX;

#[cfg(not(feature = "loom"))]
static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

#[cfg(not(feature = "loom"))]
thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(NONE) };
}

// A scheduler's threads share a real one, and each of its runs has to begin with the same numbers.
#[cfg(feature = "loom")]
loom::lazy_static! {
    static ref NEXT: loom::sync::atomic::AtomicUsize = loom::sync::atomic::AtomicUsize::new(0);
}

#[cfg(feature = "loom")]
loom::thread_local! {
    static NUMBER: Cell<usize> = Cell::new(NONE);
}

/// The present thread's number.
pub(super) fn number() -> usize {
    NUMBER.with(|number| {
        if number.get() == NONE {
            // Without the topmost bit, so that a number is never taken for none.
            number.set(NEXT.fetch_add(1, Ordering::Relaxed) & (NONE >> 1));
        }
        number.get()
    })
}

/// Gives the present thread another number, for tests that decide who meets whom.
#[cfg(test)]
pub(in crate::breaker) fn pin(to: usize) {
    NUMBER.with(|number| number.set(to));
}

/// As many stripes as there are processors, rounded up to a power of two. Asked once: the answer is a matter of files
/// and system calls.
pub(super) fn stripes(max: usize) -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    let count = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if cfg!(feature = "loom") {
        return 2;
    }
    PROCESSORS.get_or_init(count).next_power_of_two().min(max)
}
