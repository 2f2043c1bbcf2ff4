//! The statements.

use crate::group::Group;
use aws_lc_rs::digest::{Context, Digest, SHA256};
use bascule_cache::{Kept, Key, Purge};
use rusqlite::{Connection, Params, Result, params};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Keeps the digests apart from any other use of SHA-256.
const DOMAIN: &[u8] = b"bascule-cache-disk-1";

/// Entries that are given up at a time for lack of room.
const GIVEN_UP: u32 = 32;

/// Entries that are looked for at a time when they are removed.
const FOUND_MAX: u32 = 4096;

/// Writes what is stored under a key, in place of what was. Returns how many entries that were there are gone: one or none.
pub(crate) fn put(
    db: &Connection,
    key: &Key,
    kept: &Kept,
    record: &[u8],
    now: Instant,
    wall: SystemTime,
) -> Result<usize> {
    let gone = remove(db, key)?;
    let seq: i64 = db
        .prepare_cached(
            "INSERT INTO entries (key, integration, operation, ends, weight, digest, record) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING seq",
        )?
        .query_row(
            params![
                &key.as_bytes()[..],
                kept.scope().integration(),
                kept.scope().operation(),
                millis(wall).saturating_add(span(kept.life(now))),
                i64::try_from(kept.weight()).unwrap_or(i64::MAX),
                digest(key, record).as_ref(),
                record,
            ],
            |row| row.get(0),
        )?;
    let mut tag = db.prepare_cached("INSERT INTO tags (tag, entry) VALUES (?1, ?2)")?;
    for number in kept.tags() {
        tag.execute(params![number, seq])?;
    }
    Ok(gone)
}

/// These return how many entries are gone.
pub(crate) fn remove(db: &Connection, key: &Key) -> Result<usize> {
    db.prepare_cached("DELETE FROM entries WHERE key = ?1")?.execute([&key.as_bytes()[..]])
}

pub(crate) fn purge(group: &mut Group<'_>, purge: &Purge) -> Result<usize> {
    match purge {
        Purge::Everything => remove_where(group, "TRUE", []),
        Purge::Key(key) => remove_where(group, "key = ?1", [&key.as_bytes()[..]]),
        Purge::Integration(integration) => remove_where(group, "integration = ?1", [integration]),
        Purge::Operation { integration, operation } => {
            remove_where(group, "integration = ?1 AND operation = ?2", [integration, operation])
        }
        Purge::Tag(number) => remove_where(group, "seq IN (SELECT entry FROM tags WHERE tag = ?1)", [number]),
    }
}

/// Whether one of the purges leaves nothing, by what an index says.
pub(crate) fn leaves_nothing(db: &Connection, purges: &[Purge]) -> Result<bool> {
    for purge in purges {
        let Purge::Integration(integration) = purge else { continue };
        let mut others = db.prepare_cached("SELECT 1 FROM entries WHERE integration <> ?1")?;
        if !others.exists([integration])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives up what is dead, and what was stored first until the rest fits.
pub(crate) fn make_room(group: &mut Group<'_>, max_size: u64, wall: SystemTime) -> Result<usize> {
    let mut gone = remove_where(group, "ends <= ?1", [millis(wall)])?;
    while used(group.db())? > max_size {
        let first =
            remove_found(group, "SELECT seq, length(record) FROM entries ORDER BY seq LIMIT ?1", [GIVEN_UP])?;
        if first == 0 {
            break;
        }
        gone += first;
    }
    Ok(gone)
}

fn remove_where(group: &mut Group<'_>, condition: &str, params: impl Params + Clone) -> Result<usize> {
    let find = format!("SELECT seq, length(record) FROM entries WHERE {condition} LIMIT {FOUND_MAX}");
    let mut gone = 0;
    loop {
        let found = remove_found(group, &find, params.clone())?;
        gone += found;
        if found < FOUND_MAX as usize {
            return Ok(gone);
        }
    }
}

fn remove_found(group: &mut Group<'_>, find: &str, params: impl Params) -> Result<usize> {
    let found = group
        .db()
        .prepare_cached(find)?
        .query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(i64, i64)>>>()?;
    for (seq, octets) in &found {
        remove_entry(group, *seq, u64::try_from(*octets).unwrap_or_default())?;
    }
    Ok(found.len())
}

pub(crate) fn remove_entry(group: &mut Group<'_>, seq: i64, octets: u64) -> Result<()> {
    group.db().prepare_cached("DELETE FROM entries WHERE seq = ?1")?.execute([seq])?;
    group.add(octets)
}

/// Octets of the file that hold something.
pub(crate) fn used(db: &Connection) -> Result<u64> {
    let value = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = value("page_count")?.saturating_sub(value("freelist_count")?);
    Ok(u64::try_from(pages.saturating_mul(value("page_size")?)).unwrap_or_default())
}

/// Gives free pages back to the system: the file may have been larger.
pub(crate) fn shrink(db: &Connection) -> Result<()> {
    let mut pragma = db.prepare("PRAGMA incremental_vacuum")?;
    let mut freed = pragma.query([])?;
    // Each row is a page.
    while freed.next()?.is_some() {}
    Ok(())
}

pub(crate) fn entries(db: &Connection) -> Result<u64> {
    db.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, i64>(0))
        .map(|count| u64::try_from(count).unwrap_or_default())
}

/// SQLite proves the order of its pages, not what is in them.
pub(crate) fn digest(key: &Key, record: &[u8]) -> Digest {
    let mut digest = Context::new(&SHA256);
    digest.update(DOMAIN);
    digest.update(key.as_bytes());
    digest.update(record);
    digest.finish()
}

pub(crate) fn millis(time: SystemTime) -> i64 {
    span(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn span(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
