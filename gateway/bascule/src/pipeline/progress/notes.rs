//! What the journal says about a call's attempts, collected while they are made.
//!
//! An attempt is noted when it begins and completed when it is judged, so that one which is under way when the caller
//! leaves is in the record too. Nothing is collected, and nothing allocated, when no journal is kept.

use crate::telemetry::journal::{ATTEMPTS_MAX, AttemptRecord, QuotaRecord, millis, whole_millis};
use parking_lot::Mutex;
use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

/// The place of an attempt among the notes; none where it is not noted.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::pipeline) struct Noted(Option<usize>);

/// What an attempt came to.
#[derive(Clone, Copy, Debug)]
pub(in crate::pipeline) struct Judged {
    /// From sending it to the judgement.
    pub(in crate::pipeline) elapsed: Duration,
    /// The outcome's name.
    pub(in crate::pipeline) outcome: &'static str,
    /// The provider's status, when it answered.
    pub(in crate::pipeline) status: Option<u16>,
    /// The wait that the provider asked for.
    pub(in crate::pipeline) retry_after: Option<Duration>,
    /// What is left of the provider's quota, and until when.
    pub(in crate::pipeline) quota: Option<(u64, Option<Duration>)>,
    /// Whether a time limit ended it.
    pub(in crate::pipeline) timed_out: bool,
    /// Whether the provider may have seen the request.
    pub(in crate::pipeline) sent: bool,
}

/// The notes of one call.
pub(super) struct Notes {
    begun: Instant,
    /// None once the record has been made of them.
    attempts: Mutex<Option<Taken>>,
}

/// Notes as the record takes them.
#[derive(Default)]
pub(crate) struct Taken {
    noted: Vec<Note>,
    /// Attempts beyond those that are noted.
    more: u32,
}

struct Note {
    /// Whose attempt: `integration.operation`. Fallback operations make theirs within the same call.
    of: Arc<str>,
    judged: bool,
    record: AttemptRecord,
}

impl Notes {
    pub(super) fn begun(begun: Instant) -> Self {
        Self { begun, attempts: Mutex::new(Some(Taken::default())) }
    }

    pub(super) fn attempt(&self, of: &Arc<str>, now: Instant, hedge: bool) -> Noted {
        let mut attempts = self.attempts.lock();
        let Some(taken) = &mut *attempts else { return Noted(None) };
        if taken.noted.len() >= ATTEMPTS_MAX {
            taken.more = taken.more.saturating_add(1);
            return Noted(None);
        }
        let at_ms = millis(now.saturating_duration_since(self.begun));
        let record = AttemptRecord { at_ms, hedge, ..AttemptRecord::default() };
        taken.noted.push(Note { of: Arc::clone(of), judged: false, record });
        Noted(Some(taken.noted.len() - 1))
    }

    pub(super) fn judged(&self, noted: Noted, judged: &Judged) {
        let mut attempts = self.attempts.lock();
        let note = attempts.as_mut().zip(noted.0).and_then(|(taken, index)| taken.noted.get_mut(index));
        let Some(note) = note else { return };
        note.judged = true;
        note.record = AttemptRecord {
            ms: millis(judged.elapsed),
            outcome: Cow::Borrowed(judged.outcome),
            status: judged.status,
            retry_after_ms: judged.retry_after.map(whole_millis),
            quota: judged.quota.map(|(remaining, reset)| QuotaRecord {
                remaining,
                limit: None,
                reset_ms: reset.map(whole_millis),
            }),
            timed_out: judged.timed_out,
            sent: judged.sent,
            ..std::mem::take(&mut note.record)
        };
    }

    /// An attempt was given up for another one, or with its call: it took as long as until now.
    pub(super) fn given_up(&self, noted: Noted, now: Instant) {
        let mut attempts = self.attempts.lock();
        let note = attempts.as_mut().zip(noted.0).and_then(|(taken, index)| taken.noted.get_mut(index));
        let Some(note) = note.filter(|note| !note.judged) else { return };
        note.judged = true;
        let since = millis(now.saturating_duration_since(self.begun));
        note.record.ms = ((since - note.record.at_ms).max(0.0) * 1000.0).round() / 1000.0;
    }

