//! The map itself, in parts that are locked apart, so that readers on many cores seldom meet.
//!
//! The decision: keys are digests, so their bytes are their hash. Which part a key is in, and where in it, are told by
//! different bits.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::atomic::{AtomicU8, Ordering},
};

use parking_lot::RwLock;

use super::share::Region;
use crate::key::Key;

/// Some times the cores of a large machine. Each costs a lock and an empty map.
const SHARDS: usize = 64;

/// How many uses are remembered. More would keep alive what was busy long ago.
const USES_MAX: u8 = 3;

pub(super) type Shard<V> = HashMap<Key, Place<V>, BuildHasherDefault<Prefix>>;

pub(super) struct Shards<V>(Box<[RwLock<Shard<V>>]>);

/// A value and what the ledger has to know of it.
pub(super) struct Place<V> {
    pub(super) value: V,
    pub(super) weight: u64,
    pub(super) region: Region,
    pub(super) serial: u64,
    uses: AtomicU8,
}

impl<V> Shards<V> {
    pub(super) fn new() -> Self {
        Self((0..SHARDS).map(|_| RwLock::default()).collect())
    }

    pub(super) fn of(&self, key: &Key) -> &RwLock<Shard<V>> {
        let index = usize::try_from((key.prefix() >> 32) % SHARDS as u64).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "a remainder by the number of shards")]
        &self.0[index]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RwLock<Shard<V>>> {
        self.0.iter()
    }
}

impl<V> Place<V> {
    pub(super) fn new(value: V, weight: u64, region: Region, serial: u64) -> Self {
        Self { value, weight, region, serial, uses: AtomicU8::new(0) }
    }

    /// Two readers at once may count as one. A place that is used all the time is written to three times and no more.
    pub(super) fn note_use(&self) {
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < USES_MAX {
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
    }

    /// Whether it was used since it was asked last. A use counts for one turn in `main`, and all of them for the way there.
    pub(super) fn spend_use(&mut self) -> bool {
        let uses = self.uses.get_mut();
        let used = *uses > 0;
        *uses = if self.region == Region::Small { 0 } else { uses.saturating_sub(1) };
        used
    }
}

/// Takes a key for its own hash.
#[derive(Default)]
pub(super) struct Prefix(u64);

impl Hasher for Prefix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, prefix: u64) {
        self.0 = prefix;
    }
}
