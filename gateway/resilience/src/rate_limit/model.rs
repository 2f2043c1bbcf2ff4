//! A reference model of the limiter, run against generated histories.
//!
//! The model is naive on purpose: buckets are credits that are topped up step by step, quotas are lists of what was
//! sent, the line is a loop. It knows neither leases nor locks nor wakers. Times are whole and virtual.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::simulation::Simulation;

const MILLI: u64 = 1_000_000;

#[derive(Clone, Debug)]
enum Op {
    Pass { micros: u64 },
    Calls { count: u32, cost: u32, priority: Priority },
    Look { cost: u32, priority: Priority },
    Hold { millis: u64 },
    Deliver { which: usize },
}

/// A bucket that is topped up as time passes. Credit is in nanoseconds: `interval` of them make a token.
struct Bucket {
    interval: u64,
    burst: u64,
    reserved: u64,
    credit: u64,
    at: u64,
}

struct Model {
    buckets: Vec<Bucket>,
    held_until: u64,
    granted: Vec<(u64, u64)>,
}

impl Bucket {
    fn new(window: &RateWindow, reserve: f64) -> Self {
        let interval = (window.window.as_nanos() as u64).div_ceil(u64::from(window.requests.get()));
        let burst = u64::from(window.burst.get());
        let reserved = (reserve * burst as f64 + 1e-9).floor() as u64;
        Self { interval, burst, reserved, credit: burst * interval, at: 0 }
    }

    fn credit(&self, at: u64) -> u64 {
        (self.credit + at.saturating_sub(self.at)).min(self.burst * self.interval)
    }

    fn wanted(&self, cost: u64, priority: Priority) -> u64 {
        (cost + if priority == Priority::High { 0 } else { self.reserved }) * self.interval
    }

    fn take(&mut self, at: u64, cost: u64) {
        self.credit = self.credit(at) - cost * self.interval;
        self.at = at;
    }
}

impl Model {
    fn new(windows: &[RateWindow], reserve: f64) -> Self {
        let buckets = windows.iter().map(|window| Bucket::new(window, reserve)).collect();
        Self { buckets, held_until: 0, granted: Vec::new() }
    }

    /// When the call may go; `None` for never.
    fn when(&self, at: u64, cost: u64, priority: Priority) -> Option<u64> {
        let from = at.max(self.held_until);
        let mut when = from;
        for bucket in &self.buckets {
            let wanted = bucket.wanted(cost, priority);
            if wanted > bucket.burst * bucket.interval {
                return None;
            }
            when = when.max(from + wanted.saturating_sub(bucket.credit(from)));
        }
        Some(when)
    }

    fn verdict(&self, at: u64, cost: u64, priority: Priority) -> Result<(), Option<Duration>> {
        match self.when(at, cost, priority) {
            Some(when) if when == at => Ok(()),
            Some(when) => Err(Some(Duration::from_nanos(when - at))),
            None => Err(None),
        }
    }

    fn take(&mut self, at: u64, cost: u64) {
        self.buckets.iter_mut().for_each(|bucket| bucket.take(at, cost));
        self.granted.push((at, cost));
    }

    fn remaining(&self, at: u64) -> Option<u64> {
        let own = self.buckets.iter().map(|bucket| bucket.credit(at) / bucket.interval);
        own.chain((self.held_until > at).then_some(0)).min()
    }

    /// No span of a window's length holds more than its burst and what came back meanwhile.
    fn check_spans(&self, windows: &[RateWindow]) {
        for window in windows {
            let span = window.window.as_nanos() as u64;
            let most = u64::from(window.burst.get()) + u64::from(window.requests.get());
            let (mut from, mut within) = (0, 0);
            for (at, cost) in &self.granted {
                within += cost;
                while self.granted[from].0 + span <= *at {
                    within -= self.granted[from].1;
                    from += 1;
                }
                assert!(within <= most, "{within} of {most} within {span} ns");
            }
        }
    }
}

fn told(limited: Result<(), Limited>) -> Result<(), Option<Duration>> {
    limited.map_err(|limited| (limited.by != LimitedBy::Never).then_some(limited.retry_after))
}

fn priorities() -> impl Strategy<Value = Priority> {
    prop::sample::select(Priority::ALL.to_vec())
}

