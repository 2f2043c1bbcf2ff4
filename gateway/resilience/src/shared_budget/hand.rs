//! What a process has and knows of a shared budget: tokens, refusals, silence. A plain struct, behind the budget's lock.

use std::time::{Duration, Instant};

use super::class;
use crate::rate_limit::{Demand, LimitedBy};
use crate::span::later;

/// How long what is in hand can be used.
pub(super) const TERM: Duration = Duration::from_secs(1);

/// The shortest refusal: a source that rounds down must not be asked without end.
const REFUSAL_MIN: Duration = Duration::from_millis(1);

pub(super) struct Hand {
    /// What lapses first, and what came after it: what is new makes nothing last longer.
    batches: [Batch; 2],
    /// Of calls of other than high priority, and of calls of high priority.
    refusals: [Option<Refusal>; 2],
    /// Until when nobody asks, because the last question was not answered.
    pub(super) silent: Instant,
}

#[derive(Clone, Copy)]
struct Batch {
    tokens: u64,
    lapses: Instant,
}

/// The source's word that calls of some cost cannot go yet. Those that cost more cannot either.
#[derive(Clone, Copy)]
struct Refusal {
    end: Instant,
    cost: u32,
    by: LimitedBy,
}

impl Hand {
    pub(super) const fn empty(now: Instant) -> Self {
        let none = Batch { tokens: 0, lapses: now };
        Self { batches: [none; 2], refusals: [None; 2], silent: now }
    }

    /// Takes tokens; says how many are left.
    pub(super) fn take(&mut self, cost: u64, now: Instant) -> Option<u64> {
        let left = self.had(now).checked_sub(cost)?;
        let [first, second] = &mut self.batches;
        let of_first = first.tokens.min(cost);
        first.tokens -= of_first;
        second.tokens -= cost - of_first;
        Some(left)
    }

    pub(super) fn put(&mut self, tokens: u64, now: Instant) {
        self.had(now);
        let [first, second] = &mut self.batches;
        let batch = if first.tokens == 0 { first } else { second };
        if batch.tokens == 0 {
            batch.lapses = later(now, TERM);
        }
        batch.tokens = batch.tokens.saturating_add(tokens);
    }

    /// Lets go of what is above `most`.
    pub(super) fn keep(&mut self, most: u64, now: Instant) {
        let above = self.had(now).saturating_sub(most);
        self.take(above, now);
    }

    pub(super) fn refuse(&mut self, demand: Demand, retry_after: Duration, by: LimitedBy, now: Instant) {
        let end = later(now, retry_after.max(REFUSAL_MIN));
        let cost = if by == LimitedBy::Hold { 1 } else { demand.cost.get() };
        if let Some(refusal) = self.refusals.get_mut(class(demand.priority)) {
            *refusal = Some(Refusal { end, cost, by });
        }
    }

    /// The refusal that concerns such a call and ends after `now`.
    pub(super) fn refusal(&self, demand: Demand, now: Instant) -> Option<(Instant, LimitedBy)> {
        let refusal = self.refusals.get(class(demand.priority)).copied().flatten()?;
        let concerns = refusal.end > now && demand.cost.get() >= refusal.cost;
        concerns.then_some((refusal.end, refusal.by))
    }

    /// How many there are, without those that have lapsed.
    fn had(&mut self, now: Instant) -> u64 {
        for batch in &mut self.batches {
            if batch.lapses <= now {
                batch.tokens = 0;
            }
        }
        let [first, second] = &mut self.batches;
        if first.tokens == 0 {
            std::mem::swap(first, second);
        }
        first.tokens.saturating_add(second.tokens)
    }
}
