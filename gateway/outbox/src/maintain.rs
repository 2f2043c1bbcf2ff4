//! What is done to the queue rather than to a call: recovery, time that passes, and operators.

use crate::{
    Bounds, Level, Page, Place, State,
    row::{BARE, count, entry, millis, span, state},
    store::{get, make_room, revive},
};
use rusqlite::{Connection, Result, params};
use std::time::SystemTime;
use uuid::Uuid;

/// What the passing of time did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Waiting entries that are dead now: they were tried for too long.
    pub given_up: usize,
    /// Finished entries that are forgotten.
    pub forgotten: usize,
}

/// What an operator's wish to try an entry at once came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It waits, and its time has come.
    Waiting,
    /// It is being tried, or done; it stays so.
    Refused(State),
    /// There is no such entry.
    Unknown,
}

/// What an operator's wish to remove an entry came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// It is being tried, and stays.
    Running,
    /// There is no such entry.
    Unknown,
}

/// What was being tried when the last owner went away is to be tried again at once.
pub(crate) fn recover(db: &Connection, now: SystemTime) -> Result<usize> {
    db.execute("UPDATE entries SET state = 'waiting', next_try = ?1 WHERE state = 'running'", [millis(now)])
}

pub(crate) fn tidy(db: &Connection, bounds: &Bounds, now: SystemTime) -> Result<Tidied> {
    let now = millis(now);
    let given_up = db
        .prepare_cached(
            "UPDATE entries SET state = 'dead', finished = ?1, \
             last_error = coalesce(last_error, 'its time passed before it could be tried') \
             WHERE state = 'waiting' AND since <= ?2",
        )?
        .execute(params![now, now.saturating_sub(span(bounds.give_up_after))])?;
    let forgotten = db
        .prepare_cached("DELETE FROM entries WHERE state IN ('done', 'dead') AND finished <= ?1")?
        .execute([now.saturating_sub(span(bounds.retention))])?;
    // Answers have come since the entries were let in. What waits, or is dead, stays whatever it weighs.
    let _ = make_room(db, 0, 0, bounds)?;
    Ok(Tidied { given_up, forgotten })
}

/// What waits for the operation need not wait any longer.
pub(crate) fn hasten(db: &Connection, place: &Place, now: SystemTime) -> Result<usize> {
    db.prepare_cached(
        "UPDATE entries SET next_try = ?3 WHERE state = 'waiting' AND integration = ?1 AND operation = ?2 \
         AND next_try > ?3",
    )?
    .execute(params![place.integration, place.operation, millis(now)])
}

/// Gives up what waits for an operation.
pub(crate) fn abandon(db: &Connection, place: &Place, error: &str, now: SystemTime) -> Result<usize> {
    db.prepare_cached(
        "UPDATE entries SET state = 'dead', finished = ?4, last_error = ?3 \
         WHERE state = 'waiting' AND integration = ?1 AND operation = ?2",
    )?
    .execute(params![place.integration, place.operation, error, millis(now)])
}

pub(crate) fn retry(db: &Connection, id: Uuid, now: SystemTime) -> Result<Retried> {
    if revive(db, id, now)? {
        return Ok(Retried::Waiting);
    }
    Ok(get(db, id)?.map_or(Retried::Unknown, |entry| Retried::Refused(entry.state)))
}

pub(crate) fn remove(db: &Connection, id: Uuid) -> Result<Removed> {
    let gone = db
        .prepare_cached("DELETE FROM entries WHERE id = ?1 AND state <> 'running'")?
        .execute([id.to_string()])?;
    if gone > 0 {
        return Ok(Removed::Gone);
    }
    Ok(get(db, id)?.map_or(Removed::Unknown, |_| Removed::Running))
}

/// Entries in the order in which they were queued, from behind `after`; of one state or of all.
pub(crate) fn list(db: &Connection, of: Option<State>, after: Option<Uuid>, max: u32) -> Result<Page> {
    let mut entries = db
        .prepare_cached(&format!(
            "SELECT {BARE} FROM entries WHERE (?1 IS NULL OR state = ?1) \
             AND seq > coalesce((SELECT seq FROM entries WHERE id = ?2), 0) ORDER BY seq LIMIT ?3"
        ))?
        .query_map(
            params![of.map(State::as_str), after.map(|id| id.to_string()), max.saturating_add(1)],
            entry,
        )?
        .collect::<Result<Vec<_>>>()?;
    let more = entries.len() > max as usize;
    entries.truncate(max as usize);
    let next = entries.last().map(|entry| entry.id).filter(|_| more);
    Ok(Page { entries, next })
}

pub(crate) fn levels(db: &Connection) -> Result<Vec<Level>> {
    db.prepare_cached("SELECT integration, state, entries FROM levels ORDER BY integration, state")?
        .query_map([], |row| {
            Ok(Level {
                integration: row.get("integration")?,
                state: state(row)?,
                entries: count(row, "entries")?,
            })
        })?
        .collect()
}
