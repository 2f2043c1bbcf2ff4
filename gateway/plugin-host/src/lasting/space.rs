//! The state of one plugin for one integration: bounded entries with versions and deadlines.
//!
//! | operation | on an entry that is there | on none |
//! | --- | --- | --- |
//! | get | value and version | nothing |
//! | put | replaces it; with `if-version` only that version | makes it; with `if-version` only 0 |
//! | add | adds to its number, keeps its deadline | makes it with that number |
//! | remove | frees it | nothing |
//!
//! Versions come from one counter, so an entry that was removed and made again never has an old version
//! (no ABA). Every operation first frees what has expired. One lock per space, held for look-ups and
//! moves only: values are shared, not copied, under it. Time is passed in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::StateLimits;

/// Octets of one key.
pub(crate) const KEY_BYTES_MAX: usize = 256;

/// Octets of one value.
pub(crate) const VALUE_BYTES_MAX: usize = 64 << 10;

/// Where an entry is: a credential profile never sees the entries of another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) credential: Arc<str>,
    pub(crate) key: Arc<str>,
}

/// Why nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The key or value is larger than any may be.
    TooLarge,
    /// No entries or octets are left.
    Full,
    /// Another version is there; or the entry is no number, or the sum is none.
    Conflict,
}

/// The entries of one plugin for one integration.
pub(crate) struct Space {
    limits: StateLimits,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_place: HashMap<Place, Entry>,
    /// Entries that expire, soonest first; versions tell those of one instant apart.
    by_deadline: BTreeMap<(Instant, u64), Place>,
    bytes: usize,
    versions: u64,
}

struct Entry {
    value: Bytes,
    version: u64,
    expires: Option<Instant>,
}

impl Space {
    pub(crate) fn new(limits: StateLimits) -> Self {
        Self { limits, entries: Mutex::default() }
    }

    /// Value and version.
    pub(crate) fn get(&self, place: &Place, now: Instant) -> Option<(Bytes, u64)> {
        let mut entries = self.entries.lock();
        entries.expire(now);
        entries.by_place.get(place).map(|entry| (entry.value.clone(), entry.version))
    }

    /// Stores a value and gives its version. A `ttl` of zero stores nothing that could be got again.
    ///
    /// # Errors
    /// Any [`Refusal`]; what was there is unchanged then.
    pub(crate) fn put(
        &self,
        place: Place,
        value: Bytes,
        ttl: Option<Duration>,
        if_version: Option<u64>,
        now: Instant,
    ) -> Result<u64, Refusal> {
        if place.key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let mut entries = self.entries.lock();
        entries.expire(now);
        let current = entries.by_place.get(&place).map_or(0, |entry| entry.version);
        if if_version.is_some_and(|expected| expected != current) {
            return Err(Refusal::Conflict);
        }
        entries.store(place, value, deadline(now, ttl), self.limits)
    }

    /// Frees an entry, if it is there.
    pub(crate) fn remove(&self, place: &Place, now: Instant) {
        let mut entries = self.entries.lock();
        entries.expire(now);
        entries.free(place);
    }

    /// Adds to a number, which is stored as decimal text, and gives the sum. `ttl` is for a number that
    /// this call makes: one that is there keeps its deadline, so that a window does not slide.
    ///
    /// # Errors
    /// Any [`Refusal`]; what was there is unchanged then.
    pub(crate) fn add(
        &self,
        place: Place,
        delta: i64,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<i64, Refusal> {
        if place.key.len() > KEY_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let mut entries = self.entries.lock();
        entries.expire(now);
        let (number, expires) = match entries.by_place.get(&place) {
            None => (0, deadline(now, ttl)),
            Some(entry) => (number(&entry.value).ok_or(Refusal::Conflict)?, entry.expires),
        };
        let sum = number.checked_add(delta).ok_or(Refusal::Conflict)?;
        entries.store(place, sum.to_string().into(), expires, self.limits)?;
        Ok(sum)
    }
}

impl Entries {
    /// Frees everything whose time is over.
    fn expire(&mut self, now: Instant) {
        while let Some(first) = self.by_deadline.first_entry()
            && first.key().0 <= now
        {
            let place = first.remove();
            if let Some(entry) = self.by_place.remove(&place) {
                self.bytes -= size(&place, &entry.value);
            }
        }
    }

    fn free(&mut self, place: &Place) {
        if let Some(entry) = self.by_place.remove(place) {
            self.bytes -= size(place, &entry.value);
            if let Some(expires) = entry.expires {
                self.by_deadline.remove(&(expires, entry.version));
            }
        }
    }

    fn store(
        &mut self,
        place: Place,
        value: Bytes,
        expires: Option<Instant>,
        limits: StateLimits,
    ) -> Result<u64, Refusal> {
        let old = self.by_place.get(&place);
        let bytes = self.bytes - old.map_or(0, |entry| size(&place, &entry.value)) + size(&place, &value);
        if bytes > limits.bytes || (old.is_none() && self.by_place.len() >= limits.entries) {
            return Err(Refusal::Full);
        }
        self.free(&place);
        self.bytes = bytes;
        self.versions += 1;
        let version = self.versions;
        if let Some(expires) = expires {
            self.by_deadline.insert((expires, version), place.clone());
        }
        self.by_place.insert(place, Entry { value, version, expires });
        Ok(version)
    }
}

fn size(place: &Place, value: &Bytes) -> usize {
    place.key.len() + value.len()
}

/// A time beyond what the clock can count is never reached.
fn deadline(now: Instant, ttl: Option<Duration>) -> Option<Instant> {
    ttl.and_then(|ttl| now.checked_add(ttl))
}

fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
