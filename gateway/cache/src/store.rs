//! The store: answers by key, bounded in bytes, shared fairly by integrations, purged by scope, key or tag.
//!
//! Two decisions. **The bound is bytes, and an integration's part of them is its own**: the `space` beneath gives up the
//! answers of whoever holds the most, so that no flood of one integration reaches what another one holds within its equal
//! part. **Time and purges are rules of ours**: a dead or purged answer is recognised on the way out by its age and its
//! [`Epoch`], and its memory is freed when it is met, evicted or swept by [`Store::run_maintenance`].
//!
//! A key has one answer by rule ([`put`](Store::put), [`get`](Store::get)), or the variants of HTTP
//! ([`put_variant`](Store::put_variant), [`select`](Store::select)), whichever was stored last.
//!
//! It does not decide what may be stored, nor what a stale answer may be used for.

mod elsewhere;
mod slot;

use std::{sync::Arc, time::Instant};

use http::HeaderMap;
use parking_lot::RwLock;

pub use self::elsewhere::Restored;
use self::slot::{Slot, SlotLimits};
use crate::{
    entry::Entry,
    follow::{Follower, Heard, Purge},
    key::{Key, KeyBuilder},
    purges::Purges,
    rfc9111::Forward,
    scope::{Epoch, Scope, Scopes},
    space::{Edit, Space},
    tags::{self, Tags},
    variant::Variant,
};

/// The part of the whole size that all variants of one key may weigh together, as a divisor.
const VARIANTS_PART: u64 = 4;

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
    /// Its scope, its key or one of its tags was purged since the epoch was taken. Nothing was stored.
    Purged,
}

/// The state of a store, or of one integration's part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Keys held, including those of dead and purged answers that are not swept yet.
    pub entries: u64,
    /// Their weight in bytes.
    pub bytes: u64,
    /// The bytes that all may weigh together.
    pub capacity: u64,
    /// Keys given up for lack of room, since the start or, for an integration, since it was last swept empty.
    pub evictions: u64,
}

