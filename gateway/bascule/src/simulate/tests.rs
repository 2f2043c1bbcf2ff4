//! The model of the provider, and the arithmetic of the report, on journals of a few lines.

use super::{
    figures::Figures,
    load::{Journal, load, nanos},
    provider::{Provider, Turn},
    recorded::{Fate, Way},
    usage::Usage,
};
use crate::telemetry::journal::{AttemptRecord, CallRecord, QUOTAS_MAX, QuotaRecord};
use bascule_resilience::{Outcome, RateWindow};
use std::{fmt::Write, fs, num::NonZeroU32, time::Duration};

const MS: Duration = Duration::from_millis(1);

/// A call of `shop.OPERATION` with attempts one after the other.
fn call(time: u64, operation: &str, ended: &'static str, attempts: Vec<AttemptRecord>) -> CallRecord {
    let elapsed_ms = attempts.last().map_or(1.0, |last| last.at_ms + last.ms + 1.0);
    CallRecord {
        v: 1,
        time,
        time_us: 0,
        integration: "shop".into(),
        operation: operation.into(),
        priority: "normal".into(),
        safe: true,
        timeout_ms: 30_000,
        status: 200,
        source: None,
        ended: ended.into(),
        refused: None,
        cache: "bypass".into(),
        elapsed_ms,
        queued_ms: 0.0,
        attempts,
        more: 0,
    }
}

fn attempt(at_ms: f64, ms: f64, outcome: &'static str) -> AttemptRecord {
    AttemptRecord { at_ms, ms, outcome: outcome.into(), ..AttemptRecord::default() }
}

