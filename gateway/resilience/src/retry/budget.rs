//! The retry budget: retries of a whole dependency stay a small share of its calls.
//!
//! In an outage every call fails, and each would like three attempts; without a budget the load triples just when the
//! provider can least bear it. The floor lets a quiet dependency retry at all. The budget is asked per retry and never
//! makes anyone wait.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::window::Buckets;

/// Parts of the window. A tenth of it is precise enough for a share of traffic.
const BUCKETS: usize = 10;

/// How many retries a dependency is granted.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetConfig {
    /// Retries granted per call. Default 0.2.
    pub ratio: f64,
    /// Retries granted per window in addition, whatever the traffic. Default 10.
    pub floor: u32,
    /// Span over which both are counted. Default 10 s.
    pub window: Duration,
}

/// Counts the calls and retries of one dependency.
pub struct RetryBudget {
    config: BudgetConfig,
    recent: Mutex<Buckets<Tally>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    calls: u64,
    retries: u64,
}

impl RetryBudget {
    /// A full budget.
    #[must_use]
    pub fn new(config: BudgetConfig) -> Self {
        let recent = Mutex::new(Buckets::new(config.window, BUCKETS));
        Self { config, recent }
    }

    /// The configuration it was made with.
    #[must_use]
    pub const fn config(&self) -> &BudgetConfig {
        &self.config
    }

    /// Counts one call (not one attempt), which earns a share of a retry.
    pub fn record_call(&self, now: Instant) {
        self.recent.lock().record(now, |tally| tally.calls += 1);
    }

    /// Takes one retry out of the budget; `false` when it is spent.
    #[must_use]
    pub fn try_retry(&self, now: Instant) -> bool {
        let mut recent = self.recent.lock();
        let (calls, retries) =
            recent.recent(now).fold((0u64, 0u64), |(c, r), tally| (c + tally.calls, r + tally.retries));
        let earned = if self.config.ratio > 0.0 { (calls as f64 * self.config.ratio) as u64 } else { 0 };
        if retries >= earned.saturating_add(u64::from(self.config.floor)) {
            return false;
        }
        recent.record(now, |tally| tally.retries += 1);
        true
    }
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { ratio: 0.2, floor: 10, window: Duration::from_secs(10) }
    }
}

#[cfg(test)]
mod tests;
