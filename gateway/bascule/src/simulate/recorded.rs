//! A journalled call as the replay needs it: smaller than its line, and with its words understood.

use crate::telemetry::journal::{AttemptRecord, CallRecord, QUOTAS_MAX, QuotaRecord, REFUSALS};
use bascule_resilience::{Outcome, Priority};
use std::{rc::Rc, time::Duration};

/// An operation of an integration, by name; `proxy` for `/proxy`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) integration: String,
    pub(super) operation: String,
}

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) place: Rc<Place>,
    /// Microseconds since 1970.
    pub(super) at: u64,
    pub(super) priority: Priority,
    pub(super) safe: bool,
    pub(super) way: Way,
    pub(super) fate: Fate,
    /// The caller's own deadline, where it is known because it passed.
    pub(super) cap: Option<Duration>,
    pub(super) elapsed: Duration,
    /// Its own attempts, in the order in which they began.
    pub(super) answers: Vec<Rc<Answer>>,
    /// Attempts beyond those.
    pub(super) more: u32,
}

/// How a call was answered, as far as the mechanisms are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By the provider, or refused on the way to it.
    Provider,
    /// From the cache.
    Cached,
    /// By another call's fetch.
    Coalesced,
    /// By a plugin or by its own faults; or it was made of other operations' calls.
    Aside,
}

/// How a call ended, whatever the fallback ladder made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The provider did it.
    Succeeded,
    /// The provider refused it for good, and was right.
    Rejected,
    /// The provider failed, or what it answered was of no use.
    Failed,
    /// A time limit passed.
    TimedOut,
    /// Refused by the circuit.
    CircuitOpen,
    /// Refused for want of a token.
    RateLimited,
    /// Refused for want of a place.
    Overloaded,
    /// The caller did not wait for it.
    Left,
}

/// What an attempt came to.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Since the call was accepted.
    pub(super) at: Duration,
    pub(super) took: Duration,
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) quotas: Box<[Quota]>,
    pub(super) timed_out: bool,
    /// Whether it was the operation's `timeout` that ended it: it would have gone on.
    pub(super) to_the_end: bool,
    pub(super) sent: bool,
    pub(super) hedge: bool,
}

/// What an answer said about one of the provider's quotas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    /// Which of them.
    pub(super) number: u8,
    pub(super) remaining: u64,
    pub(super) limit: Option<u64>,
    pub(super) window: Option<Duration>,
    /// From the answer on.
    pub(super) reset: Option<Duration>,
}

impl From<&QuotaRecord> for Quota {
    fn from(record: &QuotaRecord) -> Self {
        Self {
            number: record.number,
            remaining: record.remaining,
            limit: record.limit,
            window: record.window_ms.map(Duration::from_millis),
            reset: record.reset_ms.map(Duration::from_millis),
        }
    }
}

impl Fate {
    pub(super) const ALL: [Self; 8] = [
        Self::Succeeded,
        Self::Rejected,
        Self::Failed,
        Self::TimedOut,
        Self::CircuitOpen,
        Self::RateLimited,
        Self::Overloaded,
        Self::Left,
    ];

    /// Whether the caller got what the provider had to say.
    pub(super) const fn is_answered(self) -> bool {
        matches!(self, Self::Succeeded | Self::Rejected)
    }

    /// The member in JSON.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::CircuitOpen => "circuit_open",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Left => "left",
        }
    }
}

impl Answer {
    /// The attempt of a record, in a call that was allowed `timeout`; none when its outcome is a word that this version
    /// does not know.
    pub(super) fn of(record: &AttemptRecord, timeout: Duration) -> Option<Self> {
        let retry_after = record.retry_after_ms.map(Duration::from_millis);
        let outcome = match &*record.outcome {
            "success" => Outcome::Success,
            "rejected" => Outcome::Rejected,
            "throttled" => Outcome::Throttled { retry_after },
            "transient" => Outcome::Transient { retry_after },
            "auth-expired" => Outcome::AuthExpired,
            "contract-broken" => Outcome::ContractBroken,
            "cancelled" => Outcome::Cancelled,
            _ => return None,
        };
        let (at, took) = (span(record.at_ms), span(record.ms));
        Some(Self {
            at,
            took,
            outcome,
            status: record.status,
            quotas: record.quotas.iter().take(QUOTAS_MAX).map(Quota::from).collect(),
            timed_out: record.timed_out,
            to_the_end: record.timed_out && at.saturating_add(took) >= timeout,
            sent: record.sent,
            hedge: record.hedge,
        })
    }

    /// Whether it was in vain: the provider was asked and could not do it.
    pub(super) const fn failed(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Transient { .. }
                | Outcome::ContractBroken
                | Outcome::Throttled { .. }
                | Outcome::AuthExpired
        )
    }

    /// Whether its length is all that is known: it was given up before it was judged.
    pub(super) fn is_cut_off(&self) -> bool {
        self.outcome == Outcome::Cancelled
    }

    /// When it was judged, since the call was accepted.
    pub(super) fn end(&self) -> Duration {
        self.at.saturating_add(self.took)
    }
}

impl Call {
    /// The call of a record with its own attempts.
    pub(super) fn of(record: &CallRecord, place: Rc<Place>, answers: Vec<Rc<Answer>>) -> Self {
        let fate = fate(record, answers.last());
        let impatient = |last: &&Rc<Answer>| last.is_cut_off() && last.timed_out;
        Self {
            place,
            at: accepted(record),
            priority: Priority::parse(&record.priority).unwrap_or_default(),
            safe: record.safe,
            way: way(record, fate, answers.is_empty()),
            fate,
            cap: answers.last().filter(impatient).map(|last| last.end()),
            elapsed: span(record.elapsed_ms),
            answers,
            more: record.more,
        }
    }
}

/// When a call was accepted, in microseconds since 1970.
pub(super) fn accepted(record: &CallRecord) -> u64 {
    record.time.saturating_mul(1000).saturating_add(record.time_us.into())
}

fn way(record: &CallRecord, fate: Fate, unasked: bool) -> Way {
    match &*record.cache {
        "hit" | "stale" => Way::Cached,
        "coalesced" => Way::Coalesced,
        _ if unasked && matches!(fate, Fate::Succeeded | Fate::Rejected | Fate::Failed) => Way::Aside,
        // Refused before it came to the integration's own limits: by the caller's.
        _ if unasked && record.refused.is_none() && REFUSALS.contains(&&*record.ended) => Way::Aside,
        _ => Way::Provider,
    }
}

fn fate(record: &CallRecord, last: Option<&Rc<Answer>>) -> Fate {
    match record.refused.as_deref().unwrap_or(&record.ended) {
        "success" => Fate::Succeeded,
        "cancelled" => Fate::Left,
        "upstream-timeout" => Fate::TimedOut,
        "circuit-open" => Fate::CircuitOpen,
        "rate-limited" => Fate::RateLimited,
        "overloaded" => Fate::Overloaded,
        _ if last.is_some_and(|last| last.outcome == Outcome::Rejected) => Fate::Rejected,
        _ => Fate::Failed,
    }
}

fn span(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or(Duration::ZERO)
}
