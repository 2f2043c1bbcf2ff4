//! An answer stored by the rules of HTTP: the reply as callers get it, beside the origin's own head.
//!
//! The decision: where no plugin changed the answer, head and reply are the same fields and are held once. Where one did,
//! validators, `Vary` and dates are those of the origin's head, which a 304 renews without asking the plugin again, while
//! a caller's conditions and ranges are judged by the reply that it would get.
//!
//! A variant never changes. What a 304 or a HEAD tells makes a new one that shares the old one's body.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{CACHE_CONTROL, DATE, EXPIRES},
};

use crate::{
    entry::{Entry, compact_values, headers_weight},
    rfc9111::{
        Answer, Exchange, NotStored, Policy, RequestDirectives, Selecting, Storable, Terms, Use, is_about,
        make_conditional, updated,
    },
    scope::Scope,
    tags::Tags,
};

/// One stored answer to GET for those requests that select it. Like [`Entry`] it has no `Debug`.
#[derive(Clone)]
pub struct Variant {
    reply: Entry,
    /// The origin's head, where the reply is not that itself.
    head: Option<(StatusCode, HeaderMap)>,
    terms: Terms,
    selecting: Selecting,
    made_on: SystemTime,
    tags: Tags,
    /// The body was copied when it was first stored.
    body_is_compact: bool,
}

/// What callers get of a stored answer.
#[derive(Clone)]
pub enum Reply {
    /// What the origin sent, with this body.
    AsReceived(Bytes),
    /// What was made of it.
    Mapped {
        /// The status of the reply.
        status: StatusCode,
        /// Its headers, without those that must not be replayed.
        headers: HeaderMap,
        /// Its whole body.
        body: Bytes,
    },
}

/// Why a message did not renew a stored answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRenewed {
    /// It is about another representation. After a 304: ask again without conditions. After a HEAD: what is stored is out
    /// of date, so remove it.
    #[error("the message is about another representation")]
    Other,
    /// It is about this one, and says that it is not to be stored like that. After a 304 this caller may be answered with
    /// the stored reply, which has just been validated.
    #[error("the renewed answer is not stored: {0}")]
    NotStored(#[source] NotStored),
}

impl Variant {
    /// Puts together what may be stored. `tags` are what it can be [purged](crate::Store::purge_tag) by; `scope` as for an
    /// [`Entry`].
    #[must_use]
    pub fn new(storable: Storable, reply: Reply, scope: Scope, tags: Tags) -> Self {
        let Storable { terms, selecting, status, headers, received_at, made_on } = storable;
        let (head, (status, headers, body)) = match reply {
            Reply::AsReceived(body) => (None, (status, headers, body)),
            Reply::Mapped { status: mapped, headers: fields, body } => {
                (Some((status, headers)), (mapped, fields, body))
            }
        };
        let reply = Entry {
            status,
            headers,
            body,
            stored_at: received_at,
            age_at_store: terms.initial_age,
            ttl: terms.lifetime,
            stale_while_revalidate: terms.stale_while_revalidate,
            keep_stale: terms.keep_stale,
            scope,
        };
        Self { reply, head, terms, selecting, made_on, tags, body_is_compact: false }
    }

    /// [`new`](Self::new) of what is in memory of its own already.
    pub(crate) fn compact(storable: Storable, reply: Reply, scope: Scope, tags: Tags) -> Self {
        Self { body_is_compact: true, ..Self::new(storable, reply, scope, tags) }
    }

    /// The reply as callers get it, before their conditions and ranges: see [`answer`](Self::answer).
    #[must_use]
    pub fn reply(&self) -> &Entry {
        &self.reply
    }

