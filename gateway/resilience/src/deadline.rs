//! A deadline: the point in time after which nobody wants the answer any more.
//!
//! A timeout is a span and starts anew with each thing it is applied to; a deadline is a point and is handed down,
//! so that the sum of all steps stays within it. It is a plain value: it wakes nobody and cancels nothing.

use std::time::{Duration, Instant};

use crate::span::later;

/// A point in time by which something must be done, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No deadline: the time is unlimited.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// The deadline at `instant`.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self(Some(instant))
    }

    /// The deadline `timeout` after `now`. Spans of more than 30 years are cut to that.
    #[must_use]
    pub fn after(now: Instant, timeout: Duration) -> Self {
        Self(Some(later(now, timeout)))
    }

    /// The time left at `now`: zero once it has expired, `None` when it is unlimited.
    #[must_use]
    pub fn remaining(self, now: Instant) -> Option<Duration> {
        self.0.map(|instant| instant.saturating_duration_since(now))
    }

    /// Whether nothing is left at `now`. A deadline of exactly now has expired.
    #[must_use]
    pub fn is_expired(self, now: Instant) -> bool {
        self.0.is_some_and(|instant| instant <= now)
    }

    /// The stricter of the two; the parent's deadline always wins over a child's longer one.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(mine), Some(theirs)) => Self(Some(mine.min(theirs))),
            (mine, theirs) => Self(mine.or(theirs)),
        }
    }

    /// The same deadline, `by` later. No deadline stays none.
    #[must_use]
    pub fn extend(self, by: Duration) -> Self {
        Self(self.0.map(|instant| later(instant, by)))
    }

    /// The point in time itself, if there is one.
    #[must_use]
    pub const fn instant(self) -> Option<Instant> {
        self.0
    }
}

impl From<Option<Instant>> for Deadline {
    fn from(instant: Option<Instant>) -> Self {
        Self(instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_parent_of_five_seconds_caps_a_child_of_ten() {
        let now = Instant::now();
        let parent = Deadline::after(now, 5 * SECOND);
        let child = Deadline::after(now, 10 * SECOND).earlier(parent);
        assert_eq!(child.remaining(now), Some(5 * SECOND));
        assert_eq!(parent.earlier(Deadline::none()), parent);
        assert_eq!(Deadline::none().earlier(parent), parent);
    }

    #[test]
    fn it_expires_at_its_instant_and_not_before() {
        let now = Instant::now();
        let deadline = Deadline::after(now, SECOND);
        assert!(!deadline.is_expired(now + SECOND - Duration::from_nanos(1)));
        assert!(deadline.is_expired(now + SECOND));
        assert_eq!(deadline.remaining(now + 2 * SECOND), Some(Duration::ZERO));
    }

    #[test]
    fn none_never_expires_and_stays_none_when_extended() {
        let now = Instant::now();
        assert!(!Deadline::none().is_expired(now));
        assert_eq!(Deadline::none().extend(SECOND).remaining(now), None);
        assert_eq!(Deadline::default().instant(), None);
    }

    #[test]
    fn extending_moves_it_and_never_overflows() {
        let now = Instant::now();
        assert_eq!(Deadline::at(now).extend(SECOND).instant(), Some(now + SECOND));
        assert!(!Deadline::after(now, Duration::MAX).extend(Duration::MAX).is_expired(now + SECOND));
    }
}
