//! What is in the file, back into the store.
//!
//! The decision: the newest answers that fit into the store, and of those the oldest first, for the store gives up first
//! what came first. Whatever was purged since the store was made is refused by it, so this may go on while calls are made.

use crate::{
    group::Group,
    table::{digest, millis, remove_entry},
};
use bascule_cache::{Epoch, Kept, Key, Restored, Store};
use rusqlite::{Connection, Result, Row};
use std::time::{Instant, SystemTime};

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    /// Keys that are stored again.
    pub entries: u64,
    /// Their weight in bytes.
    pub bytes: u64,
    /// Keys that were not what was written, or that another version wrote. They are removed.
    pub refused: u64,
}

/// Restores what is alive, for as long as `goes_on`.
pub(crate) fn restore(
    db: &Connection,
    store: &Store,
    (now, wall): (Instant, SystemTime),
    goes_on: impl Fn() -> bool,
) -> Result<Restoration> {
    let mut done = Restoration::default();
    let mut refused = Vec::new();
    {
        let mut query = db.prepare(
            "SELECT seq, key, integration, operation, digest, record FROM entries WHERE seq >= ?1 AND ends > ?2 \
             ORDER BY seq",
        )?;
        let mut rows = query.query((first_that_fits(db, store, wall)?, millis(wall)))?;
        while let Some(row) = rows.next()?.filter(|_| goes_on()) {
            let Some((key, kept)) = read(row, store, now, wall) else {
                let octets = row.get_ref("record")?.as_bytes().map_or(0, <[u8]>::len);
                refused.push((row.get("seq")?, octets as u64));
                continue;
            };
            let weight = kept.weight();
            if store.restore(&key, kept, Epoch::START, now) == Restored::Yes {
                done.entries += 1;
                done.bytes = done.bytes.saturating_add(weight);
            }
        }
    }
    done.refused = refused.len() as u64;
    let mut group = Group::begin(db)?;
    for (seq, octets) in refused {
        remove_entry(&mut group, seq, octets)?;
    }
    group.commit()?;
    Ok(done)
}

/// Where the newest answers begin that fit into what is free of the store.
fn first_that_fits(db: &Connection, store: &Store, wall: SystemTime) -> Result<i64> {
    let stats = store.stats();
    let mut free = stats.capacity.saturating_sub(stats.bytes);
    let mut first = i64::MAX;
    let mut query = db.prepare("SELECT seq, weight FROM entries WHERE ends > ?1 ORDER BY seq DESC")?;
    let mut rows = query.query([millis(wall)])?;
    while let Some(row) = rows.next()? {
        let weight = u64::try_from(row.get::<_, i64>("weight")?).unwrap_or(u64::MAX);
        let Some(left) = free.checked_sub(weight) else { break };
        (free, first) = (left, row.get("seq")?);
    }
    Ok(first)
}

/// A row; none if it is not what was written, be it of another length or no text.
fn read(row: &Row<'_>, store: &Store, now: Instant, wall: SystemTime) -> Option<(Key, Kept)> {
    // The row is there, so what fails here is what is in it.
    let key = Key::from_bytes(row.get("key").ok()?);
    let record = row.get_ref("record").ok()?.as_blob().ok()?;
    if digest(&key, record).as_ref() != row.get_ref("digest").ok()?.as_blob().ok()? {
        return None;
    }
    let (integration, operation): (String, String) =
        (row.get("integration").ok()?, row.get("operation").ok()?);
    let scope = store.scope(&integration, &operation);
    Kept::decode(record, &scope, now, wall).ok().map(|kept| (key, kept))
}
