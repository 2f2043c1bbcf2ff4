//! Spreading waits at random, so that what failed together does not come back together.
//!
//! `Full`, `Equal` and `Decorrelated` are as in "Exponential Backoff And Jitter" of the AWS Architecture Blog (Marc
//! Brooker, 2015), which measured them: `Full` costs a crowded server the fewest calls, `Decorrelated` is close to it,
//! `Equal` never comes back at once. `Proportional` keeps waits recognisable, which suits dependencies with few callers.
//!
//! | mode             | a wait that would be `d`                                               |
//! |------------------|------------------------------------------------------------------------|
//! | `None`           | `d`                                                                    |
//! | `Proportional(j)`| between `d × (1 − j)` and `d × (1 + j)`                                |
//! | `Full`           | between 0 and `d`                                                      |
//! | `Equal`          | between `d / 2` and `d`                                                |
//! | `Decorrelated`   | between the base delay and three times the wait before, at most the cap |

use std::time::Duration;

use crate::span::{clamped, jittered, scaled};

/// What the wait before is multiplied with for the longest next one; the blog's number.
const DECORRELATED_GROWTH: f64 = 3.0;

/// How waits are spread at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Jitter {
    /// Not at all.
    None,
    /// By this share up and down, 0 to 1. Default 0.25.
    Proportional(f64),
    /// Anything from zero to the wait.
    Full,
    /// Anything from half the wait to the wait.
    Equal,
    /// Anything from the base delay to three times the wait before, capped.
    Decorrelated,
}

impl Jitter {
    /// `plain` spread with `unit` in `[0, 1)`. `previous` is the wait before this one, `None` for the first.
    pub(super) fn spread(
        self,
        plain: Duration,
        base: Duration,
        previous: Option<Duration>,
        cap: Duration,
        unit: f64,
    ) -> Duration {
        let unit = clamped(unit, 0.5);
        match self {
            Self::None => plain,
            Self::Proportional(share) => jittered(plain, share, unit),
            Self::Full => scaled(plain, unit),
            Self::Equal => scaled(plain, 0.5 + unit / 2.0),
            Self::Decorrelated => {
                let longest = scaled(previous.unwrap_or(base).max(base), DECORRELATED_GROWTH);
                base.saturating_add(scaled(longest.saturating_sub(base), unit)).min(cap)
            }
        }
    }
}

impl Default for Jitter {
    fn default() -> Self {
        Self::Proportional(0.25)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(1);

    fn spread(jitter: Jitter, plain: u64, previous: Option<u64>, unit: f64) -> u128 {
        let previous = previous.map(Duration::from_millis);
        jitter.spread(Duration::from_millis(plain), BASE, previous, CAP, unit).as_millis()
    }

    #[test]
    fn each_mode_spans_what_its_row_says() {
        for (jitter, shortest, longest) in [
            (Jitter::None, 400, 400),
            (Jitter::Proportional(0.25), 300, 500),
            (Jitter::Full, 0, 400),
            (Jitter::Equal, 200, 400),
        ] {
            assert_eq!(spread(jitter, 400, None, 0.0), shortest, "{jitter:?}");
            assert_eq!(spread(jitter, 400, None, 1.0), longest, "{jitter:?}");
        }
    }

    #[test]
    fn decorrelated_waits_go_by_the_wait_before() {
        assert_eq!(spread(Jitter::Decorrelated, 0, None, 0.0), 100);
        assert_eq!(spread(Jitter::Decorrelated, 0, None, 0.5), 200);
        assert_eq!(spread(Jitter::Decorrelated, 0, Some(200), 0.5), 350);
        assert_eq!(spread(Jitter::Decorrelated, 0, Some(200), 0.0), 100);
        assert_eq!(spread(Jitter::Decorrelated, 0, Some(900), 1.0), 1000, "the cap holds");
        assert_eq!(spread(Jitter::Decorrelated, 0, Some(1), 1.0), 300, "never under the base");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_wait_never_leaves_its_span(
            plain in 0u64..2000, previous in proptest::option::of(0u64..2000), unit in 0.0f64..1.0,
        ) {
            let plain_ms = u128::from(plain);
            prop_assert!(spread(Jitter::Full, plain, previous, unit) <= plain_ms);
            let equal = spread(Jitter::Equal, plain, previous, unit);
            prop_assert!((plain_ms / 2..=plain_ms).contains(&equal));
            let decorrelated = spread(Jitter::Decorrelated, plain, previous, unit);
            let longest = u128::from(previous.unwrap_or(100).max(100) * 3).min(1000);
            prop_assert!((100..=longest).contains(&decorrelated));
        }
    }
}
