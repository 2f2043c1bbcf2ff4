//! One call's progress, as its own stages and a fetch in a task of its own see it.

use super::*;
use crate::{
    pipeline::quota::{QuotaNumbers, Quotas},
    telemetry::Telemetry,
};
use std::time::SystemTime;

const MS: Duration = Duration::from_millis(1);

fn progress(begun: Instant, journal: bool) -> Arc<Progress> {
    Progress::new(Telemetry::disabled().call_span(None, SystemTime::UNIX_EPOCH), begun, journal)
}

/// Takes down an outcome of an answer that says nothing else.
fn judge(progress: &Progress, noted: Noted, outcome: &'static str) {
    let judged = Judged {
        elapsed: MS,
        outcome,
        status: None,
        retry_after: None,
        quotas: &Quotas::default(),
        numbers: &QuotaNumbers::default(),
        timed_out: false,
        sent: true,
    };
    progress.judged(noted, &judged);
}

#[test]
fn a_fetch_works_for_its_caller_until_that_one_stops_waiting() {
    let begun = Instant::now();
    let call = progress(begun, true);
    let own: Arc<str> = "a.x".into();
    let (fetch, attached) = call.branch();
    fetch.switch(CallPhase::Attempt, begun + MS);
    let noted = fetch.attempt(&own, begun + MS, false);
    // The caller's time is up; the fetch goes on for others.
    drop(attached);
    call.switch(CallPhase::Fallback, begun + 3 * MS);
    fetch.switch(CallPhase::Backoff, begun + 4 * MS);
    judge(&fetch, noted, "transient");
    let late = fetch.attempt(&own, begun + 5 * MS, false);
    judge(&fetch, late, "success");
    let spent = call.stop(begun + 6 * MS);
    assert_eq!(
        spent.phases().collect::<Vec<_>>(),
        [(CallPhase::Accept, MS), (CallPhase::Attempt, 2 * MS), (CallPhase::Fallback, 3 * MS)]
    );
    assert_eq!(call.totals(), Totals { attempts: 1, upstream: Duration::ZERO, plugin: Duration::ZERO });
    let (records, _) = call.take_notes().unwrap().into_records(&own, spent.total());
    assert_eq!(records.len(), 1);
    assert_eq!(&*records[0].outcome, "transient", "what had begun for the caller is in its record");
}

#[test]
fn a_call_without_a_journal_notes_nothing() {
    let begun = Instant::now();
    let call = progress(begun, false);
    let noted = call.attempt(&"a.x".into(), begun, false);
    judge(&call, noted, "success");
    assert_eq!(call.totals().attempts, 1);
    assert!(call.take_notes().is_none());
}

#[test]
fn a_race_is_one_phase() {
    let begun = Instant::now();
    let call = progress(begun, false);
    call.switch(CallPhase::Attempt, begun);
    let race = call.overlap(CallPhase::Hedge, begun + MS);
    let before = call.enter(CallPhase::Plugin, begun + 2 * MS);
    call.back(before, begun + 3 * MS);
    race.end(CallPhase::Attempt, begun + 4 * MS);
    drop(call.overlap(CallPhase::FanOut, begun + 6 * MS));
    let spent = call.stop(begun + 7 * MS);
    let expected = [(CallPhase::Attempt, 3 * MS), (CallPhase::Hedge, 3 * MS), (CallPhase::FanOut, MS)];
    assert_eq!(spent.phases().collect::<Vec<_>>(), expected);
}

#[test]
fn work_for_nobody_is_not_measured() {
    let nobody = Progress::detached();
    nobody.switch(CallPhase::Attempt, Instant::now());
    assert_eq!(nobody.stop(Instant::now()), Spent::default());
}

#[test]
fn what_the_cache_had_is_told_in_words() {
    let call = progress(Instant::now(), false);
    assert_eq!(call.cache(), Looked::Bypass);
    for looked in [Looked::Hit, Looked::Stale, Looked::Miss, Looked::Coalesced] {
        call.looked(looked);
        assert_eq!(call.cache(), looked);
    }
}
