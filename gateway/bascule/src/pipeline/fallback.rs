//! The fallback ladder, and what becomes of a failure that no rung could answer.

use super::{
    Call, Ended, Failure, Origin,
    call::Outer,
    handle, http_cache,
    phases::{self, response_head},
    queue, quota,
    reply::from_entry,
};
use crate::{
    config::{CachePolicy, ErrorMapping, Rung, TextTemplate},
    model::{Answer, CacheStatus, CallPhase, Cause, Code, Payload, Problem, Source},
    telemetry::{KeyValue, attributes},
};
use bascule_cache::{Freshness, Key};
use bascule_plugin_host::{HostBody, Phase};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::{Map, Value};
use std::{sync::Arc, time::SystemTime};

/// Ladders and fan-outs do not nest deeper; cycles are refused when the configuration is loaded, this is the bound
/// that holds whatever was loaded.
pub(super) const DEPTH_MAX: u8 = 3;

/// Walks the ladder; ends with the first rung that answers, or with the failure.
/// `key` is that of the call's answer in the cache.
pub(super) async fn descend(mut call: Call, failure: Failure, key: Option<Key>) -> Ended {
    call.operation.metrics.error(failure.error_type);
    let cause = failure.cause.filter(|cause| call.operation.policy.fallback_on.contains(*cause));
    if let Some(cause) = cause
        && !matches!(call.origin, Origin::Outbox | Origin::WarmUp)
    {
        let ladder = Arc::clone(&call.operation.policy.fallback);
        if !ladder.is_empty() {
            call.progress.switch(CallPhase::Fallback, call.services.now());
        }
        for rung in ladder.iter() {
            let Some((name, answer)) = try_rung(&mut call, rung, cause, key).await else { continue };
            call.operation.metrics.fallback(name);
            call.progress.event(attributes::event::FALLBACK, || {
                vec![
                    KeyValue::new(attributes::span::RUNG, name),
                    KeyValue::new(attributes::span::CAUSE, cause.as_str()),
                ]
            });
            return Ended {
                result: Ok(answer),
                failure: Some(failure.error_type),
                cause: failure.cause,
                rung: Some(name),
            };
        }
    }
    let (error_type, cause) = (failure.error_type, failure.cause);
    Ended {
        result: settle(&call, failure, key.is_some()).await,
        failure: Some(error_type),
        cause,
        rung: None,
    }
}

async fn try_rung(
    call: &mut Call,
    rung: &Rung,
    cause: Cause,
    key: Option<Key>,
) -> Option<(&'static str, Answer)> {
    match rung {
        Rung::Cache => {
            if let Some(CachePolicy::Http(_)) = call.operation.policy.cache {
                return Some(("cache", http_cache::rung(call, cause)?));
            }
            let key = key?;
            let now = call.services.now();
            let entry = call.services.cache.get(&key, &call.operation.scope, now)?;
            if entry.freshness(now) == Freshness::Dead || entry.status.as_u16() >= 400 {
                return None;
            }
            let source = if entry.freshness(now) == Freshness::Fresh { Source::Cache } else { Source::Stale };
            Some(("cache", from_entry(&entry, now, source, Some(cause))))
        }
        Rung::Queue => Some(("queued", queue::rung(call).await?)),
        Rung::Default { body, status } => {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let body = Payload::Full(Bytes::from(body.to_string()));
            let cache = Some(CacheStatus::Bypass);
            Some((
                "default",
                Answer { status: *status, headers, body, source: Source::Default, cache, age: None },
            ))
        }
        Rung::Operation { integration, operation, params } => {
            if call.depth >= DEPTH_MAX {
                return None;
            }
            // A rung without time would only connect, send and count against the backup.
            if call.cap.is_expired(call.services.now()) {
                return None;
            }
            let own = call.params().cloned().unwrap_or_default();
            let params = match params {
                Some(template) => fill(template, &own),
                None => own,
            };
            let outer = Outer {
                services: &call.services,
                generation: &call.generation,
                cap: call.cap,
                skip: call.skip,
                caller: call.caller.as_ref(),
                priority: call.priority,
                progress: &call.progress,
                depth: call.depth,
                room: call.room.as_ref(),
                origin: call.origin,
            };
            let rung = outer.call((integration, operation), params, call.idempotency_key.clone())?;
            let name = Arc::clone(&rung.operation.full_name);
            // A call within a call: boxed, since a future cannot contain itself.
            let ended = Box::pin(handle(rung)).await;
            call.progress.switch(CallPhase::Fallback, call.services.now());
            let mut answer = ended.result.ok()?;
            if answer.status.as_u16() >= 400 {
                return None;
            }
            answer.source = Source::Operation(name);
            Some(("operation", answer))
        }
    }
}

