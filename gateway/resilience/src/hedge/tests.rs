//! Who wins, who is cancelled, and when hedges are launched.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;
use crate::clock::TokioClock;
use crate::retry::{BudgetConfig, RetryBudget};

const SECOND: Duration = Duration::from_secs(1);

/// What the attempts of a test do, and what became of them.
#[derive(Clone, Default)]
struct Script {
    /// Seconds and result of each attempt.
    plan: Rc<Vec<(u64, Result<u32, u32>)>>,
    launches: Rc<RefCell<Vec<u64>>>,
    cancelled: Rc<Cell<u32>>,
}

/// Counts itself as cancelled unless it was disarmed.
struct Guard(Rc<Cell<u32>>, bool);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() + u32::from(self.1));
    }
}

impl Script {
    fn of(plan: &[(u64, Result<u32, u32>)]) -> Self {
        Self { plan: Rc::new(plan.to_vec()), ..Self::default() }
    }

    async fn attempt(self, begun: Instant, number: u32) -> Result<u32, u32> {
        self.launches.borrow_mut().push((TokioClock.now() - begun).as_millis() as u64);
        let mut guard = Guard(Rc::clone(&self.cancelled), true);
        let (seconds, result) = self.plan[number as usize];
        TokioClock.sleep_until(TokioClock.now() + Duration::from_secs(seconds)).await;
        guard.1 = false;
        result
    }

    /// Hedged after 2 s.
    async fn run(&self, max: u32) -> (Hedged<Result<u32, u32>>, u64) {
        let begun = TokioClock.now();
        let first = self.clone().attempt(begun, 0);
        let hedge = |number| Some(self.clone().attempt(begun, number));
        let ended = hedged(&TokioClock, 2 * SECOND, max, first, hedge, Result::is_ok).await;
        (ended, (TokioClock.now() - begun).as_secs())
    }
}

#[tokio::test(start_paused = true)]
async fn a_quick_answer_is_never_hedged() {
    let script = Script::of(&[(1, Ok(7))]);
    let (ended, seconds) = script.run(3).await;
    assert_eq!(ended, Hedged { value: Ok(7), winner: 0, launched: 1 });
    assert_eq!((seconds, script.cancelled.get()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_first_good_answer_wins_and_the_loser_is_cancelled() {
    let script = Script::of(&[(60, Ok(0)), (1, Ok(1))]);
    let (ended, seconds) = script.run(1).await;
    assert_eq!(ended, Hedged { value: Ok(1), winner: 1, launched: 2 });
    assert_eq!((seconds, script.cancelled.get()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_may_still_win() {
    let script = Script::of(&[(3, Ok(0)), (60, Ok(1))]);
    let (ended, seconds) = script.run(1).await;
    assert_eq!(ended, Hedged { value: Ok(0), winner: 0, launched: 2 });
    assert_eq!((seconds, script.cancelled.get()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_hedge_was_due_is_returned_at_once() {
    let script = Script::of(&[(1, Err(0))]);
    let (ended, seconds) = script.run(1).await;
    assert_eq!(ended, Hedged { value: Err(0), winner: 0, launched: 1 });
    assert_eq!(seconds, 1);
}

#[tokio::test(start_paused = true)]
async fn one_failure_of_several_waits_for_the_others() {
    let script = Script::of(&[(3, Err(0)), (4, Ok(1))]);
    let (ended, seconds) = script.run(1).await;
    assert_eq!(ended, Hedged { value: Ok(1), winner: 1, launched: 2 });
    assert_eq!((seconds, script.cancelled.get()), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn the_last_failure_is_returned_when_all_fail() {
    let script = Script::of(&[(5, Err(0)), (1, Err(1))]);
    let (ended, seconds) = script.run(1).await;
    assert_eq!(ended, Hedged { value: Err(0), winner: 0, launched: 2 });
    assert_eq!(seconds, 5);
}

#[tokio::test(start_paused = true)]
async fn further_hedges_follow_at_multiples_of_the_delay_up_to_the_maximum() {
    let script = Script::of(&[(60, Ok(0)), (60, Ok(1)), (60, Ok(2)), (1, Ok(3))]);
    let (ended, seconds) = script.run(3).await;
    assert_eq!(ended, Hedged { value: Ok(3), winner: 3, launched: 4 });
    assert_eq!(*script.launches.borrow(), [0, 2000, 4000, 6000]);
    assert_eq!((seconds, script.cancelled.get()), (7, 3));

    let script = Script::of(&[(60, Ok(0)), (60, Ok(1))]);
    let (ended, seconds) = script.run(1).await;
    assert_eq!((ended.launched, ended.winner, seconds), (2, 0, 60));
}

#[tokio::test(start_paused = true)]
async fn a_maximum_of_zero_only_runs_the_first() {
    let script = Script::of(&[(60, Ok(0))]);
    let (ended, _) = script.run(0).await;
    assert_eq!(ended.launched, 1);
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_grants_no_hedge() {
    let script = Script::of(&[(60, Ok(0)), (1, Ok(1))]);
    let budget = RetryBudget::new(BudgetConfig { ratio: 0.0, floor: 0, window: SECOND });
    let asked = Cell::new(0);
    let begun = TokioClock.now();
    let granted = |number| {
        asked.set(asked.get() + 1);
        budget.try_retry(TokioClock.now()).then(|| script.clone().attempt(begun, number))
    };
    let first = script.clone().attempt(begun, 0);
    let ended = hedged(&TokioClock, SECOND, 5, first, granted, Result::is_ok).await;
    assert_eq!(ended, Hedged { value: Ok(0), winner: 0, launched: 1 });
    assert_eq!(asked.get(), 1, "a refusal ends the hedging");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_call_cancels_every_attempt() {
    let script = Script::of(&[(60, Ok(0)), (60, Ok(1))]);
    let left = tokio::time::timeout(3 * SECOND, script.run(1)).await;
    assert!(left.is_err());
    assert_eq!(script.cancelled.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_zero_launches_a_bounded_number() {
    let launched = Cell::new(0);
    let attempt = |number: u32| async move {
        TokioClock.sleep_until(TokioClock.now() + SECOND).await;
        number
    };
    let hedge = |number| {
        launched.set(launched.get() + 1);
        Some(attempt(number))
    };
    let ended = hedged(&TokioClock, Duration::ZERO, u32::MAX, attempt(0), hedge, |_| true).await;
    assert_eq!((ended.launched, launched.get()), (1 + HEDGES_MAX, HEDGES_MAX));
}

#[test]
fn a_percentile_is_believed_from_twenty_samples_on() {
    let now = Instant::now();
    let times = HealthStats::new();
    let config = HedgeConfig::default();
    for n in 1..=19u32 {
        times.record(now, true, n * Duration::from_millis(10));
    }
    assert_eq!(config.delay(&times, now), None);
    times.record(now, true, Duration::from_millis(200));
    let later = now + Duration::from_millis(100);
    let delay = config.delay(&times, later).unwrap().as_secs_f64();
    assert!((delay / 0.19 - 1.0).abs() < 0.07, "{delay} s");
    let floor = HedgeAfter::Percentile { q: 0.5, at_least: SECOND };
    assert_eq!(HedgeConfig { after: floor, ..config.clone() }.delay(&times, later), Some(SECOND));
    let fixed = HedgeConfig { after: HedgeAfter::Delay(SECOND), ..config };
    assert_eq!(fixed.delay(&HealthStats::new(), later), Some(SECOND));
}
