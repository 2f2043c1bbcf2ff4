//! An entry's way through the queue, as statements. Everything here runs on the writer's thread within a transaction of
//! its own, so that what fails has changed nothing.

use crate::{
    ANSWER_MAX, Answer, Bounds, Call, Ending, EnqueueError, Entry, Lane, Place, State,
    row::{BARE, COLUMNS, count, digest, entry, millis, payload, place, size, span, time},
};
use rusqlite::{Connection, OptionalExtension, Result, params};
use std::time::SystemTime;
use uuid::{NoContext, Timestamp, Uuid};

/// A call that is in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its entry.
    pub id: Uuid,
    /// Where that stands: waiting, unless the same call was there before.
    pub state: State,
    /// Whether it was not there before.
    pub new: bool,
}

/// The refusals are results, not errors: the transaction they are found in is sound.
type Refusable<T> = Result<std::result::Result<T, EnqueueError>>;

pub(crate) fn enqueue(db: &Connection, call: &Call, bounds: &Bounds, now: SystemTime) -> Refusable<Queued> {
    let octets = payload(call);
    if octets > bounds.max_body {
        return Ok(Err(EnqueueError::TooLarge { octets, max: bounds.max_body }));
    }
    let digest = digest(call);
    if let Some((known, found)) = same_key(db, &call.place, &call.key)? {
        if known != digest {
            return Ok(Err(EnqueueError::Conflict));
        }
        if found.state == State::Dead {
            revive(db, found.id, now)?;
            return Ok(Ok(Queued { id: found.id, state: State::Waiting, new: false }));
        }
        return Ok(Ok(Queued { id: found.id, state: found.state, new: false }));
    }
    let size = size(call);
    if let Err(full) = make_room(db, 1, size, bounds)? {
        return Ok(Err(full));
    }
    let id = new_id(now);
    let now = millis(now);
    db.prepare_cached(
        "INSERT INTO entries (id, integration, operation, key, digest, caller, params, headers, body, state, created, \
         since, next_try, tries, size) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'waiting', ?10, ?10, ?10, 0, ?11)",
    )?
    .execute(params![
        id.to_string(),
        call.place.integration,
        call.place.operation,
        call.key,
        digest,
        call.caller,
        call.params,
        call.headers,
        call.body,
        now,
        size as i64,
    ])?;
    Ok(Ok(Queued { id, state: State::Waiting, new: true }))
}

/// The entry with that key, when it is the same call; a refusal when it is another one.
pub(crate) fn find(db: &Connection, call: &Call) -> Refusable<Option<Entry>> {
    Ok(match same_key(db, &call.place, &call.key)? {
        None => Ok(None),
        Some((known, found)) if known == digest(call) => Ok(Some(found)),
        Some(_) => Err(EnqueueError::Conflict),
    })
}

fn same_key(db: &Connection, place: &Place, key: &str) -> Result<Option<(Vec<u8>, Entry)>> {
    db.prepare_cached(&format!(
        "SELECT digest, {BARE} FROM entries WHERE integration = ?1 AND operation = ?2 AND key = ?3"
    ))?
    .query_row(params![place.integration, place.operation, key], |row| Ok((row.get("digest")?, entry(row)?)))
    .optional()
}

/// Forgets what was done first, until so many more entries of that size together fit.
pub(crate) fn make_room(db: &Connection, more: u64, size: u64, bounds: &Bounds) -> Refusable<()> {
    loop {
        let (entries, octets): (u64, u64) = db
            .prepare_cached(
                "SELECT coalesce(sum(entries), 0) AS entries, coalesce(sum(octets), 0) AS octets FROM levels",
            )?
            .query_row([], |row| Ok((count(row, "entries")?, count(row, "octets")?)))?;
        if entries.saturating_add(more) <= bounds.max_entries
            && octets.saturating_add(size) <= bounds.max_size
        {
            return Ok(Ok(()));
        }
        let forgotten = db
            .prepare_cached(
                "DELETE FROM entries WHERE seq = \
                 (SELECT seq FROM entries WHERE state = 'done' ORDER BY finished, seq LIMIT 1)",
            )?
            .execute([])?;
        if forgotten == 0 {
            return Ok(Err(EnqueueError::Full { entries, octets }));
        }
    }
}

/// Time-ordered, and not to be guessed.
fn new_id(now: SystemTime) -> Uuid {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos()))
}

pub(crate) fn get(db: &Connection, id: Uuid) -> Result<Option<Entry>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?
        .query_row([id.to_string()], entry)
        .optional()
}

/// Operations with waiting entries, by name.
pub(crate) fn lanes(db: &Connection) -> Result<Vec<Lane>> {
    db.prepare_cached(
        "SELECT integration, operation, min(next_try) AS next_try FROM entries WHERE state = 'waiting' \
         GROUP BY integration, operation",
    )?
    .query_map([], |row| Ok(Lane { place: place(row)?, next_try: time(row.get("next_try")?) }))?
    .collect()
}

