//! What holds calls back, who goes first, and that waiting has bounds. Time is paused or virtual throughout.

use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::clock::TokioClock;

const SECOND: Duration = Duration::from_secs(1);

/// One token at normal priority.
const ONE: Demand = Demand { cost: NonZeroU32::MIN, priority: Priority::Normal };

fn some(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn window(requests: u32, window: Duration, burst: u32) -> RateWindow {
    RateWindow { requests: some(requests), window, burst: some(burst) }
}

fn limiter(windows: &[RateWindow], reserve: f64, now: Instant) -> Arc<RateLimiter> {
    RateLimiter::new(RateLimiterConfig { windows: windows.to_vec(), reserve }, now)
}

/// `requests` per second.
fn per_second(requests: u32, burst: u32, now: Instant) -> Arc<RateLimiter> {
    limiter(&[window(requests, SECOND, burst)], 0.0, now)
}

fn unlimited(now: Instant) -> Arc<RateLimiter> {
    RateLimiter::new(RateLimiterConfig::default(), now)
}

fn costing(cost: u32) -> Demand {
    Demand { cost: some(cost), ..ONE }
}

/// The provider's only quota.
fn quota(remaining: u64, reset: Instant) -> QuotaReport<'static> {
    QuotaReport { name: "", remaining, limit: None, window: None, reset, cost: 1 }
}

fn limited(retry_after: Duration, by: LimitedBy) -> Result<(), Limited> {
    Err(Limited { retry_after, by })
}

#[test]
fn a_burst_passes_and_then_one_token_at_a_time() {
    let now = Instant::now();
    let limiter = per_second(2, 3, now);
    assert_eq!(limiter.remaining(now), Some(3));
    for _ in 0..3 {
        assert_eq!(limiter.try_acquire(now, ONE), Ok(()));
    }
    assert_eq!(limiter.try_acquire(now, ONE), limited(SECOND / 2, LimitedBy::Budget));
    assert_eq!(limiter.remaining(now), Some(0));
    assert_eq!(limiter.try_acquire(now + SECOND / 2, ONE), Ok(()));
    assert_eq!(limiter.check(now + SECOND / 2, ONE), limited(SECOND / 2, LimitedBy::Budget));
    assert_eq!(limiter.remaining(now + 10 * SECOND), Some(3));
}

#[test]
fn a_hold_stops_all_calls_and_the_longest_wins() {
    let now = Instant::now();
    let limiter = unlimited(now);
    assert_eq!(limiter.remaining(now), None);
    assert_eq!(limiter.try_acquire(now, ONE), Ok(()));
    limiter.hold_until(now + 5 * SECOND, now);
    limiter.hold_until(now + 2 * SECOND, now);
    assert_eq!(limiter.remaining(now), Some(0));
    assert_eq!(limiter.try_acquire(now + SECOND, ONE), limited(4 * SECOND, LimitedBy::Hold));
    assert_eq!(limiter.try_acquire(now + 5 * SECOND, ONE), Ok(()));
    assert_eq!(limiter.remaining(now + 5 * SECOND), None);
}

