//! Who waits, in the order in which they are served.
//!
//! One ordered map by priority and arrival answers everything that is asked of it: the first is served next, the last is
//! the youngest of the lowest priority, and whoever leaves is found by its ticket. It decides nothing, wakes nobody and
//! has no bound of its own: the bulkhead asks for its length before it lets anyone in.

use std::collections::BTreeMap;

use super::Turn;
use crate::priority::Priority;
use crate::sync::oneshot;

/// Where a waiter is told that its turn has come. If it has left, the turn comes back.
pub(super) type Waiter = oneshot::Sender<Turn>;

/// Where a waiter stands; the lowest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    /// 0 for the highest priority.
    rank: u8,
    /// Counts arrivals.
    number: u64,
}

/// The waiters.
#[derive(Default)]
pub(super) struct Line {
    waiters: BTreeMap<Ticket, Waiter>,
    arrivals: u64,
    high: usize,
    normal: usize,
    low: usize,
}

const fn rank(priority: Priority) -> u8 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// How many would be served before a call of this priority that arrived now.
    pub(super) const fn ahead_of(&self, priority: Priority) -> usize {
        match priority {
            Priority::High => self.high,
            Priority::Normal => self.high + self.normal,
            Priority::Low => self.high + self.normal + self.low,
        }
    }

    pub(super) fn push(&mut self, priority: Priority, waiter: Waiter) -> Ticket {
        let ticket = Ticket { rank: rank(priority), number: self.arrivals };
        self.arrivals += 1;
        self.waiters.insert(ticket, waiter);
        *self.count(ticket.rank) += 1;
        ticket
    }

    pub(super) fn pop_first(&mut self) -> Option<Waiter> {
        let (ticket, waiter) = self.waiters.pop_first()?;
        *self.count(ticket.rank) -= 1;
        Some(waiter)
    }

    /// Takes out the youngest waiter of the lowest priority, if that is lower than `priority`.
    pub(super) fn displace(&mut self, priority: Priority) -> Option<Waiter> {
        let last = self.waiters.last_entry()?;
        if last.key().rank <= rank(priority) {
            return None;
        }
        let (ticket, waiter) = last.remove_entry();
        *self.count(ticket.rank) -= 1;
        Some(waiter)
    }

    /// Takes out the waiter with this ticket, if it is still in line.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiter> {
        let waiter = self.waiters.remove(&ticket)?;
        *self.count(ticket.rank) -= 1;
        Some(waiter)
    }

    const fn count(&mut self, rank: u8) -> &mut usize {
        match rank {
            0 => &mut self.high,
            1 => &mut self.normal,
            _ => &mut self.low,
        }
    }
}
