//! The store: entries by key, bounded in bytes, purged by scope.
//!
//! Two decisions. **The bound is bytes, not entries**, and moka does the evicting (frequency and recency, so that a
//! flood of keys that are asked for once does not push out those asked for often). **Time and purges are rules of
//! ours**: moka's own expiry would read its own clock, so a dead or purged entry is recognised on the way out by
//! [`Entry::freshness`] and by its [`Epoch`], and its memory is freed when it is met, evicted or swept by
//! [`Store::run_maintenance`].
//!
//! It does not decide what may be stored, nor what a stale entry may be used for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use moka::{notification::RemovalCause, sync::Cache};

use crate::{
    entry::{Entry, Freshness},
    key::Key,
    scope::{Epoch, Scope, Scopes},
};

/// moka evicts in batches on its own schedule. Between two batches the store may hold more than its size by what was
/// put meanwhile, so we ask for a batch whenever that comes to this part of the size: at most 1/16 too much.
const UNSETTLED_PART: u64 = 16;

/// One batch may leave some work for the next; this many always sufficed, and the loop has to end.
const SETTLE_ROUNDS: usize = 8;

/// How much a [`Store`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The weight of all entries together, in bytes; 64 MiB by default. Zero stores nothing.
    pub max_size: u64,
    /// The weight of one entry, in bytes; 1 MiB by default. Never more than `max_size` in effect.
    pub max_entry: u64,
}

/// What became of an answer that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored. Under pressure it may still be the first to be evicted.
    Yes,
    /// It weighs more than [`Store::max_entry`]. What was stored under the key before is still there.
    TooLarge,
    /// Its scope was purged since the epoch was taken. Nothing was stored.
    Purged,
}

/// The state of a store, as of the last time it settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Entries held, including dead and purged ones that are not swept yet.
    pub entries: u64,
    /// Their weight in bytes.
    pub bytes: u64,
    /// The bytes that they may weigh.
    pub capacity: u64,
    /// Entries given up for lack of room since the start; also those that were not let in.
    pub evictions: u64,
}

/// Answers by key. Shared behind an `Arc`; all methods may be called from anywhere and none waits for I/O.
pub struct Store {
    entries: Cache<Key, Held>,
    scopes: Scopes,
    max_size: u64,
    max_entry: u64,
    unsettled_bytes: AtomicU64,
    evictions: Arc<AtomicU64>,
}

