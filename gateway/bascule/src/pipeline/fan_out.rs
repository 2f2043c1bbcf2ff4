//! A fan-out's fetch: other operations' calls side by side, and one answer made of theirs.
//!
//! Each branch is a whole call with its own breaker, limits, retries, cache and ladder, in a task of its own; nothing of
//! the fan-out's integration is used. The successes make the answer, whatever failed; only when there is none is the
//! fan-out itself a failure, and its own ladder begins. Who leaves takes all branches along: they end with the fetch.
//!
//! What may not be kept says so in the answer's `Cache-Control`, where callers' caches read it too: `no-store` on an
//! answer that lacks a branch or holds a fallback, `private` on one that holds what a provider meant for one caller.

mod body;
mod outcome;

pub use body::Room;

use super::{
    Call, Ended, Failure, Generation, LiveOperation, Origin, Reply,
    call::{Fetch, Input, Outer},
    fallback::{DEPTH_MAX, fill},
    handle,
    request::bug,
};
use crate::{
    config::{Branch, FallbackCauses},
    model::{CallPhase, Cause, Code, Payload, Problem, Source, TimeoutKind},
};
use bascule_cache::KeyBuilder;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use outcome::{Missed, Success, failures, results};
use serde_json::{Map, Value};
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// What the branches' bodies may weigh in all, those of nested fan-outs included, in octets: they are held until the last
/// branch has ended.
const BODIES_MAX: u64 = 10 * 1024 * 1024;

/// A branch ends by itself at the deadline, and may still answer from a rung that takes no time. What has not ended this
/// much later is cut off.
const GRACE: Duration = Duration::from_millis(100);

/// Which of several branches' causes speaks for the fan-out: the first of these that any has.
const CAUSES: [Cause; 9] = [
    Cause::Transient,
    Cause::Timeout,
    Cause::Connect,
    Cause::Protocol,
    Cause::CircuitOpen,
    Cause::Throttled,
    Cause::RateLimited,
    Cause::Overloaded,
    Cause::Auth,
];

/// How a branch ended.
type End = Result<Success, Missed>;

/// The branches of an operation; none when it is a call of its own.
pub(super) fn branches(operation: &LiveOperation) -> Option<Arc<[Branch]>> {
    operation.declared.as_ref()?.fan_out.clone()
}

/// Adds to a cache key what the branches' answers depend on: whoever changes it never sees answers from before.
pub(super) fn fields(
    mut key: KeyBuilder,
    generation: &Generation,
    branches: &[Branch],
    depth: u8,
) -> KeyBuilder {
    for branch in branches {
        let Some(integration) = generation.integrations.get(&branch.integration) else { continue };
        key = key.field("branch", &integration.settings.digest);
        let Some(operation) = integration.operations.get(&branch.operation) else { continue };
        for plugin in operation.phases.digests() {
            key = key.field("plugin", plugin.as_bytes());
        }
        if let Some(nested) = self::branches(operation).filter(|_| depth < DEPTH_MAX) {
            key = fields(key, generation, &nested, depth + 1);
        }
    }
    key
}

/// Whether a branch has answers of its own for each caller: then so has the fan-out.
pub(super) fn varies_by_caller(generation: &Generation, branches: &[Branch], depth: u8) -> bool {
    branches.iter().any(|branch| {
        let integration = generation.integrations.get(&branch.integration);
        let operation = integration.and_then(|integration| integration.operations.get(&branch.operation));
        operation.is_some_and(|operation| {
            let nested = self::branches(operation).filter(|_| depth < DEPTH_MAX);
            operation.policy.vary_by.caller
                || nested.is_some_and(|nested| varies_by_caller(generation, &nested, depth + 1))
        })
    })
}

/// Whether an answer of this operation must not be stored because it is a fan-out's and not all of it.
pub(super) fn is_partial(operation: &LiveOperation, headers: &HeaderMap) -> bool {
    says(operation, headers, "no-store")
}

/// Whether an answer of this operation must not be handed to others because it is a fan-out's and for one caller.
pub(super) fn is_private(operation: &LiveOperation, headers: &HeaderMap) -> bool {
    says(operation, headers, "private")
}

