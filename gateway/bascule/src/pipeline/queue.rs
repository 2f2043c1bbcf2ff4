//! Calls that are kept for later: the rung `{ queue = true }`, and what an idempotency key promises before it.
//!
//! The outbox's methods block for a write to the disk, so they run on threads that may block. A caller's key is looked
//! up before anything is sent, where the ladder has such a rung: a call that is queued already is not made a second
//! time beside its own delivery. Delivering is not done here: the layer above reads the queue and makes the calls.

mod keys;
mod record;
mod shown;

pub(super) use keys::KeyInFlight;
pub use record::{gone, placed, restore};
pub use shown::show;

use super::{Call, Failure, Origin};
use crate::model::{Answer, CacheStatus, Code, Payload, Problem, Source};
use bascule_outbox::{EnqueueError, Error, Level, OpenError, Outbox, State};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use keys::Keys;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;

/// When a call whose key is in use may be repeated: about one typical call.
const IN_USE_RETRY: Duration = Duration::from_secs(1);

/// How long a call waits for the disk. What it asked for may still be done afterwards.
const ASK_MAX: Duration = Duration::from_secs(5);

/// The outbox of a gateway.
pub struct Queue {
    outbox: Arc<Outbox>,
    path: PathBuf,
    keys: Arc<Keys>,
    changed: Notify,
}

impl Queue {
    /// Opens it, which reads the whole file: on a thread that may block.
    ///
    /// # Errors
    /// [`OpenError`] when the file is in use, damaged, too new, or cannot be used.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let outbox = Arc::new(Outbox::open(path, SystemTime::now())?);
        Ok(Self { outbox, path: path.to_owned(), keys: Arc::default(), changed: Notify::new() })
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Works on the outbox. Who stops waiting does not stop the work.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn ask<T, E>(&self, work: impl FnOnce(&Outbox) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let outbox = Arc::clone(&self.outbox);
        let worked = tokio::task::spawn_blocking(move || work(&outbox)).await;
        worked.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    /// How many entries each integration has in each state.
    pub fn levels(&self) -> Vec<Level> {
        self.outbox.levels()
    }

    /// Tells whoever delivers that there is something to do.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until there is something to do. For one waiter; cancel-safe.
    pub async fn woken(&self) {
        self.changed.notified().await;
    }
}

/// What a caller's key says before anything is sent.
pub(super) enum Entered {
    /// Nothing: the call may go. Until it has ended, no other call with its key may.
    Free(Option<KeyInFlight>),
    /// The very call is in the outbox.
    Queued(Box<Answer>),
}

/// Looks whether the call is queued already. Calls without a caller's key, or without such a rung, pass at once.
pub(super) async fn enter(call: &Call) -> Result<Entered, Box<Failure>> {
    let free = Ok(Entered::Free(None));
    if !call.operation.policy.queues() || !matches!(call.origin, Origin::Caller) {
        return free;
    }
    let (Some(queue), Some(record)) = (call.services.outbox.get(), record::of(call)) else { return free };
    let in_use = || {
        let detail = "a call with this idempotency key is under way";
        Failure::plain(Problem::new(Code::IdempotencyKeyInUse, detail).retry_after(IN_USE_RETRY))
    };
    let held = queue.keys.take(&call.operation.full_name, &record.key).ok_or_else(in_use)?;
    let found = timeout(ASK_MAX, queue.ask(move |outbox| outbox.find(record)));
    match found.await.unwrap_or(Err(Error::Slow.into())) {
        Ok(Some(entry)) => match entry.state {
            State::Running => Err(in_use()),
            State::Waiting | State::Done => Ok(Entered::Queued(Box::new(accepted(entry.id, entry.state)))),
            // It has been given up; the caller tries anew.
            State::Dead => Ok(Entered::Free(Some(held))),
        },
        Ok(None) => Ok(Entered::Free(Some(held))),
        Err(EnqueueError::Conflict) => {
            let detail =
                "the idempotency key belongs to another call of this operation, which is in the outbox";
            Err(Failure::plain(Problem::new(Code::IdempotencyKeyReused, detail)))
        }
        Err(error) => {
            tracing::warn!(operation = %call.operation.full_name, %error, "the outbox could not be asked");
            Ok(Entered::Free(Some(held)))
        }
    }
}

/// Keeps the call for later. None when it cannot be kept: the next rung is tried.
pub(super) async fn rung(call: &Call) -> Option<Answer> {
    let Origin::Caller = call.origin else { return None };
    let queue = call.services.outbox.get()?;
    let bounds = call.generation.config.outbox.as_ref()?.bounds;
    let record = record::of(call).filter(|_| record::is_whole(call))?;
    let asked = Arc::clone(queue);
    // A task: the delivery is to be told of the entry also when the caller has left meanwhile.
    let queued = tokio::spawn(async move {
        let queued = asked.ask(move |outbox| outbox.enqueue(record, &bounds, SystemTime::now())).await;
        if queued.is_ok() {
            asked.wake();
        }
        queued
    });
    let queued = timeout(ASK_MAX, queued).await.unwrap_or(Ok(Err(Error::Slow.into())));
    let reason = match queued.unwrap_or(Err(Error::Closed.into())) {
        Ok(queued) => {
            return Some(accepted(queued.id, queued.state));
        }
        Err(EnqueueError::TooLarge { .. }) => {
            call.operation.metrics.outbox_refusal("too-large");
            return None;
        }
        Err(EnqueueError::Full { entries, octets }) => {
            tracing::warn!(operation = %call.operation.full_name, entries, octets, "the outbox is full");
            "full"
        }
        Err(error) => {
            tracing::warn!(operation = %call.operation.full_name, %error, "a call could not be queued");
            "failing"
        }
    };
    call.operation.metrics.outbox_refusal(reason);
    None
}

/// 202, and where to ask.
fn accepted(id: Uuid, state: State) -> Answer {
    let url = status_url(id);
    let body = json!({ "id": id.to_string(), "status": state.as_str(), "status_url": url });
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(url) = HeaderValue::from_str(&url) {
        headers.insert(LOCATION, url);
    }
    Answer {
        status: StatusCode::ACCEPTED,
        headers,
        body: Payload::Full(Bytes::from(body.to_string())),
        source: Source::Queued,
        cache: Some(CacheStatus::Bypass),
        age: None,
    }
}

fn status_url(id: Uuid) -> String {
    format!("/outbox/{id}")
}
