//! Stage 2: the cache, and one fetch per key for all who miss it.

use super::{
    Call, Failure, Input, InputBody, Landing, LiveIntegration, LiveOperation, Looked, Progress, ProxyRequest,
    Reply, call::Fetch, fan_out, fetch::fetch, live::Flight, phases, reply::from_entry, request::bug,
    tags::tags,
};
use crate::{
    config::{CachePolicy, CacheRule},
    model::{Answer, CacheStatus, CallPhase, Cause, Code, Payload, Problem, Source, TimeoutKind},
    telemetry::attributes,
};
use bascule_cache::{
    Entry, Fetched, Freshness, Herald, JoinError, Key, KeyBuilder, Landed, Stored,
    rfc9111::ResponseDirectives,
};
use bascule_plugin_host::{HostBody, Phase};
use http::{
    HeaderMap, HeaderName, Method,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE, RANGE, SET_COOKIE, VARY,
    },
};
use serde_json::{Map, Value};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// The key under which the call's answer is kept; none when it goes past the cache.
pub(super) async fn key(call: &Call) -> Option<Key> {
    call.operation.policy.cache?.rule()?;
    if call.skip.cache {
        return None;
    }
    let mut key = base_key(&call.integration, &call.operation);
    key = match &call.input {
        Input::Declared { params, .. } => match material(call, params).await {
            Material::Canonical => with_params(key, params, call),
            Material::Plugin(octets) => {
                // It stands for the parameters: whose answer it is, is not a policy's to say.
                let key = key.field("material", &octets);
                by_caller(key, call)
            }
            Material::None => return None,
        },
        Input::Proxy(request) => by_caller(proxied_key(key, request, &call.forwarded)?, call),
    };
    let vary_by = &call.operation.policy.vary_by;
    for name in call.operation.policy.forward_headers.iter().filter(|name| vary_by.has_header(name)) {
        for value in call.forwarded.get_all(name) {
            key = key.field(name.as_str(), value.as_bytes());
        }
    }
    if let Some(branches) = fan_out::branches(&call.operation) {
        if fan_out::varies_by_caller(&call.generation, &branches, 0) {
            key = with_caller(key, call);
        }
        key = fan_out::fields(key, &call.generation, &branches, 0);
    }
    Some(key.finish())
}

/// What of a key depends on the call's input.
enum Material {
    /// All of its parameters.
    Canonical,
    /// What a cache policy made of them: it knows which of them matter, and how.
    Plugin(Vec<u8>),
    /// The answer is not to be cached.
    None,
}

/// Asks the cache policy, if there is one. One that fails is no reason to fail the call.
async fn material(call: &Call, params: &Map<String, Value>) -> Material {
    let Some(policy) = &call.operation.phases.cache_policy else { return Material::Canonical };
    let input = match &call.input {
        Input::Declared { body: Some(InputBody::Held(octets)), .. } => HostBody::bytes(octets.clone()),
        Input::Declared { body: Some(InputBody::Stream { length, .. }), .. } => HostBody::one_shot(*length),
        _ => HostBody::bytes(serde_json::to_vec(params).unwrap_or_default()),
    };
    let context = phases::call_context(call, policy);
    let work = policy.plugin.key_material(&context, input);
    match phases::timed(&call.services, &call.progress, Phase::CachePolicy, policy, work).await {
        Ok(Some(octets)) => Material::Plugin(octets),
        Ok(None) => Material::None,
        Err(error) => {
            let plugin = policy.plugin.name();
            tracing::warn!(operation = %call.operation.full_name, plugin, %error, "the cache policy failed; the key is made of the parameters");
            Material::Canonical
        }
    }
}

/// What the keys of all calls of an operation have in common.
pub(super) fn base_key(integration: &LiveIntegration, operation: &LiveOperation) -> KeyBuilder {
    let settings = &integration.settings;
    let key = KeyBuilder::new(settings.name.as_str(), operation.name.as_str())
        // Settings, credentials and plugins: whoever changes them never sees answers from before.
        .field("configuration", &settings.digest);
    operation.phases.digests().fold(key, |key, plugin| key.field("plugin", plugin.as_bytes()))
}

/// The key of a declared call, as far as its parameters and its caller go.
pub(super) fn with_params(key: KeyBuilder, params: &Map<String, Value>, call: &Call) -> KeyBuilder {
    let vary_by = &call.operation.policy.vary_by;
    let joining = params.iter().filter(|(name, _)| vary_by.has_param(name));
    let joining = joining.map(|(name, value)| (name.clone(), value.clone())).collect();
    let key = key.field("parameters", canonical(&Value::Object(joining)).as_bytes());
    by_caller(key, call)
}