fn says(operation: &LiveOperation, headers: &HeaderMap, word: &str) -> bool {
    let text = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    branches(operation).is_some() && text.is_some_and(|text| text.contains(word))
}

/// Calls every branch and makes one answer of theirs. Dropping the future ends all of them.
pub(super) async fn run(fetch: &Fetch, branches: &[Branch]) -> Result<Reply, Box<Failure>> {
    let room = fetch.room.clone().unwrap_or_else(|| Room::new(BODIES_MAX));
    let calls = calls(fetch, branches, &room)?;
    let names: Vec<Arc<str>> = calls.iter().map(|call| Arc::clone(&call.operation.full_name)).collect();
    let overlap = fetch.progress.overlap(CallPhase::FanOut, fetch.services.now());
    let ends = collect(fetch, calls, &room).await;
    overlap.end(CallPhase::Attempt, fetch.services.now());
    let mut succeeded = Vec::new();
    let mut missed = Vec::new();
    for (name, end) in names.into_iter().zip(ends) {
        match end {
            Ok(success) => succeeded.push((name, success)),
            Err(miss) => missed.push((name, miss)),
        }
    }
    if succeeded.is_empty() {
        return Err(no_data(&missed, fetch.operation.policy.fallback_on));
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(value) = keeping(&succeeded, &missed) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(value));
    }
    Ok(Reply {
        status: StatusCode::OK,
        headers,
        source: source(&succeeded),
        body: Payload::Full(results(&succeeded, &missed)),
        stored: false,
        cache: None,
        upstream: None,
    })
}

/// The branches as calls within this one: they share its span, its counters, its deadline and what it may bypass.
fn calls(fetch: &Fetch, branches: &[Branch], room: &Arc<Room>) -> Result<Vec<Call>, Box<Failure>> {
    let Input::Declared { params, .. } = &fetch.input else { return Err(bug("a fan-out is called by name")) };
    if fetch.depth >= DEPTH_MAX {
        return Err(bug("a fan-out is nested too deep"));
    }
    let call = |(index, branch): (usize, &Branch)| {
        let outer = Outer {
            services: &fetch.services,
            generation: &fetch.generation,
            cap: fetch.deadline,
            skip: fetch.skip,
            caller: fetch.caller.as_ref(),
            priority: fetch.priority,
            progress: &fetch.progress,
            depth: fetch.depth,
            room: Some(room),
            origin: Origin::Within,
        };
        let key = fetch.idempotency_key.as_ref().and_then(|key| numbered(key, index));
        let call = outer.call((&branch.integration, &branch.operation), given(branch, params), key);
        call.ok_or_else(|| bug("a fan-out has a branch that does not exist"))
    };
    branches.iter().enumerate().map(call).collect()
}

fn given(branch: &Branch, own: &Map<String, Value>) -> Map<String, Value> {
    branch.params.as_ref().map_or_else(|| own.clone(), |template| fill(template, own))
}

/// The caller's idempotency key, made different for every branch: two of them may go to the same provider, which would
/// take the second for a repetition of the first. The same key gives the same ones again.
fn numbered(key: &HeaderValue, index: usize) -> Option<HeaderValue> {
    let mut octets = key.as_bytes().to_vec();
    octets.extend_from_slice(format!("-{}", index + 1).as_bytes());
    HeaderValue::from_bytes(&octets).ok()
}

/// Runs the calls side by side until the last has ended, or the time is over. In declared order.
async fn collect(fetch: &Fetch, calls: Vec<Call>, room: &Arc<Room>) -> Vec<End> {
    let mut ends: Vec<Option<End>> = calls.iter().map(|_| None).collect();
    let mut running = JoinSet::new();
    for (index, call) in calls.into_iter().enumerate() {
        let room = Arc::clone(room);
        running.spawn(async move { (index, branch(call, &room).await) });
    }
    let cut = fetch.deadline.instant().map(|at| Instant::from_std(at + GRACE));
    let mut in_time = true;
    loop {
        let next = match cut {
            None => running.join_next().await,
            Some(cut) => timeout_at(cut, running.join_next()).await.unwrap_or_else(|_| {
                in_time = false;
                None
            }),
        };
        match next {
            Some(Ok((index, end))) => {
                if let Some(place) = ends.get_mut(index) {
                    *place = Some(end);
                }
            }
            Some(Err(error)) => {
                tracing::error!(%error, operation = %fetch.operation.full_name, "a branch broke down")
            }
            None => break,
        }
    }
    let lost = || {
        if in_time {
            return Missed::internal();
        }
        fetch.operation.metrics.timeout(TimeoutKind::Whole.as_str());
        Missed::timed_out(TimeoutKind::Whole)
    };
    ends.into_iter().map(|end| end.unwrap_or_else(|| Err(lost()))).collect()
}

