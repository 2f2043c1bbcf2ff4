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
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn granted(budget: &RetryBudget, now: Instant) -> usize {
        (0..1000).filter(|_| budget.try_retry(now)).count()
    }

    #[test]
    fn the_budget_is_the_floor_plus_a_share_of_the_calls() {
        let now = Instant::now();
        let budget = RetryBudget::new(BudgetConfig::default());
        for _ in 0..100 {
            budget.record_call(now);
        }
        assert_eq!(granted(&budget, now), 20 + 10);
    }

    #[test]
    fn a_quiet_dependency_has_the_floor_only() {
        let now = Instant::now();
        assert_eq!(granted(&RetryBudget::new(BudgetConfig::default()), now), 10);
    }

    #[test]
    fn a_budget_of_nothing_grants_nothing() {
        let now = Instant::now();
        for ratio in [0.0, -1.0, f64::NAN] {
            let budget = RetryBudget::new(BudgetConfig { ratio, floor: 0, window: SECOND });
            budget.record_call(now);
            assert!(!budget.try_retry(now));
        }
    }

    #[test]
    fn what_was_spent_comes_back_when_the_window_has_passed() {
        let now = Instant::now();
        let budget = RetryBudget::new(BudgetConfig::default());
        assert_eq!(granted(&budget, now), 10);
        assert_eq!(granted(&budget, now + 5 * SECOND), 0);
        assert_eq!(granted(&budget, now + 10 * SECOND), 10);
    }
}
