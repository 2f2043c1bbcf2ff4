//! The locks, atomics and channels of what is explored by a scheduler: the real ones, or those of the scheduler.
//!
//! | feature   | explored                                     | how                                                          |
//! |-----------|----------------------------------------------|--------------------------------------------------------------|
//! | `loom`    | the breaker                                  | every interleaving of two or three threads, and weak memory  |
//! | `shuttle` | bulkhead, rate limiter, values that renew themselves | thousands of random schedules of threads and tasks, as if memory were strong |
//!
//! Reference counts, one-time cells and the inside of tokio's channels and wake-ups are taken as correct; a scheduler
//! that interrupted them too would find nothing of ours and take for ever. With both features loom's are in place.

#[cfg(feature = "loom")]
mod loom;
#[cfg(all(feature = "shuttle", not(feature = "loom")))]
mod shuttle;

#[cfg(feature = "loom")]
pub(crate) use self::loom::{AtomicBool, AtomicU64, AtomicUsize, Mutex};
#[cfg(all(feature = "shuttle", not(feature = "loom")))]
pub(crate) use self::shuttle::{AtomicBool, AtomicU64, AtomicUsize, Mutex, oneshot, watch};
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
#[cfg(any(feature = "loom", not(feature = "shuttle")))]
pub(crate) use tokio::sync::{oneshot, watch};
