//! The books: what has been taken, what is held, what is learnt, who waits, and the verdict that follows.
//!
//! One ledger is behind one lock. Time in it never runs backwards. What threads hold on lease is counted as taken until
//! it is known better, so that a verdict for a newcomer errs, if at all, towards calling the leases back; the verdict
//! after that is exact.

use std::time::{Duration, Instant};

use super::budget::{Budget, REFILL_MAX};
use super::forecast::{Forecast, ForecastOf, LedgerEntry, Pace, first, forecast};
use super::hold::Holds;
use super::learnt::{QuotaReport, Quotas};
use super::lease::{self, Lanes, Usage, WINDOWS_MAX};
use super::line::Line;
use super::{Limited, LimitedBy};
use crate::priority::Priority;

/// What never changes in a limiter, beside the lanes, which have locks of their own.
pub(super) struct Terms {
    pub(super) origin: Instant,
    pub(super) budgets: Vec<Budget>,
    pub(super) reserve: f64,
    pub(super) lanes: Lanes,
}

/// What a call wants, and how many tokens come before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) cost: u64,
    pub(super) priority: Priority,
    pub(super) ahead: u64,
}

pub(super) struct Ledger {
    latest: Instant,
    /// Per window, when its bucket is full again, without what is on lease.
    full_at: Vec<u64>,
    /// Tokens on lease, used or not, that are not booked.
    lent: u64,
    /// A bit for every lane that has a lease.
    lessees: u32,
    pub(super) holds: Holds,
    pub(super) quotas: Quotas,
    pub(super) line: Line,
    pace: Pace,
}

impl Terms {
    /// Nanoseconds since the limiter was made.
    pub(super) fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        let seconds = since.as_secs().saturating_mul(1_000_000_000);
        seconds.saturating_add(u64::from(since.subsec_nanos())).min(REFILL_MAX)
    }

    fn instant(&self, nanos: u64) -> Instant {
        self.origin.checked_add(Duration::from_nanos(nanos)).unwrap_or(self.origin)
    }
}

impl Ledger {
    pub(super) fn new(windows: usize, now: Instant) -> Self {
        Self {
            latest: now,
            full_at: vec![0; windows],
            lent: 0,
            lessees: 0,
            holds: Holds::default(),
            quotas: Quotas::default(),
            line: Line::default(),
            pace: Pace::new(now),
        }
    }

    /// The time that counts: `now`, or the latest that was seen.
    pub(super) fn advance(&mut self, now: Instant) -> Instant {
        self.latest = self.latest.max(now);
        self.quotas.roll(self.latest);
        self.latest
    }

    /// Whether a call may go at `now`, which [`advance`](Self::advance) returned.
    ///
    /// While nothing but our own windows counts and they hold plenty, the calling thread gets a lease on the way.
    pub(super) fn decide(
        &mut self,
        terms: &Terms,
        now: Instant,
        want: Want,
        take: bool,
    ) -> Result<(), Limited> {
        let at = terms.nanos(now);
        let lane = Lanes::mine();
        self.call_back(terms, lane);
        if self.is_calm(terms, now) {
            let common = self.common(terms, at);
            if common >= want.cost {
                if take {
                    self.book(terms, now, want.cost);
                }
                self.lend(terms, lane, at, common - want.cost);
                return Ok(());
            }
        }
        self.call_back_all(terms);
        if let Some(limited) = self.verdict(terms, now, want) {
            return Err(limited);
        }
        if take {
            self.book(terms, now, want.cost);
        }
        Ok(())
    }