/// An entry beside the epoch from before its fetch.
#[derive(Clone)]
struct Held {
    entry: Arc<Entry>,
    epoch: Epoch,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { max_size: 64 << 20, max_entry: 1 << 20 }
    }
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(cfg: StoreConfig) -> Arc<Self> {
        let evictions = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&evictions);
        let entries = Cache::builder()
            .max_capacity(cfg.max_size)
            .weigher(|_, held: &Held| u32::try_from(held.entry.weight()).unwrap_or(u32::MAX))
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        // A weight is 32 bits wide in moka; an entry beyond that would be charged too little.
        let max_entry = cfg.max_entry.min(cfg.max_size).min(u64::from(u32::MAX));
        Arc::new(Self {
            entries,
            scopes: Scopes::default(),
            max_size: cfg.max_size,
            max_entry,
            unsettled_bytes: AtomicU64::new(0),
            evictions,
        })
    }

    /// The scope of these names, the same one for as long as anybody holds it.
    ///
    /// Scopes are bounded by the configuration, not by callers: ask once per declared operation and keep the answer,
    /// and never with a name that came with a call.
    pub fn scope(&self, integration: &str, operation: &str) -> Scope {
        self.scopes.scope(integration, operation)
    }

    /// The entry of a key, of any freshness but dead. None also for an entry that was purged or belongs to another
    /// scope.
    pub fn get(&self, key: &Key, scope: &Scope, now: Instant) -> Option<Arc<Entry>> {
        let held = self.entries.get(key)?;
        if !held.entry.scope.is(scope) {
            return None;
        }
        if held.is_gone(now) {
            // Should a new answer be put at this very moment, it may go instead: one more miss, nothing wrong.
            self.entries.invalidate(key);
            return None;
        }
        Some(held.entry)
    }

    /// How often the scope has been purged so far. Taken *before* a fetch begins and handed to [`put`](Self::put).
    pub fn epoch(&self, scope: &Scope) -> Epoch {
        scope.epoch()
    }

    /// Stores an answer in place of what the key had, unless it is too large or its scope was purged since `epoch`.
    ///
    /// The entry is copied into memory of its own, so that it does not keep a connection's buffers alive. Its scope
    /// must come from this store; purges of this store do not reach any other.
    pub fn put(&self, key: Key, entry: Entry, epoch: Epoch) -> Stored {
        let weight = entry.weight() as u64;
        if weight > self.max_entry {
            return Stored::TooLarge;
        }
        // This check saves the work. It is `get` that keeps the promise, for a purge may come right after it.
        if entry.scope.epoch() != epoch {
            return Stored::Purged;
        }
        self.entries.insert(key, Held { entry: Arc::new(entry.compacted()), epoch });
        self.note_unsettled(weight);
        Stored::Yes
    }

    /// From now on serves nothing that was stored, or whose fetch began, before. False if the store knows no scope
    /// of that integration, and so has nothing of it. Takes the same short time whatever the number of entries;
    /// their memory is freed by [`run_maintenance`](Self::run_maintenance), or when they are asked for.
    pub fn purge_integration(&self, integration: &str) -> bool {
        self.scopes.purge_integration(integration)
    }

    /// [`purge_integration`](Self::purge_integration) for one operation.
    pub fn purge_operation(&self, integration: &str, operation: &str) -> bool {
        self.scopes.purge_operation(integration, operation)
    }

    /// Drops the entry of one key. Unlike a purge this does not concern fetches in flight: one that ends later
    /// stores its answer.
    pub fn remove(&self, key: &Key) {
        self.entries.invalidate(key);
    }

    /// The weight in bytes up to which an entry is stored. A body of exactly this size is too large, since headers
    /// and overhead weigh too.
    pub fn max_entry(&self) -> u64 {
        self.max_entry
    }

    /// What the store holds, as of the last time it settled (see [`run_maintenance`](Self::run_maintenance)).
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            entries: self.entries.entry_count(),
            bytes: self.entries.weighted_size(),
            capacity: self.max_size,
            evictions: self.evictions.load(Ordering::Relaxed),
        }
    }

    /// Frees what is dead at `now` or purged, evicts down to the size, and forgets scopes that nobody holds.
    ///
    /// Meant for a timer, every few seconds: without calls an idle store frees nothing. It visits every entry, which
    /// for a full store of small entries takes some tens of milliseconds, so it belongs on a blocking thread.
    pub fn run_maintenance(&self, now: Instant) {
        for (key, held) in &self.entries {
            if held.is_gone(now) {
                self.entries.invalidate(key.as_ref());
            }
        }
        self.settle();
        self.scopes.sweep();
    }

    fn note_unsettled(&self, bytes: u64) {
        let unsettled = self.unsettled_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if unsettled >= self.max_size / UNSETTLED_PART {
            self.settle();
        }
    }

    fn settle(&self) {
        self.unsettled_bytes.store(0, Ordering::Relaxed);
        for _ in 0..SETTLE_ROUNDS {
            self.entries.run_pending_tasks();
            if self.entries.weighted_size() <= self.max_size {
                return;
            }
        }
    }
}

impl Held {
    /// Not to be served: at the end of its life, or purged after its fetch began.
    fn is_gone(&self, now: Instant) -> bool {
        self.entry.freshness(now) == Freshness::Dead || self.entry.scope.epoch() != self.epoch
    }
}

#[cfg(test)]
mod tests;
