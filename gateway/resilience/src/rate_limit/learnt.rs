//! What providers tell about their quotas: learnt from answers, counted down by our own calls, remembered across resets.
//!
//! | when                                         | what is left                                                        |
//! |----------------------------------------------|---------------------------------------------------------------------|
//! | an answer names the quota for the first time | what it says                                                        |
//! | a further answer about the same window       | the lower of what it says and what we counted: answers come late    |
//! | the reset passes                             | a new window is assumed: the limit less the calls in flight, 1 at least |
//! | the first answer about an assumed window     | what we counted, or more if it says so even less all that we sent   |
//! | an answer about a later window, early        | what it says less the calls in flight, which it may not have seen   |
//! | two windows with calls and without an answer | nothing is known any more, and nothing is held back                 |
//!
//! The limit is what the provider said, or else the most it said was left in the last window; the length of a window
//! likewise, or else the longest span to a reset that was heard. Both err on the cautious side until the next answer.

use std::time::{Duration, Instant};

use super::budget::share;
use super::forecast::{ForecastOf, LedgerEntry};
use crate::priority::Priority;
use crate::span::later;

/// Quotas that are remembered at a time. Providers name one to three; the bound is for those that make names up.
pub(super) const QUOTAS_MAX: usize = 8;

/// The longest name that is kept, in characters; longer ones are cut.
const NAME_MAX: usize = 64;

/// Two resets this close belong to the same window: providers name whole seconds, and answers travel.
const RESET_TOLERANCE: Duration = Duration::from_secs(1);

/// Windows in which calls went and no answer named the quota, after which it is forgotten.
const SILENT_MAX: u8 = 2;

/// A call without an answer counts as in flight for one to two of these, or of the quota's windows if those are shorter.
/// Answers need not all carry the headers, so that a count without an end would grow for ever.
const FLIGHT: Duration = Duration::from_secs(5);

/// What an answer said about one quota.
#[derive(Clone, Copy, Debug)]
pub struct QuotaReport<'a> {
    /// The policy's name; empty where the provider has only one.
    pub name: &'a str,
    /// What is left of it.
    pub remaining: u64,
    /// The whole of it, if that was said.
    pub limit: Option<u64>,
    /// How long its windows are, if that was said.
    pub window: Option<Duration>,
    /// When it starts anew.
    pub reset: Instant,
    /// What the call that was answered had cost: it is under way no longer.
    pub cost: u64,
}

/// All quotas that are known, the least recently heard first.
#[derive(Debug, Default)]
pub(super) struct Quotas(Vec<Learnt>);

#[derive(Debug)]
struct Learnt {
    name: String,
    told_limit: Option<u64>,
    /// The most that was said to be left in the last window heard of.
    highest: u64,
    told_window: Option<Duration>,
    /// The longest span to a reset that was heard.
    longest: Duration,
    left: u64,
    reset: Instant,
    /// The reset that the window's first answer named. Others within the tolerance belong to it, so that a reset that
    /// moves with every answer does not carry the window along.
    anchor: Instant,
    /// Whether an answer has named this window, or it is only assumed.
    confirmed: bool,
    /// What we sent in this window.
    used: u64,
    /// What was in flight when this window was assumed, and may count in it.
    carried: u64,
    silent: u8,
    in_flight: InFlight,
}

/// Calls that went and were not answered yet, as far as that can be known.
#[derive(Debug)]
struct InFlight {
    since: Instant,
    recent: u64,
    before: u64,
    /// Answers that may belong to calls which went before the quota was known, and were not counted.
    unknown: u64,
}

impl Quotas {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets the windows that have ended be followed by new ones.
    pub(super) fn roll(&mut self, now: Instant) {
        self.0.retain_mut(|quota| quota.roll(now));
    }

    /// `lately` says how many calls went before this, of which some may still be answered.
    pub(super) fn observe(&mut self, report: &QuotaReport<'_>, now: Instant, lately: impl FnOnce() -> u64) {
        let name: String = report.name.chars().take(NAME_MAX).collect();
        let known = self.0.iter().position(|quota| quota.name == name).map(|index| self.0.remove(index));
        let quota = match known {
            Some(mut quota) => {
                quota.observe(report, now);
                quota
            }
            None if report.reset <= now => return,
            None => {
                if self.0.len() >= QUOTAS_MAX {
                    self.0.remove(0);
                }
                Learnt::new(name, report, now, lately())
            }
        };
        self.0.push(quota);
    }

