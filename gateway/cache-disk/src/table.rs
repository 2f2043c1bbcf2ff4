//! The statements.

use aws_lc_rs::digest::{Context, Digest, SHA256};
use bascule_cache::{Kept, Key, Purge};
use rusqlite::{Connection, Result, params};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Keeps the digests apart from any other use of SHA-256.
const DOMAIN: &[u8] = b"bascule-cache-disk-1";

/// Entries that are given up at a time for lack of room.
const GIVEN_UP: u32 = 32;

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

pub(crate) fn purge(db: &Connection, purge: &Purge) -> Result<usize> {
    match purge {
        Purge::Everything => remove_all(db),
        Purge::Key(key) => remove(db, key),
        Purge::Integration(integration) => {
            db.prepare_cached("DELETE FROM entries WHERE integration = ?1")?.execute([integration])
        }
        Purge::Operation { integration, operation } => db
            .prepare_cached("DELETE FROM entries WHERE integration = ?1 AND operation = ?2")?
            .execute([integration, operation]),
        Purge::Tag(number) => db
            .prepare_cached("DELETE FROM entries WHERE seq IN (SELECT entry FROM tags WHERE tag = ?1)")?
            .execute([number]),
    }
}

pub(crate) fn remove_all(db: &Connection) -> Result<usize> {
    db.execute("DELETE FROM entries", [])
}

/// Gives up what is dead, and what was stored first until the rest fits.
pub(crate) fn make_room(db: &Connection, max_size: u64, wall: SystemTime) -> Result<usize> {
    let mut gone = db.prepare_cached("DELETE FROM entries WHERE ends <= ?1")?.execute([millis(wall)])?;
    while used(db)? > max_size {
        let first = db
            .prepare_cached(
                "DELETE FROM entries WHERE seq IN (SELECT seq FROM entries ORDER BY seq LIMIT ?1)",
            )?
            .execute([GIVEN_UP])?;
        if first == 0 {
            break;
        }
        gone += first;
    }
    Ok(gone)
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
