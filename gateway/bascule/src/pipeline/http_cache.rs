//! Stage 2 where the provider's answers say how they may be used: RFC 9111 as a shared cache.
//!
//! ```text
//! select ─ fresh, or stale enough ───────────────────────────────→ answer, its part for this request
//!    ├ validate: a conditional fetch ─ 304 ─→ renewed ───────────→ answer
//!    │                               └ failed, stale-if-error ───→ the stale answer
//!    └ nothing: a fetch, stored if it may be ────────────────────→ answer
//! ```
//!
//! The decision: the rules are the library's (`bascule_cache::rfc9111`); here they are only asked in their order. What a
//! request may share with others is decided before it joins a fetch: with credentials, cookies, conditions or a range of
//! its own it fetches for itself, so that nobody waits for an answer that cannot be shared.
//!
//! It stores no answer itself: see `bring`.

mod bring;
mod coming;
mod head;
mod invalidation;

use super::{
    Call, Failure, Landing, Looked, Progress, Reply,
    call::{Fetch, Input, InputBody},
    fetch::fetch,
    lookup::{self, Joined},
    request::bug,
};
use crate::{
    config::HttpCache,
    model::{Answer, CacheStatus, CallPhase, Cause, Code, Payload, Problem, Source},
    telemetry::attributes,
};
use bascule_cache::{
    Epoch, Key, Variant,
    rfc9111::{self, Forward, RequestDirectives, Use, is_for_the_origin},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Method, StatusCode,
    header::{
        AUTHORIZATION, CACHE_CONTROL, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
    },
};
use std::{borrow::Cow, sync::Arc};

use bring::{Brought, bring, share};
pub use {bring::Kept, coming::Coming, head::Upstream};
pub(super) use {head::Ask, invalidation::invalidate};

/// What a caller wants, and what is stored of it.
struct Wanted {
    key: Key,
    /// What fetches for it come together under, and the epoch, both from before the store was asked.
    together: Key,
    epoch: Epoch,
    /// The fields that select an answer and a part of it.
    request: HeaderMap,
    directives: RequestDirectives,
    /// Why the store does not do.
    because: Forward,
    /// What has to be validated.
    stored: Option<Arc<Variant>>,
}

/// Answers from the store, or with what the provider says, by the rules of HTTP.
pub(super) async fn through(call: &mut Call, rule: HttpCache) -> Result<Answer, Box<Failure>> {
    let services = Arc::clone(&call.services);
    let mut now = services.now();
    call.progress.switch(CallPhase::Cache, now);
    if let Some(because) = passes(call) {
        let result = told(fetch(call.take_fetch(None)).await, because)?;
        return Ok(result.into_answer(CacheStatus::Bypass));
    }
    let request = fields(call).into_owned();
    let directives = RequestDirectives::of(&request);
    let key = key(call);
    let scope = &call.operation.scope;
    let (together, epoch) = (services.cache.fetch_key(&key, scope), services.cache.epoch(scope));
    let select = |now| services.cache.select(&key, &call.operation.scope, &request, now);
    let mut found = select(now);
    // What the caller does not want from a store, it does not want from another one either.
    let is_missing = match &found {
        Err(_) => !directives.no_cache,
        Ok(variant) => variant.use_at(now, &directives) == Use::Validate(Forward::Stale),
    };
    if is_missing && lookup::looked_elsewhere(call, &key).await {
        now = services.now();
        found = select(now);
    }
    let (because, stored) = match found {
        Err(because) => (because, None),
        Ok(variant) => match variant.use_at(now, &directives) {
            Use::Fresh => return hit(call, &variant, &request, Source::Cache, None),
            Use::Stale => return hit(call, &variant, &request, Source::Stale, None),
            Use::StaleAndRefresh => {
                let because = Forward::Stale;
                let stored = Some(Arc::clone(&variant));
                let wanted = Wanted { key, together, epoch, request, directives, because, stored };
                refresh(call, rule, &wanted);
                return hit(call, &variant, &wanted.request, Source::Stale, None);
            }
            Use::Validate(because) => (because, Some(variant)),
        },
    };
    if directives.only_if_cached {
        let detail = "nothing is stored that answers this request, and it says `only-if-cached`";
        return Err(Failure::plain(Problem::new(Code::NotCached, detail)));
    }
    call.looked(Looked::Miss);
    let wanted = Wanted { key, together, epoch, request, directives, because, stored };
    let result = fetched(call, rule, &wanted).await;
    match (result, &wanted.stored) {
        (Err(failure), Some(stored)) if stands_in(call, stored, &wanted, &failure) => {
            hit(call, stored, &wanted.request, Source::Stale, Some(&failure))
        }
        (result, _) => result,
    }
}

