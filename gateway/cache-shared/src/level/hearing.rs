//! Which purges a gateway has heard of. A plain struct, behind the level's lock.
//!
//! ```text
//!            a gap                      told what moved since
//!   abreast ───────► behind: purges are heard of, but not counted ───────► abreast
//! ```
//!
//! The decision: an entry is sent with the number up to which *all* purges are done here. While some may have been missed
//! that number stays, whatever else is heard of; and a number that the server can hardly have given moves nothing.

use crate::purges::LIFE_MAX;
use std::time::Instant;

/// How far a number may be above the latest one: a day, in microseconds. What is further is looked up on the server.
const FAR: u64 = LIFE_MAX.as_secs() * 1_000_000;

pub(super) struct Hearing {
    /// All purges up to this number are done here; 0 before the first time.
    heard: u64,
    /// The latest that was heard of since the last gap.
    latest: u64,
    /// When there was word of the server while nothing was missed.
    since: Option<Instant>,
    /// How often purges may have been missed, and how often that was made up for.
    gaps: u64,
    filled: u64,
}

/// What is to be made up for.
#[derive(Clone, Copy)]
pub(super) struct Behind {
    /// All purges up to this number are done; 0 for none.
    pub(super) heard: u64,
    since: Option<Instant>,
    gaps: u64,
}

impl Behind {
    /// Whether the server may have forgotten purges that were missed.
    pub(super) fn too_long(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) > LIFE_MAX)
    }
}

impl Hearing {
    /// Of a gateway that has heard of none.
    pub(super) const fn new() -> Self {
        Self { heard: 0, latest: 0, since: None, gaps: 1, filled: 0 }
    }

    /// All purges up to this number are done here.
    pub(super) const fn heard(&self) -> u64 {
        self.heard
    }

    pub(super) const fn is_behind(&self) -> bool {
        self.gaps != self.filled
    }

    /// Whether a purge has come back, or will not.
    pub(super) const fn is_past(&self, number: u64) -> bool {
        self.latest >= number || self.is_behind()
    }

    pub(super) const fn behind(&self) -> Behind {
        Behind { heard: self.heard, since: self.since, gaps: self.gaps }
    }

    /// Until now there was word of the server.
    pub(super) const fn listened(&mut self, now: Instant) {
        if !self.is_behind() {
            self.since = Some(now);
        }
    }

    /// Purges may have been missed.
    pub(super) const fn gap(&mut self) {
        self.gaps += 1;
        self.latest = 0;
    }

    /// A purge was heard of. False, and nothing is noted, if the number is too far ahead.
    pub(super) fn hear(&mut self, number: u64, now: Instant) -> bool {
        self.listened(now);
        if number.saturating_sub(self.heard.max(self.latest)) > FAR {
            return false;
        }
        self.latest = self.latest.max(number);
        if !self.is_behind() {
            self.heard = self.heard.max(number);
        }
        true
    }

    /// What was missed up to this number is made up for.
    pub(super) fn caught_up(&mut self, behind: Behind, number: u64, now: Instant) {
        // What was published after that number was heard, unless there was another gap since: then what came after that
        // one says nothing of what came before. A server that begins anew may begin with a smaller number.
        self.heard = if self.gaps == behind.gaps { self.latest.max(number) } else { number };
        (self.filled, self.since) = (behind.gaps, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(25 * 3600);

    /// Has caught up to that number.
    fn at(number: u64, now: Instant) -> Hearing {
        let mut hearing = Hearing::new();
        hearing.caught_up(hearing.behind(), number, now);
        hearing
    }

    #[test]
    fn what_is_heard_while_behind_counts_once_the_rest_is_made_up_for() {
        let now = Instant::now();
        let mut hearing = at(10, now);
        hearing.gap();
        let behind = hearing.behind();
        assert!(hearing.hear(13, now));
        assert_eq!((hearing.heard(), hearing.is_behind()), (10, true));
        hearing.caught_up(behind, 12, now);
        assert_eq!((hearing.heard(), hearing.is_behind()), (13, false));
    }

    #[test]
    fn what_is_heard_after_another_gap_does_not_count_for_the_first() {
        let now = Instant::now();
        let mut hearing = at(10, now);
        hearing.gap();
        let behind = hearing.behind();
        hearing.gap();
        assert!(hearing.hear(20, now));
        hearing.caught_up(behind, 12, now);
        assert_eq!((hearing.heard(), hearing.is_behind()), (12, true));
        let behind = hearing.behind();
        hearing.caught_up(behind, 19, now);
        assert_eq!((hearing.heard(), hearing.is_behind()), (20, false));
    }

    #[test]
    fn a_number_that_is_far_ahead_moves_nothing() {
        let now = Instant::now();
        let mut hearing = at(10, now);
        for number in [11 + FAR, u64::MAX] {
            assert!(!hearing.hear(number, now));
        }
        assert_eq!((hearing.heard(), hearing.is_past(11)), (10, false));
        assert!(hearing.hear(10 + FAR, now));
        assert_eq!(hearing.heard(), 10 + FAR);
    }

    #[test]
    fn silence_counts_from_when_the_server_was_listened_to_no_more() {
        let now = Instant::now();
        let mut hearing = at(10, now);
        hearing.listened(now + LONG);
        hearing.gap();
        assert!(!hearing.behind().too_long(now + LONG + LIFE_MAX));
        assert!(hearing.behind().too_long(now + LONG + LONG));
        // While some may have been missed, listening helps nothing.
        hearing.listened(now + LONG + LONG);
        assert!(hearing.behind().too_long(now + LONG + LONG));
    }
}