fn journal(records: &[CallRecord]) -> Journal {
    let mut text = String::new();
    for record in records {
        let _ = writeln!(text, "{}", serde_json::to_string(record).unwrap());
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    load(&[file.path().to_owned()], None).unwrap()
}

#[test]
fn a_call_is_given_its_own_attempts_and_then_those_nearest_in_time() {
    let mut journal = journal(&[
        call(1000, "get", "success", vec![attempt(0.0, 10.0, "transient"), attempt(100.0, 20.0, "success")]),
        call(5000, "get", "upstream-5xx", vec![attempt(0.0, 30.0, "transient")]),
        call(9000, "other", "success", vec![attempt(0.0, 40.0, "success")]),
        call(9001, "never", "circuit-open", Vec::new()),
    ]);
    let provider = Provider::new(&mut journal);
    let [first, second, _, never] = &journal.calls[..] else { panic!() };
    let begin = journal.begins();
    let turn = Turn::default();
    let given: Vec<_> = (0..3).map(|_| provider.answer(first, &turn, begin, 3000 * MS)).collect();
    let told: Vec<_> = given.iter().map(|given| (given.took, given.assumed, given.last)).collect();
    assert_eq!(told, [(10 * MS, false, false), (20 * MS, false, true), (30 * MS, true, false)]);
    assert_eq!(given[2].answer.outcome, Outcome::TRANSIENT, "the call at 5 s is nearer than that at 1 s");
    let turn = Turn::default();
    assert_eq!(turn.left(second).count(), 1);
    provider.answer(second, &turn, begin, 4000 * MS);
    assert_eq!(turn.left(second).count(), 0);
    // Exactly between two, the earlier one; far away, whichever is nearest.
    assert_eq!(provider.answer(second, &turn, begin, 2050 * MS).took, 20 * MS);
    assert_eq!(provider.answer(second, &turn, begin, Duration::from_secs(86_400)).took, 30 * MS);
    let unasked = provider.answer(never, &Turn::default(), begin, 8001 * MS);
    assert_eq!((unasked.took, unasked.assumed), (40 * MS, true), "another operation's");
}

#[test]
fn where_nothing_is_known_the_provider_is_healthy() {
    let mut refused = call(5, "get", "circuit-open", Vec::new());
    refused.integration = "shop".into();
    let mut others: Vec<_> =
        [30.0, 10.0, 20.0].map(|ms| call(1, "get", "success", vec![attempt(0.0, ms, "success")])).into();
    for other in &mut others {
        other.integration = "elsewhere".into();
    }
    others.push(refused.clone());
    let mut known = journal(&others);
    let provider = Provider::new(&mut known);
    let given = provider.answer(&known.calls[3], &Turn::default(), known.begins(), MS);
    assert_eq!((given.answer.outcome, given.took, given.assumed), (Outcome::Success, 20 * MS, true));
    let mut unknown = journal(&[refused]);
    let given = Provider::new(&mut unknown).answer(&unknown.calls[0], &Turn::default(), 5, Duration::ZERO);
    assert_eq!((given.answer.outcome, given.took), (Outcome::Success, 100 * MS));
}

#[test]
fn an_attempt_that_was_given_up_goes_on_for_as_long_as_an_assumed_one() {
    let mut journal = journal(&[
        call(0, "get", "success", vec![attempt(0.0, 20.0, "success")]),
        call(1, "get", "success", vec![attempt(0.0, 50.0, "cancelled"), attempt(40.0, 10.0, "success")]),
    ]);
    let provider = Provider::new(&mut journal);
    let turn = Turn::default();
    let cut_off = provider.answer(&journal.calls[1], &turn, 0, MS);
    assert_eq!((cut_off.took, cut_off.assumed, cut_off.answer.outcome), (70 * MS, true, Outcome::Success));
    assert!(!provider.answer(&journal.calls[1], &turn, 0, 41 * MS).assumed);
}

#[test]
fn an_attempt_that_hung_to_the_end_hangs_to_the_end_again() {
    let mut hung = call(0, "get", "upstream-timeout", vec![attempt(10.0, 90.0, "transient")]);
    (hung.timeout_ms, hung.attempts[0].timed_out) = (100, true);
    let mut cut = hung.clone();
    cut.timeout_ms = 1000;
    let mut journal = journal(&[hung, cut]);
    let provider = Provider::new(&mut journal);
    let took = |index: usize, after: u32| {
        provider.answer(&journal.calls[index], &Turn::default(), 0, after * MS).took
    };
    assert_eq!((took(0, 0), took(0, 4), took(0, 50)), (100 * MS, 96 * MS, 90 * MS));
    assert_eq!(took(1, 0), 90 * MS, "an attempt's own limit ended it");
}

#[test]
fn what_became_of_a_call_is_read_from_its_record() {
    let with = |change: fn(&mut CallRecord)| {
        let mut record = call(0, "get", "success", vec![attempt(2.0, 20.0, "success")]);
        change(&mut record);
        let call = journal(&[record]).calls[0].clone();
        (call.way, call.fate)
    };
    assert_eq!(with(|_| {}), (Way::Provider, Fate::Succeeded));
    assert_eq!(with(|call| call.cache = "hit".into()).0, Way::Cached);
    assert_eq!(with(|call| call.cache = "stale".into()).0, Way::Cached);
    assert_eq!(with(|call| call.cache = "coalesced".into()).0, Way::Coalesced);
    assert_eq!(with(|call| call.attempts.clear()).0, Way::Aside);
    let refused = |call: &mut CallRecord| {
        call.attempts.clear();
        call.ended = "overloaded".into();
        call.refused = Some("overloaded".into());
    };
    assert_eq!(with(refused), (Way::Provider, Fate::Overloaded));
    for (ended, outcome, fate) in [
        ("upstream-4xx", "rejected", Fate::Rejected),
        ("upstream-5xx", "rejected", Fate::Rejected),
        ("upstream-5xx", "transient", Fate::Failed),
        ("upstream-429", "throttled", Fate::Failed),
        ("upstream-timeout", "transient", Fate::TimedOut),
        ("cancelled", "cancelled", Fate::Left),
        ("broken", "success", Fate::Failed),
    ] {
        let record = call(0, "get", ended, vec![attempt(0.0, 1.0, outcome)]);
        assert_eq!(journal(&[record]).calls[0].fate, fate, "{ended}");
    }
    let mut impatient = call(0, "get", "upstream-timeout", vec![attempt(2.0, 20.0, "cancelled")]);
    impatient.attempts[0].timed_out = true;
    assert_eq!(journal(&[impatient]).calls[0].cap, Some(22 * MS), "the caller's own deadline had passed");
}

#[test]
fn attempts_for_others_are_known_of_those_and_calls_are_put_in_order() {
    let mut rung = attempt(5.0, 7.0, "success");
    rung.of = Some("spare.get".into());
    let quota =
        QuotaRecord { number: 0, remaining: 3, limit: Some(9), window_ms: Some(100), reset_ms: Some(60) };
    rung.quotas = (0..9).map(|number| QuotaRecord { number, ..quota }).collect();
    let journal = journal(&[
        call(2, "get", "upstream-5xx", vec![attempt(0.0, 1.0, "transient"), rung]),
        call(1, "get", "success", vec![attempt(0.0, 1.0, "success")]),
    ]);
    assert_eq!(journal.calls.iter().map(|call| call.at).collect::<Vec<_>>(), [1000, 2000]);
    assert_eq!(journal.calls[1].answers.len(), 1, "a rung's attempt is not the call's own");
    let (place, answers) = journal.answers.last_key_value().unwrap();
    assert_eq!((place.integration.as_str(), answers[0].0), ("spare", nanos(2000, 5 * MS)));
    let quotas = &answers[0].1.quotas;
    assert_eq!((quotas[1].number, quotas[1].limit, quotas[1].window), (1, Some(9), Some(100 * MS)));
    assert_eq!(quotas.len(), QUOTAS_MAX);
}

#[test]
fn words_of_later_versions_are_told_and_passed_over() {
    let record = call(0, "get", "success", vec![attempt(0.0, 1.0, "telepathic")]);
    let good = call(1, "get", "success", vec![attempt(0.0, 1.0, "success")]);
    let journal = journal(&[record, good]);
    assert_eq!((journal.calls.len(), journal.faults.unreadable), (1, 1));
    assert!(journal.faults.shown[0].contains("telepathic"), "{}", journal.faults.shown[0]);
}

#[test]
fn figures_add_up() {
    let journal = journal(&[
        call(0, "get", "success", vec![attempt(0.0, 10.0, "transient"), attempt(20.0, 9.0, "success")]),
        call(1, "get", "upstream-429", vec![attempt(0.0, 1.0, "throttled")]),
        call(2, "get", "circuit-open", Vec::new()),
    ]);
    let mut figures = Figures::default();
    for call in &journal.calls {
        figures.recorded(call);
    }
    let [first, second, third] = &journal.calls[..] else { panic!() };
    figures.simulated(first, &Turn::default(), Fate::CircuitOpen, Duration::ZERO);
    figures.simulated(second, &Turn::default(), Fate::Succeeded, 3 * MS);
    figures.simulated(third, &Turn::default(), Fate::Succeeded, MS);
    assert_eq!((figures.saved, figures.lost, figures.won, figures.throttled_avoided), (2, 1, 2, 1));
    assert_eq!((figures.recorded.attempts, figures.recorded.retries, figures.recorded.throttled), (3, 1, 1));
    let mut all = figures.clone();
    all.add(&figures);
    assert_eq!((all.calls, all.saved, all.recorded.attempts), (6, 4, 6));
    assert_eq!(all.simulated.of(Fate::Succeeded), 4);
    assert_eq!(all.simulated.percentiles([50, 95, 99]), [Some(1.0), Some(3.0), Some(3.0)]);
    assert_eq!(all.recorded.percentiles([50]), [Some(30.0)]);
    assert_eq!(Figures::default().recorded.percentiles([50]), [None]);
    assert!(!figures.is_same() && Figures::default().is_same());
}

#[test]
fn the_peak_of_a_window_is_the_most_that_was_ever_in_it() {
    let count = |n| NonZeroU32::new(n).unwrap();
    let window = RateWindow { requests: count(4), window: 100 * MS, burst: count(4) };
    let mut usage = Usage::new("shop".into(), &[window]);
    for (at, cost) in [(0, 1), (50, 1), (99, 1), (100, 2), (300, 1)] {
        usage.sent(at * MS, cost);
    }
    assert_eq!(usage.windows[0].peak, 4, "the first has left when the fourth comes");
    assert!((usage.windows[0].share() - 1.0).abs() < 1e-9);
}
