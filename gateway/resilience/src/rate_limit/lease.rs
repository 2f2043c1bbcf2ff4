//! Tokens on loan to a thread, so that callers on several cores do not meet at one lock.
//!
//! While tokens are plentiful, the ledger lends some to the thread that asks; that thread then takes from its own lane,
//! behind a lock that hardly anybody else touches. What keeps this exact:
//!
//! - A lease is set apart from every window, above the reserve. Using it later than it was lent is always allowed,
//!   because a bucket only fills in between.
//! - What was used is not booked when it was lent but when it was used: the lane keeps the same sum that the ledger
//!   would have made ([`Budget::spend`] from an empty start), which the ledger merges in afterwards.
//! - Nobody is refused, held or queued before all leases are called back. While a hold, a learnt quota or a line
//!   exists there are none, so that nothing has to be checked here but the lease itself.
//!
//! With one thread the verdicts are those of a limiter without leases, to the nanosecond. With several, what they used
//! is booked in the order in which the ledger hears of it, which may let a call go later, never earlier.

use super::budget::Budget;
use crate::sync::Mutex;
use crate::thread::number;

/// Lanes per limiter. More threads than this share lanes, which costs them speed only.
pub(super) const LANES: usize = 16;

/// Windows that a lane can account for without memory of its own. Limiters with more windows lend nothing.
pub(super) const WINDOWS_MAX: usize = 4;

/// The most that is lent at once: enough that the ledger's lock is seldom taken.
const LEASE_MAX: u64 = 1024;

/// The least that is worth lending. Together with [`LEASE_SHARE`]: what holds fewer than 256 tokens lends none, and
/// small budgets are always decided one call after the other.
const LEASE_MIN: u64 = 8;

/// A lane gets at most this fraction of what all may take.
const LEASE_SHARE: u64 = 32;

/// How long a lease can be used, in nanoseconds. It bounds how stale the ledger's view of the recent rate is.
const TERM: u64 = 1_000_000_000;

/// One lane per thread, as far as they go.
pub(super) struct Lanes(Box<[Lane]>);

/// Two cache lines apart, because processors fetch lines in pairs.
#[repr(align(128))]
struct Lane(Mutex<Lease>);

#[derive(Default)]
struct Lease {
    left: u64,
    expires: u64,
    usage: Usage,
}

/// What was taken from a lease and is not booked yet. Times are nanoseconds since the limiter's origin.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    /// Tokens.
    pub(super) used: u64,
    pub(super) last: u64,
    /// Per window, what [`Budget::spend`] made of the takes.
    pub(super) spent: [u64; WINDOWS_MAX],
}

/// What came back of a lease.
pub(super) struct Returned {
    pub(super) usage: Usage,
    /// Tokens that were not used.
    pub(super) left: u64,
}

/// How much to lend of `common` tokens; `None` when they are too few.
pub(super) fn size(common: u64) -> Option<u64> {
    Some((common / LEASE_SHARE).min(LEASE_MAX)).filter(|size| *size >= LEASE_MIN)
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self((0..LANES).map(|_| Lane(Mutex::new(Lease::default()))).collect())
    }

    /// The calling thread's lane.
    pub(super) fn mine() -> usize {
        number() % LANES
    }

    /// Whether the lease covers a call of `cost`.
    pub(super) fn covers(&self, lane: usize, at: u64, cost: u64) -> bool {
        self.0.get(lane).is_some_and(|lane| {
            let lease = lane.0.lock();
            cost <= lease.left && at < lease.expires
        })
    }

    /// Takes `cost` from the lease, if it covers that.
    pub(super) fn take(&self, lane: usize, at: u64, cost: u64, budgets: &[Budget]) -> bool {
        let Some(lane) = self.0.get(lane) else { return false };
        let mut lease = lane.0.lock();
        if cost > lease.left || at >= lease.expires {
            return false;
        }
        lease.left -= cost;
        let usage = &mut lease.usage;
        // A clock that runs backwards counts as one that stands still.
        let at = at.max(usage.last);
        usage.used += cost;
        usage.last = at;
        for (spent, budget) in usage.spent.iter_mut().zip(budgets) {
            *spent = budget.spend(*spent, at, cost);
        }
        true
    }

    /// Lends `tokens` to a lane whose former lease was called back.
    pub(super) fn lend(&self, lane: usize, at: u64, tokens: u64) {
        if let Some(lane) = self.0.get(lane) {
            let usage = Usage { last: at, ..Usage::default() };
            *lane.0.lock() = Lease { left: tokens, expires: at.saturating_add(TERM), usage };
        }
    }

    /// Ends a lane's lease.
    pub(super) fn call_back(&self, lane: usize) -> Returned {
        let lease = self.0.get(lane).map(|lane| std::mem::take(&mut *lane.0.lock())).unwrap_or_default();
        Returned { usage: lease.usage, left: lease.left }
    }

    /// What was used of a lane's lease, which goes on.
    pub(super) fn used(&self, lane: usize) -> Usage {
        let Some(lane) = self.0.get(lane) else { return Usage::default() };
        let mut lease = lane.0.lock();
        let usage = lease.usage;
        lease.usage = Usage { last: usage.last, ..Usage::default() };
        usage
    }
}