async fn branch(call: Call, room: &Arc<Room>) -> End {
    let (operation, deadline) = (Arc::clone(&call.operation), call.cap);
    let ended = whole_call(call).await;
    match ended.result {
        Err(problem) => Err(Missed::refused(&problem, ended.cause)),
        Ok(answer) if answer.status.as_u16() >= 400 => {
            Err(Missed::answered(answer.status, ended.failure, ended.cause))
        }
        Ok(answer) => Success::hold(answer, &operation, room, deadline).await,
    }
}

/// A call within a call, behind a type of its own: a future cannot contain itself, nor can what it is be asked for
/// while it is being found out.
pub(super) fn whole_call(call: Call) -> Pin<Box<dyn Future<Output = Ended> + Send>> {
    Box::pin(handle(call))
}

/// 502 with every branch's failure; the ladder starts when any of them is one that starts it.
fn no_data(missed: &[(Arc<str>, Missed)], on: FallbackCauses) -> Box<Failure> {
    let detail = format!("none of the {} branches answered", missed.len());
    let mut problem = Problem::new(Code::NoData, detail).with("failures", failures(missed));
    problem.retry_after = missed.iter().filter_map(|(_, miss)| miss.retry_after).min();
    Failure::no_data(problem, cause(missed.iter().filter_map(|(_, miss)| miss.cause), on))
}

fn cause(found: impl Iterator<Item = Cause>, on: FallbackCauses) -> Option<Cause> {
    let found: Vec<Cause> = found.collect();
    let named = || CAUSES.into_iter().filter(|cause| found.contains(cause));
    named().find(|cause| on.contains(*cause)).or_else(|| named().next())
}

/// `upstream` when any branch was answered by its provider just now, otherwise where the first came from.
fn source(succeeded: &[(Arc<str>, Success)]) -> Source {
    let mut sources = succeeded.iter().map(|(_, success)| &success.source);
    let fresh = sources.clone().find(|source| **source == Source::Upstream);
    fresh.or_else(|| sources.next()).cloned().unwrap_or(Source::Upstream)
}

/// What `Cache-Control` says; nothing when the answer may be kept like any other.
fn keeping(succeeded: &[(Arc<str>, Success)], missed: &[(Arc<str>, Missed)]) -> Option<&'static str> {
    if succeeded.iter().any(|(_, success)| success.private) {
        return Some("private, no-store");
    }
    (!missed.is_empty() || succeeded.iter().any(|(_, success)| success.partial)).then_some("no-store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_one_that_starts_the_ladder_when_there_is_one() {
        let found = || [Cause::CircuitOpen, Cause::Timeout].into_iter();
        assert_eq!(cause(found(), FallbackCauses::all()), Some(Cause::Timeout));
        assert_eq!(cause(found(), FallbackCauses::of(&[Cause::CircuitOpen])), Some(Cause::CircuitOpen));
        assert_eq!(cause(found(), FallbackCauses::of(&[Cause::Auth])), Some(Cause::Timeout));
        assert_eq!(cause(std::iter::empty(), FallbackCauses::all()), None);
    }

    #[test]
    fn every_cause_has_its_place() {
        for known in Cause::ALL {
            assert_eq!(cause([*known].into_iter(), FallbackCauses::all()), Some(*known));
        }
    }

    #[test]
    fn every_branch_has_an_idempotency_key_of_its_own() {
        let key = HeaderValue::from_static("k");
        assert_eq!(numbered(&key, 0).unwrap(), "k-1");
        assert_ne!(numbered(&key, 0), numbered(&key, 1));
    }
}
