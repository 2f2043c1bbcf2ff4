//! From journal files to calls in the order of time.
//!
//! A call is written when it ends, so a file is not in the order in which calls began, and several files may be of the
//! same time. All calls are held and sorted; a bound keeps that in memory.

use super::recorded::{Answer, Call, Fate, Place, accepted};
use crate::telemetry::journal::{CallRecord, Journalled, read};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

/// Most calls that are replayed at once: some 400 octets each, less than a gigabyte. A journal of the
/// default size has about a fifth of them.
pub const CALLS_MAX: usize = 2_000_000;

/// Bad lines that are shown; further ones are counted.
const SHOWN_MAX: usize = 20;

/// Calls to replay.
#[derive(Debug)]
pub struct Journal {
    /// In the order of time.
    pub(super) calls: Vec<Rc<Call>>,
    /// What the provider was known to answer: when an attempt was sent, in nanoseconds since 1970, and what came of it.
    pub(super) answers: BTreeMap<Rc<Place>, Vec<(u64, Rc<Answer>)>>,
    pub(super) faults: Faults,
}

/// What is missing from a journal.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Calls that the gateway did not write down.
    pub(super) dropped: u64,
    /// Lines that cannot be read.
    pub(super) unreadable: u64,
    /// The first of them.
    pub(super) shown: Vec<String>,
}

/// A journal that nothing can be said about.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is no such file or folder, or it cannot be read.
    #[error("the journal {} cannot be read: {source}", path.display())]
    Unreadable {
        /// As it was given.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// There are no calls in it.
    #[error("there are no calls in the journal{}", bad_lines(*unreadable))]
    Empty {
        /// Lines that cannot be read.
        unreadable: u64,
    },
    /// There are more than [`CALLS_MAX`].
    #[error(
        "there are more than {CALLS_MAX} calls in the journal; give fewer files, or one integration at a time"
    )]
    TooMany,
}

fn bad_lines(unreadable: u64) -> String {
    if unreadable == 0 { String::new() } else { format!("; {unreadable} of its lines cannot be read") }
}

/// Reads files and folders of journals into one. With `only`, calls of other integrations are passed over.
///
/// # Errors
/// [`Unusable`] when one of them is not there, when there are no calls, or too many.
pub fn load(paths: &[PathBuf], only: Option<&str>) -> Result<Journal, Unusable> {
    let mut loading = Loading::default();
    for path in paths {
        let lines = read(path).map_err(|source| Unusable::Unreadable { path: path.clone(), source })?;
        for found in lines {
            match found {
                Journalled::Call(record) => loading.call(&record, only)?,
                Journalled::Dropped(count) => loading.faults.dropped += count,
                Journalled::Unreadable(line) => loading.faults.unreadable(line.to_string()),
            }
        }
    }
    loading.done()
}

#[derive(Default)]
struct Loading {
    places: BTreeSet<Rc<Place>>,
    calls: Vec<Rc<Call>>,
    answers: BTreeMap<Rc<Place>, Vec<(u64, Rc<Answer>)>>,
    faults: Faults,
}

impl Faults {
    fn unreadable(&mut self, text: String) {
        self.unreadable += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(text);
        }
    }
}

impl Loading {
    fn call(&mut self, record: &CallRecord, only: Option<&str>) -> Result<(), Unusable> {
        let wanted = |integration: &str| only.is_none_or(|only| only == integration);
        let mut own = Vec::with_capacity(record.attempts.len());
        for attempt in &record.attempts {
            let Some(answer) = Answer::of(attempt, Duration::from_millis(record.timeout_ms)) else {
                let outcome = attempt.outcome.escape_debug();
                self.faults
                    .unreadable(format!("a call of {}: unknown outcome `{outcome}`", record.integration));
                return Ok(());
            };
            let answer = Rc::new(answer);
            let other = attempt.of.as_deref().and_then(|of| of.split_once('.'));
            let (integration, operation) = other.unwrap_or((&record.integration, &record.operation));
            if wanted(integration) && !answer.is_cut_off() {
                let at = nanos(accepted(record), answer.at);
                let place = self.place(integration, operation);
                self.answers.entry(place).or_default().push((at, Rc::clone(&answer)));
            }
            if attempt.of.is_none() {
                own.push(answer);
            }
        }
        if !wanted(&record.integration) {
            return Ok(());
        }
        if self.calls.len() >= CALLS_MAX {
            return Err(Unusable::TooMany);
        }
        let place = self.place(&record.integration, &record.operation);
        own.shrink_to_fit();
        self.calls.push(Rc::new(Call::of(record, place, own)));
        Ok(())
    }

    /// One copy of each pair of names.
    fn place(&mut self, integration: &str, operation: &str) -> Rc<Place> {
        let place = Place { integration: integration.to_owned(), operation: operation.to_owned() };
        if let Some(known) = self.places.get(&place) {
            return Rc::clone(known);
        }
        let place = Rc::new(place);
        self.places.insert(Rc::clone(&place));
        place
    }

    fn done(mut self) -> Result<Journal, Unusable> {
        if self.calls.is_empty() {
            return Err(Unusable::Empty { unreadable: self.faults.unreadable });
        }
        // Of calls of the same moment, those for which there was nothing left came last; the others stay in the
        // order in which they ended.
        let too_late = |call: &Call| matches!(call.fate, Fate::RateLimited | Fate::Overloaded);
        self.calls.sort_by_key(|call| (call.at, too_late(call)));
        for answers in self.answers.values_mut() {
            answers.sort_by_key(|(at, _)| *at);
        }
        Ok(Journal { calls: self.calls, answers: self.answers, faults: self.faults })
    }
}

impl Journal {
    /// When the first call came, in microseconds since 1970.
    pub(super) fn begins(&self) -> u64 {
        self.calls.first().map_or(0, |call| call.at)
    }

    /// When the last call came.
    pub(super) fn ends(&self) -> u64 {
        self.calls.last().map_or(0, |call| call.at)
    }
}

/// Nanoseconds since 1970 of a point in time `after` these microseconds.
pub(super) fn nanos(at: u64, after: Duration) -> u64 {
    at.saturating_mul(1000).saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
}
