//! What the journal says about a call's attempts, collected while they are made.
//!
//! An attempt is noted when it begins and completed when it is judged, so that one which is under way when the caller
//! leaves is in the record too. Nothing is collected, and nothing allocated, when no journal is kept.

use crate::{
    pipeline::quota::{QuotaNumbers, Quotas},
    telemetry::journal::{ATTEMPTS_MAX, AttemptRecord, QuotaRecord, millis, whole_millis},
};
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
pub(in crate::pipeline) struct Judged<'a> {
    /// From sending it to the judgement.
    pub(in crate::pipeline) elapsed: Duration,
    /// The outcome's name.
    pub(in crate::pipeline) outcome: &'static str,
    /// The provider's status, when it answered.
    pub(in crate::pipeline) status: Option<u16>,
    /// The wait that the provider asked for.
    pub(in crate::pipeline) retry_after: Option<Duration>,
    /// What the answer said about the provider's quotas.
    pub(in crate::pipeline) quotas: &'a Quotas,
    /// Which of them is which.
    pub(in crate::pipeline) numbers: &'a QuotaNumbers,
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

    pub(super) fn judged(&self, noted: Noted, judged: &Judged<'_>) {
        let mut attempts = self.attempts.lock();
        let note = attempts.as_mut().zip(noted.0).and_then(|(taken, index)| taken.noted.get_mut(index));
        let Some(note) = note else { return };
        note.judged = true;
        note.record = AttemptRecord {
            ms: millis(judged.elapsed),
            outcome: Cow::Borrowed(judged.outcome),
            status: judged.status,
            retry_after_ms: judged.retry_after.map(whole_millis),
            quotas: quotas(judged),
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

/// A quota without a number is left out; those with one are few.
fn quotas(judged: &Judged<'_>) -> Vec<QuotaRecord> {
    let told = judged.quotas.iter().filter_map(|quota| {
        Some(QuotaRecord {
            number: judged.numbers.of(&quota.name)?,
            remaining: quota.remaining,
            limit: quota.limit,
            window_ms: quota.window.map(whole_millis),
            reset_ms: quota.reset.map(whole_millis),
        })
    });
    told.collect()
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
    use http::{HeaderName, HeaderValue};
    use std::time::SystemTime;

    const MS: Duration = Duration::from_millis(1);

    /// An answer's quotas, and the numbers that they get.
    #[derive(Default)]
    struct Told(Quotas, QuotaNumbers);

    impl Told {
        fn judged(&self) -> Judged<'_> {
            Judged {
                elapsed: Duration::from_micros(2500),
                outcome: "throttled",
                status: Some(429),
                retry_after: Some(Duration::from_secs(2)),
                quotas: &self.0,
                numbers: &self.1,
                timed_out: false,
                sent: true,
            }
        }
    }

    fn quotas(lines: &[(&'static str, &'static str)]) -> Quotas {
        let line = |(name, text): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(text))
        };
        crate::pipeline::quota::quotas(&lines.iter().map(line).collect(), None, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn an_attempt_that_was_given_up_ends_there_and_not_with_the_call() {
        let begun = Instant::now();
        let notes = Notes::begun(begun);
        let own: Arc<str> = "a.x".into();
        let (loser, winner) = (notes.attempt(&own, begun, false), notes.attempt(&own, begun + 5 * MS, true));
        let told = Told::default();
        notes.judged(winner, &Judged { outcome: "success", ..told.judged() });
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
        let told = Told::default();
        notes.judged(second, &Judged { outcome: "success", retry_after: None, ..told.judged() });
        notes.judged(first, &told.judged());
        let (records, more) = notes.take().unwrap().into_records(&own, 9 * MS);
        assert_eq!((records.len(), more), (3, 0));
        assert_eq!((records[0].at_ms, records[0].ms, records[0].status), (1.0, 2.5, Some(429)));
        assert_eq!((records[0].retry_after_ms, records[0].of.as_deref()), (Some(2000), None));
        assert_eq!((records[1].of.as_deref(), records[1].hedge), (Some("b.y"), true));
        assert_eq!((&*records[2].outcome, records[2].ms), ("cancelled", 4.0), "under way at the end");
        notes.judged(third, &told.judged());
        assert!(notes.take().is_none(), "a record is made once");
    }

    #[test]
    fn notes_are_bounded() {
        let begun = Instant::now();
        let notes = Notes::begun(begun);
        let own: Arc<str> = "a.x".into();
        for _ in 0..ATTEMPTS_MAX + 3 {
            let noted = notes.attempt(&own, begun, false);
            notes.judged(noted, &Told::default().judged());
        }
        let (records, more) = notes.take().unwrap().into_records(&own, MS);
        assert_eq!((records.len(), more), (ATTEMPTS_MAX, 3));
    }

    #[test]
    fn every_quota_is_noted_with_its_number_and_without_its_name() {
        let begun = Instant::now();
        let notes = Notes::begun(begun);
        let own: Arc<str> = "a.x".into();
        let both = Told(
            quotas(&[
                ("ratelimit-policy", "\"day\";q=5000;w=86400, \"burst\";q=10;w=1"),
                ("ratelimit", "\"day\";r=4000;t=3600, \"burst\";r=0;t=1"),
            ]),
            QuotaNumbers::default(),
        );
        notes.judged(notes.attempt(&own, begun, false), &both.judged());
        let one = Told(quotas(&[("ratelimit", "\"burst\";r=3")]), both.1);
        notes.judged(notes.attempt(&own, begun, false), &one.judged());
        let (records, _) = notes.take().unwrap().into_records(&own, MS);
        let (day, hour) = (Some(86_400_000), Some(3_600_000));
        assert_eq!(
            records[0].quotas,
            [
                QuotaRecord { number: 0, remaining: 4000, limit: Some(5000), window_ms: day, reset_ms: hour },
                QuotaRecord {
                    number: 1,
                    remaining: 0,
                    limit: Some(10),
                    window_ms: Some(1000),
                    reset_ms: Some(1000)
                },
            ]
        );
        let alone = QuotaRecord { number: 1, remaining: 3, limit: None, window_ms: None, reset_ms: None };
        assert_eq!(records[1].quotas, [alone], "an answer that speaks of one only");
    }
}