/// The key with its caller, where each has answers of its own.
pub(super) fn by_caller(key: KeyBuilder, call: &Call) -> KeyBuilder {
    if call.operation.policy.vary_by.caller { with_caller(key, call) } else { key }
}

fn with_caller(key: KeyBuilder, call: &Call) -> KeyBuilder {
    call.caller.iter().fold(key, |key, name| key.field("caller", name.as_bytes()))
}

/// The key of a call through `/proxy`.
pub(super) fn with_target(key: KeyBuilder, path: &str, query: Option<&str>) -> KeyBuilder {
    let key = key.field("path", path.as_bytes());
    query.into_iter().fold(key, |key, query| key.field("query", query.as_bytes()))
}

/// By rule, `/proxy` keeps what is the same for everybody: answers to GET and HEAD without a body, without what names a
/// caller, and without conditions or ranges, which are the provider's to judge.
fn proxied_key(key: KeyBuilder, request: &ProxyRequest, headers: &HeaderMap) -> Option<KeyBuilder> {
    const OWN: [HeaderName; 8] = [
        AUTHORIZATION,
        COOKIE,
        RANGE,
        IF_RANGE,
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
    ];
    let safe = matches!(request.method, Method::GET | Method::HEAD);
    let empty = matches!(&request.body, InputBody::Held(octets) if octets.is_empty());
    if !safe || !empty || OWN.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let key = key.field("method", request.method.as_str().as_bytes());
    let mut key = with_target(key, &request.path, request.query.as_deref());
    for name in [ACCEPT, ACCEPT_ENCODING] {
        for value in headers.get_all(&name) {
            key = key.field(name.as_str(), value.as_bytes());
        }
    }
    Some(key)
}

/// JSON with sorted members: `{a, b}` and `{b, a}` are one call.
fn canonical(value: &Value) -> String {
    fn write(value: &Value, text: &mut String) {
        match value {
            Value::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_unstable_by_key(|(name, _)| name.as_str());
                text.push('{');
                for (index, (name, value)) in sorted.into_iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    text.push_str(&Value::from(name.as_str()).to_string());
                    text.push(':');
                    write(value, text);
                }
                text.push('}');
            }
            Value::Array(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    write(item, text);
                }
                text.push(']');
            }
            scalar => text.push_str(&scalar.to_string()),
        }
    }
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// Answers from the cache, or from the one fetch that is under way for the key.
pub(super) async fn through_cache(call: &mut Call, key: Key) -> Result<Answer, Box<Failure>> {
    let services = Arc::clone(&call.services);
    let mut now = services.now();
    call.progress.switch(CallPhase::Cache, now);
    let metrics = &call.operation.metrics;
    let mut found = services.cache.get(&key, &call.operation.scope, now);
    let is_of_use = |entry: &Arc<Entry>| entry.freshness(now) <= Freshness::Revalidate;
    if !found.as_ref().is_some_and(is_of_use) && looked_elsewhere(call, &key).await {
        now = services.now();
        found = services.cache.get(&key, &call.operation.scope, now);
    }
    if let Some(entry) = found {
        match entry.freshness(now) {
            Freshness::Fresh => {
                metrics.cache("hit");
                call.looked(Looked::Hit);
                call.progress.event(attributes::event::CACHE_HIT, Vec::new);
                return hit(call, &entry, Source::Cache);
            }
            Freshness::Revalidate => {
                metrics.cache("stale");
                call.looked(Looked::Stale);
                call.progress.event(attributes::event::CACHE_HIT, Vec::new);
                let mut refresh = call.take_fetch(Some(key));
                // Its attempts are not this call's.
                refresh.progress = Progress::detached();
                let together = services.cache.fetch_key(&key, &call.operation.scope);
                services.flights.refresh(together, now, || shared(refresh, key));
                return hit(call, &entry, Source::Stale);
            }
            Freshness::Stale | Freshness::Dead => {}
        }
    }
    call.looked(Looked::Miss);
    let work = call.take_fetch(Some(key));
    let together = services.cache.fetch_key(&key, &call.operation.scope);
    match join(call, together, "miss", work, |work, _| shared(work, key)).await? {
        Joined::Landed { landing, leads, .. } => landed(call, &landing, leads),
        Joined::Private(result) => {
            result.map(|reply| reply.into_answer(CacheStatus::Miss { stored: false, collapsed: false }))
        }
        Joined::Alone => alone(call).await,
    }
}