/// What is stored for the call, however stale, as far as the ladder may use it.
pub(super) fn rung(call: &Call, cause: Cause) -> Option<Answer> {
    if call.skip.cache || passes(call).is_some() {
        return None;
    }
    let now = call.services.now();
    let request = fields(call);
    let variant = call.services.cache.select(&key(call), &call.operation.scope, &request, now).ok()?;
    let age = variant.age(now);
    if !variant.terms().fallback_at(age) || variant.reply().status.as_u16() >= 400 {
        return None;
    }
    let source = if age < variant.terms().lifetime { Source::Cache } else { Source::Stale };
    let mut reply = Reply::stored(variant.reply(), now, source);
    reply.cache =
        Some((CacheStatus::Hit { ttl: variant.reply().ttl_left(now), detail: Some(cause) }, Some(age)));
    Some(part(reply, call.method(), &request).into_answer(CacheStatus::Bypass))
}

/// Why a request goes past the store; none when it does not.
fn passes(call: &Call) -> Option<Forward> {
    let with_body = match &call.input {
        Input::Declared { .. } => false,
        Input::Proxy(request) => !matches!(&request.body, InputBody::Held(octets) if octets.is_empty()),
    };
    if !matches!(*call.method(), Method::GET | Method::HEAD) {
        return Some(Forward::Method);
    }
    (with_body || is_for_the_origin(&call.forwarded)).then_some(Forward::Bypass)
}

