//! What is wrong with a breaker's settings, for whoever reads them from people.
//!
//! The breaker itself lives with any settings: rates are read as the nearest sensible value, spans of zero as the
//! shortest that make sense. What it cannot do is guess what was meant; that is said here, all of it at once.

use std::time::Duration;

use super::config::{BreakerConfig, Reopen, Trip};

/// A setting that does not do what its author can have meant.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ConfigProblem {
    /// A span that is counted over, or waited for, is zero.
    #[error("`{setting}` is zero")]
    Zero {
        /// The field of [`BreakerConfig`], with a dot before the field within it.
        setting: &'static str,
    },
    /// A share of calls that nothing or everything reaches.
    #[error("`{setting}` is {value}, not above 0 and at most 1")]
    NoShare {
        /// The field.
        setting: &'static str,
        /// What it is set to.
        value: f64,
    },
    /// A share of a span outside 0 to 1.
    #[error("`reopen.jitter` is {value}, not within 0 to 1")]
    Jitter {
        /// What it is set to.
        value: f64,
    },
    /// Intervals that shrink, or no number.
    #[error("`reopen.multiplier` is {value}, less than 1")]
    Multiplier {
        /// What it is set to.
        value: f64,
    },
    /// The upper bound lies below what it bounds.
    #[error("`reopen.max_interval` is shorter than `reopen.interval`")]
    MaxInterval {
        /// What it is set to.
        max: Duration,
        /// The interval that it cuts.
        interval: Duration,
    },
}

impl BreakerConfig {
    /// All that is wrong with the settings; empty when they are sound, as the defaults and all presets are.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut found = Vec::new();
        match &self.trip {
            Trip::Count { window, .. } => zero(&mut found, "trip.window", *window),
            Trip::Rate { rate, window, .. } => {
                zero(&mut found, "trip.window", *window);
                share(&mut found, "trip.rate", *rate);
            }
            Trip::Consecutive { .. } => {}
        }
        zero(&mut found, "reset_after", self.reset_after);
        if let Some(max) = self.max_half_open {
            zero(&mut found, "max_half_open", max);
        }
        if let Some(slow) = &self.slow_call {
            share(&mut found, "slow_call.rate", slow.rate);
        }
        if let Some(reopen) = &self.reopen {
            schedule(&mut found, reopen);
        }
        found
    }
}

fn schedule(found: &mut Vec<ConfigProblem>, reopen: &Reopen) {
    zero(found, "reopen.interval", reopen.interval);
    if !(0.0..=1.0).contains(&reopen.jitter) {
        found.push(ConfigProblem::Jitter { value: reopen.jitter });
    }
    if reopen.multiplier.is_nan() || reopen.multiplier < 1.0 {
        found.push(ConfigProblem::Multiplier { value: reopen.multiplier });
    }
    if reopen.max_interval < reopen.interval {
        found.push(ConfigProblem::MaxInterval { max: reopen.max_interval, interval: reopen.interval });
    }
}

fn zero(found: &mut Vec<ConfigProblem>, setting: &'static str, span: Duration) {
    if span.is_zero() {
        found.push(ConfigProblem::Zero { setting });
    }
}

fn share(found: &mut Vec<ConfigProblem>, setting: &'static str, value: f64) {
    if !(value > 0.0 && value <= 1.0) {
        found.push(ConfigProblem::NoShare { setting, value });
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::breaker::{AfterReopen, SlowCall};
    use crate::presets::Preset;

    #[test]
    fn the_defaults_and_all_presets_are_sound() {
        assert_eq!(BreakerConfig::default().problems(), []);
        for preset in Preset::ALL {
            assert_eq!(preset.config().problems(), [], "{}", preset.name());
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let config = BreakerConfig {
            trip: Trip::Rate { rate: 1.5, min_calls: NonZeroU32::MIN, window: Duration::ZERO },
            reset_after: Duration::ZERO,
            max_half_open: Some(Duration::ZERO),
            slow_call: Some(SlowCall {
                threshold: Duration::ZERO,
                rate: f64::NAN,
                min_calls: NonZeroU32::MIN,
            }),
            reopen: Some(Reopen {
                fixed: 0,
                interval: Duration::from_secs(2),
                exponential: 0,
                multiplier: 0.5,
                max_interval: Duration::from_secs(1),
                jitter: -0.1,
                then: AfterReopen::Cap,
            }),
            ..BreakerConfig::default()
        };
        let said: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
        let expected = [
            "`trip.window` is zero",
            "`trip.rate` is 1.5, not above 0 and at most 1",
            "`reset_after` is zero",
            "`max_half_open` is zero",
            "`slow_call.rate` is NaN, not above 0 and at most 1",
            "`reopen.jitter` is -0.1, not within 0 to 1",
            "`reopen.multiplier` is 0.5, less than 1",
            "`reopen.max_interval` is shorter than `reopen.interval`",
        ];
        assert_eq!(said, expected);
    }
}
