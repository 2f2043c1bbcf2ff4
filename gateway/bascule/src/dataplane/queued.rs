//! `GET /outbox/{id}`: what became of a call that was queued.
//!
//! Only the caller who queued it is told. To everybody else, and when there is no outbox, there is no such entry.

use super::{
    callers::authenticate,
    completion::Completion,
    ingest::{Known, check_host, check_size},
};
use crate::{
    model::{Answer, Code, Payload, Problem, Source},
    pipeline::show,
};
use bascule_outbox::Error;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use hyper::body::Incoming;
use std::time::Duration;
use uuid::Uuid;

/// When to ask again while the file cannot be read.
const RETRY: Duration = Duration::from_secs(1);

/// Shows the entry.
///
/// # Errors
/// The problem that the caller reads: those of every request, `not-found`, and `overloaded` when the outbox cannot be
/// asked at present.
pub(super) async fn status(
    known: Known<'_>,
    completion: &mut Completion,
    request: Request<Incoming>,
    id: &str,
) -> Result<Answer, Box<Problem>> {
    let (parts, _) = request.into_parts();
    let server = &known.generation.config.server;
    check_size(&parts.headers)?;
    check_host(&parts)?;
    let caller = authenticate(server, &parts.headers)?;
    if let Some(name) = &caller.name {
        completion.caller(name, caller.priority);
    }
    known.inbound.admit(&server.api_keys, &caller)?;
    let unknown = || Box::new(Problem::new(Code::NotFound, "there is no such entry in the outbox"));
    let queue = known.services.outbox.get().ok_or_else(unknown)?;
    let id = Uuid::try_parse(id).map_err(|_| unknown())?;
    let found = queue.ask(move |outbox| outbox.get(id)).await.map_err(|error: Error| {
        tracing::warn!(%error, "the outbox could not be asked");
        Problem::new(Code::Overloaded, "the outbox cannot be asked at present").retry_after(RETRY)
    })?;
    let entry =
        found.filter(|entry| entry.call.caller.as_deref() == caller.name.as_deref()).ok_or_else(unknown)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // State of the moment.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(Answer {
        status: StatusCode::OK,
        headers,
        body: Payload::Full(Bytes::from(show(&entry, true).to_string())),
        source: Source::Queued,
        cache: None,
        age: None,
    })
}
