//! Figures: what was recorded beside what is simulated, for one integration or for all.

use super::{
    provider::Turn,
    recorded::{Call, Fate, Way},
};
use bascule_resilience::Outcome;
use std::time::Duration;

/// Calls, and what became of them both times.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    /// All that are in the journal.
    pub(super) calls: u64,
    pub(super) cached: u64,
    pub(super) coalesced: u64,
    pub(super) aside: u64,
    pub(super) replayed: u64,
    pub(super) recorded: Side,
    pub(super) simulated: Side,
    /// Attempts that had failed and are not made.
    pub(super) saved: u64,
    /// Calls that had been answered and are not.
    pub(super) lost: u64,
    /// Calls that are answered and had not been.
    pub(super) won: u64,
    /// Answers 429 that had been given and are not.
    pub(super) throttled_avoided: u64,
    /// Answers 429 to attempts that had not been made.
    pub(super) throttled_provoked: u64,
    /// Attempts whose answer is assumed.
    pub(super) assumed: u64,
}

/// One time: as recorded, or as simulated.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    fates: [u64; Fate::ALL.len()],
    pub(super) attempts: u64,
    pub(super) retries: u64,
    pub(super) hedges: u64,
    pub(super) throttled: u64,
    /// Microseconds of the calls that were answered.
    latencies: Vec<u32>,
}

impl Figures {
    /// Counts a call of the journal.
    pub(super) fn recorded(&mut self, call: &Call) {
        self.calls += 1;
        match call.way {
            Way::Provider => self.replayed += 1,
            Way::Cached => self.cached += 1,
            Way::Coalesced => self.coalesced += 1,
            Way::Aside => self.aside += 1,
        }
        if call.way != Way::Provider {
            return;
        }
        let side = &mut self.recorded;
        let hedges = call.answers.iter().filter(|answer| answer.hedge).count() as u64;
        let attempts = call.answers.len() as u64 + u64::from(call.more);
        side.attempts += attempts;
        side.hedges += hedges;
        side.retries += (attempts - hedges).saturating_sub(1);
        let throttled = |outcome| matches!(outcome, Outcome::Throttled { .. });
        side.throttled += call.answers.iter().filter(|answer| throttled(answer.outcome)).count() as u64;
        side.ended(call.fate, call.elapsed);
    }

    /// Counts the end of a replayed call.
    pub(super) fn simulated(&mut self, call: &Call, turn: &Turn, fate: Fate, took: Duration) {
        for answer in turn.left(call) {
            self.saved += u64::from(answer.failed());
            self.throttled_avoided += u64::from(matches!(answer.outcome, Outcome::Throttled { .. }));
        }
        // Nobody waited for the answer of a call whose caller left: it was neither won nor lost.
        if call.fate != Fate::Left {
            self.lost += u64::from(call.fate.is_answered() && !fate.is_answered());
            self.won += u64::from(!call.fate.is_answered() && fate.is_answered());
        }
        self.simulated.ended(fate, took);
    }

    /// Adds another one's.
    pub(super) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.cached += other.cached;
        self.coalesced += other.coalesced;
        self.aside += other.aside;
        self.replayed += other.replayed;
        self.recorded.add(&other.recorded);
        self.simulated.add(&other.simulated);
        self.saved += other.saved;
        self.lost += other.lost;
        self.won += other.won;
        self.throttled_avoided += other.throttled_avoided;
        self.throttled_provoked += other.throttled_provoked;
        self.assumed += other.assumed;
    }

    /// Assumed answers as a share of all; 0 without any.
    pub(super) fn assumed_share(&self) -> f64 {
        if self.simulated.attempts == 0 { 0.0 } else { self.assumed as f64 / self.simulated.attempts as f64 }
    }

    /// Whether callers and provider would not have noticed a difference.
    pub(super) fn is_same(&self) -> bool {
        let (before, after) = (&self.recorded, &self.simulated);
        before.fates == after.fates
            && before.attempts == after.attempts
            && self.lost + self.won + self.saved == 0
    }

    /// What would have changed, in a sentence.
    pub(super) fn sentence(&self, openings: u64) -> String {
        let circuit = match openings {
            0 => "no circuit opens".to_owned(),
            1 => "a circuit opens once".to_owned(),
            more => format!("circuits open {more} times"),
        };
        if self.replayed == 0 {
            return "no call is one to replay".to_owned();
        }
        if self.is_same() {
            return format!("nothing changes for callers and provider; {circuit}");
        }
        let saved = counted(self.saved, "failed attempt is", "failed attempts are");
        let lost = counted(self.lost, "answered call is", "answered calls are");
        let won = counted(self.won, "call that was not answered is", "calls that were not answered are");
        let (before, after) = (self.recorded.attempts, self.simulated.attempts);
        format!(
            "{circuit}; {saved} not sent, {lost} lost, {won} won; the provider gets {after} attempts instead of {before}"
        )
    }
}

impl Side {
    fn ended(&mut self, fate: Fate, took: Duration) {
        if let Some(count) = self.fates.get_mut(fate as usize) {
            *count += 1;
        }
        if fate.is_answered() {
            self.latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        }
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.fates.iter_mut().zip(other.fates) {
            *mine += theirs;
        }
        self.attempts += other.attempts;
        self.retries += other.retries;
        self.hedges += other.hedges;
        self.throttled += other.throttled;
        self.latencies.extend_from_slice(&other.latencies);
    }

    /// Calls that ended so.
    pub(super) fn of(&self, fate: Fate) -> u64 {
        self.fates.get(fate as usize).copied().unwrap_or_default()
    }

    /// What these hundredths of the answered calls stayed at or under, in milliseconds (nearest rank); none without any.
    pub(super) fn percentiles<const N: usize>(&self, hundredths: [usize; N]) -> [Option<f64>; N] {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        hundredths.map(|hundredth| {
            let rank = (sorted.len() * hundredth).div_ceil(100).max(1);
            sorted.get(rank - 1).map(|micros| f64::from(*micros) / 1e3)
        })
    }
}

/// `3 things are`.
fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}
