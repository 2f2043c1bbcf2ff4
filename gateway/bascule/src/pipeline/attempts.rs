//! Stage 5: attempts until one succeeds or none is worth making.
//!
//! One attempt is: a token from the rate limits, a fresh copy of the mapped request, credentials, the
//! exchange, and a judgement of what came back. Between attempts the retry rule, the retry budget,
//! the deadline and the breaker all have to agree.

mod exchange;
mod hedge;

pub(super) use exchange::{Received, is_event_stream};

use super::{
    Failure,
    call::{self, Fetch},
    mechanisms,
    peers::Shares,
    quota::Quotas,
    request::Outbound,
};
use crate::{
    config::RateLimit,
    model::{CallPhase, Cause, Outcome, TimeoutKind},
    telemetry::{KeyValue, attributes},
};
use bascule_resilience::{
    Around, AttemptRefused, Attempted, Attempts, Demand, Leave, Next, Permit, QuotaReport, RateLimiter,
    StopReason,
    leave::{still_stands, while_stands},
};
use exchange::Attempt;
use http::StatusCode;
use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

/// How the attempts ended.
pub(super) struct Finished {
    /// The last attempt's outcome: the call's.
    pub(super) outcome: Outcome,
    /// A classifier's own word on whether the breaker counts a failure.
    pub(super) breaker_failure: Option<bool>,
    /// Whether anything was attempted at all.
    pub(super) attempted: bool,
    /// How long the last attempt took.
    pub(super) elapsed: Duration,
    pub(super) result: Result<Received, Box<Failure>>,
}

