//! A map bounded in bytes that is shared fairly between owners.
//!
//! Two decisions. **Who gives way when it is full is whoever holds the most** (max-min fairness): an owner that holds no
//! more than its equal part is never made to give up anything by another one, and an owner that is alone may use
//! everything. There is nothing to configure, and no room stands empty for somebody who does not need it. **What of his he
//! gives up** is decided by S3-FIFO: what was not asked for again while it was new goes first, so that a flood of keys that
//! are asked for once passes through a tenth of the room and leaves the rest alone.
//!
//! ```text
//! put ──► small (a tenth) ──asked for again──► main ◄─┐ asked for again
//!           └── not ──► out, remembered        └──────┴── not ──► out
//! put of a key that was put out of `small` lately ──► main
//! ```
//!
//! Reading takes a lock of one of many shards for as long as a reference count is raised, and waits for nothing but the
//! removal or insertion of another key of that shard.
//! Everything that changes the map goes through one lock, which also makes an edit of one key a step that no other can
//! come between.
//!
//! It knows neither time nor purges, and it is never over its size.

mod ghosts;
mod shards;
mod share;

use std::collections::HashMap;

use parking_lot::{Mutex, RwLock};

use self::{
    ghosts::Ghosts,
    shards::{Place, Shard, Shards},
    share::Share,
};
use crate::key::Key;

/// What is kept: it weighs something and belongs to somebody.
pub(crate) trait Occupant {
    /// In bytes, with everything that holding it costs. It does not change while it is kept.
    fn weight(&self) -> u64;
    /// By name.
    fn owner(&self) -> &str;
}

/// What becomes of the value of a key.
pub(crate) enum Edit<V> {
    Leave,
    Put(V),
    Remove,
}

pub(crate) struct Space<V> {
    shards: Shards<V>,
    ledger: Mutex<Ledger>,
}

/// Who holds how much, and in which order it is given up.
struct Ledger {
    max: u64,
    bytes: u64,
    shares: HashMap<Box<str>, Share>,
    ghosts: Ghosts,
    /// Tells a place in a queue from an earlier one of the same key.
    serial: u64,
    evictions: u64,
}

/// What is held, by all or by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// What was given up for lack of room.
    pub(crate) evictions: u64,
}

impl<V: Occupant> Space<V> {
    pub(crate) fn new(max: u64) -> Self {
        let ledger = Ledger {
            max,
            bytes: 0,
            shares: HashMap::new(),
            ghosts: Ghosts::new(max),
            serial: 0,
            evictions: 0,
        };
        Self { shards: Shards::new(), ledger: Mutex::new(ledger) }
    }

    /// Looks at the value of a key, which counts as a use of it. `look` runs under the lock of a shard.
    pub(crate) fn read<R>(&self, key: &Key, look: impl FnOnce(&V) -> R) -> Option<R> {
        let shard = self.shards.of(key).read();
        let place = shard.get(key)?;
        place.note_use();
        Some(look(&place.value))
    }

    /// [`read`](Self::read) that is no use of it.
    pub(crate) fn peek<R>(&self, key: &Key, look: impl FnOnce(&V) -> R) -> Option<R> {
        self.shards.of(key).read().get(key).map(|place| look(&place.value))
    }

    /// The keys that `matches`.
    pub(crate) fn keys(&self, matches: impl Fn(&Key) -> bool) -> Vec<Key> {
        let of = |shard: &RwLock<Shard<V>>| -> Vec<Key> {
            shard.read().keys().filter(|key| matches(key)).copied().collect()
        };
        self.shards.iter().flat_map(of).collect()
    }

