//! The course of one guarded call: the same order as in the chart of [`crate::guard`], as plain async functions.

use std::future::Future;
use std::time::{Duration, Instant};

use super::{Attempt, GuardError, Request, Shared, Verdict};
use crate::breaker::{Breaker, Permit};
use crate::bulkhead::{Ask, BulkheadPermit, Overloaded};
use crate::deadline::Deadline;
use crate::hedge::hedged;
use crate::leave::AttemptRefused;
use crate::outcome::Outcome;
use crate::retry::{Around, Attempted, Attempts, Next};
use crate::span::later;

/// Leave to call: a place, and the circuit's permit.
struct Admitted<'a> {
    place: Option<BulkheadPermit>,
    permit: Option<Permit<&'a Breaker>>,
}

/// When the call began, and by when it must end.
#[derive(Clone, Copy)]
struct Time {
    begun: Instant,
    deadline: Deadline,
}

/// What one attempt came to; no result when it was given up.
struct Tried<T, E> {
    result: Option<Result<T, E>>,
    verdict: Verdict,
    /// How long the limits hold all calls because of it.
    held_for: Option<Duration>,
    took: Duration,
}

/// How the attempts ended. Without an outcome nothing was attempted.
struct Finished<T, E> {
    outcome: Option<Outcome>,
    /// How long the last attempt took: waits for tokens and between attempts say nothing about the load.
    elapsed: Duration,
    result: Result<T, GuardError<E>>,
}

pub(super) async fn run<T, E, F, Fut>(
    request: &Request<'_>,
    judge: impl Fn(&Result<T, E>) -> Verdict,
    operation: F,
) -> Result<T, GuardError<E>>
where
    F: Fn(Attempt) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let shared = request.shared();
    let begun = shared.now();
    let own = shared.timeout.map_or(Deadline::none(), |limit| Deadline::after(begun, limit));
    let deadline = own.earlier(request.deadline);
    let Admitted { place, permit } = admit(request, deadline).await?;
    let admitted = shared.now();
    if let Some(budget) = &shared.budget {
        budget.record_call(admitted);
    }
    let time = Time { begun, deadline };
    let finished = attempts(request, permit.as_ref(), time, &judge, &operation).await;
    let now = shared.now();
    let took = now.saturating_duration_since(admitted);
    if let Some(outcome) = finished.outcome {
        if let Some(place) = &place {
            place.observe(now, finished.elapsed, outcome);
        }
        match outcome {
            Outcome::Success | Outcome::Rejected => shared.health.record(now, true, took),
            Outcome::Transient { .. } | Outcome::ContractBroken => shared.health.record(now, false, took),
            Outcome::Throttled { .. } | Outcome::AuthExpired | Outcome::Cancelled => {}
        }
    }
    if let Some(permit) = permit {
        match finished.outcome.and_then(Outcome::breaker) {
            Some(true) => permit.success(now, finished.elapsed, shared.unit()),
            Some(false) => permit.failure(now, finished.elapsed, shared.unit()),
            None => permit.neutral(now),
        };
    }
    finished.result
}

/// Waits for a place within the deadline. A circuit that opens meanwhile refuses the waiters.
async fn admit<'a, E>(request: &Request<'a>, deadline: Deadline) -> Result<Admitted<'a>, GuardError<E>> {
    let shared = &*request.guard.shared;
    let waiting = place(shared, Ask { priority: request.priority, deadline });
    let Some(breaker) = shared.breaker.as_deref() else {
        return Ok(Admitted { place: waiting.await?, permit: None });
    };
    let mut waiting = std::pin::pin!(waiting);
    loop {
        breaker.check(shared.now())?;
        tokio::select! {
            biased;
            place = &mut waiting => {
                let place = place?;
                let permit = breaker.enter(shared.now(), shared.unit())?;
                return Ok(Admitted { place, permit: Some(permit) });
            }
            () = breaker.opened() => {}
        }
    }
}

async fn place(shared: &Shared, ask: Ask) -> Result<Option<BulkheadPermit>, Overloaded> {
    match &shared.bulkhead {
        Some(bulkhead) => bulkhead.acquire(&*shared.clock, ask).await.map(Some),
        None => Ok(None),
    }
}

