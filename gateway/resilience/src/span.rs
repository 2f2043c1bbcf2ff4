//! Arithmetic of spans and points in time that cannot overflow or panic.
//!
//! Configurations come from people: a multiplier of 1e300 or a timeout of a million years saturates here.

use std::time::{Duration, Instant};

/// As far ahead as anything is ever scheduled: 30 years, which every platform's `Instant` can hold.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// `from + by`, at most 30 years ahead.
pub(crate) fn later(from: Instant, by: Duration) -> Instant {
    from.checked_add(by.min(FAR)).unwrap_or(from)
}

/// `span × factor`, saturating; a factor that is negative or not a number gives zero.
pub(crate) fn scaled(span: Duration, factor: f64) -> Duration {
    if factor.is_nan() || factor <= 0.0 {
        return Duration::ZERO;
    }
    if factor == 1.0 {
        return span;
    }
    Duration::try_from_secs_f64(span.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// `base × multiplier^exponent`, at most `cap`.
pub(crate) fn exponential(base: Duration, multiplier: f64, exponent: u32, cap: Duration) -> Duration {
    let exponent = i32::try_from(exponent).unwrap_or(i32::MAX);
    scaled(base, multiplier.powi(exponent)).min(cap)
}

/// `span ± jitter`: `unit` 0 gives the shortest, 0.5 the span itself, 1 the longest.
pub(crate) fn jittered(span: Duration, jitter: f64, unit: f64) -> Duration {
    let jitter = clamped(jitter, 0.0);
    let unit = clamped(unit, 0.5);
    scaled(span, 1.0 + jitter * (2.0 * unit - 1.0))
}

/// `value` forced into `[0, 1]`; `otherwise` when it is not a number.
pub(crate) fn clamped(value: f64, otherwise: f64) -> f64 {
    if value.is_nan() { otherwise } else { value.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn absurd_numbers_saturate() {
        assert_eq!(scaled(SECOND, f64::INFINITY), Duration::MAX);
        assert_eq!(scaled(SECOND, 1e300), Duration::MAX);
        assert_eq!(scaled(Duration::MAX, 2.0), Duration::MAX);
        assert_eq!(scaled(SECOND, f64::NAN), Duration::ZERO);
        assert_eq!(scaled(SECOND, -3.0), Duration::ZERO);
        assert_eq!(exponential(SECOND, 2.0, u32::MAX, 60 * SECOND), 60 * SECOND);
        let now = Instant::now();
        assert!(later(now, Duration::MAX) > now);
    }

    #[test]
    fn jitter_is_symmetric_and_bounded() {
        let span = Duration::from_millis(100);
        assert_eq!(jittered(span, 0.25, 0.0), Duration::from_millis(75));
        assert_eq!(jittered(span, 0.25, 0.5), span);
        assert_eq!(jittered(span, 0.25, 1.0), Duration::from_millis(125));
        assert_eq!(jittered(span, 9.0, 0.0), Duration::ZERO);
        assert_eq!(jittered(span, f64::NAN, 0.9), span);
    }
}