/// Placeholders in the texts of `params`, however deep, take the call's own parameters; a text with one that is absent is
/// left out of the table or list that it stands in.
pub(super) fn fill(template: &Map<String, Value>, own: &Map<String, Value>) -> Map<String, Value> {
    template.iter().filter_map(|(name, value)| Some((name.clone(), filled(value, own)?))).collect()
}

fn filled(value: &Value, own: &Map<String, Value>) -> Option<Value> {
    match value {
        Value::String(text) => {
            let Ok(template) = TextTemplate::parse(text) else { return Some(value.clone()) };
            match template.as_parameter() {
                // The whole value: it keeps its type.
                Some(name) => own.get(name).cloned(),
                None => template.render(own).map(Value::from),
            }
        }
        Value::Array(items) => Some(items.iter().filter_map(|item| filled(item, own)).collect()),
        Value::Object(members) => Some(Value::Object(fill(members, own))),
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(value.clone()),
    }
}

/// No rung answered: a declared mapping, else the error mappers, else the provider's own answer, else
/// the problem.
async fn settle(call: &Call, failure: Failure, cached: bool) -> Result<Answer, Box<Problem>> {
    if let Some(answer) = &failure.answer
        && let Some(mapping) = call.operation.policy.errors.get(&answer.status.as_u16())
    {
        let mut problem = mapped(mapping, answer.status);
        problem.retry_after = quota::retry_after(&answer.headers, SystemTime::now());
        return Err(Box::new(problem));
    }
    if let Some(problem) = ask_mappers(call, &failure).await {
        return Err(Box::new(problem));
    }
    match failure.answer {
        Some(reply) => {
            let status = if cached {
                CacheStatus::Miss { stored: false, collapsed: reply.source == Source::Coalesced }
            } else {
                CacheStatus::Bypass
            };
            Ok(reply.into_answer(status))
        }
        None => Err(Box::new(failure.problem)),
    }
}

fn mapped(mapping: &ErrorMapping, upstream: StatusCode) -> Problem {
    let detail = mapping.detail.clone().unwrap_or_else(|| {
        let reason = upstream.canonical_reason().unwrap_or("a failure");
        format!("the provider answered {} {reason}", upstream.as_u16())
    });
    Problem::new(Code::PluginFailed, detail)
        .status(mapping.status)
        .named(&mapping.code)
        .with("upstream_status", upstream.as_u16())
}

/// The first error mapper that works says what the caller reads.
async fn ask_mappers(call: &Call, failure: &Failure) -> Option<Problem> {
    // Failures without a cause and without an answer are Bascule's own; there is nothing to map.
    if failure.cause.is_none() && failure.answer.is_none() {
        return None;
    }
    let head = failure.answer.as_ref().map(|answer| response_head(answer.status, &answer.headers));
    let body = failure.answer.as_ref().map(|answer| match &answer.body {
        Payload::Full(octets) => HostBody::bytes(octets.clone()),
        Payload::Stream(_) => HostBody::one_shot(None),
    });
    for mapper in &call.operation.phases.error_mappers {
        let context = phases::call_context(call, mapper);
        let carry = failure.carry.clone();
        let work = mapper.plugin.map_error(&context, failure.mapper_cause, head.clone(), body.clone(), carry);
        match phases::timed(&call.services, &call.progress, Phase::ErrorMapper, mapper, work).await {
            // The host's own code for a call without an answer means that the mapper has nothing to add.
            Ok(fault) if head.is_none() && fault.code == failure.problem.code.as_str() => {}
            Ok(fault) => {
                let mut problem = phases::fault_problem(&fault);
                if problem.retry_after.is_none() {
                    problem.retry_after = failure.problem.retry_after;
                }
                if let Some(answer) = &failure.answer {
                    problem = problem.with("upstream_status", answer.status.as_u16());
                }
                return Some(problem);
            }
            Err(error) => {
                let plugin = mapper.plugin.name();
                tracing::warn!(operation = %call.operation.full_name, plugin, %error, "the error mapper failed");
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn placeholders_are_filled_however_deep_and_what_is_absent_is_left_out() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let template = object(json!({
            "city": "{city}, DE", "n": "{n}", "gone": "{absent}", "brace": "{{city}}", "fixed": [1, true, null],
            "where": { "near": { "city": "{city}", "gone": "x{absent}", "limit": "{n}" }, "brace": "{{" },
            "list": ["{n}", "{absent}", ["{city}"], { "of": "{n} of {city}" }],
        }));
        let filled = fill(&template, &object(json!({ "city": "Bonn", "n": 7 })));
        let want = json!({
            "city": "Bonn, DE", "n": 7, "brace": "{city}", "fixed": [1, true, null],
            "where": { "near": { "city": "Bonn", "limit": 7 }, "brace": "{" },
            "list": [7, ["Bonn"], { "of": "7 of Bonn" }],
        });
        assert_eq!(Value::Object(filled), want);
    }
}
