//! Additive increase, multiplicative decrease: the limit grows by one per round of good calls and falls by a share when
//! a call meets overload.
//!
//! After `AIMDLimit` of Netflix's concurrency-limits and TCP's congestion avoidance (RFC 5681). Two things are as in TCP
//! rather than as in Netflix's: the increase is one per round (as many good calls as the limit), not one per call; and
//! there is one decrease per round, because calls that began before a decrease say nothing about the new limit. With
//! one per call, a hundred calls that fail together would bring the limit to nothing.

use std::time::{Duration, Instant};

use super::adaptive::{Bounds, Sample};
use crate::outcome::Outcome;
use crate::span::clamped;

/// What the limit is multiplied with when the configuration gives no number.
const BACKOFF: f64 = 0.9;

pub(super) struct Aimd {
    limit: f64,
    bounds: Bounds,
    backoff: f64,
    slow: Option<Duration>,
    decreased: Option<Instant>,
}

impl Aimd {
    pub(super) fn new(limit: f64, bounds: Bounds, backoff: f64, slow: Option<Duration>) -> Self {
        Self { limit, bounds, backoff: clamped(backoff, BACKOFF), slow, decreased: None }
    }

    pub(super) const fn present(&self) -> f64 {
        self.limit
    }

    pub(super) fn update(&mut self, sample: &Sample) {
        match sample.outcome {
            Outcome::Throttled { .. } | Outcome::Transient { .. } => self.decrease(sample),
            Outcome::Success if self.slow.is_some_and(|slow| sample.latency > slow) => self.decrease(sample),
            Outcome::Success if sample.in_flight as f64 * 2.0 >= self.limit => {
                self.limit = self.bounds.hold(self.limit + 1.0 / self.limit.max(1.0));
            }
            _ => {}
        }
    }

    fn decrease(&mut self, sample: &Sample) {
        let began = sample.now.checked_sub(sample.latency);
        if self.decreased.is_some_and(|decreased| began.is_none_or(|began| began < decreased)) {
            return;
        }
        self.limit = self.bounds.hold((self.limit * self.backoff).min(self.limit - 1.0));
        self.decreased = Some(sample.now);
    }
}