    pub(super) fn sent(&mut self, cost: u64, now: Instant) {
        for quota in &mut self.0 {
            quota.left = quota.left.saturating_sub(cost);
            quota.used = quota.used.saturating_add(cost);
            quota.in_flight.age(quota.length(), now);
            quota.in_flight.sent(cost);
        }
    }

    /// When the last of the quotas lets a call go that comes after `ahead` tokens; `None` when all do now.
    pub(super) fn opens(&self, ahead: u64, cost: u64, priority: Priority, reserve: f64) -> Option<Instant> {
        self.0.iter().filter_map(|quota| quota.opens(ahead, cost, priority, reserve)).max()
    }

    /// The least that is left of any.
    pub(super) fn remaining(&self) -> Option<u64> {
        self.0.iter().map(|quota| quota.left).min()
    }

    pub(super) fn entries(&self, now: Instant) -> impl Iterator<Item = LedgerEntry> {
        self.0.iter().map(move |quota| LedgerEntry {
            budget: ForecastOf::Quota(quota.name.clone()),
            limit: quota.limit(),
            remaining: quota.left,
            resets_in: quota.reset.saturating_duration_since(now),
            used: quota.used,
        })
    }
}

impl Learnt {
    fn new(name: String, report: &QuotaReport<'_>, now: Instant, lately: u64) -> Self {
        Self {
            name,
            told_limit: report.limit.filter(|limit| *limit > 0),
            highest: report.remaining,
            told_window: report.window,
            longest: report.reset.saturating_duration_since(now),
            left: report.remaining,
            reset: report.reset,
            anchor: report.reset,
            confirmed: true,
            used: 0,
            carried: 0,
            silent: 0,
            in_flight: InFlight { since: now, recent: 0, before: 0, unknown: lately },
        }
    }

    fn observe(&mut self, report: &QuotaReport<'_>, now: Instant) {
        self.in_flight.age(self.length(), now);
        self.in_flight.answered(report.cost);
        if report.reset <= now {
            return;
        }
        self.told_limit = report.limit.filter(|limit| *limit > 0).or(self.told_limit);
        self.told_window = report.window.or(self.told_window);
        self.longest = self.longest.max(report.reset.saturating_duration_since(now));
        let moved_on = report.reset > later(self.anchor, RESET_TOLERANCE);
        if !self.confirmed {
            // Whenever in this window the answer was given: more than all that we sent cannot have come after it.
            let surely = report.remaining.saturating_sub(self.used.saturating_add(self.carried));
            self.left = self.left.min(report.remaining).max(surely);
            self.name_window(report);
        } else if moved_on {
            self.left = report.remaining.saturating_sub(self.in_flight(now));
            (self.used, self.carried) = (0, 0);
            self.name_window(report);
        } else {
            self.narrow(report);
        }
        self.silent = 0;
    }

    fn name_window(&mut self, report: &QuotaReport<'_>) {
        (self.reset, self.anchor) = (report.reset, report.reset);
        self.highest = report.remaining;
        self.confirmed = true;
    }

    /// One more answer about the window that is under way.
    fn narrow(&mut self, report: &QuotaReport<'_>) {
        self.highest = self.highest.max(report.remaining);
        let beside = later(report.reset, RESET_TOLERANCE) < self.anchor;
        if !beside {
            self.reset = self.reset.max(report.reset);
            self.left = self.left.min(report.remaining);
        } else if report.remaining < self.left {
            // A shorter window under the same name, of which less is left.
            self.left = report.remaining;
            (self.reset, self.anchor) = (report.reset, report.reset);
        }
    }

    /// Whether the quota is still worth knowing.
    fn roll(&mut self, now: Instant) -> bool {
        if self.reset > now {
            return true;
        }
        let Some(limit) = self.limit() else { return false };
        self.silent = if self.confirmed { 0 } else { self.silent + u8::from(self.used > 0) };
        if self.silent >= SILENT_MAX {
            return false;
        }
        // Windows in which nothing happened are skipped.
        let length = self.length().as_nanos().max(1);
        let into = now.saturating_duration_since(self.reset).as_nanos() % length;
        let rest = u64::try_from(length - into).map_or(Duration::MAX, Duration::from_nanos);
        self.reset = later(now, rest);
        self.anchor = self.reset;
        // One call at least, or nothing would ever be heard again.
        self.carried = self.in_flight(now);
        self.left = limit.saturating_sub(self.carried).max(1);
        self.used = 0;
        self.confirmed = false;
        true
    }

