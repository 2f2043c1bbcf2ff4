//! What becomes of a fetch by the rules of HTTP: stored, renewed, shared, or for its caller alone.
//!
//! | came | becomes |
//! | --- | --- |
//! | 304 about what is stored, 200 to HEAD | the stored answer, renewed |
//! | 304 about something else | another fetch, without conditions |
//! | a storable answer, held whole | a stored answer, shared with those whom `Vary` allows |
//! | a storable answer that is large | the same while it comes: see `coming` |
//! | anything else | a reply for this caller |
//!
//! The decision: whoever fetched an answer gets it as it came. What others get is the stored form, which lacks the fields
//! that `private="…"` and `no-cache="…"` name.

use super::{
    super::{
        Failure, Landing, Reply,
        attempts::is_event_stream,
        call::Fetch,
        fetch::fetch,
        held::{Held, hold},
        lookup::says_for_one,
        reply::SharedReply,
    },
    coming::{self, ForOthers},
    head::{Ask, Upstream},
};
use crate::model::{CacheStatus, Payload, Source};
use bascule_cache::{
    Fetched, Herald, Key, NotRenewed, Scope, Store, Stored, Variant,
    rfc9111::{Exchange, ResponseDirectives},
};
use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{AGE, SET_COOKIE, VARY},
};
use http_body::Body;
use std::{fmt, sync::Arc};

/// What a fetch brought, when HTTP's rules decide.
pub(super) enum Brought {
    /// For all whom it selects.
    Kept(Kept),
    /// For all whom it selects, as soon as it is read.
    Coming {
        /// As it came.
        reply: Reply,
        /// For whom, and for how long.
        coming: Box<ForOthers>,
        /// Where it goes when it is whole.
        keeper: Keeper,
    },
    /// For its caller alone.
    Reply(Reply),
}

