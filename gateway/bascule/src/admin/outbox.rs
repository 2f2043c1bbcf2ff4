//! The outbox for operators: a page of it, and what they may do to an entry.
//!
//! They see where entries stand and why, never what callers sent or providers answered.

use super::route::Listing;
use crate::{
    model::{Code, Problem},
    pipeline::{Queue, Services, show},
};
use bascule_outbox::{Error, Removed, Retried, State};
use serde_json::{Value, json};
use std::{sync::Arc, time::SystemTime};
use uuid::Uuid;

/// `{"entries": […], "next": ID}`; `next` is null on the last page.
pub(super) async fn list(services: &Services, listing: Listing) -> Result<Value, Problem> {
    let Listing { state, after, limit } = listing;
    let page = queue(services)?.ask(move |outbox| outbox.list(state, after, limit)).await.map_err(failing)?;
    let entries: Vec<Value> = page.entries.iter().map(|entry| show(entry, false)).collect();
    Ok(json!({ "entries": entries, "next": page.next.map(|id| id.to_string()) }))
}

/// Tries a waiting or dead entry at once.
pub(super) async fn retry(services: &Services, id: &str) -> Result<(), Problem> {
    let (queue, id) = (queue(services)?, entry(id)?);
    match queue.ask(move |outbox| outbox.retry(id, SystemTime::now())).await.map_err(failing)? {
        Retried::Waiting => {
            queue.wake();
            Ok(())
        }
        Retried::Refused(State::Running) => Err(running()),
        Retried::Refused(_) => Err(Problem::new(Code::Conflict, "the entry is done; it is not sent again")),
        Retried::Unknown => Err(unknown()),
    }
}

/// Removes an entry that is not being delivered.
pub(super) async fn remove(services: &Services, id: &str) -> Result<(), Problem> {
    let id = entry(id)?;
    match queue(services)?.ask(move |outbox| outbox.remove(id)).await.map_err(failing)? {
        Removed::Gone => Ok(()),
        Removed::Running => Err(running()),
        Removed::Unknown => Err(unknown()),
    }
}

fn queue(services: &Services) -> Result<&Arc<Queue>, Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no outbox: bascule.toml has no [outbox]");
    services.outbox.get().ok_or_else(missing)
}

fn entry(id: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(id).map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::new(Code::NotFound, "there is no such entry in the outbox")
}

fn running() -> Problem {
    Problem::new(Code::Conflict, "the entry is being delivered; wait for the end of that")
}

fn failing(error: Error) -> Problem {
    tracing::warn!(%error, "the outbox could not be asked");
    Problem::new(Code::Overloaded, "the outbox cannot be asked at present")
}
