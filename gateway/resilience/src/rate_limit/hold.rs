//! Holds: the provider asked us to send nothing for a while.
//!
//! Answers arrive late and out of order, so that a hold only ever grows: the latest end wins. Who throttles without
//! naming an end is given one, twice as long each time.

use std::time::{Duration, Instant};

use crate::span::later;

/// The hold after a first throttling without a named end.
const THROTTLE_MIN: Duration = Duration::from_secs(1);

/// The longest such hold.
const THROTTLE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Holds {
    until: Option<Instant>,
    throttled_until: Option<Instant>,
    throttlings: u32,
}

impl Holds {
    /// When the present hold ends.
    pub(super) fn end(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    pub(super) fn hold_until(&mut self, until: Instant, now: Instant) {
        if until > now {
            self.until = Some(self.until.map_or(until, |hold| hold.max(until)));
        }
    }

    /// Holds for a span of our own choice; returns the end.
    pub(super) fn throttled(&mut self, now: Instant) -> Instant {
        if let Some(until) = self.throttled_until.filter(|until| *until > now) {
            // One burst of calls gets one hold, however many of its answers say so.
            return self.until.map_or(until, |hold| hold.max(until));
        }
        let doubled =
            1u32.checked_shl(self.throttlings).map_or(THROTTLE_MAX, |n| THROTTLE_MIN.saturating_mul(n));
        self.throttlings = self.throttlings.saturating_add(1);
        let until = later(now, doubled.min(THROTTLE_MAX));
        self.throttled_until = Some(until);
        self.hold_until(until, now);
        self.until.unwrap_or(until)
    }

    pub(super) fn succeeded(&mut self) {
        self.throttlings = 0;
    }
}