/// An answer that others may have too.
pub struct Kept {
    /// As it came; none when the provider only said that what is stored still holds.
    pub(super) reply: Option<SharedReply>,
    /// As it is stored.
    pub(super) variant: Arc<Variant>,
    /// The provider's status where it renewed what is stored.
    pub(super) renewed_by: Option<StatusCode>,
    /// Whether it is stored: it may be too large, or purged meanwhile.
    pub(super) stored: bool,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("reply", &self.reply)
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

/// Where an answer is stored, and under which conditions it was asked for.
pub(super) struct Keeper {
    cache: Arc<Store>,
    scope: Scope,
    key: Key,
    ask: Arc<Ask>,
}

/// Runs a fetch and stores what it brings, as far as it may be.
pub(super) async fn bring(work: Fetch, key: Key) -> Result<Brought, Box<Failure>> {
    let Some(ask) = work.http.clone() else { return fetch(work).await.map(Brought::Reply) };
    let scope = work.operation.scope.clone();
    let cache = Arc::clone(&work.services.cache);
    let keeper = Keeper { cache, scope, key, ask };
    let spare = keeper.ask.validated.is_some().then(|| without_conditions(&work));
    let result = match fetch(work).await {
        Ok(reply) if keeper.is_word_on_stored(&reply) => match (keeper.renew(&reply), spare) {
            (Some(brought), _) => return Ok(brought),
            (None, Some(spare)) if reply.status == StatusCode::NOT_MODIFIED => fetch(spare).await,
            (None, _) => {
                if reply.status != StatusCode::NOT_MODIFIED {
                    keeper.cache.remove(&key);
                }
                Ok(reply)
            }
        },
        result => result,
    };
    keeper.keep(result)
}

/// The same for all who wait for it.
pub(super) async fn share(
    work: Fetch,
    key: Key,
    herald: Option<Herald<Landing>>,
) -> Fetched<Landing, Result<Reply, Box<Failure>>> {
    match bring(work, key).await {
        Ok(Brought::Kept(kept)) => Fetched::Shared(Arc::new(Landing::Kept(kept))),
        Ok(Brought::Coming { reply, coming, keeper }) => match herald {
            Some(herald) => Fetched::Shared(coming::receive(keeper, reply, coming, herald).await),
            None => behind(keeper, reply).await,
        },
        Ok(Brought::Reply(reply)) => Fetched::Private(Ok(reply)),
        Err(failure) if is_for_one(&failure) => Fetched::Private(Err(failure)),
        Err(failure) => match failure.into_shared() {
            Ok(shared) => Fetched::Shared(Arc::new(Landing::Failed(shared))),
            Err(failure) => Fetched::Private(Err(failure)),
        },
    }
}

/// A refresh has nobody who reads along: what it brings is held first, and kept if it is not too large.
async fn behind(keeper: Keeper, mut reply: Reply) -> Fetched<Landing, Result<Reply, Box<Failure>>> {
    let body = std::mem::replace(&mut reply.body, Payload::Full(Bytes::new()));
    if let Payload::Stream(body) = body {
        match hold(body, keeper.max_entry()).await {
            Ok(Held::Whole(octets)) => reply.body = Payload::Full(octets),
            Ok(Held::Larger(rest)) => {
                reply.body = Payload::Stream(rest);
                return Fetched::Private(Ok(reply));
            }
            // Whoever waits fetches for itself, and what was stored stays.
            Err(_) => return Fetched::Private(Ok(reply)),
        }
    }
    match keeper.keep(Ok(reply)) {
        Ok(Brought::Kept(kept)) => Fetched::Shared(Arc::new(Landing::Kept(kept))),
        Ok(Brought::Reply(reply) | Brought::Coming { reply, .. }) => Fetched::Private(Ok(reply)),
        Err(failure) => Fetched::Private(Err(failure)),
    }
}

/// A provider that is in trouble is in trouble for all, unless its answer says whom it is for. What it refuses is for
/// others only if it may be stored for them.
fn is_for_one(failure: &Failure) -> bool {
    failure.answer.as_ref().is_some_and(|answer| {
        let for_all = failure.cause.is_some() || (answer.stored && !answer.headers.contains_key(VARY));
        let said = ResponseDirectives::of(&answer.headers);
        !for_all
            || says_for_one(&answer.headers)
            || !said.private_fields.is_empty()
            || !said.no_cache_fields.is_empty()
    })
}

/// The fetch again, should the answer be about something else than what is stored.
fn without_conditions(work: &Fetch) -> Fetch {
    let mut spare = work.again();
    for name in [http::header::IF_NONE_MATCH, http::header::IF_MODIFIED_SINCE] {
        spare.forwarded.remove(name);
    }
    spare
}

impl Keeper {
    /// Whether an answer speaks of what is stored instead of being one itself.
    fn is_word_on_stored(&self, reply: &Reply) -> bool {
        let head = self.ask.validated.is_some()
            && reply.status == StatusCode::OK
            && reply
                .upstream
                .as_ref()
                .is_some_and(|upstream| *upstream.exchange(&self.ask.request).method == Method::HEAD);
        head || self.ask.is_validated_by(reply.status)
    }

    /// What is stored, renewed; none if the answer is about something else.
    fn renew(&self, reply: &Reply) -> Option<Brought> {
        let (Some(stored), Some(upstream)) = (&self.ask.validated, &reply.upstream) else { return None };
        let told = upstream.exchange(&self.ask.request);
        let for_caller_alone = || Some(Brought::Reply(self.validated(stored, &told)));
        let renewed = match stored.renewed(&told, &self.ask.policy) {
            Ok(renewed) => renewed,
            Err(NotRenewed::Other) => return None,
            Err(NotRenewed::NotStored(_)) => return for_caller_alone(),
        };
        // A 304 may bring other tags. With more than an entry can have it could not be dropped by all of them.
        let Some(tags) = upstream.tags_with(self.scope.integration(), renewed.origin_headers()) else {
            self.cache.remove(&self.key);
            return for_caller_alone();
        };
        let renewed = renewed.tagged(tags);
        let stored = self.cache.put_variant(self.key, renewed.clone(), self.ask.epoch) == Stored::Yes;
        let renewed_by = Some(reply.status);
        Some(Brought::Kept(Kept { reply: None, variant: Arc::new(renewed), renewed_by, stored }))
    }

