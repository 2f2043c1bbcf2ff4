//! The table of outcomes, the order of the rules, and what is remembered.

use std::num::NonZeroU32;

use super::*;
use crate::retry::{BudgetConfig, Jitter};

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Next = Next::Wait(Duration::from_millis(100));

fn around(now: Instant) -> Around<'static> {
    Around { now, remaining: None, typical: None, budget: None, unit: 0.5 }
}

fn safe(outcome: Outcome) -> Attempted {
    Attempted { safe: true, listed: true, ..Attempted::of(outcome) }
}

/// What follows the first attempt of a call.
fn after_first(attempted: &Attempted, around: &Around<'_>) -> Next {
    let mut attempts = Attempts::new();
    attempts.begin();
    attempts.after(&RetryPolicy::default(), attempted, around)
}

#[test]
fn safe_and_listed_failures_are_retried_and_all_else_is_not() {
    use StopReason::{NotRetryable, Unsafe};
    let throttled = Outcome::Throttled { retry_after: None };
    for (outcome, safe, listed, sent, expected) in [
        (Outcome::Success, true, true, true, Next::Stop(NotRetryable)),
        (Outcome::Rejected, true, true, true, Next::Stop(NotRetryable)),
        (Outcome::Cancelled, true, true, false, Next::Stop(NotRetryable)),
        (Outcome::TRANSIENT, true, true, true, TENTH),
        (Outcome::TRANSIENT, true, false, true, Next::Stop(NotRetryable)),
        (Outcome::TRANSIENT, false, true, true, Next::Stop(Unsafe)),
        (Outcome::TRANSIENT, false, false, false, TENTH),
        (throttled, true, true, true, TENTH),
        (throttled, true, false, true, Next::Stop(NotRetryable)),
        (throttled, false, true, true, Next::Stop(Unsafe)),
        (Outcome::ContractBroken, true, false, true, TENTH),
        (Outcome::ContractBroken, false, true, true, Next::Stop(Unsafe)),
    ] {
        let attempted = Attempted { safe, listed, sent, ..Attempted::of(outcome) };
        assert_eq!(after_first(&attempted, &around(Instant::now())), expected, "{attempted:?}");
    }
}

#[test]
fn an_expired_token_is_renewed_once_at_once_even_if_unsafe() {
    let now = Instant::now();
    let empty = RetryBudget::new(BudgetConfig { ratio: 0.0, floor: 0, window: SECOND });
    let hurried = Around { remaining: Some(Duration::ZERO), budget: Some(&empty), ..around(now) };
    let expired = Attempted::of(Outcome::AuthExpired);
    let once = RetryPolicy { max_attempts: NonZeroU32::MIN, ..RetryPolicy::default() };
    let mut attempts = Attempts::new();
    attempts.begin();
    assert_eq!(attempts.after(&once, &expired, &hurried), Next::Wait(Duration::ZERO));
    attempts.begin();
    assert_eq!(attempts.after(&once, &expired, &hurried), Next::Stop(StopReason::NotRetryable));
}

#[test]
fn a_throttled_call_waits_for_what_was_asked_or_for_the_hold() {
    let now = Instant::now();
    let asked = safe(Outcome::Throttled { retry_after: Some(3 * SECOND) });
    assert_eq!(after_first(&asked, &around(now)), Next::Wait(3 * SECOND));
    let asked_and_held = Attempted { held_for: Some(9 * SECOND), ..asked };
    assert_eq!(after_first(&asked_and_held, &around(now)), Next::Wait(3 * SECOND));
    let held = Attempted { held_for: Some(9 * SECOND), ..safe(Outcome::Throttled { retry_after: None }) };
    assert_eq!(after_first(&held, &around(now)), Next::Wait(9 * SECOND));
}

#[test]
fn asking_for_longer_than_the_clamp_ends_the_call() {
    let now = Instant::now();
    for outcome in [
        Outcome::Throttled { retry_after: Some(61 * SECOND) },
        Outcome::Transient { retry_after: Some(61 * SECOND) },
    ] {
        let next = after_first(&safe(outcome), &around(now));
        assert_eq!(next, Next::Stop(StopReason::AskedTooLong));
    }
}

