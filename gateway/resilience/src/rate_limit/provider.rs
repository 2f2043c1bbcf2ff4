//! What the provider has said about how much it will bear.
//!
//! Answers arrive late and out of order, so that what is heard only narrows: the longest hold wins, and within one of
//! the provider's windows the lowest count wins. Each call of ours counts the quota down until the next answer.

use std::time::{Duration, Instant};

use super::LimitedBy;
use crate::span::later;

/// The hold after a first throttling without a named end.
const THROTTLE_MIN: Duration = Duration::from_secs(1);

/// The longest such hold.
const THROTTLE_MAX: Duration = Duration::from_secs(60);

/// Two resets this close belong to the same window: providers name whole seconds, and answers travel.
const RESET_TOLERANCE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Provider {
    hold: Option<Instant>,
    throttled_until: Option<Instant>,
    throttlings: u32,
    quota: Option<Quota>,
}

#[derive(Clone, Copy, Debug)]
struct Quota {
    left: u64,
    reset: Instant,
}

impl Provider {
    /// How long a call has to wait that comes after `ahead` others.
    pub(super) fn waits(&self, now: Instant, ahead: u64) -> impl Iterator<Item = (Duration, LimitedBy)> {
        let hold = self.hold.map(|until| (until.saturating_duration_since(now), LimitedBy::Hold));
        let quota = self.quota.filter(|quota| quota.left <= ahead);
        let quota = quota.map(|quota| (quota.reset.saturating_duration_since(now), LimitedBy::Quota));
        hold.into_iter().chain(quota)
    }

    pub(super) fn hold_until(&mut self, until: Instant, now: Instant) {
        if until > now {
            self.hold = Some(self.hold.map_or(until, |hold| hold.max(until)));
        }
    }

    pub(super) fn throttled(&mut self, now: Instant) -> Instant {
        if let Some(until) = self.throttled_until.filter(|until| *until > now) {
            // One burst of calls gets one hold, however many of its answers say so.
            return self.hold.map_or(until, |hold| hold.max(until));
        }
        let doubled =
            1u32.checked_shl(self.throttlings).map_or(THROTTLE_MAX, |n| THROTTLE_MIN.saturating_mul(n));
        self.throttlings = self.throttlings.saturating_add(1);
        let until = later(now, doubled.min(THROTTLE_MAX));
        self.throttled_until = Some(until);
        self.hold_until(until, now);
        self.hold.unwrap_or(until)
    }

    pub(super) fn succeeded(&mut self) {
        self.throttlings = 0;
    }

    pub(super) fn observe_quota(&mut self, remaining: u64, reset: Instant, now: Instant) {
        if reset <= now {
            return;
        }
        let known = self.quota.filter(|quota| quota.reset > now);
        self.quota = Some(match known {
            // A later window: what is known belongs to the one before.
            Some(quota) if reset > later(quota.reset, RESET_TOLERANCE) => Quota { left: remaining, reset },
            // The same window, or a shorter one beside it: only a lower count is news.
            Some(quota) if remaining >= quota.left => quota,
            _ => Quota { left: remaining, reset },
        });
    }

    /// One call goes.
    pub(super) fn count_down(&mut self) {
        if let Some(quota) = &mut self.quota {
            quota.left = quota.left.saturating_sub(1);
        }
    }

    /// What may still go; `None` when nothing is known.
    pub(super) fn remaining(&self, now: Instant) -> Option<u64> {
        if self.hold.is_some_and(|until| until > now) {
            return Some(0);
        }
        self.quota.filter(|quota| quota.reset > now).map(|quota| quota.left)
    }
}