fn windows() -> impl Strategy<Value = Vec<RateWindow>> {
    let window =
        (1u32..400, 1u64..3000, prop_oneof![1u32..12, 200u32..3000]).prop_map(|(requests, millis, burst)| {
            RateWindow {
                requests: NonZeroU32::new(requests).unwrap(),
                window: Duration::from_millis(millis),
                burst: NonZeroU32::new(burst).unwrap(),
            }
        });
    prop::collection::vec(window, 0..6)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u64..2_000_000).prop_map(|micros| Op::Pass { micros: micros * micros / 2_000_000 }),
        4 => (1u32..400, 1u32..9, priorities()).prop_map(|(count, cost, priority)| Op::Calls { count, cost, priority }),
        2 => (1u32..9, priorities()).prop_map(|(cost, priority)| Op::Look { cost, priority }),
        1 => (1u64..1500).prop_map(|millis| Op::Hold { millis }),
        2 => (0usize..8).prop_map(|which| Op::Deliver { which }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Windows, costs, reserve and holds: verdict, wait and rest are the model's, to the nanosecond, with leases at work.
    #[test]
    fn verdicts_and_waits_are_the_models(
        windows in windows(),
        reserve in prop_oneof![Just(0.0), 0.0f64..1.0],
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let origin = Instant::now();
        let limiter = RateLimiter::new(RateLimiterConfig { windows: windows.clone(), reserve }, origin);
        let mut model = Model::new(&windows, reserve);
        let mut at = 0;
        for op in ops {
            let now = origin + Duration::from_nanos(at);
            match op {
                Op::Pass { micros } => at += micros * 1000,
                Op::Calls { count, cost, priority } => {
                    let demand = Demand { cost: NonZeroU32::new(cost).unwrap(), priority };
                    for _ in 0..count {
                        let expected = model.verdict(at, cost.into(), priority);
                        let now = origin + Duration::from_nanos(at);
                        prop_assert_eq!(told(limiter.try_acquire(now, demand)), expected);
                        if expected.is_err() {
                            break;
                        }
                        model.take(at, cost.into());
                        at += 10;
                    }
                }
                Op::Look { cost, priority } => {
                    let demand = Demand { cost: NonZeroU32::new(cost).unwrap(), priority };
                    prop_assert_eq!(told(limiter.check(now, demand)), model.verdict(at, cost.into(), priority));
                    prop_assert_eq!(limiter.remaining(now), model.remaining(at));
                }
                Op::Hold { millis } => {
                    limiter.hold_until(now + Duration::from_millis(millis), now);
                    model.held_until = model.held_until.max(at + millis * MILLI);
                }
                Op::Deliver { .. } => {}
            }
        }
        model.check_spans(&windows);
    }
}

/// A provider's quota as the provider counts it: every call that went, in fixed windows.
struct Truth {
    name: &'static str,
    limit: u64,
    length: u64,
    sent: Vec<(u64, u64)>,
    /// Windows that an answer has told us about.
    heard: BTreeSet<u64>,
}

struct Answer {
    at: u64,
    which: usize,
    window: u64,
    remaining: u64,
}

impl Truth {
    fn left(&self, at: u64) -> u64 {
        let start = at - at % self.length;
        let sent = self.sent.iter().filter(|(when, _)| *when >= start).map(|(_, cost)| cost).sum();
        self.limit.saturating_sub(sent)
    }

    /// What may have counted as in flight when the window was assumed or first heard of.
    fn lately(&self, at: u64) -> u64 {
        let start = at - at % self.length;
        self.sent.iter().filter(|(when, _)| when + 10_000 * MILLI > start).map(|(_, cost)| cost).sum()
    }

