//! Stage 2: the cache, and one fetch per key for all who miss it.

use super::{
    Call, Failure, Input, InputBody, Landing, Looked, Progress, Reply, call::Fetch, fan_out, fetch::fetch,
    phases, reply::from_entry,
};
use crate::{
    config::CacheRule,
    model::{Answer, CacheStatus, CallPhase, Cause, Code, Payload, Problem, Source, TimeoutKind},
    telemetry::attributes,
};
use bascule_cache::{Entry, Fetched, Freshness, JoinError, Key, KeyBuilder, Landed, Stored};
use bascule_plugin_host::{HostBody, Phase};
use http::{HeaderMap, header::SET_COOKIE};
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// The key under which the call's answer is kept; none when it goes past the cache.
pub(super) async fn key(call: &Call) -> Option<Key> {
    call.operation.policy.cache?;
    if call.skip.cache {
        return None;
    }
    let settings = &call.integration.settings;
    let params = call.params()?;
    let key = KeyBuilder::new(settings.name.as_str(), call.operation.name.as_str())
        // Settings, credentials and plugins: whoever changes them never sees answers from before.
        .field("configuration", &settings.digest);
    let mut key = match material(call, params).await {
        Material::Canonical => key.field("parameters", canonical(&Value::Object(params.clone())).as_bytes()),
        Material::Plugin(octets) => key.field("material", &octets),
        Material::None => return None,
    };
    for name in &call.operation.policy.forward_headers {
        for value in call.forwarded.get_all(name) {
            key = key.field(name.as_str(), value.as_bytes());
        }
    }
    for plugin in call.operation.phases.digests() {
        key = key.field("plugin", plugin.as_bytes());
    }
    if let Some(branches) = fan_out::branches(&call.operation) {
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
    let now = services.now();
    call.progress.switch(CallPhase::Cache, now);
    let metrics = &call.operation.metrics;
    if let Some(entry) = services.cache.get(&key, &call.operation.scope, now) {
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
                services.flights.refresh(key, now, || shared(refresh, key));
                return hit(call, &entry, Source::Stale);
            }
            Freshness::Stale | Freshness::Dead => {}
        }
    }
    metrics.cache("miss");
    call.looked(Looked::Miss);
    join(call, key).await
}

/// An entry answers as the provider did: a stored 404 goes the way of a fresh one.
fn hit(call: &Call, entry: &Entry, source: Source) -> Result<Answer, Box<Failure>> {
    if entry.status.as_u16() >= 400 {
        return Err(Failure::answered(Reply::stored(entry, call.services.now(), source), None));
    }
    Ok(from_entry(entry, call.services.now(), source, None))
}

async fn join(call: &mut Call, key: Key) -> Result<Answer, Box<Failure>> {
    let services = Arc::clone(&call.services);
    let mut started = call.take_fetch(Some(key));
    // The leader's time is spent on what its fetch does, for as long as it waits for it.
    let (branch, _attached) = call.progress.branch();
    started.progress = branch;
    let now = services.now();
    let flight = match services.flights.join(key, now, || shared(started, key)) {
        Ok(flight) => flight,
        Err(JoinError::Full) => {
            let detail = "too many callers wait for the same answer";
            return Err(Failure::plain(
                Problem::new(Code::Overloaded, detail).retry_after(Duration::from_secs(1)),
            )
            .because(Cause::Overloaded));
        }
        Err(JoinError::NotShared) => return alone(call).await,
    };
    let leads = flight.is_leader();
    if !leads {
        call.progress.switch(CallPhase::Coalesced, now);
        call.looked(Looked::Coalesced);
    }
    let landed = match call.cap.instant() {
        None => flight.land().await,
        Some(cap) => timeout_at(Instant::from_std(cap), flight.land()).await.map_err(|_| {
            call.operation.metrics.timeout(TimeoutKind::Whole.as_str());
            Failure::timeout(TimeoutKind::Whole)
        })?,
    };
    match landed {
        Landed::Shared(landing) => match &*landing {
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
        },
        Landed::Private(result) => {
            result.map(|reply| reply.into_answer(CacheStatus::Miss { stored: false, collapsed: false }))
        }
        Landed::NotShared => alone(call).await,
        Landed::Failed => Err(super::request::bug("a fetch ended without a result")),
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
    let Some(rule) = operation.policy.cache else { return Fetched::Private(fetch(work).await) };
    let store = |status, headers: &HeaderMap, body: &bytes::Bytes, ttl: Duration, rule: &CacheRule| {
        // A cookie is for one caller; an entry is for all.
        if headers.contains_key(SET_COOKIE) {
            return false;
        }
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
        services.cache.put(key, entry, epoch) == Stored::Yes
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
                reply.headers.contains_key(SET_COOKIE) || fan_out::is_private(&operation, &reply.headers);
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
            if failure.answer.as_ref().is_some_and(|answer| answer.headers.contains_key(SET_COOKIE)) {
                return Fetched::Private(Err(failure));
            }
            match failure.into_shared() {
                Ok(shared) => Fetched::Shared(Arc::new(Landing::Failed(shared))),
                Err(failure) => Fetched::Private(Err(failure)),
            }
        }
    }
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
