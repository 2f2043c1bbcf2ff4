//! Virtual time: days of calls in a moment, the same each time.
//!
//! A [`Simulation`] is a clock and an executor of its own. Tasks run one after the other in the order in which they were
//! woken; when all of them wait, time jumps to the next timer. Nothing else decides the order of events: the same
//! program with the same seed does the same things at the same times, to the nanosecond. What runs in it is the real
//! code of this crate, because all of it takes its time from a [`Clock`](crate::clock::Clock).
//!
//! It is meant for tests, for trying out settings, and for replaying what has happened under others. It is no runtime:
//! tasks must wait for nothing but each other and its clock.

mod chance;
mod executor;
mod script;

pub use self::chance::Seeded;
pub use self::executor::{Simulation, Spawner, VirtualClock};
pub use self::script::{Answer, Behaviour, Failure, Provider, Quota, Script};

#[cfg(test)]
mod tests;
