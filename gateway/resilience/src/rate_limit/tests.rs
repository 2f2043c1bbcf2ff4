//! What holds calls back, who goes first, and that waiting has bounds. Time is paused or virtual throughout.

use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::clock::TokioClock;

const SECOND: Duration = Duration::from_secs(1);

/// `requests` per second, one at a time.
fn per_second(requests: u32, burst: u32, now: Instant) -> Arc<RateLimiter> {
    let some = |n| NonZeroU32::new(n).unwrap();
    RateLimiter::new(
        Some(RateLimiterConfig { requests: some(requests), window: SECOND, burst: some(burst) }),
        now,
    )
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
        assert_eq!(limiter.try_acquire(now), Ok(()));
    }
    assert_eq!(limiter.try_acquire(now), limited(SECOND / 2, LimitedBy::Budget));
    assert_eq!(limiter.remaining(now), Some(0));
    assert_eq!(limiter.try_acquire(now + SECOND / 2), Ok(()));
    assert_eq!(limiter.check(now + SECOND / 2), limited(SECOND / 2, LimitedBy::Budget));
    assert_eq!(limiter.remaining(now + 10 * SECOND), Some(3));
}

#[test]
fn a_hold_stops_all_calls_and_the_longest_wins() {
    let now = Instant::now();
    let limiter = RateLimiter::new(None, now);
    assert_eq!(limiter.remaining(now), None);
    assert_eq!(limiter.try_acquire(now), Ok(()));
    limiter.hold_until(now + 5 * SECOND, now);
    limiter.hold_until(now + 2 * SECOND, now);
    assert_eq!(limiter.remaining(now), Some(0));
    assert_eq!(limiter.try_acquire(now + SECOND), limited(4 * SECOND, LimitedBy::Hold));
    assert_eq!(limiter.try_acquire(now + 5 * SECOND), Ok(()));
    assert_eq!(limiter.remaining(now + 5 * SECOND), None);
}

