//! Attempts that are doubled when they take long.
//!
//! A hedge costs what a retry costs, so it is paid from the same budget; and it waits for nothing, since it is sent to
//! save time: without a token, a place, or a circuit that is closed there is none. The first good answer wins, and the
//! other exchange is dropped, which closes its connection or resets its stream. The race is between exchanges alone: the
//! tokens that they show are fetched before it.

use super::{
    super::{
        Failure,
        auth::{self, Used},
        call::Fetch,
        call::Input,
        request::Outbound,
    },
    asked,
    exchange::{self, Attempt},
    learn, shares,
};
use crate::model::{CallPhase, Outcome};
use bascule_resilience::{BulkheadPermit, hedged};
use http::Method;
use std::time::Duration;
use tokio::time::timeout_at;

/// Makes the call's `number`th attempt: the time that `limit` allows is each exchange's, and before them the tokens'.
///
/// # Errors
/// When the request could not be signed or no token could be had: nothing was sent.
pub(super) async fn attempt(
    fetch: &Fetch,
    outbound: &Outbound,
    number: u32,
    limit: Option<Duration>,
) -> Result<Attempt, Box<Failure>> {
    let used = tokens(fetch, limit).await?;
    let exchanges = Exchanges { fetch, outbound, number, limit, used: &used };
    let begun = fetch.services.now();
    let done = match plan(fetch, outbound) {
        None => exchanges.once(None).await,
        Some((delay, max)) => exchanges.race(delay, max).await,
    };
    // The race, and not the exchange that won it: a percentile of hedges' own times would fall and fall.
    if done.as_ref().is_ok_and(|attempt| attempt.outcome == Outcome::Success) {
        let now = fetch.services.now();
        let took = now.saturating_duration_since(begun);
        fetch.integration.attempt_times.record(now, true, took);
        if let Some(times) = &fetch.operation.times {
            times.record(now, true, took);
        }
    }
    done
}

/// The tokens of the attempt's exchanges, in its time.
async fn tokens(fetch: &Fetch, limit: Option<Duration>) -> Result<Used, Box<Failure>> {
    match exchange::deadline(fetch, limit) {
        None => auth::tokens(fetch).await,
        Some((at, kind)) => {
            timeout_at(at, auth::tokens(fetch)).await.unwrap_or_else(|_| Err(Failure::timeout(kind)))
        }
    }
}

/// The exchanges of one attempt: one, and its hedges.
#[derive(Clone, Copy)]
struct Exchanges<'a> {
    fetch: &'a Fetch,
    outbound: &'a Outbound,
    number: u32,
    limit: Option<Duration>,
    used: &'a Used,
}

impl Exchanges<'_> {
    async fn race(self, delay: Duration, max: u32) -> Result<Attempt, Box<Failure>> {
        let fetch = self.fetch;
        let mut overlap = None;
        let hedge = |_| {
            let place = granted(fetch)?;
            overlap.get_or_insert_with(|| fetch.progress.overlap(CallPhase::Hedge, fetch.services.now()));
            Some(self.once(Some(place)))
        };
        let good = |done: &Result<Attempt, Box<Failure>>| {
            done.as_ref().is_ok_and(|attempt| matches!(attempt.outcome, Outcome::Success | Outcome::Rejected))
        };
        let raced = hedged(&*fetch.services.clock, delay, max, self.once(None), hedge, good).await;
        if let Some(overlap) = overlap {
            overlap.end(CallPhase::Attempt, fetch.services.now());
            let won = raced.winner > 0 && good(&raced.value);
            fetch.operation.metrics.hedge(if won { "won" } else { "lost" });
        }
        raced.value
    }

    /// One exchange. What it says about the provider's limits is heard also when another one wins.
    async fn once(self, place: Option<BulkheadPermit>) -> Result<Attempt, Box<Failure>> {
        let Self { fetch, outbound, number, limit, used } = self;
        let mut attempt = exchange::attempt(fetch, outbound, number, limit, used, place.is_some()).await?;
        attempt.held_until = learn(fetch, &attempt);
        Ok(attempt)
    }
}

/// After how long the attempt is doubled, and how often; none when it is not.
fn plan(fetch: &Fetch, outbound: &Outbound) -> Option<(Duration, u32)> {
    let config = fetch.operation.policy.hedge.as_ref()?;
    let reads = matches!(outbound.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let safe = reads || matches!(fetch.input, Input::Declared { .. });
    if !safe || fetch.skip.retry || !outbound.body.replayable() {
        return None;
    }
    // A slow report is not late by the measure of quick reads: each operation has its own.
    let times = fetch.operation.times.as_ref()?;
    Some((config.delay(times, fetch.services.now())?, config.max.get()))
}

/// Leave for one more exchange: a place of its own, while it runs beside the first.
fn granted(fetch: &Fetch) -> Option<BulkheadPermit> {
    let integration = &fetch.integration;
    let breaker = (!fetch.skip.circuit).then_some(&*fetch.operation.breaker);
    let (bulkhead, budget) = (Some(&integration.bulkhead), Some(&*integration.budget));
    let now = fetch.services.now();
    let taken = shares(fetch).try_acquire(now)?;
    let Ok(place) = asked(fetch).for_hedge(now, breaker, bulkhead, budget) else {
        taken.give_back();
        return None;
    };
    integration.metrics.rate_limit("allowed");
    place
}