#[test]
fn what_is_unsafe_but_was_never_sent_does_not_wait_for_what_was_asked() {
    let unsent =
        Attempted { sent: false, ..Attempted::of(Outcome::Transient { retry_after: Some(9 * SECOND) }) };
    assert_eq!(after_first(&unsent, &around(Instant::now())), TENTH);
}

#[test]
fn no_attempt_begins_that_has_less_time_than_a_success_usually_takes() {
    let now = Instant::now();
    let left = |millis| Around {
        remaining: Some(Duration::from_millis(millis)),
        typical: Some(Duration::from_millis(400)),
        ..around(now)
    };
    let failed = safe(Outcome::TRANSIENT);
    assert_eq!(after_first(&failed, &left(500)), TENTH);
    assert_eq!(after_first(&failed, &left(499)), Next::Stop(StopReason::DeadlineTooClose));
    let unknown = Around { typical: None, ..left(101) };
    assert_eq!(after_first(&failed, &unknown), TENTH);
    assert_eq!(
        after_first(&failed, &Around { typical: None, ..left(100) }),
        Next::Stop(StopReason::DeadlineTooClose)
    );
}

#[test]
fn the_budget_is_asked_last_and_only_for_attempts_that_would_be_made() {
    let now = Instant::now();
    let budget = RetryBudget::new(BudgetConfig { ratio: 0.0, floor: 1, window: SECOND });
    let around = Around { budget: Some(&budget), ..around(now) };
    let failed = safe(Outcome::TRANSIENT);
    let late = Around { remaining: Some(Duration::from_millis(10)), ..around };
    assert_eq!(after_first(&failed, &late), Next::Stop(StopReason::DeadlineTooClose));
    assert_eq!(after_first(&safe(Outcome::Rejected), &around), Next::Stop(StopReason::NotRetryable));
    assert_eq!(after_first(&failed, &around), TENTH, "nothing was taken until now");
    assert_eq!(after_first(&failed, &around), Next::Stop(StopReason::BudgetSpent));
}

#[test]
fn attempts_after_a_timeout_get_their_share_of_the_time() {
    let policy = RetryPolicy { timeout_factor: 0.5, ..RetryPolicy::default() };
    let mut attempts = Attempts::new();
    let limit = Some(8 * SECOND);
    attempts.begin();
    assert_eq!(attempts.attempt_timeout(&policy, limit), limit);
    attempts.after(&policy, &safe(Outcome::TRANSIENT), &around(Instant::now()));
    assert_eq!(attempts.attempt_timeout(&policy, limit), limit, "that was no timeout");
    attempts.begin();
    let timed_out = Attempted { timed_out: true, ..safe(Outcome::TRANSIENT) };
    attempts.after(&policy, &timed_out, &around(Instant::now()));
    assert_eq!((attempts.made(), attempts.timed_out()), (2, 1));
    assert_eq!(attempts.attempt_timeout(&policy, limit), Some(4 * SECOND));
    assert_eq!(attempts.attempt_timeout(&policy, None), None);
}

#[test]
fn decorrelated_jitter_remembers_the_wait_before() {
    let policy = RetryPolicy {
        jitter: Jitter::Decorrelated,
        max_attempts: NonZeroU32::MAX,
        max_delay: SECOND,
        ..RetryPolicy::default()
    };
    let mut attempts = Attempts::new();
    let mut waits = Vec::new();
    for _ in 0..4 {
        attempts.begin();
        match attempts.after(&policy, &safe(Outcome::TRANSIENT), &around(Instant::now())) {
            Next::Wait(wait) => waits.push(wait.as_millis()),
            Next::Stop(reason) => panic!("{reason}"),
        }
    }
    // base + half of (three times the wait before − base), capped
    assert_eq!(waits, [200, 350, 575, 912]);
}
