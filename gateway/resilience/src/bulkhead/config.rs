//! What a bulkhead is made with, what a call asks of it, and how it says no.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::adaptive::AdaptiveLimit;
use crate::deadline::Deadline;
use crate::priority::Priority;

/// How many calls run and wait.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkheadConfig {
    /// Most calls at a time. Default 512.
    pub max: NonZeroUsize,
    /// Most calls that wait; 0: nobody waits. Default 512.
    pub max_waiting: usize,
    /// Lets the limit find its own value, up to `max`. Default `None`: the limit is `max`.
    pub adaptive: Option<AdaptiveLimit>,
    /// Whether calls are refused that cannot be answered before their deadline. Default `true`.
    pub shed: bool,
}

/// What a call asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Its place among those who wait.
    pub priority: Priority,
    /// When nobody wants its answer any more.
    pub deadline: Deadline,
}

/// The bulkhead has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overloaded {
    /// All slots are taken, and the queue is full of calls that are not less important.
    #[error("all slots are taken and the queue is full")]
    Full,
    /// The deadline passed while the call was waiting.
    #[error("the deadline passed while waiting for a slot")]
    Deadline,
    /// By the service time observed lately, the call could not have been answered before its deadline.
    #[error("the deadline is too close for a call that waits {expected_wait:?} for a slot")]
    Shed {
        /// The wait for a slot, if the next one came free at once: the calls ahead × service time ÷ limit. Zero for
        /// the first in line, which was refused because a call itself takes longer than it has left.
        expected_wait: Duration,
    },
    /// A call of higher priority took its place in the full queue.
    #[error("a call of higher priority took its place in the queue")]
    Displaced,
}

impl Default for BulkheadConfig {
    fn default() -> Self {
        let calls = NonZeroUsize::MIN.saturating_add(511);
        Self { max: calls, max_waiting: calls.get(), adaptive: None, shed: true }
    }
}