    pub(super) fn take(&self) -> Option<Taken> {
        self.attempts.lock().take()
    }
}

impl Taken {
    /// The attempts for the record of an operation's call that took `elapsed`, and how many more there were. One that
    /// was under way at the end stays `cancelled`, as long as it was.
    pub(crate) fn into_records(self, own: &Arc<str>, elapsed: Duration) -> (Vec<AttemptRecord>, u32) {
        let end = millis(elapsed);
        let records = self.noted.into_iter().map(|note| {
            let mut record = note.record;
            if !note.judged {
                record.ms = ((end - record.at_ms).max(0.0) * 1000.0).round() / 1000.0;
            }
            record.of = (note.of != *own).then(|| note.of.as_ref().to_owned());
            record
        });
        (records.collect(), self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const JUDGED: Judged = Judged {
        elapsed: Duration::from_micros(2500),
        outcome: "throttled",
        status: Some(429),
        retry_after: Some(Duration::from_secs(2)),
        quota: Some((0, Some(Duration::from_secs(60)))),
        timed_out: false,
        sent: true,
    };

    #[test]
    fn an_attempt_that_was_given_up_ends_there_and_not_with_the_call() {
        let begun = Instant::now();
        let notes = Notes::begun(begun);
        let own: Arc<str> = "a.x".into();
        let (loser, winner) = (notes.attempt(&own, begun, false), notes.attempt(&own, begun + 5 * MS, true));
        notes.judged(winner, &Judged { outcome: "success", ..JUDGED });
        notes.given_up(winner, begun + 8 * MS);
        notes.given_up(loser, begun + 8 * MS);
        let (records, _) = notes.take().unwrap().into_records(&own, 900 * MS);
        assert_eq!((records[0].ms, &*records[0].outcome), (8.0, "cancelled"));
        assert_eq!((records[1].ms, &*records[1].outcome), (2.5, "success"));
    }

    #[test]
    fn attempts_are_completed_in_their_places_whoever_made_them() {
        let begun = Instant::now();
        let notes = Notes::begun(begun);
        let (own, rung): (Arc<str>, Arc<str>) = ("a.x".into(), "b.y".into());
        let first = notes.attempt(&own, begun + MS, false);
        let second = notes.attempt(&rung, begun + 3 * MS, true);
        let third = notes.attempt(&own, begun + 5 * MS, false);
        notes.judged(second, &Judged { outcome: "success", quota: None, retry_after: None, ..JUDGED });
        notes.judged(first, &JUDGED);
        let (records, more) = notes.take().unwrap().into_records(&own, 9 * MS);
        assert_eq!((records.len(), more), (3, 0));
        assert_eq!((records[0].at_ms, records[0].ms, records[0].status), (1.0, 2.5, Some(429)));
        assert_eq!((records[0].retry_after_ms, records[0].of.as_deref()), (Some(2000), None));
        let quota = QuotaRecord { remaining: 0, limit: None, reset_ms: Some(60_000) };
        assert_eq!(records[0].quota, Some(quota));
        assert_eq!((records[1].of.as_deref(), records[1].hedge), (Some("b.y"), true));
        assert_eq!((&*records[2].outcome, records[2].ms), ("cancelled", 4.0), "under way at the end");
        notes.judged(third, &JUDGED);
        assert!(notes.take().is_none(), "a record is made once");
    }

    #[test]
    fn notes_are_bounded() {
        let begun = Instant::now();
        let notes = Notes::begun(begun);
        let own: Arc<str> = "a.x".into();
        for _ in 0..ATTEMPTS_MAX + 3 {
            let noted = notes.attempt(&own, begun, false);
            notes.judged(noted, &JUDGED);
        }
        let (records, more) = notes.take().unwrap().into_records(&own, MS);
        assert_eq!((records.len(), more), (ATTEMPTS_MAX, 3));
    }
}
