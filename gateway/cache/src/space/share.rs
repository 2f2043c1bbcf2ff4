//! What one owner holds, and in which order it is given up.
//!
//! The decision: the queues hold tickets, not values. A key that is removed leaves its ticket behind, which its serial
//! number tells from a later one; tickets of nothing are thrown away when they are met, and all at once when there are more
//! of them than of the others. So every step is short, and a value is freed as soon as it is removed.

use std::collections::{VecDeque, hash_map::Entry};

use super::{
    Holdings,
    ghosts::Ghosts,
    shards::{Place, Shards},
};
use crate::key::Key;

/// The part of an owner's bytes that what is new may take, as a divisor.
const SMALL_PART: u64 = 10;

/// How many are passed over in the search for one to give up. Where everything is in use something has to go all the
/// same, and a `put` must not look through a whole queue for it.
const SPARED_MAX: usize = 32;

/// Fewer tickets of nothing than this are not worth a walk through the queues.
const LITTER_MIN: usize = 64;

/// Which queue a value is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// New, and not asked for again so far.
    Small,
    Main,
}

#[derive(Default)]
pub(super) struct Share {
    small: Queue,
    main: Queue,
    entries: usize,
    evictions: u64,
}

#[derive(Default)]
struct Queue {
    tickets: VecDeque<Ticket>,
    bytes: u64,
}

struct Ticket {
    key: Key,
    serial: u64,
}

impl Share {
    pub(super) fn holdings(&self) -> Holdings {
        Holdings {
            entries: self.entries as u64,
            bytes: self.small.bytes.saturating_add(self.main.bytes),
            evictions: self.evictions,
        }
    }

    #[cfg(test)]
    pub(super) fn tickets(&self) -> usize {
        self.small.tickets.len() + self.main.tickets.len()
    }

    /// Makes a place in a queue. `known` is a key that was given up too early.
    pub(super) fn admit(&mut self, key: Key, serial: u64, weight: u64, known: bool) -> Region {
        let region = if known { Region::Main } else { Region::Small };
        let queue = self.queue(region);
        queue.tickets.push_back(Ticket { key, serial });
        queue.bytes = queue.bytes.saturating_add(weight);
        self.entries += 1;
        region
    }

    pub(super) fn resize(&mut self, region: Region, before: u64, now: u64) {
        let queue = self.queue(region);
        queue.bytes = queue.bytes.saturating_sub(before).saturating_add(now);
    }

    /// Takes a removed value off the account. Its ticket stays.
    pub(super) fn forget(&mut self, region: Region, weight: u64) {
        self.resize(region, weight, 0);
        self.entries = self.entries.saturating_sub(1);
    }

    /// Throws away the tickets of nothing, if there are many.
    pub(super) fn compact<V>(&mut self, shards: &Shards<V>) {
        let tickets = self.small.tickets.len() + self.main.tickets.len();
        if tickets - self.entries.min(tickets) <= self.entries.max(LITTER_MIN) {
            return;
        }
        for queue in [&mut self.small, &mut self.main] {
            queue.tickets.retain(|ticket| {
                shards
                    .of(&ticket.key)
                    .read()
                    .get(&ticket.key)
                    .is_some_and(|place| place.serial == ticket.serial)
            });
            queue.tickets.shrink_to(queue.tickets.len() * 2);
        }
    }

    /// Takes out what is to be given up next. None if nothing is held.
    pub(super) fn evict<V>(&mut self, shards: &Shards<V>, ghosts: &mut Ghosts) -> Option<Place<V>> {
        let mut spared = 0;
        loop {
            let region = self.next_region();
            let ticket = self.queue(region).tickets.pop_front()?;
            let mut shard = shards.of(&ticket.key).write();
            let Entry::Occupied(mut found) = shard.entry(ticket.key) else { continue };
            let place = found.get_mut();
            if place.serial != ticket.serial {
                continue;
            }
            if spared < SPARED_MAX && place.spend_use() {
                spared += 1;
                place.region = Region::Main;
                self.queue(region).bytes = self.queue(region).bytes.saturating_sub(place.weight);
                self.main.bytes = self.main.bytes.saturating_add(place.weight);
                self.main.tickets.push_back(ticket);
                continue;
            }
            if region == Region::Small {
                ghosts.note(&ticket.key);
            }
            let place = found.remove();
            self.forget(region, place.weight);
            self.evictions += 1;
            return Some(place);
        }
    }

    /// The queue whose turn it is. It holds something, if either does.
    fn next_region(&self) -> Region {
        let over = self.small.bytes.saturating_mul(SMALL_PART) >= self.holdings().bytes;
        if self.small.bytes > 0 && (over || self.main.bytes == 0) { Region::Small } else { Region::Main }
    }

    fn queue(&mut self, region: Region) -> &mut Queue {
        match region {
            Region::Small => &mut self.small,
            Region::Main => &mut self.main,
        }
    }
}