    fn in_flight(&mut self, now: Instant) -> u64 {
        self.in_flight.age(self.length(), now);
        self.in_flight.before.saturating_add(self.in_flight.recent)
    }

    fn limit(&self) -> Option<u64> {
        self.told_limit.or(Some(self.highest)).filter(|limit| *limit > 0)
    }

    fn length(&self) -> Duration {
        self.told_window.unwrap_or(self.longest).max(RESET_TOLERANCE)
    }

    fn opens(&self, ahead: u64, cost: u64, priority: Priority, reserve: f64) -> Option<Instant> {
        let limit = self.limit().unwrap_or(0);
        let reserved = if priority == Priority::High { 0 } else { share(reserve, limit) };
        let usable = limit - reserved;
        // What costs more than a whole window goes when a window is untouched, not never.
        let cost = if usable > 0 { cost.min(usable) } else { cost };
        let missing = ahead.saturating_add(cost).saturating_sub(self.left.saturating_sub(reserved));
        if missing == 0 {
            return None;
        }
        let windows = missing.checked_div(usable).map_or(0, |whole| {
            // The window after the reset is the first; each later one adds its length.
            whole - u64::from(missing.is_multiple_of(usable))
        });
        let windows = u32::try_from(windows).unwrap_or(u32::MAX);
        Some(later(self.reset, self.length().saturating_mul(windows)))
    }
}

impl InFlight {
    fn sent(&mut self, cost: u64) {
        self.recent = self.recent.saturating_add(cost);
    }

    /// A call of this cost was answered: the longest that may have been under way is believed to be the one.
    fn answered(&mut self, cost: u64) {
        let mut rest = cost;
        for waiting in [&mut self.unknown, &mut self.before, &mut self.recent] {
            let taken = rest.min(*waiting);
            *waiting -= taken;
            rest -= taken;
        }
    }