/// Makes attempts. Dropping the future ends the one under way.
pub(super) async fn run(
    fetch: &Fetch,
    permit: Option<&Permit>,
    outbound: &Outbound,
    carry: &[u8],
) -> Finished {
    let mut attempts = Attempts::new();
    let policy = &fetch.operation.policy;
    fetch.integration.budget.record_call(fetch.services.now());
    let mut last: Option<Finished> = None;
    loop {
        let now = fetch.services.now();
        fetch.progress.switch(CallPhase::Limiter, now);
        if fetch.deadline.is_expired(now) {
            return last.unwrap_or_else(|| not_attempted(Failure::timeout(TimeoutKind::Whole)));
        }
        if let Err(failure) = leave(fetch, permit, now).await {
            // No token for a retry: the call ends with what it has.
            return last.unwrap_or_else(|| not_attempted(failure));
        }
        let limit = attempts.attempt_timeout(&policy.retry.policy, policy.timeouts.attempt);
        let attempt = match hedge::attempt(fetch, outbound, attempts.begin(), limit).await {
            Ok(attempt) => attempt,
            Err(failure) => {
                remember(fetch, failure.problem.detail.as_str());
                return last.unwrap_or_else(|| not_attempted(failure));
            }
        };
        let next = next(fetch, outbound, &attempt, &mut attempts);
        let (status, outcome) = (attempt.status, attempt.outcome);
        last = Some(finish(attempt, carry));
        let wait = match next {
            Next::Wait(wait) => wait,
            Next::Stop(reason) => {
                tracing::trace!(operation = %fetch.operation.full_name, %reason, "no further attempt");
                break;
            }
        };
        fetch.operation.metrics.retry();
        fetch.progress.event(attributes::event::RETRY, || {
            vec![
                KeyValue::new(attributes::span::OUTCOME, outcome.as_str()),
                KeyValue::new(attributes::span::DELAY, i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
            ]
        });
        tracing::debug!(
            operation = %fetch.operation.full_name, attempt = attempts.made(), outcome = outcome.as_str(),
            status = status.map(|status| status.as_u16()), delay_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "retrying"
        );
        let now = fetch.services.now();
        fetch.progress.switch(CallPhase::Backoff, now);
        fetch.services.clock.sleep_until(now + wait).await;
        // A circuit that has opened meanwhile ends the call; once it is half-open, only its own probes go on.
        if permit.is_some_and(|permit| !permit.stands(fetch.services.now())) {
            break;
        }
    }
    last.unwrap_or_else(|| not_attempted(Failure::timeout(TimeoutKind::Whole)))
}

fn not_attempted(failure: Box<Failure>) -> Finished {
    Finished {
        outcome: Outcome::Cancelled,
        breaker_failure: None,
        attempted: false,
        elapsed: Duration::ZERO,
        result: Err(failure),
    }
}

/// Leave for one attempt: tokens, in time, and from a circuit that has not opened meanwhile.
async fn leave(fetch: &Fetch, permit: Option<&Permit>, now: Instant) -> Result<(), Box<Failure>> {
    let granted = tokens(fetch, permit, now).await;
    let limits = |verdict| fetch.integration.metrics.rate_limit(verdict);
    match granted {
        Ok(()) => {
            limits("allowed");
            Ok(())
        }
        Err(AttemptRefused::Limited { limited, .. }) => {
            limits("limited");
            fetch.progress.event(attributes::event::RATE_LIMITED, Vec::new);
            Err(Failure::limited(&limited))
        }
        Err(AttemptRefused::CircuitOpen(refused)) => {
            fetch.progress.event(attributes::event::CIRCUIT_OPEN, Vec::new);
            Err(Failure::circuit_open(&refused))
        }
        Err(AttemptRefused::TooLate) => {
            limits("allowed");
            fetch.operation.metrics.timeout(TimeoutKind::Whole.as_str());
            Err(Failure::timeout(TimeoutKind::Whole))
        }
    }
}

/// Tokens of the budgets that are shared with other gateways, then of the gateway's own limits.
async fn tokens(fetch: &Fetch, permit: Option<&Permit>, now: Instant) -> Result<(), AttemptRefused> {
    let times = &fetch.integration.attempt_times;
    let own = async |now| {
        asked(fetch).for_attempt(&*fetch.services.clock, now, permit, fetch.deadline, times).await
    };
    let limited = |limited| AttemptRefused::Limited { index: 0, limited };
    let shares = shares(fetch);
    let waiting = shares.acquire(fetch.deadline.instant());
    let taken = while_stands(permit, &*fetch.services.clock, waiting).await?.map_err(limited)?;
    let Some(taken) = taken else { return own(now).await };
    let now = fetch.services.now();
    let granted = match permit.map_or(Ok(()), |permit| still_stands(permit, now)) {
        Ok(()) => own(now).await,
        Err(refused) => Err(AttemptRefused::CircuitOpen(refused)),
    };
    if granted.is_err() {
        taken.give_back();
    }
    granted
}

/// What an attempt or a hedge takes from budgets that are shared.
fn shares(fetch: &Fetch) -> Shares<'_> {
    Shares { all: [fetch.operation.share.as_ref(), fetch.integration.share.as_ref()], demand: demand(fetch) }
}

fn demand(fetch: &Fetch) -> Demand {
    Demand { cost: fetch.operation.policy.cost, priority: fetch.priority() }
}

/// What an attempt or a hedge has to be given leave for.
fn asked(fetch: &Fetch) -> Leave<impl Iterator<Item = (&RateLimiter, Duration)> + Clone> {
    let max_wait = mechanisms::max_wait(fetch.integration.settings.rate_limit.as_ref());
    // The operation's own first: if it refuses, the integration's token is not wasted.
    let own = fetch.operation.limiter.as_ref().map(|(limiter, max_wait)| (&**limiter, *max_wait));
    let limits = own.into_iter().chain([(&*fetch.integration.limiter, max_wait)]);
    Leave { limits, demand: demand(fetch) }
}

/// Tells the limiter what the answer says; returns until when a 429 holds all calls.
fn learn(fetch: &Fetch, attempt: &Attempt) -> Option<Instant> {
    let policy = &fetch.operation.policy;
    let now = fetch.services.now();
    let held_until = heed(
        &fetch.integration.limiter,
        fetch.integration.settings.rate_limit.as_ref(),
        &attempt.quotas,
        attempt.outcome,
        policy.retry.policy.retry_after_max,
        policy.cost,
        now,
    );
    if let Some(share) = &fetch.integration.share {
        share.tell(held_until, &attempt.quotas, now);
    }
    held_until
}