    /// What it may be used for.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// How old the answer is at `now`, in the sense of the `Age` header.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        self.reply.age(now)
    }

    /// What to do with it for a request with these directives.
    #[must_use]
    pub fn use_at(&self, now: Instant, request: &RequestDirectives) -> Use {
        self.terms.use_at(self.age(now), request)
    }

    /// Which part of the reply a request gets.
    #[must_use]
    pub fn answer(&self, method: &Method, request: &HeaderMap) -> Answer {
        Answer::to(method, request, self.reply.status, &self.reply.headers, self.reply.body.len())
    }

    /// Makes a request to the origin conditional on this answer (RFC 9111 §4.3.1), in place of the caller's own
    /// conditions and range. False, and the request is as it was, if the answer has no validator.
    pub fn make_conditional(&self, request: &mut HeaderMap) -> bool {
        make_conditional(request, self.head().1)
    }

    /// This answer renewed by a 304 to a request that [`make_conditional`](Self::make_conditional) made, or by the 200 to
    /// a HEAD (§4.3.4, §4.3.5). The body is shared with this one; of a mapped reply, only what tells of its age is
    /// renewed.
    ///
    /// # Errors
    /// [`NotRenewed::Other`] where the message's validators, or a HEAD's `Content-Length`, are not those of this answer;
    /// [`NotRenewed::NotStored`] where the rules forbid to store the result.
    pub fn renewed(&self, exchange: &Exchange<'_>, policy: &Policy) -> Result<Self, NotRenewed> {
        let (status, stored) = self.head();
        if !is_about(exchange.method, exchange.status, exchange.response, stored) {
            return Err(NotRenewed::Other);
        }
        let merged = updated(stored, exchange.response);
        let whole = Exchange { method: &Method::GET, status, response: &merged, ..*exchange };
        let storable = whole.storable(policy).map_err(NotRenewed::NotStored)?;
        let body = self.reply.body.clone();
        let reply = match &self.head {
            None => Reply::AsReceived(body),
            Some(_) => Reply::Mapped {
                status: self.reply.status,
                headers: with_new_dates(&self.reply.headers, &storable.headers),
                body,
            },
        };
        let renewed = Self::new(storable, reply, self.reply.scope.clone(), self.tags.clone());
        Ok(Self { body_is_compact: self.body_is_compact, ..renewed })
    }

    /// The same with other tags.
    #[must_use]
    pub fn tagged(self, tags: Tags) -> Self {
        Self { tags, ..self }
    }

    /// The origin's fields, as last told.
    #[must_use]
    pub fn origin_headers(&self) -> &HeaderMap {
        self.head().1
    }

    /// The origin's status and fields.
    fn head(&self) -> (StatusCode, &HeaderMap) {
        match &self.head {
            Some((status, headers)) => (*status, headers),
            None => (self.reply.status, &self.reply.headers),
        }
    }

    /// The same where the reply is not that itself.
    pub(crate) fn own_head(&self) -> Option<&(StatusCode, HeaderMap)> {
        self.head.as_ref()
    }

    /// Whether it is for a request: who waited for it with another one cannot have it.
    #[must_use]
    pub fn selects(&self, request: &HeaderMap) -> bool {
        self.selecting.matches(request)
    }

    pub(crate) fn selecting(&self) -> &Selecting {
        &self.selecting
    }

    pub(crate) fn made_on(&self) -> SystemTime {
        self.made_on
    }

    pub(crate) fn tags(&self) -> &Tags {
        &self.tags
    }

    /// Of no use any more, not even for validation.
    pub(crate) fn is_dead(&self, now: Instant) -> bool {
        self.life(now).is_zero()
    }

    /// How long it is of use yet.
    pub(crate) fn life(&self, now: Instant) -> Duration {
        self.terms.end().saturating_sub(self.age(now))
    }

    /// The bytes that it is charged for, as [`Entry::weight`].
    #[must_use]
    pub fn weight(&self) -> usize {
        let head = self.head.as_ref().map_or(0, |(_, headers)| headers_weight(headers));
        let beside = size_of::<Self>().saturating_sub(size_of::<Entry>());
        self.reply
            .weight()
            .saturating_add(head)
            .saturating_add(beside)
            .saturating_add(self.selecting.weight())
            .saturating_add(self.tags.weight())
    }

    /// The same in memory of its own. A body that is in such memory already is not copied.
    pub(crate) fn compacted(mut self) -> Self {
        if let Some((_, headers)) = &mut self.head {
            compact_values(headers);
        }
        if self.body_is_compact {
            compact_values(&mut self.reply.headers);
        } else {
            self.reply = self.reply.compacted();
            self.body_is_compact = true;
        }
        self
    }
}

/// The fields of a mapped reply, but with the origin's new word on its age where the reply has an old one.
fn with_new_dates(reply: &HeaderMap, head: &HeaderMap) -> HeaderMap {
    let mut headers = reply.clone();
    for name in [DATE, CACHE_CONTROL, EXPIRES] {
        if let (true, Some(value)) = (headers.contains_key(&name), head.get(&name)) {
            headers.insert(name, value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests;
