//! The numbers of a scheduler's threads and tasks, which share a real thread. Each of its runs has to begin with the
//! same numbers, so that none is given back.

use std::cell::Cell;

/// A thread's number.
pub(super) struct Number {
    pub(super) shown: Cell<usize>,
}

#[cfg(feature = "loom")]
loom::lazy_static! {
    static ref NEXT: loom::sync::atomic::AtomicUsize = loom::sync::atomic::AtomicUsize::new(0);
}

#[cfg(feature = "loom")]
loom::thread_local! {
    pub(super) static NUMBER: Number =
        Number { shown: Cell::new(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) };
}

#[cfg(not(feature = "loom"))]
shuttle::thread_local! {
    pub(super) static NUMBER: Number = Number { shown: Cell::new(shuttle::current::me().into()) };
}
