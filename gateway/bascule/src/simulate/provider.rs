//! The provider: what it did is known, what it would have done is taken from what it did to others at that time.
//!
//! An attempt of a call is answered by the call's own next recorded attempt. When it has none left, the attempt of the
//! same operation that was sent nearest in time answers; of the same integration where the operation has none; and a
//! healthy answer of median length where nothing is known. All but the first are assumptions, and counted as such.

use super::{
    load::{Journal, nanos},
    recorded::{Answer, Call, Place},
};
use bascule_resilience::Outcome;
use std::{cell::Cell, collections::BTreeMap, rc::Rc, time::Duration};

/// How long an answer takes where no success was ever recorded.
const UNKNOWN_TOOK: Duration = Duration::from_millis(100);

/// Answers by operation, and one for want of any.
pub(super) struct Provider {
    answers: BTreeMap<Rc<Place>, Vec<(u64, Rc<Answer>)>>,
    healthy: Rc<Answer>,
}

/// How far a call has used up its own attempts.
#[derive(Default)]
pub(super) struct Turn(Cell<usize>);

/// An answer to an attempt.
pub(super) struct Given {
    pub(super) answer: Rc<Answer>,
    /// How long it takes.
    pub(super) took: Duration,
    /// Whether that is more than what is known.
    pub(super) assumed: bool,
    /// Whether it is the last one that the call was given when it was recorded.
    pub(super) last: bool,
}

impl Turn {
    /// The call's own attempts that have not been made.
    pub(super) fn left<'a>(&self, call: &'a Call) -> impl Iterator<Item = &'a Rc<Answer>> {
        call.answers.iter().skip(self.0.get())
    }

    fn next<'a>(&self, call: &'a Call) -> Option<(&'a Rc<Answer>, bool)> {
        let turn = self.0.get();
        let answer = call.answers.get(turn)?;
        self.0.set(turn + 1);
        Some((answer, turn + 1 == call.answers.len() && call.more == 0))
    }
}

impl Provider {
    pub(super) fn new(journal: &mut Journal) -> Self {
        let answers = std::mem::take(&mut journal.answers);
        let mut took: Vec<_> = answers
            .values()
            .flatten()
            .filter(|(_, answer)| answer.outcome == Outcome::Success)
            .map(|(_, answer)| answer.took)
            .collect();
        took.sort_unstable();
        let took = took.get(took.len() / 2).copied().unwrap_or(UNKNOWN_TOOK);
        let healthy = Answer {
            at: Duration::ZERO,
            took,
            outcome: Outcome::Success,
            status: Some(200),
            quotas: Box::default(),
            timed_out: false,
            to_the_end: false,
            sent: true,
            hedge: false,
        };
        Self { answers, healthy: Rc::new(healthy) }
    }

    /// What the call's next attempt is answered, when it is sent `after` the journal's `begin` (microseconds since 1970).
    pub(super) fn answer(&self, call: &Call, turn: &Turn, begin: u64, after: Duration) -> Given {
        let own = turn.next(call);
        if let Some((answer, last)) = own
            && !answer.is_cut_off()
        {
            return Given {
                answer: Rc::clone(answer),
                took: took(answer, call, begin, after),
                assumed: false,
                last,
            };
        }
        let answer = self.nearest(&call.place, nanos(begin, after));
        // One that was given up had gone on for so long without an answer.
        let known = own.map_or(Duration::ZERO, |(cut_off, _)| cut_off.took);
        Given { took: known.saturating_add(answer.took), answer, assumed: true, last: false }
    }

    fn nearest(&self, place: &Place, at: u64) -> Rc<Answer> {
        let own = self.answers.get(place).and_then(|answers| nearest(answers, at));
        let (_, answer) = own.or_else(|| self.nearest_of_all(place, at)).unwrap_or((0, &self.healthy));
        Rc::clone(answer)
    }

    fn nearest_of_all(&self, place: &Place, at: u64) -> Option<(u64, &Rc<Answer>)> {
        let others = self.answers.iter().filter(|(other, _)| other.integration == place.integration);
        others.filter_map(|(_, answers)| nearest(answers, at)).min_by_key(|(distance, _)| *distance)
    }
}

/// The answer nearest to a point in time, and how near; the earlier of two.
fn nearest(answers: &[(u64, Rc<Answer>)], at: u64) -> Option<(u64, &Rc<Answer>)> {
    let after = answers.partition_point(|(sent, _)| *sent <= at);
    let before = after.checked_sub(1).and_then(|index| answers.get(index));
    let around = before.into_iter().chain(answers.get(after));
    around.map(|(sent, answer)| (sent.abs_diff(at), answer)).min_by_key(|(distance, _)| *distance)
}

/// How long a call's own attempt takes. One that hung until the call's time was over hangs at least until then again,
/// also where it is sent earlier.
fn took(answer: &Answer, call: &Call, begin: u64, after: Duration) -> Duration {
    if !answer.to_the_end {
        return answer.took;
    }
    let since = after.saturating_sub(Duration::from_micros(call.at.saturating_sub(begin)));
    answer.took.max(answer.end().saturating_sub(since))
}
