//! The locks and atomics of what is explored by a scheduler: the real ones, or, with the feature `loom`, loom's.
//!
//! Only the breaker's own state goes through here. Reference counts, one-time cells and tokio's wake-ups are taken as
//! correct; a scheduler that interrupted them too would find nothing of ours and take for ever.

#[cfg(feature = "loom")]
pub(crate) use loom::sync::atomic::AtomicU64;
#[cfg(not(feature = "loom"))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::atomic::AtomicU64;

#[cfg(feature = "loom")]
pub(crate) use self::explored::Mutex;

#[cfg(feature = "loom")]
mod explored {
    use std::sync::PoisonError;

    use loom::sync::MutexGuard;

    /// loom's mutex with the manners of `parking_lot`'s: no poison.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
