//! A guard under tokio's paused time: what it makes of results, waits, deadlines and refusals.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::breaker::{BreakerConfig, State, Trip};
use crate::bulkhead::BulkheadConfig;
use crate::clock::TokioClock;
use crate::hedge::HedgeAfter;
use crate::rate_limit::{RateLimiterConfig, RateWindow};
use crate::retry::{BudgetConfig, Jitter};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn retries() -> RetryPolicy {
    RetryPolicy { jitter: Jitter::None, ..RetryPolicy::default() }
}

fn breaker(failures: u32) -> BreakerConfig {
    BreakerConfig { trip: Trip::Consecutive { failures: count(failures) }, ..BreakerConfig::default() }
}

/// Counts its calls; fails the first `failures` of them.
struct Server {
    calls: AtomicU32,
    failures: u32,
}

impl Server {
    fn new(failures: u32) -> Self {
        Self { calls: AtomicU32::new(0), failures }
    }

    async fn call(&self) -> Result<&'static str, &'static str> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if call <= self.failures { Err("down") } else { Ok("answer") }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_with_nothing_in_it_just_makes_the_call() {
    let guard = Guard::new("bare").build();
    let server = Server::new(1);
    assert_eq!(guard.call(|_| server.call()).await.unwrap_err().into_failure(), Some("down"));
    assert_eq!(guard.call(|_| server.call()).await.unwrap(), "answer");
    assert_eq!(server.calls(), 2);
    assert!(guard.breaker().is_none() && guard.bulkhead().is_none());
}

#[tokio::test(start_paused = true)]
async fn it_retries_with_growing_waits_and_counts_one_success() {
    let guard = Guard::new("x").retry(retries()).circuit_breaker(breaker(2)).build();
    let server = Server::new(2);
    let begun = TokioClock.now();
    let numbers = parking_lot::Mutex::new(Vec::new());
    let answer = guard
        .call(|attempt| {
            numbers.lock().push(attempt.number);
            server.call()
        })
        .await;
    assert_eq!(answer.unwrap(), "answer");
    assert_eq!(*numbers.lock(), [1, 2, 3]);
    assert_eq!(TokioClock.now() - begun, 300 * MILLI);
    let snapshot = guard.breaker().unwrap().snapshot(TokioClock.now());
    assert_eq!(
        (snapshot.state, snapshot.failures),
        (State::Closed, 0),
        "the circuit counts calls, not attempts"
    );
    assert_eq!(guard.health().snapshot(TokioClock.now()).calls, 1);
}

#[tokio::test(start_paused = true)]
async fn what_must_happen_once_is_not_repeated() {
    let hedge = HedgeConfig { after: HedgeAfter::Delay(MILLI), max: count(1) };
    let guard = Guard::new("x").retry(retries()).hedge(hedge).build();
    let server = Server::new(1);
    let slow = |_| async {
        tokio::time::sleep(SECOND).await;
        server.call().await
    };
    assert!(guard.request().once().call(slow).await.is_err());
    assert_eq!(server.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_at_once_and_the_fallback_answers() {
    let guard = Guard::new("x").circuit_breaker(breaker(1)).build();
    let server = Server::new(1);
    assert!(guard.call(|_| server.call()).await.is_err());
    let error = guard.call(|_| server.call()).await.unwrap_err();
    assert!(error.is_circuit_open());
    assert_eq!(error.retry_after(), Some(30 * SECOND));
    let answer: Result<_, &str> = guard
        .call_or(
            |_| server.call(),
            |error| async move { if error.is_circuit_open() { Ok("cached") } else { Err("?") } },
        )
        .await;
    assert_eq!(answer, Ok("cached"));
    assert_eq!(server.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn its_own_timeout_counts_against_the_dependency_and_the_callers_deadline_does_not() {
    let guard = Guard::new("x").timeout(2 * SECOND).circuit_breaker(breaker(1)).build();
    let forever = |_| std::future::pending::<Result<(), &str>>();
    let begun = TokioClock.now();
    let impatient = guard.request().deadline(Deadline::after(begun, SECOND)).call(forever).await;
    assert!(impatient.unwrap_err().is_timeout());
    assert_eq!(TokioClock.now() - begun, SECOND, "the parent's deadline wins");
    assert_eq!(guard.breaker().unwrap().state(TokioClock.now()), State::Closed);
    assert!(guard.call(forever).await.unwrap_err().is_timeout());
    assert_eq!(TokioClock.now() - begun, 3 * SECOND);
    assert_eq!(guard.breaker().unwrap().state(TokioClock.now()), State::Open);
}

#[tokio::test(start_paused = true)]
async fn the_attempt_after_a_timeout_gets_less_time_when_so_configured() {
    let policy = RetryPolicy { timeout_factor: 0.5, base_delay: Duration::ZERO, ..retries() };
    let guard = Guard::new("x").retry(policy).attempt_timeout(4 * SECOND).build();
    let limits = parking_lot::Mutex::new(Vec::new());
    let outcome = guard
        .call(|attempt| {
            limits.lock().push(attempt.deadline.remaining(TokioClock.now()).unwrap().as_secs());
            std::future::pending::<Result<(), &str>>()
        })
        .await;
    assert!(outcome.unwrap_err().is_timeout());
    assert_eq!(*limits.lock(), [4, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_holds_the_others_and_leaves_the_circuit_alone() {
    let guard = Guard::new("x")
        .circuit_breaker(breaker(1))
        .rate_limit(RateLimiterConfig::default(), Duration::ZERO)
        .build();
    let throttled = |_: &Result<(), ()>| Outcome::Throttled { retry_after: Some(5 * SECOND) };
    guard.call_judged(throttled, |_| async { Ok(()) }).await.unwrap();
    let error = guard.call(|_| async { Ok::<_, ()>(()) }).await.unwrap_err();
    assert!(error.is_limited());
    assert_eq!(error.retry_after(), Some(5 * SECOND));
    assert_eq!(guard.breaker().unwrap().state(TokioClock.now()), State::Closed);
    tokio::time::advance(5 * SECOND).await;
    guard.call(|_| async { Ok::<_, ()>(()) }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_asks_for_is_clamped_and_a_spent_quota_less_than_another_429() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let throttled = Verdict::from(Outcome::Throttled { retry_after: Some(DAY) });
    let spent = Verdict { quota_spent: true, ..throttled };
    let usual = || Guard::new("x").rate_limit(RateLimiterConfig::default(), Duration::ZERO);
    let short = usual().quota_reset_max(600 * SECOND);
    for (guard, verdict, held) in [(usual(), throttled, 60), (usual(), spent, 3600), (short, spent, 600)] {
        let guard = guard.build();
        guard.call_judged(|_: &Result<(), ()>| verdict, |_| async { Ok(()) }).await.unwrap();
        let refused = guard.call(|_| async { Ok::<_, ()>(()) }).await.unwrap_err();
        assert_eq!(refused.retry_after(), Some(held * SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_tokens_as_long_as_they_may() {
    let window = RateWindow { requests: count(1), window: SECOND, burst: count(1) };
    let config = RateLimiterConfig { windows: vec![window], ..RateLimiterConfig::default() };
    let guard = Guard::new("x").rate_limit(config, 10 * SECOND).build();
    let begun = TokioClock.now();
    for _ in 0..3 {
        guard.call(|_| async { Ok::<_, ()>(()) }).await.unwrap();
    }
    assert_eq!(TokioClock.now() - begun, 2 * SECOND);
    let soon = Deadline::after(TokioClock.now(), SECOND / 2);
    let refused = guard.request().deadline(soon).call(|_| async { Ok::<_, ()>(()) }).await;
    assert!(refused.unwrap_err().is_limited(), "a wait that cannot fit is not begun");
}

#[tokio::test(start_paused = true)]
async fn a_full_bulkhead_refuses_and_a_circuit_that_opens_refuses_the_waiters() {
    let places = BulkheadConfig { max: NonZeroUsize::MIN, max_waiting: 1, ..BulkheadConfig::default() };
    let guard = Guard::new("x").bulkhead(places).circuit_breaker(breaker(1)).build();
    let slow_failure = || async {
        tokio::time::sleep(SECOND).await;
        Err::<(), _>("down")
    };
    let (first, second, third) = tokio::join!(
        guard.call(|_| slow_failure()),
        guard.call(|_| slow_failure()),
        guard.call(|_| slow_failure()),
    );
    assert_eq!(first.unwrap_err().into_failure(), Some("down"));
    assert!(second.unwrap_err().is_circuit_open(), "it waited behind the call that opened the circuit");
    assert!(third.unwrap_err().is_overloaded());
}

#[tokio::test(start_paused = true)]
async fn hedges_are_paid_from_the_retry_budget() {
    let hedge = HedgeConfig { after: HedgeAfter::Delay(100 * MILLI), max: count(1) };
    let budget = BudgetConfig { ratio: 0.0, floor: 1, window: 10 * SECOND };
    let guard = Guard::new("x").hedge(hedge).retry_budget(budget).build();
    let hedges = AtomicU32::new(0);
    let dawdles_once = |attempt: Attempt| {
        hedges.fetch_add(u32::from(attempt.hedge), Ordering::Relaxed);
        async move {
            tokio::time::sleep(if attempt.hedge { MILLI } else { SECOND }).await;
            Ok::<_, ()>(attempt.hedge)
        }
    };
    let begun = TokioClock.now();
    assert!(guard.call(dawdles_once).await.unwrap(), "the hedge won");
    assert_eq!(TokioClock.now() - begun, 101 * MILLI);
    assert!(!guard.call(dawdles_once).await.unwrap(), "the budget is spent");
    assert_eq!(hedges.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_gives_back_its_place_and_its_probe() {
    let config = BreakerConfig { reset_after: SECOND, half_open_successes: count(1), ..breaker(1) };
    let places = BulkheadConfig { max: NonZeroUsize::MIN, max_waiting: 0, ..BulkheadConfig::default() };
    let guard = Guard::new("x").circuit_breaker(config).bulkhead(places).build();
    assert!(guard.call(|_| async { Err::<(), _>("down") }).await.is_err());
    tokio::time::advance(SECOND).await;
    let probe = guard.call(|_| std::future::pending::<Result<(), &str>>());
    assert!(tokio::time::timeout(SECOND, probe).await.is_err(), "given up from outside");
    guard.call(|_| async { Ok::<_, &str>(()) }).await.unwrap();
    assert_eq!(guard.breaker().unwrap().state(TokioClock.now()), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_may_forbid_a_retry_or_allow_one_that_does_no_harm() {
    let guard = Guard::new("x").retry(retries()).build();
    let attempts = async |request: Request<'_>, verdict: Verdict| {
        let made = AtomicU32::new(0);
        let failing = |_| {
            made.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), _>("down") }
        };
        assert!(request.call_judged(|_| verdict, failing).await.is_err());
        made.into_inner()
    };
    let failed = Verdict::from(Outcome::TRANSIENT);
    assert_eq!(attempts(guard.request(), failed).await, 3);
    assert_eq!(attempts(guard.request(), Verdict { listed: false, ..failed }).await, 1);
    assert_eq!(attempts(guard.request().once(), failed).await, 1);
    assert_eq!(attempts(guard.request().once(), Verdict { sent: false, ..failed }).await, 3, "never arrived");
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_token_are_refused_when_the_circuit_opens() {
    let window = RateWindow { requests: count(1), window: SECOND, burst: count(1) };
    let config = RateLimiterConfig { windows: vec![window], ..RateLimiterConfig::default() };
    let guard = Guard::new("x").rate_limit(config, 60 * SECOND).circuit_breaker(breaker(1)).build();
    let server = Server::new(u32::MAX);
    let slow = |_| async {
        tokio::time::sleep(SECOND / 2).await;
        server.call().await
    };
    let (first, second, third) = tokio::join!(guard.call(slow), guard.call(slow), guard.call(slow));
    assert_eq!(first.unwrap_err().into_failure(), Some("down"));
    assert!(second.unwrap_err().is_circuit_open() && third.unwrap_err().is_circuit_open());
    assert_eq!(server.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_tokens_and_between_attempts_is_not_the_dependencys_slowness() {
    let window = RateWindow { requests: count(1), window: SECOND, burst: count(1) };
    let limit = RateLimiterConfig { windows: vec![window], ..RateLimiterConfig::default() };
    let slow = crate::breaker::SlowCall { threshold: SECOND / 2, rate: 0.5, min_calls: count(2) };
    let config = BreakerConfig { slow_call: Some(slow), ..breaker(5) };
    let places = BulkheadConfig {
        adaptive: Some(crate::bulkhead::AdaptiveLimit::default()),
        ..BulkheadConfig::default()
    };
    let guard =
        Guard::new("x").rate_limit(limit, 60 * SECOND).circuit_breaker(config).bulkhead(places).build();
    let limit_before = guard.bulkhead().unwrap().limit();
    for _ in 0..20 {
        guard.call(|_| async { Ok::<_, &str>(()) }).await.unwrap();
    }
    assert_eq!(guard.breaker().unwrap().state(TokioClock.now()), State::Closed);
    assert!(guard.bulkhead().unwrap().limit() >= limit_before);
}

#[tokio::test(start_paused = true)]
async fn what_one_limit_refuses_costs_nothing_of_the_others() {
    let window =
        |requests| RateWindow { requests: count(requests), window: 3600 * SECOND, burst: count(requests) };
    let config =
        |requests| RateLimiterConfig { windows: vec![window(requests)], ..RateLimiterConfig::default() };
    let guard =
        Guard::new("x").rate_limit(config(10), Duration::ZERO).rate_limit(config(1), Duration::ZERO).build();
    for _ in 0..5 {
        let _ = guard.call(|_| async { Ok::<_, &str>(()) }).await;
    }
    let left: Vec<_> = guard.limiters().map(|limiter| limiter.remaining(TokioClock.now()).unwrap()).collect();
    assert_eq!(left, [9, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_wins_does_not_hide_the_429_of_the_attempt_that_lost() {
    let hedge = HedgeConfig { after: HedgeAfter::Delay(10 * MILLI), max: count(1) };
    let guard = Guard::new("x").hedge(hedge).rate_limit(RateLimiterConfig::default(), Duration::ZERO).build();
    let judge = |result: &Result<bool, ()>| match result {
        Ok(true) => Outcome::Success,
        _ => Outcome::Throttled { retry_after: Some(5 * SECOND) },
    };
    let answer = guard
        .call_judged(judge, |attempt| async move {
            tokio::time::sleep(if attempt.hedge { 50 * MILLI } else { 20 * MILLI }).await;
            Ok::<_, ()>(attempt.hedge)
        })
        .await;
    assert!(answer.unwrap());
    assert!(guard.call(|_| async { Ok::<_, ()>(()) }).await.unwrap_err().is_limited());
}

#[test]
fn a_guarded_call_can_run_on_any_thread() {
    fn sendable<T: Send>(_: T) {}
    let guard = Guard::new("x").circuit_breaker(breaker(1)).retry(retries()).build();
    sendable(guard.call(|_| async { Ok::<_, &str>(()) }));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_goes_by_its_own_times_where_others_share_theirs() {
    let shared = Arc::new(HealthStats::new());
    let hedge = || HedgeConfig { after: HedgeAfter::Percentile { q: 0.9, at_least: MILLI }, max: count(1) };
    let launched = AtomicU32::new(0);
    let taking = |span: Duration| {
        let launched = &launched;
        move |_| async move {
            launched.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(span).await;
            Ok::<_, &str>(())
        }
    };
    let quick = Guard::new("quick").shared_times(Arc::clone(&shared)).build();
    let alike = Guard::new("alike").shared_times(Arc::clone(&shared)).hedge(hedge()).build();
    let own = Guard::new("own").shared_times(Arc::clone(&shared)).hedge(hedge());
    let own = own.hedge_times(Arc::new(HealthStats::new())).build();
    for _ in 0..30 {
        quick.call(taking(10 * MILLI)).await.unwrap();
    }
    launched.store(0, Ordering::Relaxed);
    alike.call(taking(SECOND)).await.unwrap();
    assert_eq!(launched.swap(0, Ordering::Relaxed), 2, "late by the measure of quick calls");
    for _ in 0..30 {
        own.call(taking(SECOND)).await.unwrap();
    }
    assert_eq!(launched.swap(0, Ordering::Relaxed), 30, "a second is usual here");
    own.call(taking(3 * SECOND)).await.unwrap();
    assert_eq!(launched.load(Ordering::Relaxed), 2, "three are not");
}