#[test]
fn throttling_without_an_end_doubles_up_to_a_minute_until_a_success() {
    let mut now = Instant::now();
    let limiter = unlimited(now);
    let mut holds = Vec::new();
    for _ in 0..40 {
        let until = limiter.throttled(now);
        holds.push((until - now).as_secs());
        now = until;
    }
    assert_eq!(holds[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(holds[39], 60);
    limiter.succeeded();
    assert_eq!(limiter.throttled(now), now + SECOND);
}

#[test]
fn an_outcome_is_heeded_by_its_kind() {
    let now = Instant::now();
    let limiter = unlimited(now);
    let heed = |outcome, now| limiter.heed(outcome, 60 * SECOND, now);
    let asks = |span| Outcome::Throttled { retry_after: Some(span) };
    for silent in [Outcome::Success, Outcome::Rejected, Outcome::TRANSIENT, Outcome::ContractBroken] {
        assert_eq!(heed(silent, now), None);
    }
    assert_eq!(limiter.check(now, ONE), Ok(()));
    assert_eq!(heed(asks(5 * SECOND), now), Some(now + 5 * SECOND));
    assert_eq!(limiter.check(now, ONE), limited(5 * SECOND, LimitedBy::Hold));
    assert_eq!(heed(asks(Duration::MAX), now), Some(now + 60 * SECOND), "not for ever");
    let now = now + 60 * SECOND;
    assert_eq!(heed(Outcome::Throttled { retry_after: None }, now), Some(now + SECOND));
    assert_eq!(heed(Outcome::Throttled { retry_after: None }, now + SECOND), Some(now + 3 * SECOND));
    heed(Outcome::Success, now + 3 * SECOND);
    let now = now + 3 * SECOND;
    assert_eq!(heed(Outcome::Throttled { retry_after: None }, now), Some(now + SECOND), "a success forgives");
}

#[test]
fn many_answers_to_one_burst_make_one_hold() {
    let now = Instant::now();
    let limiter = unlimited(now);
    for _ in 0..50 {
        assert_eq!(limiter.throttled(now + SECOND / 10), now + SECOND / 10 + SECOND);
    }
    assert_eq!(limiter.throttled(now + 2 * SECOND), now + 4 * SECOND);
}

#[test]
fn the_providers_quota_narrows_the_budget_and_is_counted_down() {
    let now = Instant::now();
    let limiter = per_second(100, 100, now);
    limiter.observe_quota(&quota(2, now + 30 * SECOND), now);
    assert_eq!(limiter.remaining(now), Some(2));
    assert_eq!(limiter.try_acquire(now, ONE), Ok(()));
    assert_eq!(limiter.try_acquire(now, ONE), Ok(()));
    assert_eq!(limiter.try_acquire(now, ONE), limited(30 * SECOND, LimitedBy::Quota));
    assert_eq!(limiter.remaining(now + 30 * SECOND), Some(2), "the next window is taken to be like this one");
    assert_eq!(limiter.try_acquire(now + 30 * SECOND, ONE), Ok(()));
}

#[test]
fn a_quota_of_zero_holds_until_its_reset() {
    let now = Instant::now();
    let limiter = unlimited(now);
    limiter.observe_quota(&quota(0, now + 9 * SECOND), now);
    assert_eq!(limiter.try_acquire(now, ONE), limited(9 * SECOND, LimitedBy::Quota));
    assert_eq!(limiter.try_acquire(now + 9 * SECOND, ONE), Ok(()));
}

#[test]
fn a_late_answer_does_not_widen_the_quota_but_a_new_window_does() {
    let now = Instant::now();
    let limiter = unlimited(now);
    limiter.observe_quota(&quota(5, now + 30 * SECOND), now);
    limiter.observe_quota(&quota(8, now + 30 * SECOND + SECOND / 2), now);
    assert_eq!(limiter.remaining(now), Some(5));
    limiter.observe_quota(&quota(3, now + 30 * SECOND), now);
    assert_eq!(limiter.remaining(now), Some(3));
    limiter.observe_quota(&quota(100, now + 90 * SECOND), now);
    assert_eq!(limiter.remaining(now), Some(100));
    limiter.observe_quota(&quota(0, now), now);
    assert_eq!(limiter.remaining(now), Some(100), "a reset that has passed says nothing");
}

#[test]
fn a_call_that_the_quota_refuses_costs_nothing_of_the_budget() {
    let now = Instant::now();
    let limiter = per_second(5, 5, now);
    limiter.observe_quota(&quota(0, now + SECOND / 10), now);
    for _ in 0..10 {
        assert!(limiter.try_acquire(now, ONE).is_err());
    }
    let after = now + SECOND / 10;
    assert_eq!((0..10).filter(|_| limiter.try_acquire(after, ONE).is_ok()).count(), 5);
}

#[test]
fn a_clock_going_backwards_gives_no_tokens() {
    let now = Instant::now() + 100 * SECOND;
    let limiter = per_second(1, 1, now);
    assert_eq!(limiter.try_acquire(now, ONE), Ok(()));
    assert_eq!(limiter.try_acquire(now - 50 * SECOND, ONE), limited(SECOND, LimitedBy::Budget));
    assert_eq!(limiter.try_acquire(now + SECOND, ONE), Ok(()));
}

type Order = Arc<Mutex<Vec<(usize, u64)>>>;

/// Starts a waiter that notes its number and the milliseconds it took since `start`.
async fn waiter(limiter: &Arc<RateLimiter>, order: &Order, n: usize, max_wait: Duration) -> JoinHandle<bool> {
    let (limiter, order, start) = (Arc::clone(limiter), Arc::clone(order), TokioClock.now());
    let task = tokio::spawn(async move {
        let got = limiter.acquire(&TokioClock, ONE, max_wait, None).await.is_ok();
        if got {
            order.lock().push((n, u64::try_from((TokioClock.now() - start).as_millis()).unwrap()));
        }
        got
    });
    yield_now().await;
    task
}

#[tokio::test(start_paused = true)]
async fn waiters_go_in_the_order_of_arrival_at_the_pace_of_the_budget() {
    let limiter = per_second(10, 1, TokioClock.now());
    limiter.try_acquire(TokioClock.now(), ONE).unwrap();
    let order = Order::default();
    let mut tasks = Vec::new();
    for n in 0..20 {
        tasks.push(waiter(&limiter, &order, n, 10 * SECOND).await);
    }
    assert_eq!(limiter.waiting(), 20);
    for task in tasks {
        assert!(task.await.unwrap());
    }
    let order = order.lock();
    assert_eq!(order.iter().map(|(n, _)| *n).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    for (n, millis) in order.iter() {
        let expected = (*n as u64 + 1) * 100;
        assert!((expected..expected + 25).contains(millis), "{n} went after {millis} ms");
    }
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_cannot_fit_is_refused_at_once() {
    let start = TokioClock.now();
    let limiter = per_second(1, 1, start);
    limiter.try_acquire(start, ONE).unwrap();
    let order = Order::default();
    let first = waiter(&limiter, &order, 0, 10 * SECOND).await;
    let refused = limiter.acquire(&TokioClock, ONE, SECOND + SECOND / 2, None).await;
    assert_eq!(refused, limited(2 * SECOND, LimitedBy::Budget), "one is ahead already");
    let deadline = Some(start + SECOND);
    assert_eq!(
        limiter.acquire(&TokioClock, ONE, 10 * SECOND, deadline).await,
        limited(2 * SECOND, LimitedBy::Budget)
    );
    assert_eq!(
        limiter.acquire(&TokioClock, ONE, Duration::ZERO, None).await,
        limited(2 * SECOND, LimitedBy::Budget)
    );
    assert_eq!(TokioClock.now(), start);
    assert!(first.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_overtake_those_who_wait() {
    let limiter = per_second(1, 1, TokioClock.now());
    limiter.try_acquire(TokioClock.now(), ONE).unwrap();
    let order = Order::default();
    let first = waiter(&limiter, &order, 0, 10 * SECOND).await;
    // The token is there, and the waiter has not been woken yet.
    let when_free = TokioClock.now() + SECOND;
    assert_eq!(limiter.try_acquire(when_free, ONE), limited(SECOND, LimitedBy::Budget));
    assert!(first.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_waiter_leaves_the_line_and_takes_nothing() {
    let limiter = per_second(1, 1, TokioClock.now());
    limiter.try_acquire(TokioClock.now(), ONE).unwrap();
    let order = Order::default();
    let first = waiter(&limiter, &order, 0, 10 * SECOND).await;
    let second = waiter(&limiter, &order, 1, 10 * SECOND).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert!(second.await.unwrap());
    let millis = order.lock()[0].1;
    assert!((1000..1025).contains(&millis), "the second took the first one's token after {millis} ms");
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hold_turns_away_at_once_the_waiters_it_does_not_fit() {
    let start = TokioClock.now();
    let limiter = per_second(1, 1, start);
    limiter.try_acquire(start, ONE).unwrap();
    let order = Order::default();
    let patient = waiter(&limiter, &order, 0, 60 * SECOND).await;
    let hasty = waiter(&limiter, &order, 1, 3 * SECOND).await;
    limiter.hold_until(start + 30 * SECOND, start);
    assert!(!hasty.await.unwrap());
    assert_eq!(TokioClock.now(), start);
    assert!(patient.await.unwrap());
    assert!((30_000..30_025).contains(&order.lock()[0].1));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_behind_a_patient_one_leaves_when_its_own_time_is_up() {
    let start = TokioClock.now();
    let limiter = per_second(1, 1, start);
    limiter.try_acquire(start, ONE).unwrap();
    let order = Order::default();
    let patient = waiter(&limiter, &order, 0, 60 * SECOND).await;
    let hasty = waiter(&limiter, &order, 1, 3 * SECOND).await;
    limiter.observe_quota(&quota(0, start + 30 * SECOND), start);
    assert!(!hasty.await.unwrap());
    assert_eq!((TokioClock.now() - start).as_secs(), 3);
    assert!(patient.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_line_is_bounded() {
    let limiter = per_second(1000, 1, TokioClock.now());
    limiter.try_acquire(TokioClock.now(), ONE).unwrap();
    let order = Order::default();
    let mut tasks = Vec::new();
    for n in 0..=line::WAITING_MAX {
        tasks.push(waiter(&limiter, &order, n, 3600 * SECOND).await);
    }
    assert_eq!(limiter.waiting(), line::WAITING_MAX);
    let last = tasks.pop().unwrap();
    assert!(!last.await.unwrap());
    for task in tasks {
        assert!(task.await.unwrap());
    }
}

#[test]
fn a_call_takes_from_all_windows_or_from_none() {
    let now = Instant::now();
    let limiter = limiter(&[window(10, SECOND, 10), window(12, 3600 * SECOND, 12)], 0.0, now);
    assert_eq!(limiter.try_acquire(now, costing(8)), Ok(()));
    assert_eq!(limiter.try_acquire(now, costing(4)), limited(SECOND / 5, LimitedBy::Budget));
    assert_eq!(limiter.remaining(now), Some(2));
    let soon = now + SECOND;
    assert_eq!(limiter.try_acquire(soon, costing(5)), limited(299 * SECOND, LimitedBy::Budget));
    assert_eq!(limiter.ledger(soon).iter().map(|entry| entry.remaining).collect::<Vec<_>>(), [10, 4]);
    assert_eq!(limiter.try_acquire(soon, costing(4)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_call_dearer_than_a_full_bucket_is_refused_for_good_and_never_waits() {
    let start = TokioClock.now();
    let limiter = limiter(&[window(10, SECOND, 10), window(100, SECOND, 100)], 0.2, start);
    let never = limited(Duration::MAX, LimitedBy::Never);
    assert_eq!(limiter.check(start, costing(9)), never);
    assert_eq!(limiter.acquire(&TokioClock, costing(9), Duration::MAX, None).await, never);
    assert_eq!(TokioClock.now(), start);
    assert_eq!(limiter.check(start, costing(9).at(Priority::High)), Ok(()), "it may use the reserve");
    assert_eq!(limiter.check(start, costing(11).at(Priority::High)), never);
}

#[test]
fn a_share_of_windows_and_quotas_is_kept_for_high_priority() {
    let now = Instant::now();
    let windowed = limiter(&[window(10, SECOND, 10)], 0.3, now);
    let learning = limiter(&[], 0.3, now);
    learning.observe_quota(&QuotaReport { limit: Some(10), ..quota(10, now + 60 * SECOND) }, now);
    for limiter in [windowed, learning] {
        for _ in 0..7 {
            assert_eq!(limiter.try_acquire(now, ONE), Ok(()));
        }
        assert!(limiter.try_acquire(now, ONE).is_err());
        assert!(limiter.try_acquire(now, ONE.at(Priority::Low)).is_err());
        for _ in 0..3 {
            assert_eq!(limiter.try_acquire(now, ONE.at(Priority::High)), Ok(()));
        }
        assert!(limiter.try_acquire(now, ONE.at(Priority::High)).is_err());
    }
}

#[test]
fn several_named_quotas_are_counted_down_together() {
    let now = Instant::now();
    let limiter = unlimited(now);
    limiter.observe_quota(&QuotaReport { name: "burst", ..quota(2, now + SECOND) }, now);
    limiter.observe_quota(&QuotaReport { name: "daily", ..quota(3, now + 3600 * SECOND) }, now);
    assert_eq!(limiter.try_acquire(now, costing(2)), Ok(()));
    assert_eq!(limiter.try_acquire(now, ONE), limited(SECOND, LimitedBy::Quota));
    let soon = now + SECOND;
    assert_eq!(limiter.try_acquire(soon, ONE), Ok(()), "a new window of the short one");
    assert_eq!(limiter.try_acquire(soon, ONE), limited(3599 * SECOND, LimitedBy::Quota));
    let labels: Vec<_> = limiter.ledger(soon).iter().map(|entry| entry.budget.to_string()).collect();
    assert_eq!(labels, ["burst", "daily"]);
}

#[test]
fn the_forecast_names_the_budget_that_runs_out_first() {
    let start = Instant::now();
    assert_eq!(unlimited(start).forecast(start), None);
    let limiter = limiter(&[window(100, SECOND, 100), window(1000, 3600 * SECOND, 1000)], 0.0, start);
    limiter.observe_quota(&QuotaReport { name: "daily", ..quota(5000, start + 86_400 * SECOND) }, start);
    let mut now = start;
    for _ in 0..200 {
        now += SECOND / 10;
        limiter.try_acquire(now, ONE).unwrap();
    }
    let forecast = limiter.forecast(now).unwrap();
    assert_eq!(forecast.budget, ForecastOf::Window(1));
    assert!((9.0..11.0).contains(&forecast.rate), "{}", forecast.rate);
    let exhausted_in = forecast.exhausted_in.unwrap().as_secs_f64();
    assert!((75.0..95.0).contains(&exhausted_in), "{exhausted_in}");
    assert_eq!(limiter.ledger(now).len(), 3);
}

#[test]
fn the_rate_counts_what_goes_by_lease_when_it_goes() {
    let start = Instant::now();
    let limiter = per_second(1000, 100_000, start);
    for second in 0..60u32 {
        limiter.try_acquire(start + second * SECOND, ONE).unwrap();
    }
    let rate = limiter.forecast(start + 60 * SECOND).unwrap().rate;
    assert!((0.9..1.1).contains(&rate), "{rate}");
}

#[test]
fn a_burst_of_hundreds_is_exact_whether_leased_or_not() {
    for burst in [100, 255, 256, 1000, 100_000] {
        let now = Instant::now();
        let limiter = per_second(1, burst, now);
        let went = (0..burst + 50).filter(|_| limiter.try_acquire(now, ONE).is_ok()).count();
        assert_eq!(went, burst as usize);
        assert_eq!(limiter.try_acquire(now, ONE), limited(SECOND, LimitedBy::Budget));
    }
}

/// However many threads take from leases at a time: what goes is what was in the bucket, no more and no less.
#[test]
fn threads_together_take_exactly_what_there_is() {
    const BURST: u32 = 50_000;
    for threads in [2, 4, 24] {
        let now = Instant::now();
        let limiter = per_second(1, BURST, now);
        let went = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for n in 0..threads {
                let (limiter, went) = (&limiter, &went);
                scope.spawn(move || {
                    let demand = costing(1 + n % 3);
                    let mut tokens = 0;
                    while limiter.try_acquire(now, demand).is_ok() {
                        tokens += demand.cost.get() as usize;
                    }
                    while limiter.try_acquire(now, ONE).is_ok() {
                        tokens += 1;
                    }
                    went.fetch_add(tokens, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(went.into_inner(), BURST as usize, "{threads} threads");
    }
}

#[test]
fn threads_never_take_more_than_burst_and_refill_while_time_passes() {
    let start = Instant::now();
    let limiter = limiter(&[window(1_000_000, SECOND, 2000), window(500_000, SECOND, 3000)], 0.1, start);
    let (tick, went) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let micros = tick.fetch_add(1, Ordering::Relaxed);
                    if micros >= 60_000 {
                        break;
                    }
                    let now = start + Duration::from_micros(micros as u64);
                    went.fetch_add(usize::from(limiter.try_acquire(now, ONE).is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    // 60 ms at half a token per microsecond, and the burst above the reserve.
    assert!(went.load(Ordering::Relaxed) <= 30_000 + 2700, "{went:?}");
    assert!(went.load(Ordering::Relaxed) >= 25_000, "{went:?}");
}

#[test]
fn a_hold_reaches_threads_that_have_a_lease() {
    let now = Instant::now();
    let limiter = per_second(1000, 100_000, now);
    limiter.try_acquire(now, ONE).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| limiter.hold_until(now + SECOND, now));
    });
    assert_eq!(limiter.try_acquire(now, ONE), limited(SECOND, LimitedBy::Hold));
    let other = limiter.try_acquire(now + SECOND, ONE);
    assert_eq!(other, Ok(()));
    limiter.observe_quota(&quota(0, now + 2 * SECOND), now + SECOND);
    assert_eq!(limiter.try_acquire(now + SECOND, ONE), limited(SECOND, LimitedBy::Quota));
}