    /// Decides on the value of a key by the one that is there. Nothing else can change it meanwhile. A value heavier than
    /// the whole space is not kept.
    pub(crate) fn edit(&self, key: &Key, decide: impl FnOnce(Option<&V>) -> Edit<V>) {
        // Dropped behind the lock: what a value frees may take its time.
        let mut displaced = Vec::new();
        {
            let mut ledger = self.ledger.lock();
            let edit = decide(self.shards.of(key).read().get(key).map(|place| &place.value));
            match edit {
                Edit::Leave => {}
                Edit::Remove => displaced.extend(self.remove(&mut ledger, key)),
                Edit::Put(value) => {
                    displaced.extend(self.put(&mut ledger, *key, value));
                    self.make_room(&mut ledger, &mut displaced);
                }
            }
        }
        drop(displaced);
    }

    /// Edits every value that `matches`, one by one: others may read and edit in between.
    pub(crate) fn sweep(&self, matches: impl Fn(&V) -> bool, decide: impl Fn(&V) -> Edit<V>) {
        for shard in self.shards.iter() {
            let keys: Vec<Key> =
                shard.read().iter().filter(|(_, place)| matches(&place.value)).map(|(key, _)| *key).collect();
            for key in keys {
                self.edit(&key, |value| value.map_or(Edit::Leave, &decide));
            }
        }
        self.ledger.lock().shares.retain(|_, share| share.holdings().entries > 0);
    }

    pub(crate) fn holdings(&self) -> Holdings {
        let ledger = self.ledger.lock();
        let entries = ledger.shares.values().map(|share| share.holdings().entries).sum();
        Holdings { entries, bytes: ledger.bytes, evictions: ledger.evictions }
    }

    pub(crate) fn holdings_of(&self, owner: &str) -> Holdings {
        self.ledger.lock().shares.get(owner).map(Share::holdings).unwrap_or_default()
    }

    fn put(&self, ledger: &mut Ledger, key: Key, value: V) -> Option<V> {
        let weight = value.weight();
        let mut shard = self.shards.of(&key).write();
        if let Some(place) = shard.get_mut(&key)
            && place.value.owner() == value.owner()
        {
            ledger.share(value.owner()).resize(place.region, place.weight, weight);
            ledger.bytes = ledger.bytes.saturating_sub(place.weight).saturating_add(weight);
            place.weight = weight;
            return Some(std::mem::replace(&mut place.value, value));
        }
        let other = shard.remove(&key);
        if let Some(place) = &other {
            ledger.forget(place.value.owner(), place.region, place.weight);
        }
        let (region, serial) = ledger.admit(value.owner(), key, weight);
        shard.insert(key, Place::new(value, weight, region, serial));
        other.map(|place| place.value)
    }

    fn remove(&self, ledger: &mut Ledger, key: &Key) -> Option<V> {
        let place = self.shards.of(key).write().remove(key)?;
        let owner = place.value.owner();
        ledger.forget(owner, place.region, place.weight);
        if let Some(share) = ledger.shares.get_mut(owner) {
            share.compact(&self.shards);
        }
        Some(place.value)
    }

    fn make_room(&self, ledger: &mut Ledger, displaced: &mut Vec<V>) {
        let Ledger { max, bytes, shares, ghosts, evictions, .. } = ledger;
        while *bytes > *max {
            let largest = shares.values_mut().max_by_key(|share| share.holdings().bytes);
            let Some(place) = largest.and_then(|share| share.evict(&self.shards, ghosts)) else { break };
            *bytes = bytes.saturating_sub(place.weight);
            *evictions += 1;
            displaced.push(place.value);
        }
    }
}

impl Ledger {
    fn share(&mut self, owner: &str) -> &mut Share {
        self.shares.entry(owner.into()).or_default()
    }

    fn admit(&mut self, owner: &str, key: Key, weight: u64) -> (share::Region, u64) {
        self.serial = self.serial.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(weight);
        let (serial, known) = (self.serial, self.ghosts.contains(&key));
        (self.share(owner).admit(key, serial, weight, known), serial)
    }

    fn forget(&mut self, owner: &str, region: share::Region, weight: u64) {
        self.bytes = self.bytes.saturating_sub(weight);
        self.share(owner).forget(region, weight);
    }
}

#[cfg(test)]
mod tests;
