//! How fast tokens are being spent, and which budget that exhausts first.
//!
//! The rate is a count over the last half minute in buckets of a second: fixed memory, and a burst is forgotten after
//! that time whole instead of fading for ever. It predicts nothing cleverer than "as it has been going".

use std::fmt;
use std::time::{Duration, Instant};

use crate::window::Buckets;

/// What the rate is measured over.
const RECENT: Duration = Duration::from_secs(30);
const BUCKETS: usize = 30;
const BUCKET: Duration = Duration::from_secs(1);

/// The least that a young limiter's count is divided by: one call is no rate of thousands per second.
const RECENT_MIN: Duration = Duration::from_secs(1);

/// Which budget something is said of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForecastOf {
    /// One of our own windows, by its place in the configuration.
    Window(usize),
    /// A quota learnt from the provider, by its name; empty for the unnamed one.
    Quota(String),
}

/// The budget that runs out first, if calls go on as they recently did.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Which budget.
    pub budget: ForecastOf,
    /// What is left of it.
    pub remaining: u64,
    /// How long until it is whole again.
    pub resets_in: Duration,
    /// Calls per second over the last half minute, each counted as many times as it costs.
    pub rate: f64,
    /// How long until nothing is left; `None` when it lasts until its reset, or refills as fast as it is spent.
    pub exhausted_in: Option<Duration>,
}

/// One budget as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Which budget.
    pub budget: ForecastOf,
    /// The whole of it: a window's burst, or the provider's limit as far as it is known.
    pub limit: Option<u64>,
    /// What is left of it, including what is reserved for calls of high priority.
    pub remaining: u64,
    /// How long until it is whole again.
    pub resets_in: Duration,
    /// What is missing from a window's bucket, or what we have sent in the quota's present window.
    pub used: u64,
}

/// The recent rate.
#[derive(Debug)]
pub(super) struct Pace {
    sent: Buckets<u64>,
    since: Option<Instant>,
    /// What went since `opened`, which is less than a bucket ago: keeps most calls off the buckets' arithmetic.
    open: u64,
    opened: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { sent: Buckets::new(RECENT, BUCKETS), since: None, open: 0, opened: now }
    }

    pub(super) fn record(&mut self, tokens: u64, now: Instant) {
        self.since.get_or_insert(now);
        if now.saturating_duration_since(self.opened) >= BUCKET {
            self.flush();
            self.opened = now;
        }
        self.open = self.open.saturating_add(tokens);
    }

    /// Tokens per second.
    pub(super) fn rate(&mut self, now: Instant) -> f64 {
        let Some(since) = self.since else { return 0.0 };
        let span = now.saturating_duration_since(since).clamp(RECENT_MIN, RECENT);
        self.lately(now) as f64 / span.as_secs_f64()
    }

    /// Tokens in the last half minute.
    pub(super) fn lately(&mut self, now: Instant) -> u64 {
        self.flush();
        self.sent.recent(now).sum()
    }

    fn flush(&mut self) {
        if self.open > 0 {
            let open = std::mem::take(&mut self.open);
            self.sent.record(self.opened, |sum| *sum = sum.saturating_add(open));
        }
    }
}

/// What becomes of a budget at `rate`, of which `refill` tokens come back each second.
pub(super) fn forecast(entry: LedgerEntry, rate: f64, refill: f64) -> Forecast {
    let LedgerEntry { budget, remaining, resets_in, .. } = entry;
    let drain = rate - refill;
    let exhausted_in = if remaining == 0 {
        Some(Duration::ZERO)
    } else if drain > 0.0 {
        Duration::try_from_secs_f64(remaining as f64 / drain).ok()
    } else {
        None
    };
    // A window that refills is exhausted whenever it is drained faster; a quota only before its reset.
    let exhausted_in = exhausted_in.filter(|span| refill > 0.0 || *span < resets_in);
    Forecast { budget, remaining, resets_in, rate, exhausted_in }
}

/// The one that runs out first; if none does, the one of which least is left.
pub(super) fn first(forecasts: impl Iterator<Item = Forecast>) -> Option<Forecast> {
    forecasts.min_by_key(|forecast| (forecast.exhausted_in.unwrap_or(Duration::MAX), forecast.remaining))
}

impl fmt::Display for ForecastOf {
    /// As on a status page: `window 1`, the quota's name, or `quota` for the unnamed one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window(index) => write!(f, "window {}", index.saturating_add(1)),
            Self::Quota(name) if name.is_empty() => f.write_str("quota"),
            Self::Quota(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn entry(remaining: u64, resets_in: Duration) -> LedgerEntry {
        LedgerEntry { budget: ForecastOf::Window(0), limit: None, remaining, resets_in, used: 0 }
    }

    #[test]
    fn a_quota_lasts_or_is_exhausted_before_its_reset() {
        assert_eq!(forecast(entry(100, 60 * SECOND), 5.0, 0.0).exhausted_in, Some(20 * SECOND));
        assert_eq!(forecast(entry(100, 10 * SECOND), 5.0, 0.0).exhausted_in, None);
        assert_eq!(forecast(entry(100, 60 * SECOND), 0.0, 0.0).exhausted_in, None);
        assert_eq!(forecast(entry(0, 60 * SECOND), 0.0, 0.0).exhausted_in, Some(Duration::ZERO));
    }

    #[test]
    fn a_window_that_refills_faster_than_it_is_spent_lasts() {
        assert_eq!(forecast(entry(100, SECOND), 9.0, 10.0).exhausted_in, None);
        assert_eq!(forecast(entry(100, SECOND), 20.0, 10.0).exhausted_in, Some(10 * SECOND));
    }

    #[test]
    fn the_rate_is_that_of_the_last_half_minute() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!(pace.rate(start) == 0.0);
        pace.record(10, start);
        assert!((pace.rate(start) - 10.0).abs() < 1e-9, "ten in less than a second are ten per second");
        for tick in 0..600u32 {
            pace.record(2, start + tick * SECOND / 10);
        }
        let rate = pace.rate(start + 60 * SECOND);
        assert!((19.0..=20.0).contains(&rate), "{rate}");
        assert!(pace.rate(start + 200 * SECOND) == 0.0);
    }
}
