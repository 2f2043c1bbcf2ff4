//! How much the queue may hold, and for how long. Passed to the methods that need it, so that a program may change its
//! mind while the queue is open.

use std::time::Duration;

/// The queue's bounds. A zero never means unlimited: it means nothing, or at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Entries of all states; default 10 000. A full queue forgets the oldest that are done before it refuses.
    pub max_entries: u64,
    /// Octets of all entries; default 256 MiB. The file is somewhat larger.
    pub max_size: u64,
    /// Octets of one call's parameters and body together; default 1 MiB.
    pub max_body: u64,
    /// How long finished entries (done and dead) are kept; default 7 days.
    pub retention: Duration,
    /// How long an entry is tried before it is dead; default 24 hours.
    pub give_up_after: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            max_entries: 10_000,
            max_size: 256 << 20,
            max_body: 1 << 20,
            retention: DAY * 7,
            give_up_after: DAY,
        }
    }
}