/// Takes the entries of an operation whose time has come, in the order in which they were queued. One that has to wait
/// for its next try holds up nobody.
pub(crate) fn claim(db: &Connection, place: &Place, max: u32, now: SystemTime) -> Result<Vec<Entry>> {
    let due: Vec<i64> = db
        .prepare_cached(
            "SELECT seq FROM entries WHERE state = 'waiting' AND integration = ?1 AND operation = ?2 \
             AND next_try <= ?3 ORDER BY seq LIMIT ?4",
        )?
        .query_map(params![place.integration, place.operation, millis(now), max], |row| row.get(0))?
        .collect::<Result<_>>()?;
    let mut claim = db.prepare_cached(&format!(
        "UPDATE entries SET state = 'running', tries = tries + 1 WHERE seq = ?1 RETURNING {COLUMNS}"
    ))?;
    due.into_iter().map(|seq| claim.query_row([seq], entry)).collect()
}

/// A running entry has ended. What the caller sent is forgotten when it is done; a dead one may be revived.
pub(crate) fn finish(db: &Connection, id: Uuid, ending: &Ending, now: SystemTime) -> Result<bool> {
    let (state, answer, error) = match ending {
        Ending::Done(answer) => (State::Done, Some(answer), None),
        Ending::Dead { error, answer } => (State::Dead, answer.as_ref(), Some(error.as_str())),
    };
    let kept = answer.map_or(&[][..], |answer| answer.body.get(..ANSWER_MAX).unwrap_or(&answer.body));
    let cut = answer.is_some_and(|answer| answer.cut || answer.body.len() > ANSWER_MAX);
    let changed = db
        .prepare_cached(
            "UPDATE entries SET state = ?2, finished = ?3, status = ?4, content_type = ?5, answer = ?6, cut = ?7, \
             last_error = coalesce(?8, last_error), size = size + ?9 WHERE id = ?1 AND state = 'running'",
        )?
        .execute(params![
            id.to_string(),
            state.as_str(),
            millis(now),
            answer.map(|answer: &Answer| answer.status),
            answer.and_then(|answer| answer.content_type.as_deref()),
            kept,
            cut,
            error,
            kept.len() as i64,
        ])?;
    if changed > 0 && state == State::Done {
        db.prepare_cached(
            "UPDATE entries SET size = size - length(CAST(params AS BLOB)) - length(CAST(headers AS BLOB)) \
             - coalesce(length(body), 0), params = '', headers = '', body = NULL WHERE id = ?1",
        )?
        .execute([id.to_string()])?;
    }
    Ok(changed > 0)
}

/// A running entry failed and is tried again at `next_try`, or is dead when it has been tried for too long.
pub(crate) fn retry_later(
    db: &Connection,
    id: Uuid,
    error: &str,
    next_try: SystemTime,
    bounds: &Bounds,
    now: SystemTime,
) -> Result<Option<State>> {
    db.prepare_cached(
        "UPDATE entries SET last_error = ?2, next_try = ?3, \
         state = CASE WHEN since <= ?4 THEN 'dead' ELSE 'waiting' END, \
         finished = CASE WHEN since <= ?4 THEN ?5 END WHERE id = ?1 AND state = 'running' RETURNING state",
    )?
    .query_row(
        params![
            id.to_string(),
            error,
            millis(next_try),
            millis(now).saturating_sub(span(bounds.give_up_after)),
            millis(now),
        ],
        crate::row::state,
    )
    .optional()
}

/// A running entry was not tried after all: it waits until `next_try`, and the try is not counted.
pub(crate) fn put_back(db: &Connection, id: Uuid, next_try: SystemTime) -> Result<bool> {
    let changed = db
        .prepare_cached(
            "UPDATE entries SET state = 'waiting', tries = max(tries - 1, 0), next_try = ?2 \
             WHERE id = ?1 AND state = 'running'",
        )?
        .execute(params![id.to_string(), millis(next_try)])?;
    Ok(changed > 0)
}

/// Waits again from now on, as if it were new.
pub(crate) fn revive(db: &Connection, id: Uuid, now: SystemTime) -> Result<bool> {
    let changed = db
        .prepare_cached(
            "UPDATE entries SET state = 'waiting', since = ?2, next_try = ?2, finished = NULL, \
             size = size - coalesce(length(answer), 0), status = NULL, content_type = NULL, answer = NULL, cut = 0 \
             WHERE id = ?1 AND state IN ('waiting', 'dead')",
        )?
        .execute(params![id.to_string(), millis(now)])?;
    Ok(changed > 0)
}
