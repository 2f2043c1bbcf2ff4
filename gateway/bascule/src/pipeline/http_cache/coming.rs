//! A large answer on its way: to whoever asked, to all who wait for it, and to the store.
//!
//! ```text
//! head there ─► announced ─► chunks ─► readers, each at its own pace
//!                                  └─► whole, and within `max_entry` ─► stored
//! ```
//!
//! The decision: it is the fetch's own task that receives the body, and everybody reads what is there. As long as one
//! reader keeps its flight the task goes on; a body that breaks off breaks off for all, and nothing is stored.

use super::{
    super::{Landing, Reply, live::Flight},
    bring::Keeper,
};
use crate::model::{BodyError, Payload, Source, StreamBody};
use bascule_cache::{
    BodyReader, Herald, SharedBody,
    rfc9111::{RequestDirectives, Selecting, Terms, Use},
    shared_body,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::AGE};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// An answer whose head is there.
pub struct Coming {
    status: StatusCode,
    /// As it came, for whoever fetched it.
    headers: HeaderMap,
    others: Box<ForOthers>,
    body: SharedBody,
}

/// What of an answer others may have, and who.
pub(super) struct ForOthers {
    /// Its fields, without those that are for whoever fetched it.
    pub(super) headers: HeaderMap,
    pub(super) selecting: Selecting,
    pub(super) terms: Terms,
    /// When its head was there.
    pub(super) since: Instant,
}

impl ForOthers {
    fn age(&self, now: Instant) -> Duration {
        self.terms.initial_age.saturating_add(now.saturating_duration_since(self.since))
    }
}

impl fmt::Debug for Coming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coming").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Coming {
    /// Whether another request may have it: it is of the same variant, and as fresh as it has to be. It may have come
    /// long after the head (RFC 9111 §4.2, §5.2.2.4).
    pub(super) fn is_for(&self, request: &HeaderMap, directives: &RequestDirectives, now: Instant) -> bool {
        self.others.selecting.matches(request)
            && self.others.terms.use_at(self.others.age(now), directives) == Use::Fresh
    }

    /// The reply for one who waits, which keeps its flight to the end. None if the beginning of the body is gone.
    pub(super) fn reply(&self, flight: Flight, source: Source, now: Instant) -> Option<Reply> {
        let mut headers = self.headers.clone();
        if source == Source::Coalesced {
            headers.clone_from(&self.others.headers);
            headers.insert(AGE, self.others.age(now).as_secs().into());
        }
        let body = Reading { reader: self.body.reader()?, _flight: flight };
        Some(Reply {
            status: self.status,
            headers,
            body: Payload::Stream(body.boxed()),
            source,
            stored: false,
            cache: None,
            upstream: None,
        })
    }
}

/// Receives the body of a reply, tells of it at once, and stores it when it is whole.
pub(super) async fn receive(
    keeper: Keeper,
    mut reply: Reply,
    others: Box<ForOthers>,
    herald: Herald<Landing>,
) -> Arc<Landing> {
    let kept_max = usize::try_from(keeper.max_entry()).unwrap_or(usize::MAX);
    let (mut writer, body) = shared_body(kept_max);
    let (status, headers) = (reply.status, reply.headers.clone());
    let landing = Arc::new(Landing::Coming(Coming { status, headers, others, body }));
    herald.announce(Arc::clone(&landing));
    let Payload::Stream(mut stream) = std::mem::replace(&mut reply.body, Payload::Full(Bytes::new())) else {
        return landing;
    };
    if pump(&mut stream, &mut writer).await
        && let Some(whole) = writer.finish()
    {
        reply.body = Payload::Full(whole);
        keeper.store(&mut reply);
    }
    landing
}

/// Whether all of it came. A writer that is dropped without an end tells its readers.
async fn pump(stream: &mut StreamBody, writer: &mut bascule_cache::BodyWriter) -> bool {
    while let Some(frame) = stream.frame().await {
        let Ok(frame) = frame else { return false };
        // Trailers are not kept (RFC 9110 §6.5).
        let Ok(chunk) = frame.into_data() else { continue };
        if writer.push(&chunk).await.is_err() {
            return false;
        }
    }
    true
}

/// One reader, and what keeps the fetch going for it.
struct Reading {
    reader: BodyReader,
    _flight: Flight,
}

impl Body for Reading {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.reader).poll_frame(cx);
        frame.map(|frame| {
            frame.map(|frame| frame.map_err(|error| BodyError::Broken(error.to_string().into())))
        })
    }
}
