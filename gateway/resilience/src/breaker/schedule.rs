//! How long a circuit stays open, from how often it has opened again.
//!
//! | opening            | lasts                      | phase         |
//! |--------------------|----------------------------|---------------|
//! | the first          | `reset_after`              | `fixed`       |
//! | `fixed` more       | `interval`                 | `fixed`       |
//! | `exponential` more | `interval × multiplier^k`  | `exponential` |
//! | all further ones   | the last of these, or ever | `capped`, `held` |

use std::time::Duration;

use super::config::{AfterReopen, BreakerConfig, Reopen};
use super::event::RetryPhase;
use crate::span::{exponential, jittered};

/// One stay in the open state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// Until the next probe; `None` = until an operator acts.
    pub(super) lasts: Option<Duration>,
    /// Where this is in the schedule; `None` without one.
    pub(super) phase: Option<RetryPhase>,
}

/// The stay after `reopenings` failed attempts to recover (0 = the circuit has just tripped).
pub(super) fn opening(config: &BreakerConfig, reopenings: u32, unit: f64) -> Opening {
    let Some(reopen) = &config.reopen else {
        return Opening { lasts: Some(config.reset_after), phase: None };
    };
    if reopenings == 0 {
        return Opening { lasts: Some(config.reset_after), phase: Some(RetryPhase::Fixed) };
    }
    let grown = reopenings.saturating_sub(reopen.fixed);
    let phase = match grown {
        0 => RetryPhase::Fixed,
        _ if grown <= reopen.exponential => RetryPhase::Exponential,
        _ if reopen.then == AfterReopen::Hold => RetryPhase::Held,
        _ => RetryPhase::Capped,
    };
    let lasts = (phase != RetryPhase::Held).then(|| interval(reopen, grown, unit));
    Opening { lasts, phase: Some(phase) }
}

fn interval(reopen: &Reopen, grown: u32, unit: f64) -> Duration {
    let exponent = grown.min(reopen.exponential);
    let interval = exponential(reopen.interval, reopen.multiplier, exponent, reopen.max_interval);
    jittered(interval, reopen.jitter, unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn config(then: AfterReopen) -> BreakerConfig {
        let reopen = Reopen {
            fixed: 2,
            interval: 5 * MINUTE,
            exponential: 3,
            multiplier: 2.0,
            max_interval: 30 * MINUTE,
            jitter: 0.0,
            then,
        };
        BreakerConfig { reset_after: MINUTE, reopen: Some(reopen), ..BreakerConfig::default() }
    }

    fn minutes(config: &BreakerConfig) -> Vec<(Option<u64>, RetryPhase)> {
        (0..8)
            .map(|n| opening(config, n, 0.5))
            .map(|opening| (opening.lasts.map(|lasts| lasts.as_secs() / 60), opening.phase.unwrap()))
            .collect()
    }

    #[test]
    fn the_schedule_goes_from_fixed_to_exponential_to_capped() {
        use RetryPhase::{Capped, Exponential, Fixed};
        let expected = [
            (Some(1), Fixed),
            (Some(5), Fixed),
            (Some(5), Fixed),
            (Some(10), Exponential),
            (Some(20), Exponential),
            (Some(30), Exponential),
            (Some(30), Capped),
            (Some(30), Capped),
        ];
        assert_eq!(minutes(&config(AfterReopen::Cap)), expected);
    }

    #[test]
    fn the_schedule_ends_in_a_hold_when_asked_to() {
        let seen = minutes(&config(AfterReopen::Hold));
        assert_eq!(seen[5], (Some(30), RetryPhase::Exponential));
        assert_eq!(seen[6], (None, RetryPhase::Held));
        assert_eq!(opening(&config(AfterReopen::Hold), u32::MAX, 0.5).lasts, None);
    }

    #[test]
    fn a_short_schedule_stays_at_what_it_reached_and_does_not_jump_to_the_maximum() {
        let mut config = config(AfterReopen::Cap);
        config.reopen.as_mut().unwrap().exponential = 1;
        assert_eq!(opening(&config, 100, 0.5).lasts, Some(10 * MINUTE));
    }

    #[test]
    fn jitter_spreads_the_schedule_but_not_the_first_opening() {
        let mut config = config(AfterReopen::Cap);
        config.reopen.as_mut().unwrap().jitter = 0.2;
        assert_eq!(opening(&config, 0, 0.0).lasts, Some(MINUTE));
        assert_eq!(opening(&config, 1, 0.0).lasts, Some(4 * MINUTE));
        assert_eq!(opening(&config, 1, 1.0).lasts, Some(6 * MINUTE));
    }

    #[test]
    fn without_a_schedule_every_opening_lasts_as_long_as_the_first() {
        let config = BreakerConfig::default();
        assert_eq!(opening(&config, 7, 0.1), Opening { lasts: Some(config.reset_after), phase: None });
    }
}