    fn age(&mut self, length: Duration, now: Instant) {
        let flight = FLIGHT.min(length);
        let age = now.saturating_duration_since(self.since);
        if age >= 2 * flight {
            (self.before, self.recent, self.since) = (0, 0, now);
        } else if age >= flight {
            (self.before, self.recent, self.since) = (self.recent, 0, later(self.since, flight));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn report(name: &str, remaining: u64, reset: Instant) -> QuotaReport<'_> {
        QuotaReport { name, remaining, limit: None, window: None, reset, cost: 1 }
    }

    fn observe(quotas: &mut Quotas, report: &QuotaReport<'_>, now: Instant) {
        quotas.observe(report, now, || 0);
    }

    fn opens(quotas: &Quotas, ahead: u64) -> Option<Instant> {
        quotas.opens(ahead, 1, Priority::Normal, 0.0)
    }

    #[test]
    fn names_are_bounded_in_number_and_length_and_the_longest_unheard_goes() {
        let now = Instant::now();
        let mut quotas = Quotas::default();
        for n in 0..QUOTAS_MAX {
            observe(&mut quotas, &report(&n.to_string(), 10, now + SECOND), now);
        }
        observe(&mut quotas, &report("0", 9, now + SECOND), now);
        observe(&mut quotas, &report(&"x".repeat(1000), 10, now + SECOND), now);
        let names: Vec<_> = quotas.0.iter().map(|quota| quota.name.clone()).collect();
        assert_eq!(names[..7], ["2", "3", "4", "5", "6", "7", "0"]);
        assert_eq!(names[7].len(), NAME_MAX);
    }

    #[test]
    fn a_new_window_is_assumed_when_the_reset_passes() {
        let now = Instant::now();
        let mut quotas = Quotas::default();
        observe(&mut quotas, &report("", 3, now + 10 * SECOND), now);
        quotas.sent(3, now);
        assert_eq!(opens(&quotas, 0), Some(now + 10 * SECOND));
        for _ in 0..3 {
            observe(&mut quotas, &report("", 0, now + 10 * SECOND), now);
        }
        let later = now + 10 * SECOND;
        quotas.roll(later);
        assert_eq!(quotas.remaining(), Some(3));
        quotas.sent(3, later);
        assert_eq!(opens(&quotas, 0), Some(now + 20 * SECOND));
        assert_eq!(opens(&quotas, 3), Some(now + 30 * SECOND), "a whole window is ahead");
    }

    #[test]
    fn calls_in_flight_over_a_reset_count_in_the_new_window() {
        let now = Instant::now();
        let mut quotas = Quotas::default();
        observe(&mut quotas, &QuotaReport { limit: Some(10), ..report("", 9, now + SECOND) }, now);
        quotas.sent(4, now + SECOND / 2);
        quotas.roll(now + SECOND);
        assert_eq!(quotas.remaining(), Some(6));
        observe(&mut quotas, &report("", 9, now + 2 * SECOND), now + SECOND);
        assert_eq!(quotas.remaining(), Some(6), "three are still under way");
    }

    #[test]
    fn answers_to_calls_from_before_the_quota_was_known_do_not_count_as_answers_to_later_ones() {
        let now = Instant::now();
        let mut quotas = Quotas::default();
        let report = QuotaReport { limit: Some(10), ..report("", 9, now + SECOND) };
        quotas.observe(&report, now, || 3);
        quotas.sent(4, now + SECOND / 2);
        for _ in 0..3 {
            quotas.observe(&report, now + SECOND / 2, || 0);
        }
        quotas.roll(now + SECOND);
        assert_eq!(quotas.remaining(), Some(6));
    }

    #[test]
    fn an_assumed_window_that_was_too_narrow_is_widened_by_the_first_answer() {
        let now = Instant::now();
        let mut quotas = Quotas::default();
        observe(&mut quotas, &report("", 1, now + SECOND), now);
        quotas.sent(1, now);
        quotas.roll(now + 7 * SECOND);
        quotas.sent(1, now + 7 * SECOND);
        assert!(opens(&quotas, 0).is_some());
        observe(&mut quotas, &report("", 99, now + 9 * SECOND), now + 7 * SECOND);
        observe(&mut quotas, &report("", 99, now + 9 * SECOND), now + 7 * SECOND);
        assert!(quotas.remaining() >= Some(98));
    }

    #[test]
    fn two_silent_windows_with_calls_end_what_was_learnt_and_idle_ones_do_not() {
        let start = Instant::now();
        let mut quotas = Quotas::default();
        observe(&mut quotas, &report("", 5, start + 10 * SECOND), start);
        quotas.roll(start + 1000 * SECOND);
        assert_eq!(quotas.remaining(), Some(5), "nothing was sent that could have been answered");
        quotas.sent(5, start + 1001 * SECOND);
        quotas.roll(start + 1010 * SECOND);
        assert!(!quotas.is_empty(), "one silent window");
        quotas.sent(5, start + 1011 * SECOND);
        quotas.roll(start + 1020 * SECOND);
        assert!(quotas.is_empty(), "two");
    }

    #[test]
    fn a_reset_that_moves_with_every_answer_does_not_starve_us() {
        let start = Instant::now();
        let mut quotas = Quotas::default();
        // A sliding window: 60 s from each answer, and what is left stays at 50.
        for tick in 0..200u32 {
            let now = start + tick * SECOND / 10;
            quotas.roll(now);
            assert!(opens(&quotas, 0).is_none(), "held back at tick {tick}");
            quotas.sent(1, now);
            observe(&mut quotas, &report("", 50, now + 60 * SECOND), now);
        }
        assert!(quotas.remaining() >= Some(40));
    }

    #[test]
    fn a_quota_of_nothing_without_a_limit_is_forgotten_at_its_reset() {
        let now = Instant::now();
        let mut quotas = Quotas::default();
        observe(&mut quotas, &report("", 0, now + SECOND), now);
        assert_eq!(opens(&quotas, 0), Some(now + SECOND));
        quotas.roll(now + SECOND);
        assert!(quotas.is_empty());
    }

    #[test]
    fn a_call_dearer_than_a_whole_window_goes_when_a_window_is_untouched() {
        let now = Instant::now();
        let mut quotas = Quotas::default();
        observe(&mut quotas, &QuotaReport { limit: Some(10), ..report("", 10, now + SECOND) }, now);
        assert_eq!(quotas.opens(0, 25, Priority::High, 0.0), None);
        quotas.sent(25, now);
        assert_eq!(quotas.opens(0, 25, Priority::High, 0.0), Some(now + SECOND));
    }
}
