//! What a closed circuit counts, and whether it is enough to trip.
//!
//! Only calls with an outcome get here; neutral ones leave no trace.

use std::time::Instant;

use super::config::{BreakerConfig, Trip};
use super::event::Reason;
use crate::span::clamped;
use crate::window::{Buckets, RecentFailures};

/// Parts of the window for rates: a sixtieth of it is what they may be off by.
const BUCKETS: usize = 60;

/// The counts behind the decision to trip.
#[derive(Debug)]
pub(super) struct Counts {
    rule: Rule,
    slow: Option<Share>,
}

#[derive(Debug)]
enum Rule {
    Count { threshold: u32, recent: RecentFailures },
    Consecutive { threshold: u32, run: u32 },
    Rate(Share),
}

/// A share of calls within a window.
#[derive(Debug)]
struct Share {
    rate: f64,
    min_calls: u64,
    recent: Buckets<Tally>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    calls: u64,
    hits: u64,
}

impl Counts {
    pub(super) fn new(config: &BreakerConfig) -> Self {
        let window = config.trip.window();
        let share = |rate: f64, min_calls: u32| Share {
            rate: clamped(rate, 1.0),
            min_calls: u64::from(min_calls),
            recent: Buckets::new(window, BUCKETS),
        };
        let rule = match &config.trip {
            Trip::Count { failures, window } => Rule::Count {
                threshold: failures.get(),
                recent: RecentFailures::new(*window, failures.get()),
            },
            Trip::Consecutive { failures } => Rule::Consecutive { threshold: failures.get(), run: 0 },
            Trip::Rate { rate, min_calls, .. } => Rule::Rate(share(*rate, min_calls.get())),
        };
        let slow = config.slow_call.as_ref().map(|slow| share(slow.rate, slow.min_calls.get()));
        Self { rule, slow }
    }

    /// Counts one outcome. `slow` is `None` when the time it took says nothing.
    pub(super) fn record(&mut self, now: Instant, failed: bool, slow: Option<bool>) {
        match &mut self.rule {
            Rule::Count { recent, .. } if failed => recent.add(now),
            Rule::Count { .. } => {}
            Rule::Consecutive { run, .. } => *run = if failed { run.saturating_add(1) } else { 0 },
            Rule::Rate(share) => share.record(now, failed),
        }
        if let (Some(share), Some(slow)) = (&mut self.slow, slow) {
            share.record(now, slow);
        }
    }

    /// Whether the circuit has to open now, and why.
    pub(super) fn verdict(&mut self, now: Instant) -> Option<Reason> {
        let tripped = match &mut self.rule {
            Rule::Count { threshold, recent } => recent.count(now) >= *threshold,
            Rule::Consecutive { threshold, run } => run >= threshold,
            Rule::Rate(share) => share.is_reached(now),
        };
        if tripped {
            return Some(Reason::Tripped);
        }
        self.slow.as_mut().is_some_and(|share| share.is_reached(now)).then_some(Reason::TooSlow)
    }

    /// Failures that count towards the next trip.
    pub(super) fn failures(&mut self, now: Instant) -> u32 {
        match &mut self.rule {
            Rule::Count { recent, .. } => recent.count(now),
            Rule::Consecutive { run, .. } => *run,
            Rule::Rate(share) => u32::try_from(share.total(now).hits).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn clear(&mut self) {
        match &mut self.rule {
            Rule::Count { recent, .. } => recent.clear(),
            Rule::Consecutive { run, .. } => *run = 0,
            Rule::Rate(share) => share.recent.clear(),
        }
        if let Some(share) = &mut self.slow {
            share.recent.clear();
        }
    }
}

impl Share {
    fn record(&mut self, now: Instant, hit: bool) {
        self.recent.record(now, |tally| {
            tally.calls += 1;
            tally.hits += u64::from(hit);
        });
    }

    fn total(&mut self, now: Instant) -> Tally {
        self.recent.recent(now).fold(Tally::default(), |sum, tally| Tally {
            calls: sum.calls + tally.calls,
            hits: sum.hits + tally.hits,
        })
    }

    /// A rate of zero is reached by the first hit, not by having none.
    fn is_reached(&mut self, now: Instant) -> bool {
        let Tally { calls, hits } = self.total(now);
        hits > 0 && calls >= self.min_calls && hits as f64 >= self.rate * calls as f64
    }
}