/// Looks for an answer where other gateways put theirs; what is found is in the store then. Whether it took any time, in
/// which the store may have changed by itself, too.
pub(super) async fn looked_elsewhere(call: &Call, key: &Key) -> bool {
    let Some(level) = call.services.cache_shared.get() else { return false };
    let look = level.find(key, &call.operation.scope);
    match call.cap.instant() {
        None => drop(look.await),
        // Who has no time left for it has its own way to end.
        Some(cap) => drop(timeout_at(Instant::from_std(cap), look).await),
    }
    true
}

/// An entry answers as the provider did: a stored 404 goes the way of a fresh one.
fn hit(call: &Call, entry: &Entry, source: Source) -> Result<Answer, Box<Failure>> {
    if entry.status.as_u16() >= 400 {
        return Err(Failure::answered(Reply::stored(entry, call.services.now(), source), None));
    }
    Ok(from_entry(entry, call.services.now(), source, None))
}

/// How a caller fared with the one fetch for a key.
pub(super) enum Joined {
    /// It has what all have; `leads` says that it was its own fetch.
    Landed {
        /// What all have.
        landing: Arc<Landing>,
        /// Whether this caller's fetch brought it.
        leads: bool,
        /// What keeps the fetch going, where it is not at its end.
        flight: Flight,
    },
    /// Its own fetch brought what nobody else may have.
    Private(Result<Reply, Box<Failure>>),
    /// It is to fetch for itself.
    Alone,
}

/// Waits for the fetch under the [fetch key](bascule_cache::Store::fetch_key) that is under way, within the caller's time,
/// or runs `work` as that. The lookup is counted as `looked` when the caller has joined, so that whoever sees it counted knows that it waits.
pub(super) async fn join<F>(
    call: &Call,
    together: Key,
    looked: &'static str,
    mut work: Fetch,
    run: impl FnOnce(Fetch, Herald<Landing>) -> F,
) -> Result<Joined, Box<Failure>>
where
    F: Future<Output = Fetched<Landing, Result<Reply, Box<Failure>>>> + Send + 'static,
{
    // The leader's time is spent on what its fetch does, for as long as it waits for it.
    let (branch, _attached) = call.progress.branch();
    work.progress = branch;
    let now = call.services.now();
    let joined = call.services.flights.join_heralded(together, now, |herald| run(work, herald));
    call.operation.metrics.cache(looked);
    let mut flight = match joined {
        Ok(flight) => flight,
        Err(JoinError::Full) => {
            let detail = "too many callers wait for the same answer";
            return Err(Failure::plain(
                Problem::new(Code::Overloaded, detail).retry_after(Duration::from_secs(1)),
            )
            .because(Cause::Overloaded));
        }
        Err(JoinError::NotShared) => return Ok(Joined::Alone),
    };
    let leads = flight.is_leader();
    if !leads {
        call.progress.switch(CallPhase::Coalesced, now);
        call.looked(Looked::Coalesced);
    }
    let landed = match call.cap.instant() {
        None => flight.arrive().await,
        Some(cap) => timeout_at(Instant::from_std(cap), flight.arrive()).await.map_err(|_| {
            call.operation.metrics.timeout(TimeoutKind::Whole.as_str());
            Failure::timeout(TimeoutKind::Whole)
        })?,
    };
    match landed {
        Landed::Shared(landing) => Ok(Joined::Landed { landing, leads, flight }),
        Landed::Private(result) => Ok(Joined::Private(result)),
        Landed::NotShared => Ok(Joined::Alone),
        Landed::Failed => Err(bug("a fetch ended without a result")),
    }
}

fn landed(call: &Call, landing: &Landing, leads: bool) -> Result<Answer, Box<Failure>> {
    match landing {
        Landing::Reply(shared) => {
            let (source, status) = if leads {
                (shared.source().clone(), CacheStatus::Miss { stored: shared.stored, collapsed: false })
            } else {
                call.operation.metrics.cache("coalesced");
                (Source::Coalesced, CacheStatus::Miss { stored: shared.stored, collapsed: true })
            };
            Ok(shared.copy(&source).into_answer(status))
        }
        Landing::Failed(failure) => {
            let source = if leads { Source::Upstream } else { Source::Coalesced };
            Err(failure.copy(&source))
        }
        Landing::Kept(_) | Landing::Coming(_) => Err(bug("a reply by HTTP landed where a rule decides")),
    }
}