    /// The stored answer for the caller who had it validated, and for nobody else.
    fn validated(&self, stored: &Variant, told: &Exchange<'_>) -> Reply {
        let mut whole = Reply::stored(stored.reply(), told.received.received_at, Source::Cache);
        let status = CacheStatus::Forwarded {
            because: self.ask.because,
            status: Some(told.status),
            stored: false,
            collapsed: false,
            detail: None,
        };
        whole.cache = Some((status, None));
        whole
    }

    /// The weight up to which an answer is stored.
    pub(super) fn max_entry(&self) -> u64 {
        self.cache.max_entry()
    }

    /// Stores an answer whose body has come meanwhile.
    pub(super) fn store(&self, reply: &mut Reply) {
        if let Some(variant) = self.variant(reply) {
            self.cache.put_variant(self.key, variant, self.ask.epoch);
        }
    }

    /// Whom a reply is for whose body is still coming, and what of its fields; none if it is for its caller alone.
    fn coming(&self, reply: &Reply) -> Option<ForOthers> {
        let Payload::Stream(body) = &reply.body else { return None };
        let upstream = reply.upstream.as_deref()?;
        let storable = upstream.storable.as_ref()?;
        let length = body.size_hint();
        let fits = length.upper().unwrap_or_else(|| length.lower()) <= self.max_entry();
        // Whoever listens to events wants them from now on, and they have no end.
        if !fits || is_event_stream(&reply.headers) {
            return None;
        }
        Some(ForOthers {
            headers: replayable(&reply.headers, upstream)?,
            selecting: storable.selecting().clone(),
            terms: *storable.terms(),
            since: upstream.exchange(&self.ask.request).received.received_at,
        })
    }

    fn keep(self, result: Result<Reply, Box<Failure>>) -> Result<Brought, Box<Failure>> {
        match result {
            Ok(mut reply) => {
                if let Some(coming) = self.coming(&reply) {
                    return Ok(Brought::Coming { reply, coming: Box::new(coming), keeper: self });
                }
                let Some(variant) = self.variant(&mut reply) else { return Ok(Brought::Reply(reply)) };
                let stored = self.cache.put_variant(self.key, variant.clone(), self.ask.epoch) == Stored::Yes;
                Ok(match reply.into_shared(stored) {
                    Ok(reply) => Brought::Kept(Kept {
                        reply: Some(reply),
                        variant: Arc::new(variant),
                        renewed_by: None,
                        stored,
                    }),
                    Err(reply) => Brought::Reply(*reply),
                })
            }
            Err(mut failure) => {
                if let Some(answer) = failure.answer.as_deref_mut()
                    && let Some(variant) = self.variant(answer)
                {
                    answer.stored = self.cache.put_variant(self.key, variant, self.ask.epoch) == Stored::Yes;
                }
                Err(failure)
            }
        }
    }

    /// The answer as it would be stored; none if it may not be, or was not held whole.
    fn variant(&self, reply: &mut Reply) -> Option<Variant> {
        let upstream = reply.upstream.as_deref_mut()?;
        let Payload::Full(body) = &reply.body else { return None };
        let tags = upstream.tags(self.scope.integration())?;
        let storable = upstream.storable.take()?;
        let as_received = reply.headers == upstream.headers && reply.status == storable.status();
        let stored = if as_received {
            bascule_cache::Reply::AsReceived(body.clone())
        } else {
            let headers = replayable(&reply.headers, upstream)?;
            bascule_cache::Reply::Mapped { status: reply.status, headers, body: body.clone() }
        };
        Some(Variant::new(storable, stored, self.scope.clone(), tags))
    }
}

/// The fields of a mapped reply that others may get; none if it sets a cookie of its own.
fn replayable(mapped: &HeaderMap, upstream: &Upstream) -> Option<HeaderMap> {
    if mapped.contains_key(SET_COOKIE) && !upstream.headers.contains_key(SET_COOKIE) {
        return None;
    }
    let demanded = ResponseDirectives::of(&upstream.headers);
    let mut headers = mapped.clone();
    for name in demanded.no_cache_fields.iter().chain(&demanded.private_fields).chain(&[AGE]) {
        headers.remove(name);
    }
    Some(headers)
}
