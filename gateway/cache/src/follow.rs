//! Who keeps what is stored in a second place hears of changes here.
//!
//! The decision: a follower is told *which key* changed, not what is stored under it. Whoever writes that down asks
//! [`Store::kept`](crate::Store::kept) when its turn comes, so what waits costs a key and no bodies, two changes of a key
//! are one write, and nothing older than what is stored is ever written. A purge has taken effect before it is told: who
//! takes changes and purges in the order in which they come writes down nothing that was purged.
//!
//! What was given up for lack of room, or is past its time, is not told of.

use crate::key::Key;

/// Hears of changes of a [`Store`](crate::Store). It is called from wherever the store is, under no lock of it, and must
/// not block.
pub trait Follower: Send + Sync {
    /// Something was stored under the key.
    fn stored(&self, key: &Key);

    /// What was stored under the key is out of date; unlike a purge, what is being fetched is not.
    fn removed(&self, key: &Key);

    /// This was purged. Told whether or not the store held any of it.
    fn purged(&self, purge: &Purge, heard: Heard);
}

/// Where a purge comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// This process made it.
    Here,
    /// It was made elsewhere, and [told](crate::Store::purge_elsewhere) here.
    Elsewhere,
}

/// What a purge names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Purge {
    /// All that is stored.
    Everything,
    /// All of an integration.
    Integration(Box<str>),
    /// One operation of it.
    Operation {
        /// Its integration.
        integration: Box<str>,
        /// Its name.
        operation: Box<str>,
    },
    /// All with a tag, by its number: see [`Kept::tags`](crate::Kept::tags).
    Tag(u16),
    /// All variants of one key.
    Key(Key),
}