async fn attempts<T, E, F, Fut>(
    request: &Request<'_>,
    permit: Option<&Permit<&Breaker>>,
    Time { begun, deadline }: Time,
    judge: &impl Fn(&Result<T, E>) -> Verdict,
    operation: &F,
) -> Finished<T, E>
where
    F: Fn(Attempt) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let shared = request.shared();
    let timeout = || GuardError::Timeout { after: shared.now().saturating_duration_since(begun) };
    let mut attempts = Attempts::new();
    let mut last: Option<Finished<T, E>> = None;
    loop {
        let now = shared.now();
        if deadline.is_expired(now) {
            return last.unwrap_or_else(|| not_attempted(timeout()));
        }
        let leave = request.leave();
        if let Err(refused) = leave.for_attempt(&*shared.clock, now, permit, deadline, &shared.times).await {
            // No token for a retry: the call ends with what it has.
            return last.unwrap_or_else(|| {
                not_attempted(match refused {
                    AttemptRefused::CircuitOpen(refused) => refused.into(),
                    AttemptRefused::Limited { limited, .. } => limited.into(),
                    AttemptRefused::TooLate => timeout(),
                })
            });
        }
        let number = attempts.begin();
        let limit = attempts.attempt_timeout(&shared.retry, shared.attempt_timeout);
        let tried = attempt(request, number, deadline, limit, judge, operation).await;
        let now = shared.now();
        let Verdict { outcome, sent, listed, timed_out, quota_spent: _ } = tried.verdict;
        let attempted =
            Attempted { outcome, safe: !request.once, sent, listed, timed_out, held_for: tried.held_for };
        let around = Around {
            now,
            remaining: deadline.remaining(now),
            typical: shared.times.quantile(0.5, now),
            budget: shared.budget.as_deref(),
            unit: shared.unit(),
        };
        let next = attempts.after(&shared.retry, &attempted, &around);
        let result = match tried.result {
            Some(result) => result.map_err(GuardError::Failed),
            None => Err(timeout()),
        };
        let finished = Finished { outcome: Some(outcome), elapsed: tried.took, result };
        let Next::Wait(wait) = next else { return finished };
        shared.clock.sleep_until(later(now, wait)).await;
        if permit.is_some_and(|permit| !permit.stands(shared.now())) {
            return finished;
        }
        last = Some(finished);
    }
}

const fn not_attempted<T, E>(refusal: GuardError<E>) -> Finished<T, E> {
    Finished { outcome: None, elapsed: Duration::ZERO, result: Err(refusal) }
}

/// One attempt, doubled by hedges where that was asked for and is granted.
async fn attempt<T, E, F, Fut>(
    request: &Request<'_>,
    number: u32,
    deadline: Deadline,
    limit: Option<Duration>,
    judge: &impl Fn(&Result<T, E>) -> Verdict,
    operation: &F,
) -> Tried<T, E>
where
    F: Fn(Attempt) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let shared = request.shared();
    let try_once = |hedge: Option<Option<BulkheadPermit>>| {
        let begun = shared.now();
        let own = limit.map_or(Deadline::none(), |limit| Deadline::after(begun, limit));
        let deadline = deadline.earlier(own);
        let work = operation(Attempt { number, hedge: hedge.is_some(), deadline });
        async move {
            // A place of its own while it runs beside the first; whoever wins goes on in the call's.
            let _place = hedge;
            let result = match deadline.instant() {
                None => Some(work.await),
                Some(until) => tokio::select! {
                    biased;
                    result = work => Some(result),
                    () = shared.clock.sleep_until(until) => None,
                },
            };
            let now = shared.now();
            let verdict = match &result {
                Some(result) => judge(result),
                None => {
                    // The caller's own impatience says nothing about the dependency.
                    let impatient = request.deadline.is_expired(now);
                    let outcome = if impatient { Outcome::Cancelled } else { Outcome::TRANSIENT };
                    Verdict { timed_out: true, ..Verdict::from(outcome) }
                }
            };
            // Heard also when another one wins.
            let held_for = learn(shared, verdict);
            Tried { result, verdict, held_for, took: now.saturating_duration_since(begun) }
        }
    };
    let hedge = shared.hedge.as_ref().filter(|_| !request.once);
    let times = shared.hedge_times.as_ref().unwrap_or(&shared.times);
    let delay = hedge.and_then(|hedge| Some((hedge.delay(times, shared.now())?, hedge.max.get())));
    let begun = shared.now();
    let tried = match delay {
        None => try_once(None).await,
        Some((delay, max)) => {
            let hedge = |_| {
                let (breaker, budget) = (shared.breaker.as_deref(), shared.budget.as_deref());
                let leave =
                    request.leave().for_hedge(shared.now(), breaker, shared.bulkhead.as_ref(), budget);
                leave.ok().map(|place| try_once(Some(place)))
            };
            let good =
                |tried: &Tried<T, E>| matches!(tried.verdict.outcome, Outcome::Success | Outcome::Rejected);
            hedged(&*shared.clock, delay, max, try_once(None), hedge, good).await.value
        }
    };
    // The race, and not the exchange that won it: a percentile of hedges' own times would fall and fall.
    if tried.verdict.outcome == Outcome::Success {
        let now = shared.now();
        let took = now.saturating_duration_since(begun);
        shared.times.record(now, true, took);
        if let Some(times) = &shared.hedge_times {
            times.record(now, true, took);
        }
    }
    tried
}

/// Tells the limits what the attempt says about them; how long they hold all calls now, if they do.
fn learn(shared: &Shared, verdict: Verdict) -> Option<Duration> {
    let now = shared.now();
    let longest = if verdict.quota_spent { shared.quota_reset_max } else { shared.retry.retry_after_max };
    let limiters = shared.limiters.iter();
    let until = limiters.filter_map(|(limiter, _)| limiter.heed(verdict.outcome, longest, now)).max()?;
    Some(until.saturating_duration_since(now))
}
