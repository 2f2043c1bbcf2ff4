//! The policy's arithmetic, and the three reasons to stop.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn attempts(max: u32) -> RetryPolicy {
    RetryPolicy { max_attempts: NonZeroU32::new(max).unwrap(), ..RetryPolicy::default() }
}

#[test]
fn default_delays_double_from_a_tenth_of_a_second() {
    let policy = RetryPolicy::default();
    let delays: Vec<u128> = (1..=4).map(|retry| policy.delay(retry, 0.5).as_millis()).collect();
    assert_eq!(delays, [100, 200, 400, 800]);
    assert_eq!(policy.max_attempts.get(), 3);
}

#[test]
fn default_jitter_is_a_quarter_either_way() {
    let policy = RetryPolicy::default();
    assert_eq!(policy.delay(1, 0.0), Duration::from_millis(75));
    assert!(policy.delay(1, 0.999_999) <= Duration::from_millis(125));
    assert!(policy.delay(1, 0.999_999) > Duration::from_millis(124));
}

#[test]
fn delays_stop_growing_at_the_cap() {
    let policy = RetryPolicy::default();
    assert_eq!(policy.delay(9, 0.5), Duration::from_millis(25_600));
    assert_eq!(policy.delay(10, 0.5), 30 * SECOND);
    assert_eq!(policy.delay(u32::MAX, 0.5), 30 * SECOND);
}

#[test]
fn an_explicit_schedule_is_followed_to_the_letter() {
    let minutes = |n: u32| n * 60 * SECOND;
    let policy = RetryPolicy { delays: [1, 5, 30, 120, 480].map(minutes).to_vec(), ..attempts(7) };
    let delays: Vec<Duration> = (1..=6).map(|retry| policy.delay(retry, 0.01)).collect();
    assert_eq!(delays, [1, 5, 30, 120, 480, 480].map(minutes));
}

#[test]
fn the_first_attempt_is_included_in_the_maximum() {
    let policy = attempts(3);
    assert!(matches!(policy.next(2, None, None, 0.5), Next::Wait(_)));
    assert_eq!(policy.next(3, None, None, 0.5), Next::Stop(StopReason::AttemptsSpent));
    assert_eq!(attempts(1).next(1, None, None, 0.5), Next::Stop(StopReason::AttemptsSpent));
}

#[test]
fn a_longer_wait_that_the_provider_asks_for_wins() {
    let policy = RetryPolicy::default();
    assert_eq!(policy.next(1, Some(2 * SECOND), None, 0.5), Next::Wait(2 * SECOND));
    assert_eq!(policy.next(1, Some(Duration::from_millis(5)), None, 0.5), Next::Wait(SECOND / 10));
}

#[test]
fn a_retry_after_beyond_the_clamp_stops_the_call() {
    let policy = RetryPolicy::default();
    assert_eq!(policy.next(1, Some(60 * SECOND), None, 0.5), Next::Wait(60 * SECOND));
    assert_eq!(policy.next(1, Some(61 * SECOND), None, 0.5), Next::Stop(StopReason::AskedTooLong));
    assert_eq!(policy.next(1, Some(Duration::MAX), None, 0.5), Next::Stop(StopReason::AskedTooLong));
}

#[test]
fn a_wait_that_leaves_nothing_of_the_deadline_stops_the_call() {
    let policy = RetryPolicy::default();
    let left = |millis| Some(Duration::from_millis(millis));
    assert_eq!(policy.next(1, None, left(101), 0.5), Next::Wait(SECOND / 10));
    assert_eq!(policy.next(1, None, left(100), 0.5), Next::Stop(StopReason::DeadlineTooClose));
    assert_eq!(policy.next(1, Some(5 * SECOND), left(4000), 0.5), Next::Stop(StopReason::DeadlineTooClose));
    assert_eq!(policy.next(1, None, left(0), 0.5), Next::Stop(StopReason::DeadlineTooClose));
}

#[test]
fn a_timeout_shortens_the_next_attempt_by_the_factor() {
    let policy = RetryPolicy { timeout_factor: 0.5, ..RetryPolicy::default() };
    assert_eq!(policy.attempt_timeout(8 * SECOND, 0), 8 * SECOND);
    assert_eq!(policy.attempt_timeout(8 * SECOND, 1), 4 * SECOND);
    assert_eq!(policy.attempt_timeout(8 * SECOND, 2), 2 * SECOND);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn no_configuration_makes_a_delay_panic_or_leave_its_bounds(
        base in 0u64..=u64::MAX,
        multiplier in prop::num::f64::ANY,
        max in 0u64..10_000_000,
        jitter in prop::num::f64::ANY,
        retry in any::<u32>(),
        unit in 0.0f64..1.0,
    ) {
        let policy = RetryPolicy {
            base_delay: Duration::from_millis(base),
            multiplier,
            max_delay: Duration::from_millis(max),
            jitter: Jitter::Proportional(jitter),
            ..RetryPolicy::default()
        };
        prop_assert!(policy.delay(retry, unit) <= 2 * policy.max_delay);
    }
}
