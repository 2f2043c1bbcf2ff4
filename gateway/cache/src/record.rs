//! What is stored under one key, as octets that outlive the process.
//!
//! ```text
//! version  written on  integration  operation  kind
//!   entry:     reply  age ttl stale_while_revalidate keep_stale  tags
//!   variants:  number of them, each  reply  origin's head  age and terms  selecting fields  made on  tags
//! ```
//!
//! The decision: a record tells how old an answer was when it was written and what the wall clock showed then. Read back,
//! it is older by what the wall clock has gone on since, and never younger than it was: a clock that went back adds nothing,
//! and a record from the future is refused.
//!
//! Every length is checked against what is left, so octets of any origin cost no more memory than a few times their own
//! length, and are refused instead of guessed at. That they are what was written is for whoever keeps them to prove; nothing here is
//! authenticated.

mod decode;
mod encode;
mod wire;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crate::{entry::Entry, scope::Scope, tags::Tags, variant::Variant};

/// The one format that is written and read. Whatever has another number is a miss.
const VERSION: u8 = 1;
const ENTRY: u8 = 0;
const VARIANTS: u8 = 1;

/// How far ahead another machine's clock may be.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// What is stored under one key at one moment, in memory of its own. It comes from [`Store::kept`](crate::Store::kept) or
/// a record, and goes into a record or [`Store::restore`](crate::Store::restore). Cloning copies no bodies.
#[derive(Clone)]
pub struct Kept {
    scope: Scope,
    contents: Contents,
}

#[derive(Clone)]
pub(crate) enum Contents {
    Entry(Arc<Entry>, Tags),
    /// At least one, in the order in which they were stored.
    Variants(Vec<Arc<Variant>>),
}

/// Why octets are no record of this scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Another version wrote it.
    #[error("the record has format {0}, this version knows {VERSION}")]
    Version(u8),
    /// It was written more than a minute after now.
    #[error("the record is from the future")]
    Future,
    /// It is an answer of another operation.
    #[error("the record belongs to another operation")]
    OtherScope,
    /// It ends too early, goes on for too long, or has something in it that cannot be.
    #[error("the octets are no record")]
    Malformed,
}

impl Kept {
    pub(crate) fn new(scope: Scope, contents: Contents) -> Self {
        Self { scope, contents }
    }

    pub(crate) fn into_contents(self) -> Contents {
        self.contents
    }

    /// The operation that it belongs to.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// How long something of it is of use yet; zero when it is dead.
    #[must_use]
    pub fn life(&self, now: Instant) -> Duration {
        match &self.contents {
            Contents::Entry(entry, _) => entry.life(now),
            Contents::Variants(variants) => {
                let of_variant = |variant: &Arc<Variant>| variant.life(now);
                variants.iter().map(of_variant).max().unwrap_or_default()
            }
        }
    }

    /// How old the oldest answer of it is.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        match &self.contents {
            Contents::Entry(entry, _) => entry.age(now),
            Contents::Variants(variants) => {
                variants.iter().map(|variant| variant.age(now)).max().unwrap_or_default()
            }
        }
    }

    /// What it is charged for in a store, in bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let weight = match &self.contents {
            Contents::Entry(entry, tags) => entry.weight().saturating_add(tags.weight()),
            Contents::Variants(variants) => variants.iter().map(|variant| variant.weight()).sum(),
        };
        weight as u64
    }

    /// The numbers of all its tags, the same in every process. Two tags may share a number.
    #[must_use]
    pub fn tags(&self) -> Vec<u16> {
        let mut numbers: Vec<u16> = match &self.contents {
            Contents::Entry(_, tags) => tags.numbers().to_vec(),
            Contents::Variants(variants) => {
                variants.iter().flat_map(|variant| variant.tags().numbers()).copied().collect()
            }
        };
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Writes it down. `now` and `wall` are the same moment by the two clocks.
    #[must_use]
    pub fn encode(&self, now: Instant, wall: SystemTime) -> Vec<u8> {
        encode::kept(self, now, wall)
    }

    /// Reads what [`encode`](Self::encode) wrote, in this process or another one. `now` and `wall` are the same moment by
    /// the two clocks; everything is older by what the wall clock has gone on meanwhile.
    ///
    /// # Errors
    /// [`RecordError`] for octets that are no record of `scope`, which is told by its names.
    pub fn decode(octets: &[u8], scope: &Scope, now: Instant, wall: SystemTime) -> Result<Self, RecordError> {
        decode::kept(octets, scope, now, wall)
    }
}

impl fmt::Debug for Kept {
    /// Bodies and headers do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({}.{})", self.scope.integration(), self.scope.operation())
    }
}

#[cfg(test)]
mod tests;
