//! What of the store is kept elsewhere, and how it comes back.
//!
//! The decision: what comes back is held to the rules of what is fetched. It brings the epoch from before it was read, so
//! that nothing purged meanwhile returns, and it never takes the place of an answer that the store came by since.
//!
//! Where it is kept, and for how long, is the [follower](Follower)'s to say.

use std::{sync::Arc, time::Instant};

use super::{Store, slot::Slot};
use crate::{
    follow::{Follower, Heard, Purge},
    key::Key,
    record::{Contents, Kept},
    scope::Epoch,
    space::Edit,
};

/// What became of what was kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is stored again, or what of it was news.
    Yes,
    /// The store has an answer of its own, which is not older.
    Known,
    /// It is of no use any more.
    Dead,
    /// It weighs more than the store takes.
    TooLarge,
    /// Its scope, its key or one of its tags was purged since the epoch was taken.
    Purged,
}

impl Store {
    /// Tells a follower of every change from now on.
    pub fn follow(&self, follower: Arc<dyn Follower>) {
        let mut followers = self.followers.write();
        *followers = followers.iter().cloned().chain([follower]).collect();
    }

    /// Purges what was purged elsewhere: followers hear that it was.
    pub fn purge_elsewhere(&self, purge: &Purge) {
        match purge {
            Purge::Everything => self.scopes.purge_everything(),
            Purge::Integration(integration) => {
                self.scopes.purge_integration(integration);
            }
            Purge::Operation { integration, operation } => {
                self.scopes.purge_operation(integration, operation);
            }
            Purge::Tag(number) => self.purges.tag(*number),
            Purge::Key(key) => self.drop_key(key),
        }
        self.tell_purge(purge, Heard::Elsewhere);
    }

    /// The keys that `matches`, of all that is held. Visits every key.
    pub fn keys(&self, matches: impl Fn(&Key) -> bool) -> Vec<Key> {
        self.space.keys(matches)
    }

    /// What is stored under a key and not gone, to be kept elsewhere. It is no use of it.
    pub fn kept(&self, key: &Key, now: Instant) -> Option<Kept> {
        self.space.peek(key, |slot| slot.kept(&self.purges, now))?
    }

    /// Stores what was kept elsewhere, beside or below what is held: an answer of the store's own is never replaced by an
    /// older one. `epoch` is that of [its scope](Kept::scope), taken *before* it was read from there. No follower
    /// hears of it.
    pub fn restore(&self, key: &Key, kept: Kept, epoch: Epoch, now: Instant) -> Restored {
        let (scope, life, weight) = (kept.scope().clone(), kept.life(now), kept.weight());
        if life.is_zero() {
            return Restored::Dead;
        }
        let contents = kept.into_contents();
        let most =
            if matches!(contents, Contents::Entry(..)) { self.max_entry } else { self.limits().weight_max };
        if weight > most {
            return Restored::TooLarge;
        }
        let overtaken = match &contents {
            Contents::Entry(_, tags) => self.is_overtaken(key, &scope, tags, epoch),
            Contents::Variants(variants) => {
                variants.iter().any(|variant| self.is_overtaken(key, &scope, variant.tags(), epoch))
            }
        };
        if overtaken {
            return Restored::Purged;
        }
        let mut restored = Restored::Purged;
        self.space.edit(key, |held| {
            if self.purges.key_since(key, epoch.keys_and_tags()) {
                return Edit::Leave;
            }
            restored = Restored::Known;
            match Slot::restored(held, contents, epoch, &self.purges, now, self.limits()) {
                None => Edit::Leave,
                Some(slot) => {
                    restored = Restored::Yes;
                    Edit::Put(slot)
                }
            }
        });
        restored
    }
}
