//! What the limiter costs a call, alone and with two threads on one limiter.
//!
//! `shared` against `own` tells how it scales: two threads on one limiter against two threads that have a limiter each,
//! which no limiter can beat. Times are per call of each thread; time is passed in and not read.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use bascule_resilience::{Demand, QuotaReport, RateLimiter, RateLimiterConfig, RateWindow};
use criterion::{Criterion, criterion_group, criterion_main};

type Call = fn(&RateLimiter, Instant) -> bool;
type Make = fn() -> Arc<RateLimiter>;

const CALLS: [(&str, Call); 2] = [
    ("check", |limiter, now| limiter.check(now, Demand::default()).is_ok()),
    ("try_acquire", |limiter, now| limiter.try_acquire(now, Demand::default()).is_ok()),
];

/// Between two calls of a thread, as the limiter sees it.
const STEP: Duration = Duration::from_nanos(40);

/// One window that these calls do not exhaust.
fn plentiful() -> Arc<RateLimiter> {
    with_burst(100_000_000)
}

fn with_burst(burst: u32) -> Arc<RateLimiter> {
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let window = RateWindow { requests: burst, window: Duration::from_secs(1), burst };
    RateLimiter::new(RateLimiterConfig { windows: vec![window], reserve: 0.0 }, Instant::now())
}

fn calls(limiter: &RateLimiter, call: Call, count: u64) -> Duration {
    let mut now = Instant::now();
    let began = Instant::now();
    for _ in 0..count {
        now += STEP;
        black_box(call(black_box(limiter), now));
    }
    began.elapsed()
}

/// Both threads make `count` calls; the slower one's time.
fn two_threads(limiters: [&RateLimiter; 2], call: Call, count: u64) -> Duration {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let threads = limiters.map(|limiter| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                calls(limiter, call, count)
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap_or(Duration::MAX)).max().unwrap_or_default()
    })
}

/// No window of our own, and a quota of the provider's that these calls do not exhaust.
fn learnt() -> Arc<RateLimiter> {
    let now = Instant::now();
    let limiter = RateLimiter::new(RateLimiterConfig::default(), now);
    let reset = now + Duration::from_secs(3600);
    let report = QuotaReport { name: "", remaining: u64::MAX, limit: None, window: None, reset, cost: 1 };
    limiter.observe_quota(&report, now);
    limiter
}

fn limiter(criterion: &mut Criterion) {
    for (name, call) in CALLS {
        let mut group = criterion.benchmark_group(format!("limiter/{name}"));
        let none = RateLimiter::new(RateLimiterConfig::default(), Instant::now());
        group.bench_function("one_thread/no_window", |bencher| {
            bencher.iter_custom(|count| calls(&none, call, count));
        });
        // The latter two are decided in the ledger, call by call: too small for leases, and learnt.
        let kinds: [(&str, Make); 3] =
            [("plentiful", plentiful), ("small_budget", || with_burst(200)), ("learnt_quota", learnt)];
        for (kind, make) in kinds {
            let (one, other) = (make(), make());
            group.bench_function(format!("one_thread/{kind}"), |bencher| {
                bencher.iter_custom(|count| calls(&one, call, count));
            });
            group.bench_function(format!("two_threads/own/{kind}"), |bencher| {
                bencher.iter_custom(|count| two_threads([&one, &other], call, count));
            });
            group.bench_function(format!("two_threads/shared/{kind}"), |bencher| {
                bencher.iter_custom(|count| two_threads([&one, &one], call, count));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, limiter);
criterion_main!(benches);