/// Tells the limiter what an answer says about quotas, of which the request took `cost`; returns until when a 429
/// holds all calls.
pub(super) fn heed(
    limiter: &RateLimiter,
    limits: Option<&RateLimit>,
    quotas: &Quotas,
    outcome: Outcome,
    retry_after_max: Duration,
    cost: NonZeroU32,
    now: Instant,
) -> Option<Instant> {
    let reset_max = mechanisms::quota_reset_max(limits);
    for report in quotas.iter() {
        let Some(reset) = report.renewed_in() else { continue };
        let report = QuotaReport {
            name: &report.name,
            remaining: report.remaining,
            limit: report.limit,
            window: report.window,
            reset: now + reset.min(reset_max),
            cost: cost.get().into(),
        };
        limiter.observe_quota(&report, now);
    }
    // What a header asks for is obeyed, but not without a bound: a provider's mistake must not stop an integration for a
    // day. A spent quota may take longer than another 429.
    let longest = if quotas.is_spent() { reset_max } else { retry_after_max };
    limiter.heed(outcome, longest, now)
}

/// What follows an attempt: the retry rule's word, for what only HTTP knows.
fn next(fetch: &Fetch, outbound: &Outbound, attempt: &Attempt, attempts: &mut Attempts) -> Next {
    // A success is the usual case: it is spared the questions below.
    let done = attempt.outcome == Outcome::Success;
    if done || fetch.skip.retry || !outbound.body.replayable() {
        return Next::Stop(StopReason::NotRetryable);
    }
    let now = fetch.services.now();
    let safe = is_safe(fetch, outbound);
    let rule = if safe { &fetch.operation.policy.retry } else { &fetch.integration.settings.retry };
    let in_list = attempt.status.is_none_or(|status| rule.on.contains(&status.as_u16()));
    // `on` lists statuses; a spent quota may come with others, and a classifier has its own reasons.
    let listed = in_list
        || match attempt.outcome {
            Outcome::Throttled { .. } => attempt.status != Some(StatusCode::TOO_MANY_REQUESTS),
            _ => attempt.by_plugin,
        };
    let attempted = Attempted {
        outcome: attempt.outcome,
        safe,
        sent: attempt.sent || attempt.status.is_some(),
        listed,
        timed_out: attempt.timed_out,
        held_for: attempt.held_until.map(|until| until.saturating_duration_since(now)),
    };
    let around = Around {
        now,
        remaining: fetch.deadline.remaining(now),
        typical: fetch.integration.attempt_times.quantile(0.5, now),
        budget: Some(&fetch.integration.budget),
        unit: fetch.services.unit(),
    };
    attempts.after(&rule.policy, &attempted, &around)
}

/// Whether sending the request twice does no harm (`semantics.md` §4).
fn is_safe(fetch: &Fetch, outbound: &Outbound) -> bool {
    let keyed = fetch.idempotency_key.is_some();
    call::is_safe(&fetch.operation.policy, &fetch.input, &outbound.method, keyed)
}

fn finish(attempt: Attempt, carry: &[u8]) -> Finished {
    let cause = match attempt.outcome {
        Outcome::Throttled { .. } => Some(Cause::Throttled),
        Outcome::Transient { .. } => Some(Cause::Transient),
        Outcome::AuthExpired => Some(Cause::Auth),
        Outcome::ContractBroken => Some(Cause::Protocol),
        Outcome::Success | Outcome::Rejected | Outcome::Cancelled => None,
    };
    let result = match (attempt.answer, attempt.outcome) {
        (Ok(received), Outcome::Success) => Ok(received),
        (Ok(received), _) => Err(Failure::answered(received.into_reply(), cause)),
        (Err(failure), _) => Err(failure),
    };
    let result = result.map_err(|mut failure| {
        failure.carry = carry.to_vec();
        failure
    });
    Finished {
        outcome: attempt.outcome,
        breaker_failure: attempt.breaker_failure,
        attempted: true,
        elapsed: attempt.elapsed,
        result,
    }
}

/// Keeps the latest failure for the operators' status page.
pub(super) fn remember(fetch: &Fetch, text: impl Into<String>) {
    *Arc::clone(&fetch.integration.last_error).lock() = Some(text.into());
}