    /// Whether we have known for a whole window what to expect.
    fn is_learnt(&self, at: u64) -> bool {
        let window = at / self.length;
        window.checked_sub(1).is_some_and(|before| self.heard.contains(&before))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Two quotas, whose answers come late, out of order or never: once learnt, they are never overrun, the reserve is
    /// kept, and nobody is refused whom the provider's own count would surely have let through.
    #[test]
    fn a_learnt_quota_is_never_overrun_and_never_refuses_without_need(
        limits in (10u64..60, 20u64..200),
        lengths in (2u64..8, 10u64..30),
        reserve in prop_oneof![Just(0.0), 0.0f64..0.5],
        answering in 1u64..5,
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let origin = Instant::now();
        let instant = |at: u64| origin + Duration::from_nanos(at);
        let limiter = RateLimiter::new(RateLimiterConfig { windows: Vec::new(), reserve }, origin);
        let truth = |name, limit, seconds: u64| {
            Truth { name, limit, length: seconds * 1000 * MILLI, sent: Vec::new(), heard: BTreeSet::new() }
        };
        let mut truths = [truth("short", limits.0, lengths.0), truth("long", limits.1, lengths.1)];
        let (mut at, mut calls, mut answers) = (0u64, 0u64, Vec::<Answer>::new());
        let deliver = |answer: Answer, truths: &mut [Truth; 2], at: u64| {
            let truth = &mut truths[answer.which];
            let end = (answer.window + 1) * truth.length;
            if end > at {
                truth.heard.insert(answer.window);
            }
            limiter.observe_quota(
                &QuotaReport {
                    name: truth.name,
                    remaining: answer.remaining,
                    limit: Some(truth.limit),
                    window: Some(Duration::from_nanos(truth.length)),
                    reset: instant(end),
                    cost: 1,
                },
                instant(at),
            );
        };
        for op in ops {
            while answers.first().is_some_and(|answer| answer.at + 4000 * MILLI <= at) {
                deliver(answers.remove(0), &mut truths, at);
            }
            match op {
                Op::Pass { micros } => at += micros * 1000,
                Op::Deliver { which } if which < answers.len() => deliver(answers.remove(which), &mut truths, at),
                Op::Calls { count, cost, priority } => {
                    let demand = Demand { cost: NonZeroU32::new(1 + cost % 3).unwrap(), priority };
                    let cost = u64::from(demand.cost.get());
                    for _ in 0..count % 40 {
                        let kept = |limit: u64| {
                            if priority == Priority::High { 0 } else { (reserve * limit as f64 + 1e-9) as u64 }
                        };
                        match limiter.try_acquire(instant(at), demand) {
                            Ok(()) => {
                                for (which, truth) in truths.iter_mut().enumerate() {
                                    let left = truth.left(at);
                                    if truth.is_learnt(at) {
                                        prop_assert!(left >= cost + kept(truth.limit), "{} left of {}", left, truth.name);
                                    }
                                    truth.sent.push((at, cost));
                                    calls += 1;
                                    if calls % answering != 0 {
                                        let window = at / truth.length;
                                        answers.push(Answer { at, which, window, remaining: truth.left(at) });
                                    }
                                }
                            }
                            Err(limited) => {
                                prop_assert_eq!(limited.by, LimitedBy::Quota);
                                let needed = truths.iter().any(|truth| {
                                    let surely = truth.left(at).saturating_sub(truth.lately(at));
                                    !truth.heard.is_empty() && surely < cost + kept(truth.limit)
                                });
                                prop_assert!(needed, "refused for {:?}", limited.retry_after);
                                break;
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// One call that waits: when it comes, what it costs, how patient it is.
#[derive(Clone, Debug)]
struct Arrival {
    after: u64,
    cost: u32,
    patience: u64,
    priority: Priority,
    cancel: bool,
}

fn arrivals(priorities: impl Strategy<Value = Priority>) -> impl Strategy<Value = Vec<Arrival>> {
    let arrival = (0u64..400, 1u32..4, 0u64..6000, priorities, prop::bool::weighted(0.15));
    let arrival = arrival.prop_map(|(after, cost, patience, priority, cancel)| {
        let (after, patience) = (after * after / 400 * MILLI, patience * MILLI);
        Arrival { after, cost, patience, priority, cancel }
    });
    prop::collection::vec(arrival, 1..60)
}

/// How each arrival ended: the time from the start at which it went, or nothing.
type Ends = Rc<RefCell<Vec<Option<Option<u64>>>>>;

/// Lets all of them come and wait; those that are to be cancelled are dropped half a second after they came.
fn run(windows: &[RateWindow], reserve: f64, arrivals: &[Arrival]) -> (Ends, Arc<RateLimiter>) {
    let start = Instant::now();
    let mut simulation = Simulation::new(start);
    let limiter = RateLimiter::new(RateLimiterConfig { windows: windows.to_vec(), reserve }, start);
    let ends: Ends = Rc::new(RefCell::new(vec![None; arrivals.len()]));
    let mut comes = 0;
    for (index, arrival) in arrivals.iter().cloned().enumerate() {
        comes += arrival.after;
        let (clock, limiter, ends) = (simulation.clock(), Arc::clone(&limiter), Rc::clone(&ends));
        simulation.spawn(async move {
            clock.sleep_until(start + Duration::from_nanos(comes)).await;
            let demand = Demand { cost: NonZeroU32::new(arrival.cost).unwrap(), priority: arrival.priority };
            let mut acquire =
                Box::pin(limiter.acquire(&clock, demand, Duration::from_nanos(arrival.patience), None));
            let dropped_at = start + Duration::from_nanos(comes + 500 * MILLI);
            let mut dropped = arrival.cancel.then(|| clock.sleep_until(dropped_at));
            let went = poll_fn(|ctx| {
                if let Some(dropped) = &mut dropped
                    && dropped.as_mut().poll(ctx).is_ready()
                {
                    return std::task::Poll::Ready(None);
                }
                acquire.as_mut().poll(ctx).map(|result| result.ok())
            });
            let went = went.await.map(|()| (clock.now() - start).as_nanos() as u64);
            ends.borrow_mut()[index] = Some(went);
        });
    }
    assert_eq!(simulation.run(), 0, "a call that never ended");
    (ends, limiter)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Without anything coming between, every call goes exactly when it was promised, and is refused at once exactly
    /// when that is more than it may wait.
    #[test]
    fn calls_of_one_priority_go_at_the_promised_time_or_not_at_all(
        windows in windows(),
        arrivals in arrivals(Just(Priority::Normal)),
    ) {
        let arrivals: Vec<_> = arrivals.into_iter().map(|arrival| Arrival { cancel: false, ..arrival }).collect();
        let (ends, limiter) = run(&windows, 0.0, &arrivals);
        let mut model = Model::new(&windows, 0.0);
        let (mut comes, mut last) = (0, 0);
        for (arrival, end) in arrivals.iter().zip(ends.borrow().iter()) {
            comes += arrival.after;
            let cost = u64::from(arrival.cost);
            // First come, first served: nobody goes before the one who came before.
            let when = model.when(comes.max(last), cost, Priority::Normal);
            let when = when.filter(|when| *when <= comes + arrival.patience);
            prop_assert_eq!(*end, Some(when));
            if let Some(when) = when {
                model.take(when, cost);
                last = when;
            }
        }
        model.check_spans(&windows);
        prop_assert_eq!(limiter.waiting(), 0);
    }

    /// With priorities, a reserve and calls that leave: the order holds, the budget holds, and nobody is left behind.
    #[test]
    fn the_line_keeps_its_order_and_forgets_nobody(
        windows in windows(),
        reserve in prop_oneof![Just(0.0), 0.0f64..0.6],
        arrivals in arrivals(priorities()),
    ) {
        let (ends, limiter) = run(&windows, reserve, &arrivals);
        prop_assert_eq!(limiter.waiting(), 0);
        let mut went = Vec::new();
        let mut comes = 0;
        for (arrival, end) in arrivals.iter().zip(ends.borrow().iter()) {
            comes += arrival.after;
            prop_assert!(end.is_some(), "a call that never ended");
            if let Some(Some(when)) = end {
                prop_assert!(*when <= comes + arrival.patience, "waited longer than it may");
                went.push((comes, *when, arrival));
            }
        }
        for (n, (_, first, one)) in went.iter().enumerate() {
            for (comes, when, other) in &went[n + 1..] {
                if one.priority >= other.priority && *first > *comes {
                    prop_assert!(first <= when, "{other:?} overtook {one:?}");
                }
                if other.priority > one.priority && *first > *comes {
                    // The later but more important one goes first, unless it had to wait for more tokens.
                    prop_assert!(when <= first, "{one:?} went before {other:?}");
                }
            }
        }
        let mut model = Model::new(&windows, reserve);
        went.sort_by_key(|(_, when, arrival)| (*when, std::cmp::Reverse(arrival.priority)));
        for (_, when, arrival) in went {
            let cost = u64::from(arrival.cost);
            // In what order those of one instant went is not told; that all of them fit is what counts.
            prop_assert_eq!(model.when(when, cost, Priority::High), Some(when));
            model.take(when, cost);
        }
        model.check_spans(&windows);
    }
}