    /// What holds a call back, all leases having been called back.
    pub(super) fn verdict(&self, terms: &Terms, now: Instant, want: Want) -> Option<Limited> {
        let Want { cost, priority, ahead } = want;
        if !terms.budgets.iter().all(|budget| budget.can_ever(cost, priority)) {
            return Some(Limited { retry_after: Duration::MAX, by: LimitedBy::Never });
        }
        let hold = self.holds.end(now).map(|end| (end, LimitedBy::Hold));
        let quota =
            self.quotas.opens(ahead, cost, priority, terms.reserve).map(|end| (end, LimitedBy::Quota));
        let provider = hold.into_iter().chain(quota).max_by_key(|(end, _)| *end);
        let provider = provider.map(|(end, by)| (end.saturating_duration_since(now), by));
        // Our own tokens are taken once the provider lets anything go.
        let at = terms.nanos(now);
        let wait = provider.map_or(0, |(wait, _)| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let from = at.saturating_add(wait);
        let tokens = ahead.saturating_add(cost);
        let own = terms.budgets.iter().zip(&self.full_at);
        let own = own.map(|(budget, full_at)| budget.when(*full_at, from, tokens, priority)).max();
        let own = own
            .filter(|when| *when > from)
            .map(|when| (Duration::from_nanos(when.saturating_sub(at)), LimitedBy::Budget));
        let (retry_after, by) = own.or(provider)?;
        Some(Limited { retry_after, by })
    }

    /// One call goes.
    pub(super) fn book(&mut self, terms: &Terms, now: Instant, cost: u64) {
        let at = terms.nanos(now);
        for (full_at, budget) in self.full_at.iter_mut().zip(&terms.budgets) {
            *full_at = budget.spend(*full_at, at, cost);
        }
        self.quotas.sent(cost, now);
        self.pace.record(cost, now);
    }

    /// Ends all leases: what comes after this sees the books as they are.
    pub(super) fn call_back_all(&mut self, terms: &Terms) {
        while self.lessees != 0 {
            self.call_back(terms, usize::try_from(self.lessees.trailing_zeros()).unwrap_or(0));
        }
    }

    /// An answer said what is left of a quota.
    pub(super) fn observe(&mut self, terms: &Terms, report: &QuotaReport<'_>, now: Instant) {
        self.call_back_all(terms);
        self.quotas.observe(report, now, || self.pace.lately(now));
    }

    /// What could go at once, the reserve included.
    pub(super) fn remaining(&mut self, terms: &Terms, now: Instant) -> Option<u64> {
        self.book_used(terms);
        let at = terms.nanos(now);
        let own = terms.budgets.iter().zip(&self.full_at).map(|(budget, full_at)| budget.level(*full_at, at));
        let held = self.holds.end(now).map(|_end| 0);
        own.chain(self.quotas.remaining()).chain(held).min()
    }

    /// Every budget as it stands.
    pub(super) fn entries(&mut self, terms: &Terms, now: Instant) -> Vec<LedgerEntry> {
        self.book_used(terms);
        let at = terms.nanos(now);
        let own = terms.budgets.iter().zip(&self.full_at).enumerate().map(|(index, (budget, full_at))| {
            let remaining = budget.level(*full_at, at);
            LedgerEntry {
                budget: ForecastOf::Window(index),
                limit: Some(budget.burst()),
                remaining,
                resets_in: Duration::from_nanos(full_at.saturating_sub(at)),
                used: budget.burst() - remaining,
            }
        });
        own.chain(self.quotas.entries(now)).collect()
    }

    /// What becomes of the budget that runs out first.
    pub(super) fn forecast(&mut self, terms: &Terms, now: Instant) -> Option<Forecast> {
        let entries = self.entries(terms, now);
        let rate = self.pace.rate(now);
        first(entries.into_iter().map(|entry| {
            let refill = match entry.budget {
                ForecastOf::Window(index) => terms.budgets.get(index).map_or(0.0, Budget::refill),
                ForecastOf::Quota(_) => 0.0,
            };
            forecast(entry, rate, refill)
        }))
    }

    /// Whether nothing counts but our own windows.
    fn is_calm(&self, terms: &Terms, now: Instant) -> bool {
        self.quotas.is_empty()
            && self.line.is_empty()
            && self.holds.end(now).is_none()
            && terms.budgets.len() <= WINDOWS_MAX
    }

    /// Tokens that anybody may take, if all that is on lease were taken at this moment.
    fn common(&self, terms: &Terms, at: u64) -> u64 {
        let own = terms.budgets.iter().zip(&self.full_at);
        own.map(|(budget, full_at)| budget.common(budget.spend(*full_at, at, self.lent), at))
            .min()
            .unwrap_or(u64::MAX)
    }

    fn lend(&mut self, terms: &Terms, lane: usize, at: u64, common: u64) {
        if let Some(size) = lease::size(common) {
            terms.lanes.lend(lane, at, size);
            self.lent += size;
            self.lessees |= Self::bit(lane);
        }
    }

    fn call_back(&mut self, terms: &Terms, lane: usize) {
        if self.lessees & Self::bit(lane) == 0 {
            return;
        }
        let returned = terms.lanes.call_back(lane);
        self.lessees &= !Self::bit(lane);
        self.lent = self.lent.saturating_sub(returned.left);
        self.book_usage(terms, &returned.usage);
    }

    /// Books what was used of the leases, which go on.
    fn book_used(&mut self, terms: &Terms) {
        let lessees = self.lessees;
        for lane in (0..lease::LANES).filter(|lane| lessees & Self::bit(*lane) != 0) {
            let usage = terms.lanes.used(lane);
            self.book_usage(terms, &usage);
        }
    }

    fn book_usage(&mut self, terms: &Terms, usage: &Usage) {
        if usage.used == 0 {
            return;
        }
        self.lent = self.lent.saturating_sub(usage.used);
        for ((full_at, budget), spent) in self.full_at.iter_mut().zip(&terms.budgets).zip(usage.spent) {
            *full_at = budget.merge(*full_at, usage.used, spent);
        }
        self.pace.record(usage.used, terms.instant(usage.last));
    }

    fn bit(lane: usize) -> u32 {
        u32::try_from(lane).ok().and_then(|lane| 1u32.checked_shl(lane)).unwrap_or(0)
    }
}