#[test]
fn throttling_without_an_end_doubles_up_to_a_minute_until_a_success() {
    let mut now = Instant::now();
    let limiter = RateLimiter::new(None, now);
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
fn many_answers_to_one_burst_make_one_hold() {
    let now = Instant::now();
    let limiter = RateLimiter::new(None, now);
    for _ in 0..50 {
        assert_eq!(limiter.throttled(now + SECOND / 10), now + SECOND / 10 + SECOND);
    }
    assert_eq!(limiter.throttled(now + 2 * SECOND), now + 4 * SECOND);
}

#[test]
fn the_providers_quota_narrows_the_budget_and_is_counted_down() {
    let now = Instant::now();
    let limiter = per_second(100, 100, now);
    limiter.observe_quota(2, now + 30 * SECOND, now);
    assert_eq!(limiter.remaining(now), Some(2));
    assert_eq!(limiter.try_acquire(now), Ok(()));
    assert_eq!(limiter.try_acquire(now), Ok(()));
    assert_eq!(limiter.try_acquire(now), limited(30 * SECOND, LimitedBy::Quota));
    assert_eq!(limiter.remaining(now + 30 * SECOND), Some(100));
    assert_eq!(limiter.try_acquire(now + 30 * SECOND), Ok(()));
}

#[test]
fn a_quota_of_zero_holds_until_its_reset() {
    let now = Instant::now();
    let limiter = RateLimiter::new(None, now);
    limiter.observe_quota(0, now + 9 * SECOND, now);
    assert_eq!(limiter.try_acquire(now), limited(9 * SECOND, LimitedBy::Quota));
    assert_eq!(limiter.try_acquire(now + 9 * SECOND), Ok(()));
}

#[test]
fn a_late_answer_does_not_widen_the_quota_but_a_new_window_does() {
    let now = Instant::now();
    let limiter = RateLimiter::new(None, now);
    limiter.observe_quota(5, now + 30 * SECOND, now);
    limiter.observe_quota(8, now + 30 * SECOND + SECOND / 2, now);
    assert_eq!(limiter.remaining(now), Some(5));
    limiter.observe_quota(3, now + 30 * SECOND, now);
    assert_eq!(limiter.remaining(now), Some(3));
    limiter.observe_quota(100, now + 90 * SECOND, now);
    assert_eq!(limiter.remaining(now), Some(100));
    limiter.observe_quota(0, now, now);
    assert_eq!(limiter.remaining(now), Some(100), "a reset that has passed says nothing");
}

#[test]
fn a_call_that_the_quota_refuses_costs_nothing_of_the_budget() {
    let now = Instant::now();
    let limiter = per_second(5, 5, now);
    limiter.observe_quota(0, now + SECOND / 10, now);
    for _ in 0..10 {
        assert!(limiter.try_acquire(now).is_err());
    }
    let after = now + SECOND / 10;
    assert_eq!((0..10).filter(|_| limiter.try_acquire(after).is_ok()).count(), 5);
}

#[test]
fn a_clock_going_backwards_gives_no_tokens() {
    let now = Instant::now() + 100 * SECOND;
    let limiter = per_second(1, 1, now);
    assert_eq!(limiter.try_acquire(now), Ok(()));
    assert_eq!(limiter.try_acquire(now - 50 * SECOND), limited(SECOND, LimitedBy::Budget));
    assert_eq!(limiter.try_acquire(now + SECOND), Ok(()));
}

type Order = Arc<Mutex<Vec<(usize, u64)>>>;

/// Starts a waiter that notes its number and the milliseconds it took since `start`.
async fn waiter(limiter: &Arc<RateLimiter>, order: &Order, n: usize, max_wait: Duration) -> JoinHandle<bool> {
    let (limiter, order, start) = (Arc::clone(limiter), Arc::clone(order), TokioClock.now());
    let task = tokio::spawn(async move {
        let got = limiter.acquire(&TokioClock, max_wait, None).await.is_ok();
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
    limiter.try_acquire(TokioClock.now()).unwrap();
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
    limiter.try_acquire(start).unwrap();
    let order = Order::default();
    let first = waiter(&limiter, &order, 0, 10 * SECOND).await;
    let refused = limiter.acquire(&TokioClock, SECOND + SECOND / 2, None).await;
    assert_eq!(refused, limited(2 * SECOND, LimitedBy::Budget), "one is ahead already");
    let deadline = Some(start + SECOND);
    assert_eq!(
        limiter.acquire(&TokioClock, 10 * SECOND, deadline).await,
        limited(2 * SECOND, LimitedBy::Budget)
    );
    assert_eq!(
        limiter.acquire(&TokioClock, Duration::ZERO, None).await,
        limited(2 * SECOND, LimitedBy::Budget)
    );
    assert_eq!(TokioClock.now(), start);
    assert!(first.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_overtake_those_who_wait() {
    let limiter = per_second(1, 1, TokioClock.now());
    limiter.try_acquire(TokioClock.now()).unwrap();
    let order = Order::default();
    let first = waiter(&limiter, &order, 0, 10 * SECOND).await;
    // The token is there, and the waiter has not been woken yet.
    let when_free = TokioClock.now() + SECOND;
    assert_eq!(limiter.try_acquire(when_free), limited(SECOND, LimitedBy::Budget));
    assert!(first.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_waiter_leaves_the_line_and_takes_nothing() {
    let limiter = per_second(1, 1, TokioClock.now());
    limiter.try_acquire(TokioClock.now()).unwrap();
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
async fn a_hold_that_comes_up_turns_away_the_waiters_it_does_not_fit() {
    let start = TokioClock.now();
    let limiter = per_second(1, 1, start);
    limiter.try_acquire(start).unwrap();
    let order = Order::default();
    let short = waiter(&limiter, &order, 0, 2 * SECOND).await;
    let long = waiter(&limiter, &order, 1, 60 * SECOND).await;
    limiter.hold_until(start + 30 * SECOND, start);
    assert!(!short.await.unwrap());
    assert!(long.await.unwrap());
    assert!((30_000..30_025).contains(&order.lock()[0].1));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_behind_a_patient_one_leaves_when_its_own_time_is_up() {
    let start = TokioClock.now();
    let limiter = per_second(1, 1, start);
    limiter.try_acquire(start).unwrap();
    let order = Order::default();
    let patient = waiter(&limiter, &order, 0, 60 * SECOND).await;
    let hasty = waiter(&limiter, &order, 1, 3 * SECOND).await;
    limiter.hold_until(start + 30 * SECOND, start);
    assert!(!hasty.await.unwrap());
    assert_eq!((TokioClock.now() - start).as_secs(), 3);
    assert!(patient.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_line_is_bounded() {
    let limiter = per_second(1000, 1, TokioClock.now());
    limiter.try_acquire(TokioClock.now()).unwrap();
    let order = Order::default();
    let mut tasks = Vec::new();
    for n in 0..=queue::WAITING_MAX {
        tasks.push(waiter(&limiter, &order, n, 3600 * SECOND).await);
    }
    assert_eq!(limiter.waiting(), queue::WAITING_MAX);
    let last = tasks.pop().unwrap();
    assert!(!last.await.unwrap());
    for task in tasks {
        assert!(task.await.unwrap());
    }
}
