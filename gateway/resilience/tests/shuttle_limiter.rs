//! The rate limiter under a scheduler: tokens that are leased, called back and waited for, by callers of whom some leave.
//!
//! Tokens are conserved: what was granted and what is left is what there was. Each scenario is made so that no bucket
//! ever overflows, and so the sum is exact.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "what is wrong here fails the test")]

#[path = "explored/support.rs"]
mod support;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bascule_resilience::{Clock, Demand, Priority, QuotaReport, RateLimiter, RateLimiterConfig, RateWindow};
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::thread;

use self::support::{MILLISECOND, Turned, explore, pick};

const HOUR: Duration = Duration::from_secs(3600);

/// What this bucket holds is enough to be leased, in leases of nine.
const LEASED: u32 = 300;

/// A token every 10 ms, in bursts of `burst`.
fn limiter(burst: u32, now: Instant) -> Arc<RateLimiter> {
    let window = RateWindow { requests: some(100), window: Duration::from_secs(1), burst: some(burst) };
    RateLimiter::new(RateLimiterConfig { windows: vec![window], reserve: 0.0 }, now)
}

fn some(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn costing(cost: u32) -> Demand {
    Demand { cost: some(cost), ..Demand::default() }
}

/// Takes until nothing is left; gives what that was.
fn rest(limiter: &RateLimiter, now: Instant) -> u64 {
    (0..).take_while(|_| limiter.try_acquire(now, Demand::default()).is_ok()).count() as u64
}

/// Threads that take small things from leases and big ones that call these back, and look in between.
fn leases() {
    let now = Instant::now();
    let limiter = limiter(LEASED, now);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || {
                let mut taken = 0;
                for _ in 0..5 {
                    let cost = pick(&[1, 2, 5, 40, 90]);
                    match pick(&[0, 1, 2, 3]) {
                        0 => assert!(limiter.remaining(now) <= Some(LEASED.into())),
                        1 => drop(limiter.check(now, costing(cost))),
                        _ if limiter.try_acquire(now, costing(cost)).is_ok() => taken += u64::from(cost),
                        _ => {}
                    }
                }
                taken
            })
        })
        .collect();
    let taken: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let left = limiter.remaining(now);
    assert_eq!(left, Some(u64::from(LEASED) - taken), "{taken} were taken");
    assert_eq!(left, Some(rest(&limiter, now)));
}

/// A thread stops all calls while others have leases: what begins after it has, goes no more.
fn stops() {
    let now = Instant::now();
    let limiter = limiter(LEASED, now);
    let stopped = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (limiter, stopped) = (Arc::clone(&limiter), Arc::clone(&stopped));
            thread::spawn(move || {
                for _ in 0..4 {
                    let late = stopped.load(Ordering::SeqCst);
                    let went = limiter.try_acquire(now, costing(pick(&[1, 40]))).is_ok();
                    assert!(!(late && went), "it went on a lease after all were called back");
                }
            })
        })
        .collect();
    limiter.try_acquire(now, Demand::default()).unwrap();
    let until = now + HOUR;
    if pick(&[true, false]) {
        limiter.hold_until(until, now);
    } else {
        let report = QuotaReport { name: "", remaining: 0, limit: None, window: None, reset: until, cost: 1 };
        limiter.observe_quota(&report, now);
    }
    stopped.store(true, Ordering::SeqCst);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(limiter.try_acquire(now, Demand::default()).is_err());
}

/// Calls that wait for tokens while the clock is turned, of whom some are cut off and some lose their patience.
fn waiters() {
    const BURST: u32 = 16;
    let clock = Arc::new(Turned::new());
    let start = clock.now();
    let limiter = limiter(BURST, start);
    limiter.try_acquire(start, costing(BURST)).unwrap();
    let granted = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (limiter, clock, granted) = (Arc::clone(&limiter), Arc::clone(&clock), Arc::clone(&granted));
            let caller = async move {
                for _ in 0..2 {
                    let (cost, priority) = (pick(&[1, 2]), pick(&Priority::ALL));
                    let max_wait = pick(&[25 * MILLISECOND, HOUR]);
                    let asked = limiter.acquire(&*clock, costing(cost).at(priority), max_wait, None).await;
                    match asked {
                        Ok(()) => drop(granted.fetch_add(cost.into(), Ordering::SeqCst)),
                        Err(_) => assert!(max_wait < HOUR, "a patient call was turned away"),
                    }
                }
            };
            (spawn(caller), pick(&[false, false, true]))
        })
        .collect();
    let hands = spawn({
        let clock = Arc::clone(&clock);
        async move {
            // In the end there is enough for all, and room for it.
            for millis in [10, 10, 10, 100] {
                clock.turn(millis * MILLISECOND);
                yield_now().await;
            }
        }
    });
    callers.iter().filter(|(_, cut_off)| *cut_off).for_each(|(caller, _)| caller.abort());
    block_on(async {
        for (caller, cut_off) in callers {
            assert!(caller.await.is_ok() || cut_off, "a caller who stayed has no answer");
        }
        hands.await.unwrap();
    });
    assert_eq!(limiter.waiting(), 0);
    let left = limiter.remaining(clock.now()).unwrap();
    assert_eq!(left + granted.load(Ordering::SeqCst), 13, "tokens of 130 ms");
}

#[test]
fn leases_that_are_called_back_lose_no_token_and_grant_none_twice() {
    explore(10_000, leases);
}

#[test]
fn nothing_goes_on_a_lease_once_all_calls_are_stopped() {
    explore(10_000, stops);
}

#[test]
fn waiters_who_are_cut_off_lose_no_token_and_leave_nobody_behind() {
    explore(10_000, waiters);
}
