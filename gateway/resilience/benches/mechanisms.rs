//! What the mechanisms cost a call that passes, on one thread and on two that share them.
//!
//! `cargo bench -p bascule-resilience --bench mechanisms`. Two threads are measured with both at work: the figure is the
//! time in which each of them does one operation, so that perfect scaling shows the same figure as one thread does.
//! That holds on a machine with nothing else to do; on a busy one the fastest samples tell more than the median.

#![expect(clippy::expect_used, reason = "a benchmark that measures something else than it says has to end")]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bascule_resilience::{Breaker, BreakerConfig, SlowCall, Trip};
use criterion::{Criterion, criterion_group, criterion_main};

const TOOK: Duration = Duration::from_millis(20);

/// Runs `work` so many times on each of two threads; gives the time from the first one's beginning to the last one's end.
fn together(times: u64, work: impl Fn(u64) + Sync) -> Duration {
    let arrived = AtomicU32::new(0);
    let run = || {
        // Not a barrier that sleeps: one that is woken late would work alone, and meet nobody.
        arrived.fetch_add(1, Ordering::SeqCst);
        while arrived.load(Ordering::SeqCst) < 2 {
            std::hint::spin_loop();
        }
        let begun = Instant::now();
        work(times);
        (begun, Instant::now())
    };
    let (mine, other) = std::thread::scope(|scope| {
        let other = scope.spawn(run);
        (run(), other.join().expect("the work does not panic"))
    });
    mine.1.max(other.1) - mine.0.min(other.0)
}

/// Measures `operation` on one thread and on two. It is given the point in time at which it happens.
fn both(bench: &mut Criterion, name: &str, operation: impl Fn(Instant) + Sync) {
    let base = Instant::now();
    let work = |times: u64| {
        for n in 0..times {
            // As many calls per second of virtual time as a busy gateway makes.
            operation(base + Duration::from_micros(n));
        }
    };
    bench.bench_function(&format!("{name}, one thread"), |bencher| {
        bencher.iter_custom(|times| {
            let begun = Instant::now();
            work(times);
            begun.elapsed()
        });
    });
    bench.bench_function(&format!("{name}, two threads"), |bencher| {
        bencher.iter_custom(|times| together(times, work));
    });
}

fn share(rate: f64) -> Trip {
    Trip::Rate { rate, min_calls: NonZeroU32::MIN.saturating_add(19), window: Duration::from_secs(60) }
}

fn breaker(bench: &mut Criterion) {
    let of = |config| Breaker::new(config, |_| ());
    let slow_call = Some(SlowCall { threshold: 10 * TOOK, rate: 0.8, min_calls: NonZeroU32::MIN });
    let configs = [
        ("count", BreakerConfig::default()),
        (
            "run",
            BreakerConfig {
                trip: Trip::Consecutive { failures: NonZeroU32::MIN },
                ..BreakerConfig::default()
            },
        ),
        ("rate", BreakerConfig { trip: share(0.5), ..BreakerConfig::default() }),
        ("rate and slowness", BreakerConfig { trip: share(0.5), slow_call, ..BreakerConfig::default() }),
    ];
    for (rule, config) in configs {
        let breaker = of(config);
        both(bench, &format!("breaker: closed, by {rule}: check, enter, success"), |now| {
            black_box(breaker.check(now)).expect("closed");
            let permit = breaker.enter(now, 0.5).expect("closed");
            black_box(permit.success(now, TOOK, 0.5));
        });
    }
    let closed = of(BreakerConfig::default());
    both(bench, "breaker: closed, by count: check, acquire, success", |now| {
        black_box(closed.check(now)).expect("closed");
        let permit = closed.acquire(now, 0.5).expect("closed");
        black_box(permit.success(now, TOOK, 0.5));
    });
    let open = of(BreakerConfig::default());
    open.force_open(Instant::now());
    both(bench, "breaker: open, refusal", |now| {
        black_box(open.check(now)).expect_err("open");
    });
}

criterion_group! {
    name = mechanisms;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = breaker
}
criterion_main!(mechanisms);
