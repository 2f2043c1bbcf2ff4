//! Stages 3 to 7 in a row: what it takes to get an answer from the provider.

use super::{
    Failure, Reply,
    admit::{Admitted, admit},
    attempts,
    call::Fetch,
    fan_out, http_cache,
    mapping::{Mapped, map_request},
    request::draft,
    respond::{guard, map_response},
};
use crate::model::{Cause, Outcome};
use bascule_resilience::{Mode, Permit, Settled};
use std::time::{Duration, Instant};

/// Gets an answer. Every exit settles the breaker permit exactly once; dropping the future gives it back.
pub(super) async fn fetch(mut fetch: Fetch) -> Result<Reply, Box<Failure>> {
    if let Some(branches) = fan_out::branches(&fetch.operation) {
        return fan_out::run(&fetch, &branches).await;
    }
    let admitted = admit(&fetch).await?;
    let draft = draft(&mut fetch)?;
    let (outbound, carry) = match map_request(&fetch, draft).await? {
        Mapped::Send(outbound, carry) => (outbound, carry),
        // The provider was not asked, so the breaker learns nothing.
        Mapped::Answer(reply) => return Ok(reply),
    };
    let begun = fetch.services.now();
    let finished = attempts::run(&fetch, admitted.permit.as_ref(), &outbound, &carry).await;
    let Admitted { place, permit } = admitted;
    let good = finished.breaker_failure.map(|failure| !failure).or(finished.outcome.breaker());
    let settled =
        permit.map(|permit| settle(&fetch, permit, good.filter(|_| finished.attempted), finished.elapsed));
    record(&fetch, &finished, begun);
    if finished.attempted {
        // The provider's part of it: waits for tokens and between attempts say nothing about its load.
        place.observe(fetch.services.now(), finished.elapsed, finished.outcome);
    }
    let received = match finished.result {
        Ok(received) => received,
        Err(mut failure) => {
            // Where a ladder follows, the place is given back: its rungs may need it.
            let policy = &fetch.operation.policy;
            let climbs = failure.cause.is_some_and(|cause| policy.fallback_on.contains(cause));
            if !climbs || policy.fallback.is_empty() {
                failure.answer =
                    failure.answer.map(|answer| Box::new(guard(&fetch, *answer, settled, place)));
            }
            return Err(failure);
        }
    };
    for operation in &fetch.operation.policy.purges {
        fetch.services.cache.purge_operation(fetch.integration.settings.name.as_str(), operation.as_str());
    }
    http_cache::invalidate(&fetch, &outbound, received.status, &received.headers);
    // A word on what is stored, which was mapped when it came.
    if fetch.http.as_ref().is_some_and(|ask| ask.is_validated_by(received.status)) {
        return Ok(received.into_reply());
    }
    let reply = map_response(&fetch, received, carry).await?;
    Ok(guard(&fetch, reply, settled, place))
}

/// One outcome per call: a success, a failure, or nothing. `elapsed` is the last attempt's time: our own waits make no
/// provider slow.
fn settle(fetch: &Fetch, permit: Permit, good: Option<bool>, elapsed: Duration) -> Settled {
    let now = fetch.services.now();
    match good {
        Some(true) => permit.success(now, elapsed, fetch.services.unit()),
        Some(false) => {
            if fetch.operation.breaker.config().mode != Mode::Off {
                fetch.operation.breaker_metrics.breaker_failure();
            }
            permit.failure(now, elapsed, fetch.services.unit())
        }
        None => permit.neutral(now),
    }
}

/// Health counts calls that reached a verdict about the provider.
fn record(fetch: &Fetch, finished: &attempts::Finished, begun: Instant) {
    let now = fetch.services.now();
    // No token: the provider was not asked, but the integration does not work.
    if let (false, Err(failure)) = (finished.attempted, &finished.result)
        && failure.cause == Some(Cause::Auth)
    {
        fetch.integration.health.record(now, false, now.saturating_duration_since(begun));
    }
    let good = match finished.outcome {
        Outcome::Success | Outcome::Rejected => true,
        Outcome::Transient { .. } | Outcome::ContractBroken => false,
        _ => return,
    };
    if finished.attempted {
        fetch.integration.health.record(now, good, now.saturating_duration_since(begun));
    }
}
