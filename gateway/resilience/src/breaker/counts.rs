//! What a closed circuit counts under its lock, and whether it is enough to trip.
//!
//! Only calls with an outcome get here; neutral ones leave no trace. Failures by number and by run are counted here;
//! rates are judged by what the [`Stripes`] add up to.

use std::time::Instant;

use super::config::{BreakerConfig, Trip};
use super::event::Reason;
use super::stripes::Stripes;
use crate::span::clamped;
use crate::window::RecentFailures;

/// The counts behind the decision to trip.
#[derive(Debug)]
pub(super) struct Counts {
    rule: Rule,
    slow: Option<Share>,
    /// There were failures or slow calls, but too few calls to judge them: any call may be the one that was missing.
    short: bool,
}

#[derive(Debug)]
enum Rule {
    Count { threshold: u32, recent: RecentFailures },
    Consecutive { threshold: u32, run: u32 },
    Rate(Share),
}

/// The share of calls within a window at which the circuit trips.
#[derive(Debug)]
struct Share {
    rate: f64,
    min_calls: u64,
}

impl Counts {
    pub(super) fn new(config: &BreakerConfig) -> Self {
        let share =
            |rate: f64, min_calls: u32| Share { rate: clamped(rate, 1.0), min_calls: u64::from(min_calls) };
        let rule = match &config.trip {
            Trip::Count { failures, window } => Rule::Count {
                threshold: failures.get(),
                recent: RecentFailures::new(*window, failures.get()),
            },
            Trip::Consecutive { failures } => Rule::Consecutive { threshold: failures.get(), run: 0 },
            Trip::Rate { rate, min_calls, .. } => Rule::Rate(share(*rate, min_calls.get())),
        };
        let slow = config.slow_call.as_ref().map(|slow| share(slow.rate, slow.min_calls.get()));
        Self { rule, slow, short: false }
    }

    /// Whether a success could change more than the stripes tell: it ends a run of failures, or it is the call that
    /// was missing to judge a rate.
    pub(super) const fn heeds_successes(&self) -> bool {
        self.short || matches!(self.rule, Rule::Consecutive { run, .. } if run > 0)
    }

    /// Counts one outcome. `slow` is `None` when the time it took says nothing.
    pub(super) fn record(&mut self, stripes: &Stripes, now: Instant, failed: bool, slow: Option<bool>) {
        match &mut self.rule {
            Rule::Count { recent, .. } if failed => recent.add(now),
            Rule::Count { .. } | Rule::Rate(_) => {}
            Rule::Consecutive { run, .. } => *run = if failed { run.saturating_add(1) } else { 0 },
        }
        stripes.record(now, failed, slow);
    }

    /// Whether the circuit has to open now, and why.
    pub(super) fn verdict(&mut self, stripes: &Stripes, now: Instant) -> Option<Reason> {
        let tripped = match &mut self.rule {
            Rule::Count { threshold, recent } => recent.count(now) >= *threshold,
            Rule::Consecutive { threshold, run } => run >= threshold,
            Rule::Rate(_) => false,
        };
        if tripped {
            return Some(Reason::Tripped);
        }
        if !stripes.tallied() {
            return None;
        }
        let sum = stripes.judged(now);
        self.short = false;
        if let Rule::Rate(share) = &self.rule {
            if share.is_reached(sum.calls, sum.failed) {
                return Some(Reason::Tripped);
            }
            self.short |= share.is_short(sum.calls, sum.failed);
        }
        if let Some(share) = &self.slow {
            if share.is_reached(sum.timed, sum.slow) {
                return Some(Reason::TooSlow);
            }
            self.short |= share.is_short(sum.timed, sum.slow);
        }
        None
    }

    /// Failures that count towards the next trip.
    pub(super) fn failures(&mut self, stripes: &Stripes, now: Instant) -> u32 {
        match &mut self.rule {
            Rule::Count { recent, .. } => recent.count(now),
            Rule::Consecutive { run, .. } => *run,
            Rule::Rate(_) => u32::try_from(stripes.sum(now).failed).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn clear(&mut self) {
        match &mut self.rule {
            Rule::Count { recent, .. } => recent.clear(),
            Rule::Consecutive { run, .. } => *run = 0,
            Rule::Rate(_) => {}
        }
        self.short = false;
    }
}

impl Share {
    /// A rate of zero is reached by the first hit, not by having none.
    fn is_reached(&self, calls: u64, hits: u64) -> bool {
        hits > 0 && calls >= self.min_calls && hits as f64 >= self.rate * calls as f64
    }

    const fn is_short(&self, calls: u64, hits: u64) -> bool {
        hits > 0 && calls < self.min_calls
    }
}
