//! Between entries and rows.

use crate::{Answer, Call, Entry, Place, State};
use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::{Row, types::Type};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// The columns that [`entry`] reads.
pub(crate) const COLUMNS: &str = "id, integration, operation, key, caller, params, headers, body, state, created, \
                                  next_try, tries, finished, status, content_type, answer, cut, last_error";

/// The same without what the caller sent, which only a delivery needs.
pub(crate) const BARE: &str = "id, integration, operation, key, caller, '' AS params, '' AS headers, NULL AS body, state, \
                               created, next_try, tries, finished, status, content_type, answer, cut, last_error";

/// What an entry weighs beside its texts: the row, its indexes, a share of a page.
const OVERHEAD: usize = 512;

pub(crate) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let status: Option<u16> = row.get("status")?;
    let answer = match status {
        None => None,
        Some(status) => Some(Answer {
            status,
            content_type: row.get("content_type")?,
            body: row.get::<_, Option<Vec<u8>>>("answer")?.unwrap_or_default(),
            cut: row.get("cut")?,
        }),
    };
    Ok(Entry {
        id: id(row)?,
        call: Call {
            place: place(row)?,
            key: row.get("key")?,
            caller: row.get("caller")?,
            params: row.get("params")?,
            headers: row.get("headers")?,
            body: row.get("body")?,
        },
        state: state(row)?,
        created: time(row.get("created")?),
        next_try: time(row.get("next_try")?),
        tries: row.get("tries")?,
        finished: row.get::<_, Option<i64>>("finished")?.map(time),
        answer,
        last_error: row.get("last_error")?,
    })
}

pub(crate) fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { integration: row.get("integration")?, operation: row.get("operation")? })
}

pub(crate) fn state(row: &Row<'_>) -> rusqlite::Result<State> {
    let word: String = row.get("state")?;
    State::parse(&word).ok_or_else(|| odd(format!("`{word}` is no state")))
}

fn id(row: &Row<'_>) -> rusqlite::Result<Uuid> {
    let text: String = row.get("id")?;
    Uuid::parse_str(&text).map_err(|error| odd(error.to_string()))
}

/// A count: never negative.
pub(crate) fn count(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    let count: i64 = row.get(column)?;
    u64::try_from(count).map_err(|error| odd(error.to_string()))
}

/// Nothing that this crate has written.
fn odd(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, what.into())
}

/// Tells calls with the same key apart. Headers are left out: many of them differ whenever a call is repeated.
pub(crate) fn digest(call: &Call) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    let caller = call.caller.as_deref().map(str::as_bytes);
    // Each with its length, so that no two lists of parts read alike.
    for part in [caller, Some(call.params.as_bytes()), call.body.as_deref()] {
        context.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        context.update(part.unwrap_or_default());
    }
    context.finish().as_ref().to_vec()
}

/// Octets of what the caller sent.
pub(crate) fn payload(call: &Call) -> u64 {
    (call.params.len() + call.body.as_ref().map_or(0, Vec::len)) as u64
}

/// Octets of an entry that waits.
pub(crate) fn size(call: &Call) -> u64 {
    let texts =
        call.place.integration.len() + call.place.operation.len() + call.key.len() + call.headers.len();
    payload(call) + (texts + OVERHEAD) as u64
}

/// Milliseconds since 1970; times before it are 1970.
pub(crate) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn time(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Milliseconds of a span, as far as the file can hold them.
pub(crate) fn span(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