/// The caller's fields as they go upstream, and those that were meant for a cache on the way.
fn fields(call: &Call) -> Cow<'_, HeaderMap> {
    if call.asked.is_empty() {
        return Cow::Borrowed(&call.forwarded);
    }
    let mut fields = call.forwarded.clone();
    for (name, value) in &call.asked {
        if !call.forwarded.contains_key(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    Cow::Owned(fields)
}

/// What a request says to caches, of its own answer.
const OF_THE_CACHE: [HeaderName; 8] =
    [CACHE_CONTROL, PRAGMA, RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// One key for GET and HEAD, and for all that `Vary` tells apart.
pub(super) fn key(call: &Call) -> Key {
    let key = lookup::base_key(&call.integration, &call.operation);
    let mut key = match &call.input {
        Input::Declared { params, .. } => lookup::with_params(key, params, call),
        Input::Proxy(request) => {
            lookup::by_caller(lookup::with_target(key, &request.path, request.query.as_deref()), call)
        }
    };
    // A mapper may put the headers that an operation forwards anywhere, where no `Vary` names them. Through `/proxy` they
    // are all that the client sends, and the mapper speaks the provider's own language: there `Vary` decides.
    if call.operation.declared.is_some() && call.operation.phases.request_mapper.is_some() {
        let told = call.forwarded.iter().filter(|(name, _)| !OF_THE_CACHE.contains(name));
        for (name, value) in told {
            key = key.field(name.as_str(), value.as_bytes());
        }
    }
    key.finish()
}

/// Whether a stored answer has to do in place of the failure (RFC 5861 §4).
fn stands_in(call: &Call, stored: &Variant, wanted: &Wanted, failure: &Failure) -> bool {
    let is_error = match &failure.answer {
        Some(answer) => matches!(answer.status.as_u16(), 500 | 502 | 503 | 504),
        None => failure.cause.is_some(),
    };
    let age = stored.age(call.services.now());
    is_error && stored.terms().in_place_of_error_at(age, &wanted.directives)
}

/// A stored answer, which is told as such. `failure` is what it stands in for.
fn hit(
    call: &Call,
    variant: &Variant,
    request: &HeaderMap,
    source: Source,
    failure: Option<&Failure>,
) -> Result<Answer, Box<Failure>> {
    let (result, looked) =
        if source == Source::Cache { ("hit", Looked::Hit) } else { ("stale", Looked::Stale) };
    match failure {
        None => call.operation.metrics.cache(result),
        Some(_) => call.operation.metrics.cache_instead(result),
    }
    call.looked(looked);
    call.progress.event(attributes::event::CACHE_HIT, Vec::new);
    let now = call.services.now();
    let ttl = variant.reply().ttl_left(now);
    let answered = failure.and_then(|failure| failure.answer.as_ref());
    let status = match answered {
        Some(answer) => CacheStatus::Forwarded {
            because: Forward::Stale,
            status: Some(answer.status),
            stored: false,
            collapsed: answer.source == Source::Coalesced,
            detail: failure.and_then(|failure| failure.cause),
        },
        None => CacheStatus::Hit { ttl, detail: failure.and_then(|failure| failure.cause) },
    };
    from_store(call, variant, request, source, status)
}

/// A stored failure goes the way of a fresh one.
fn from_store(
    call: &Call,
    variant: &Variant,
    request: &HeaderMap,
    source: Source,
    status: CacheStatus,
) -> Result<Answer, Box<Failure>> {
    let now = call.services.now();
    let mut reply = Reply::stored(variant.reply(), now, source);
    reply.cache = Some((status, Some(variant.age(now))));
    if reply.status.as_u16() >= 400 {
        return Err(Failure::answered(reply, None));
    }
    Ok(part(reply, call.method(), request).into_answer(CacheStatus::Bypass))
}

/// What a request gets of a whole reply: all of it, a range, 304 or 416.
fn part(mut reply: Reply, method: &Method, request: &HeaderMap) -> Reply {
    let Payload::Full(body) = &reply.body else { return part_of_stream(reply, method, request) };
    let part = rfc9111::Answer::to(method, request, reply.status, &reply.headers, body.len());
    let headers = part.headers(&reply.headers, body.len());
    let octets = if *method == Method::HEAD { Bytes::new() } else { part.body(body) };
    reply.status = part.status(reply.status);
    reply.headers = headers;
    reply.body = Payload::Full(octets);
    reply
}

/// The same of a body that is still coming: a range is not cut out of it, which RFC 9110 §14.2 permits.
fn part_of_stream(mut reply: Reply, method: &Method, request: &HeaderMap) -> Reply {
    let mut conditions = request.clone();
    conditions.remove(RANGE);
    let part = rfc9111::Answer::to(method, &conditions, reply.status, &reply.headers, 0);
    if part == rfc9111::Answer::NotModified {
        reply.headers = part.headers(&reply.headers, 0);
        reply.status = StatusCode::NOT_MODIFIED;
        reply.body = Payload::Full(Bytes::new());
    }
    reply
}

/// The fetch for this caller, conditional where something is stored. With a key it is shared.
fn work(call: &mut Call, rule: HttpCache, wanted: &Wanted, shared: Option<Key>) -> Fetch {
    let head = *call.method() == Method::HEAD;
    let mut work = call.take_fetch(shared);
    let validated =
        wanted.stored.clone().filter(|stored| head || stored.make_conditional(&mut work.forwarded));
    work.http = Some(Arc::new(Ask {
        request: wanted.request.clone(),
        policy: head::policy(rule),
        because: wanted.because,
        validated,
        epoch: wanted.epoch,
    }));
    work
}

/// Renews a stale answer behind the caller's back.
fn refresh(call: &mut Call, rule: HttpCache, wanted: &Wanted) {
    // What it brings would be shared, and such a request's answers are not.
    if names_caller(call) {
        return;
    }
    let mut work = work(call, rule, wanted, Some(wanted.key));
    // Its attempts are not this call's.
    work.progress = Progress::detached();
    let (key, now) = (wanted.key, call.services.now());
    call.services.flights.refresh(wanted.together, now, || share(work, key, None));
}

/// Whether others may wait for this request's answer, and it for theirs.
fn joins(call: &Call, wanted: &Wanted) -> bool {
    // Those go upstream with the request, unless it asks for something else anyway.
    let conditions = [RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE];
    let validates = wanted.stored.is_some();
    *call.method() == Method::GET
        && !wanted.directives.no_store
        && !wanted.directives.no_cache
        && !names_caller(call)
        && (validates || !conditions.iter().any(|name| call.forwarded.contains_key(name)))
}

fn names_caller(call: &Call) -> bool {
    [AUTHORIZATION, COOKIE].iter().any(|name| call.forwarded.contains_key(name))
}

async fn fetched(call: &mut Call, rule: HttpCache, wanted: &Wanted) -> Result<Answer, Box<Failure>> {
    let looked = if wanted.stored.is_some() { "revalidated" } else { "miss" };
    if !joins(call, wanted) {
        call.operation.metrics.cache(looked);
        return alone(call, rule, wanted).await;
    }
    let key = wanted.key;
    let started = work(call, rule, wanted, Some(key));
    let (landing, leads, flight) =
        match lookup::join(call, wanted.together, looked, started, |work, herald| {
            share(work, key, Some(herald))
        })
        .await?
        {
            Joined::Landed { landing, leads, flight } => (landing, leads, flight),
            Joined::Private(result) => {
                return told(result, wanted.because).map(|reply| finish(call, wanted, reply));
            }
            Joined::Alone => return alone(call, rule, wanted).await,
        };
    let source = if leads { Source::Upstream } else { Source::Coalesced };
    let now = call.services.now();
    match &*landing {
        Landing::Kept(kept) if leads || kept.variant.selects(&wanted.request) => {
            if !leads {
                call.operation.metrics.cache("coalesced");
            }
            answered(call, wanted, kept, source)
        }
        Landing::Coming(coming) if leads || coming.is_for(&wanted.request, &wanted.directives, now) => {
            if !leads {
                call.operation.metrics.cache("coalesced");
            }
            match coming.reply(flight, source, now) {
                Some(reply) => told(Ok(reply), wanted.because).map(|reply| finish(call, wanted, reply)),
                None => alone(call, rule, wanted).await,
            }
        }
        Landing::Kept(_) | Landing::Coming(_) => {
            // That fetch is for others: it need not go on for this caller.
            drop(flight);
            alone(call, rule, wanted).await
        }
        Landing::Failed(failure) => {
            told(Err(failure.copy(&source)), wanted.because).map(|reply| finish(call, wanted, reply))
        }
        Landing::Reply(_) => Err(bug("a reply by rule landed where HTTP decides")),
    }
}

/// Fetches for this caller only; what it brings may still be stored.
async fn alone(call: &mut Call, rule: HttpCache, wanted: &Wanted) -> Result<Answer, Box<Failure>> {
    let work = work(call, rule, wanted, None);
    match bring(work, wanted.key).await {
        Ok(Brought::Kept(kept)) => answered(call, wanted, &kept, Source::Upstream),
        Ok(Brought::Reply(reply) | Brought::Coming { reply, .. }) => {
            told(Ok(reply), wanted.because).map(|reply| finish(call, wanted, reply))
        }
        Err(failure) => told(Err(failure), wanted.because).map(|reply| finish(call, wanted, reply)),
    }
}

/// An answer that is or could have been stored. Who fetched it gets it as it came, others as it is stored.
fn answered(call: &Call, wanted: &Wanted, kept: &Kept, source: Source) -> Result<Answer, Box<Failure>> {
    let collapsed = source == Source::Coalesced;
    let status = CacheStatus::Forwarded {
        because: wanted.because,
        status: kept.renewed_by,
        stored: kept.stored,
        collapsed,
        detail: None,
    };
    match &kept.reply {
        Some(reply) if !collapsed => {
            let mut reply = reply.copy(&source);
            reply.cache = Some((status, None));
            Ok(finish(call, wanted, reply))
        }
        Some(_) => from_store(call, &kept.variant, &wanted.request, source, status),
        None => {
            let source = if collapsed { source } else { Source::Cache };
            from_store(call, &kept.variant, &wanted.request, source, status)
        }
    }
}

/// A caller's own conditions are the provider's to judge where they were sent on; where ours went instead, or none, they
/// are judged here.
fn finish(call: &Call, wanted: &Wanted, reply: Reply) -> Answer {
    let sent_on = matches!(call.input, Input::Proxy(_)) && wanted.stored.is_none();
    let reply = if sent_on || reply.status != StatusCode::OK {
        reply
    } else {
        part(reply, call.method(), &wanted.request)
    };
    reply.into_answer(CacheStatus::Bypass)
}

/// What came, with why the provider was asked.
fn told(mut result: Result<Reply, Box<Failure>>, because: Forward) -> Result<Reply, Box<Failure>> {
    let reply = match &mut result {
        Ok(reply) => Some(reply),
        Err(failure) => failure.answer.as_deref_mut(),
    };
    if let Some(reply) = reply.filter(|reply| reply.cache.is_none()) {
        let collapsed = reply.source == Source::Coalesced;
        let status =
            CacheStatus::Forwarded { because, status: None, stored: reply.stored, collapsed, detail: None };
        reply.cache = Some((status, None));
    }
    result
}
