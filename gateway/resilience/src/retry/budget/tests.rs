//! The share and the floor; a reference model that keeps every call and retry by its instant, against random histories.

use proptest::prelude::*;

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

/// Everything that ever happened, in milliseconds since the first of it. Nothing is summed up and nothing forgotten.
struct Model {
    config: BudgetConfig,
    origin: Option<u64>,
    latest: u64,
    calls: Vec<u64>,
    retries: Vec<u64>,
}

impl Model {
    fn new(config: BudgetConfig) -> Self {
        Self { config, origin: None, latest: 0, calls: Vec::new(), retries: Vec::new() }
    }

    /// Time since the first entry; one that runs backwards stands still.
    fn since(&mut self, at: u64) -> u64 {
        self.latest = self.latest.max(self.origin.map_or(0, |origin| at.saturating_sub(origin)));
        self.latest
    }

    fn call(&mut self, at: u64) {
        self.origin.get_or_insert(at);
        let at = self.since(at);
        self.calls.push(at);
    }

    fn retry(&mut self, at: u64) -> bool {
        let now = self.since(at);
        let tenth = u64::try_from(self.config.window.as_millis()).unwrap() / 10;
        // An entry counts until the tenth of the window that it fell into lies ten tenths back.
        let counts = |entries: &[u64]| entries.iter().filter(|at| now / tenth - **at / tenth < 10).count();
        let earned = (counts(&self.calls) as f64 * self.config.ratio) as usize;
        let allowed = counts(&self.retries) < earned + self.config.floor as usize;
        if allowed {
            self.origin.get_or_insert(at);
            let now = self.since(at);
            self.retries.push(now);
        }
        allowed
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Call,
    Retry,
    /// Milliseconds.
    Forward(u64),
    Backward(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Call),
        6 => Just(Step::Retry),
        3 => (1u64..3000).prop_map(Step::Forward),
        1 => (8000u64..40_000).prop_map(Step::Forward),
        1 => (1u64..5000).prop_map(Step::Backward),
    ];
    proptest::collection::vec(step, 1..120)
}

fn config() -> impl Strategy<Value = BudgetConfig> {
    (0.0f64..1.5, 0u32..12, 1u64..20).prop_map(|(ratio, floor, seconds)| BudgetConfig {
        ratio,
        floor,
        window: Duration::from_secs(seconds),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn every_history_agrees_with_the_reference_model(config in config(), steps in steps()) {
        let base = Instant::now();
        let (budget, mut model) = (RetryBudget::new(config.clone()), Model::new(config));
        let mut at = 10_000u64;
        for step in steps {
            let now = base + Duration::from_millis(at);
            match step {
                Step::Call => {
                    budget.record_call(now);
                    model.call(at);
                }
                Step::Retry => prop_assert_eq!(budget.try_retry(now), model.retry(at), "at {} ms", at),
                Step::Forward(by) => at += by,
                Step::Backward(by) => at = at.saturating_sub(by),
            }
        }
    }

    /// What the budget is for, said without buckets: however calls and retries fall, in no nine tenths of a window are
    /// there more retries than the floor and the share of the calls of the whole window before them.
    #[test]
    fn no_span_has_more_retries_than_its_calls_earned(config in config(), steps in steps()) {
        let base = Instant::now();
        let budget = RetryBudget::new(config.clone());
        let window = u64::try_from(config.window.as_millis()).unwrap();
        let (mut calls, mut retries) = (Vec::new(), Vec::new());
        let mut at = 0u64;
        for step in steps {
            let now = base + Duration::from_millis(at);
            match step {
                Step::Call => {
                    budget.record_call(now);
                    calls.push(at);
                }
                Step::Retry if budget.try_retry(now) => {
                    retries.push(at);
                    let within = |entries: &[u64], span: u64| entries.iter().filter(|e| at - **e < span).count();
                    let earned = within(&calls, window) as f64 * config.ratio;
                    let bound = earned + f64::from(config.floor);
                    let made = within(&retries, window * 9 / 10) as f64;
                    prop_assert!(made <= bound, "{} retries, {} allowed", made, bound);
                }
                Step::Forward(by) => at += by,
                Step::Retry | Step::Backward(_) => {}
            }
        }
    }
}
