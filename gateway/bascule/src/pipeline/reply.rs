//! What a fetch brings back: an answer that does not know yet how it reached its caller.

use super::{
    Failure,
    http_cache::{Kept, Upstream},
};
use crate::model::{Answer, CacheStatus, Payload, Source};
use bascule_cache::Entry;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::time::{Duration, Instant};

/// An answer of the provider's, of a plugin's, or from the store.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers without hop-by-hop ones.
    pub headers: HeaderMap,
    /// The body.
    pub body: Payload,
    /// Who made it.
    pub source: Source,
    /// Whether it went into the cache.
    pub stored: bool,
    /// What the cache had to do with it where that is known by now, and its age, when it came from there.
    pub cache: Option<(CacheStatus, Option<Duration>)>,
    /// The provider's own head, where HTTP's rules need it.
    pub upstream: Option<Box<Upstream>>,
}

/// A reply that can be had any number of times.
#[derive(Clone, Debug)]
pub struct SharedReply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    source: Source,
    pub(super) stored: bool,
}

/// What everybody who waited for a fetch gets.
#[derive(Debug)]
pub enum Landing {
    /// A reply.
    Reply(SharedReply),
    /// A reply that may be shared by the rules of HTTP.
    Kept(Kept),
    /// Its failure; each waiter walks its own ladder.
    Failed(Failure<SharedReply>),
}

impl Reply {
    /// The answer for the caller who waited for this very fetch, or needed none.
    pub(super) fn into_answer(self, cache: CacheStatus) -> Answer {
        let (cache, age) = self.cache.unwrap_or((cache, None));
        Answer {
            status: self.status,
            headers: self.headers,
            body: self.body,
            source: self.source,
            cache: Some(cache),
            age,
        }
    }

    /// The reply for everybody; back again when its body can be had only once.
    pub(super) fn into_shared(self, stored: bool) -> Result<SharedReply, Box<Self>> {
        match self.body {
            Payload::Full(body) => Ok(SharedReply {
                status: self.status,
                headers: self.headers,
                body,
                source: self.source,
                stored,
            }),
            Payload::Stream(_) => Err(Box::new(self)),
        }
    }

    /// A stored reply.
    pub(super) fn stored(entry: &Entry, now: Instant, source: Source) -> Self {
        Self {
            status: entry.status,
            headers: entry.headers.clone(),
            body: Payload::Full(entry.body.clone()),
            source,
            stored: true,
            cache: Some((CacheStatus::Hit { ttl: entry.ttl_left(now), detail: None }, Some(entry.age(now)))),
            upstream: None,
        }
    }
}

impl SharedReply {
    pub(super) fn copy(&self, source: &Source) -> Reply {
        Reply {
            status: self.status,
            headers: self.headers.clone(),
            body: Payload::Full(self.body.clone()),
            source: source.clone(),
            stored: self.stored,
            cache: None,
            upstream: None,
        }
    }

    /// Who made it.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }
}

/// An answer from the store.
pub(super) fn from_entry(
    entry: &Entry,
    now: Instant,
    source: Source,
    detail: Option<crate::model::Cause>,
) -> Answer {
    Answer {
        status: entry.status,
        headers: entry.headers.clone(),
        body: Payload::Full(entry.body.clone()),
        source,
        cache: Some(CacheStatus::Hit { ttl: entry.ttl_left(now), detail }),
        age: Some(entry.age(now)),
    }
}