/// Answers by key. Shared behind an `Arc`; all methods may be called from anywhere and none waits for I/O.
pub struct Store {
    space: Space<Slot>,
    scopes: Scopes,
    purges: Purges,
    followers: RwLock<Arc<[Arc<dyn Follower>]>>,
    max_size: u64,
    max_entry: u64,
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
        Arc::new(Self {
            space: Space::new(cfg.max_size),
            scopes: Scopes::default(),
            purges: Purges::new(),
            followers: RwLock::default(),
            max_size: cfg.max_size,
            max_entry: cfg.max_entry.min(cfg.max_size),
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
        let (entry, gone) =
            self.space.read(key, |slot| (slot.entry(scope), slot.is_gone(&self.purges, now)))?;
        if gone {
            self.drop_if_gone(key, now);
            return None;
        }
        entry
    }

    /// Of the answers stored for a URI, the newest one that a request selects (RFC 9111 §4.1), of any use but none:
    /// [`Variant::use_at`] tells which.
    ///
    /// # Errors
    /// Why there is none: [`Forward::UriMiss`], or [`Forward::VaryMiss`] where there are answers for other requests.
    pub fn select(
        &self,
        key: &Key,
        scope: &Scope,
        request: &HeaderMap,
        now: Instant,
    ) -> Result<Arc<Variant>, Forward> {
        self.space
            .read(key, |slot| slot.select(scope, request, &self.purges, now))
            .unwrap_or(Err(Forward::UriMiss))
    }

    /// How often the scope, and any key or tag, has been purged so far. Taken *before* a fetch begins and handed to
    /// [`put`](Self::put).
    pub fn epoch(&self, scope: &Scope) -> Epoch {
        scope.epoch(self.purges.made())
    }

    /// What fetches for a key come together under in a [`Coalescer`](crate::Coalescer): another key after each purge of
    /// this one, of its scope or of any tag by name. So nobody who asks after a purge waits for an answer from before it.
    pub fn fetch_key(&self, key: &Key, scope: &Scope) -> Key {
        let (integration, operation) = self.epoch(scope).of_scope();
        let (of_key, of_all) = self.purges.of_key_and_fetches(key);
        let purges = [integration, operation, of_key, of_all];
        let told = KeyBuilder::new(scope.integration(), scope.operation()).field("key", key.as_bytes());
        purges.iter().fold(told, |told, made| told.field("purges", &made.to_le_bytes())).finish()
    }

    /// Stores an answer in place of what the key had, unless it is too large or was purged since `epoch`.
    ///
    /// The entry is copied into memory of its own, so that it does not keep a connection's buffers alive. Its scope
    /// must come from this store; purges of this store do not reach any other.
    pub fn put(&self, key: Key, entry: Entry, epoch: Epoch) -> Stored {
        self.put_tagged(key, entry, Tags::default(), epoch)
    }

    /// [`put`](Self::put) with tags that the entry can be [purged](Self::purge_tag) by.
    pub fn put_tagged(&self, key: Key, entry: Entry, tags: Tags, epoch: Epoch) -> Stored {
        if entry.weight().saturating_add(tags.weight()) as u64 > self.max_entry {
            return Stored::TooLarge;
        }
        // This look saves the work. It is the ones under the lock, and of `get`, that keep the promise.
        if self.is_overtaken(&key, &entry.scope, &tags, epoch) {
            return Stored::Purged;
        }
        let slot = Slot::of_entry(entry.compacted(), tags, epoch);
        self.put_unless_purged(&key, epoch, |_| slot)
    }

    /// Stores an answer beside those that other requests select, in place of the one that the same requests do, unless
    /// it is too large or was purged since `epoch`. At most 16 variants are kept for a key, the latest ones.
    ///
    /// The answer is copied as by [`put`](Self::put), but for the body of a [renewed](Variant::renewed) one, which stays
    /// where it is.
    pub fn put_variant(&self, key: Key, variant: Variant, epoch: Epoch) -> Stored {
        if variant.weight() as u64 > self.max_entry {
            return Stored::TooLarge;
        }
        if self.is_overtaken(&key, &variant.reply().scope, variant.tags(), epoch) {
            return Stored::Purged;
        }
        let variant = Arc::new(variant.compacted());
        self.put_unless_purged(&key, epoch, |slot| {
            Slot::with_variant(slot, variant, epoch, &self.purges, self.limits())
        })
    }

    /// From now on serves nothing that was stored, or whose fetch began, before. False if the store knows no scope
    /// of that integration, and so has nothing of it. Takes the same short time whatever the number of entries;
    /// their memory is freed by [`run_maintenance`](Self::run_maintenance), or when they are asked for.
    pub fn purge_integration(&self, integration: &str) -> bool {
        let known = self.scopes.purge_integration(integration);
        self.tell_purge(&Purge::Integration(integration.into()), Heard::Here);
        known
    }

    /// [`purge_integration`](Self::purge_integration) for one operation.
    pub fn purge_operation(&self, integration: &str, operation: &str) -> bool {
        let known = self.scopes.purge_operation(integration, operation);
        let purge = Purge::Operation { integration: integration.into(), operation: operation.into() };
        self.tell_purge(&purge, Heard::Here);
        known
    }

    /// [`purge_integration`](Self::purge_integration) for all that has this tag of the integration, in the same short
    /// time. A few entries with other tags may go as well: tags share counters.
    pub fn purge_tag(&self, integration: &str, tag: &str) {
        self.purge_address(integration, tag);
        self.purges.fetches_of_all();
    }

    /// The same for a tag that is an answer's address, which a change there makes invalid. Changes are many: a fetch that is
    /// under way stays the one to [join](Self::fetch_key), unless its key is purged, too.
    pub fn purge_address(&self, integration: &str, address: &str) {
        let number = tags::counter(integration, address);
        self.purges.tag(number);
        self.tell_purge(&Purge::Tag(number), Heard::Here);
    }

    /// [`purge_integration`](Self::purge_integration) for one key, all its variants included; their memory is freed at
    /// once. Now and then the answer of another key that is being fetched is not stored either: keys share counters.
    pub fn purge_key(&self, key: &Key) {
        self.drop_key(key);
        self.tell_purge(&Purge::Key(*key), Heard::Here);
    }

    /// Drops what is stored for one key. Unlike a purge this does not concern fetches in flight: one that ends later
    /// stores its answer.
    pub fn remove(&self, key: &Key) {
        self.space.edit(key, |_| Edit::Remove);
        self.tell(|follower| follower.removed(key));
    }

    /// The weight in bytes up to which an entry is stored. A body of exactly this size is too large, since headers
    /// and overhead weigh too.
    pub fn max_entry(&self) -> u64 {
        self.max_entry
    }

    /// What the store holds.
    pub fn stats(&self) -> StoreStats {
        let held = self.space.holdings();
        StoreStats {
            entries: held.entries,
            bytes: held.bytes,
            capacity: self.max_size,
            evictions: held.evictions,
        }
    }

    /// What it holds of one integration.
    pub fn stats_of(&self, integration: &str) -> StoreStats {
        let held = self.space.holdings_of(integration);
        StoreStats {
            entries: held.entries,
            bytes: held.bytes,
            capacity: self.max_size,
            evictions: held.evictions,
        }
    }

    /// Frees what is dead at `now` or purged, and forgets scopes that nobody holds.
    ///
    /// Meant for a timer, every few seconds: without calls an idle store frees nothing. It visits every entry, which
    /// for a full store of small entries takes some tens of milliseconds, so it belongs on a blocking thread.
    pub fn run_maintenance(&self, now: Instant) {
        self.space.sweep(
            |slot| slot.has_gone_parts(&self.purges, now),
            |slot| slot.without_gone_parts(&self.purges, now).map_or(Edit::Remove, Edit::Put),
        );
        self.scopes.sweep();
    }

    fn is_overtaken(&self, key: &Key, scope: &Scope, tags: &Tags, epoch: Epoch) -> bool {
        let made = epoch.keys_and_tags();
        scope.was_purged_since(epoch) || self.purges.key_since(key, made) || self.purges.tag_since(tags, made)
    }

    /// The look at the key's purges is under the same lock as [`purge_key`](Self::purge_key): either that comes later and
    /// finds the answer, or it came before and is seen here. A purge of a scope or tag is seen on the way out.
    fn put_unless_purged(&self, key: &Key, epoch: Epoch, slot: impl FnOnce(Option<&Slot>) -> Slot) -> Stored {
        let mut stored = Stored::Purged;
        self.space.edit(key, |held| {
            if self.purges.key_since(key, epoch.keys_and_tags()) {
                return Edit::Leave;
            }
            stored = Stored::Yes;
            Edit::Put(slot(held))
        });
        if stored == Stored::Yes {
            self.tell(|follower| follower.stored(key));
        }
        stored
    }

    fn drop_key(&self, key: &Key) {
        self.space.edit(key, |_| {
            self.purges.key(key);
            Edit::Remove
        });
    }

    fn tell_purge(&self, purge: &Purge, heard: Heard) {
        self.tell(|follower| follower.purged(purge, heard));
    }

    /// Under no lock: who is told may ask the store.
    fn tell(&self, what: impl Fn(&dyn Follower)) {
        let followers = Arc::clone(&self.followers.read());
        followers.iter().for_each(|follower| what(&**follower));
    }

    fn limits(&self) -> SlotLimits {
        SlotLimits { weight_max: (self.max_size / VARIANTS_PART).max(self.max_entry) }
    }

    fn drop_if_gone(&self, key: &Key, now: Instant) {
        self.space.edit(key, |slot| {
            let gone = slot.is_some_and(|slot| slot.is_gone(&self.purges, now));
            if gone { Edit::Remove } else { Edit::Leave }
        });
    }
}

#[cfg(test)]
mod tests;