/// Fetches for this caller only, after an answer that could not be shared.
async fn alone(call: &mut Call) -> Result<Answer, Box<Failure>> {
    let reply = fetch(call.take_fetch(None)).await?;
    Ok(reply.into_answer(CacheStatus::Miss { stored: false, collapsed: false }))
}

/// The fetch as the coalescer runs it: it stores what it brings, and says whether others may have it.
async fn shared(work: Fetch, key: Key) -> Fetched<Landing, Result<Reply, Box<Failure>>> {
    let services = Arc::clone(&work.services);
    let operation = Arc::clone(&work.operation);
    let epoch = services.cache.epoch(&operation.scope);
    let Some(rule) = operation.policy.cache.and_then(CachePolicy::rule) else {
        return Fetched::Private(fetch(work).await);
    };
    let store = |status, headers: &HeaderMap, body: &bytes::Bytes, ttl: Duration, rule: &CacheRule| {
        if is_for_one(&operation, headers) {
            return false;
        }
        let Ok(tags) = tags(operation.scope.integration(), headers, None) else { return false };
        let entry = Entry {
            status,
            headers: headers.clone(),
            body: body.clone(),
            stored_at: services.now(),
            age_at_store: Duration::ZERO,
            ttl,
            stale_while_revalidate: rule.stale_while_revalidate,
            keep_stale: rule.keep_stale,
            scope: operation.scope.clone(),
        };
        services.cache.put_tagged(key, entry, tags, epoch) == Stored::Yes
    };
    match fetch(work).await {
        Ok(reply) => {
            let mut stored = false;
            if let Payload::Full(body) = &reply.body
                && reply.status.is_success()
                && !fan_out::is_partial(&operation, &reply.headers)
                && reply.source == Source::Upstream
            {
                stored = store(reply.status, &reply.headers, body, rule.ttl, &rule);
            }
            let private =
                is_for_one(&operation, &reply.headers) || fan_out::is_private(&operation, &reply.headers);
            if private {
                return Fetched::Private(Ok(reply));
            }
            match reply.into_shared(stored) {
                Ok(shared) => Fetched::Shared(Arc::new(Landing::Reply(shared))),
                Err(reply) => Fetched::Private(Ok(*reply)),
            }
        }
        Err(failure) => {
            if let (Some(ttl), Some(answer)) = (rule.negative_ttl, &failure.answer)
                && matches!(answer.status.as_u16(), 404 | 410)
                && let Payload::Full(body) = &answer.body
            {
                let rule =
                    CacheRule { keep_stale: Duration::ZERO, stale_while_revalidate: Duration::ZERO, ..rule };
                store(answer.status, &answer.headers, body, ttl, &rule);
            }
            if failure.answer.as_ref().is_some_and(|answer| is_for_one(&operation, &answer.headers)) {
                return Fetched::Private(Err(failure));
            }
            match failure.into_shared() {
                Ok(shared) => Fetched::Shared(Arc::new(Landing::Failed(shared))),
                Err(failure) => Fetched::Private(Err(failure)),
            }
        }
    }
}

/// Whether an answer is for its caller alone, although a rule would keep it: a cookie is. Through `/proxy`, where the
/// provider knows more of the caller than the key does, its own word counts too.
fn is_for_one(operation: &LiveOperation, headers: &HeaderMap) -> bool {
    headers.contains_key(SET_COOKIE) || (operation.declared.is_none() && says_for_one(headers))
}

/// Whether an answer says that it is for nobody else, or for those only who ask alike in more than the keys hold.
pub(super) fn says_for_one(headers: &HeaderMap) -> bool {
    let said = ResponseDirectives::of(headers);
    let keyed =
        |name: &str| ["accept", "accept-encoding"].iter().any(|known| name.eq_ignore_ascii_case(known));
    let varies = headers.get_all(VARY).iter().any(|value| match value.to_str() {
        Ok(names) => !names.split(',').map(str::trim).filter(|name| !name.is_empty()).all(keyed),
        Err(_) => true,
    });
    said.private || said.no_store || varies || headers.contains_key(SET_COOKIE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_parameters_does_not_matter() {
        assert_eq!(
            canonical(&json!({"b": [1, {"d": 1, "c": 2}], "a": "x"})),
            r#"{"a":"x","b":[1,{"c":2,"d":1}]}"#
        );
        assert_ne!(canonical(&json!({"a": "1"})), canonical(&json!({"a": 1})));
    }
}
