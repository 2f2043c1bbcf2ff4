//! What a breaker tells: its state, its changes, its refusals.
//!
//! The words are those of the admin API, the metrics and the log lines, so that `Display` can be used for all three.

use std::fmt;
use std::time::{Duration, Instant};

use super::config::Mode;

/// The state of a circuit. *Closed* means that traffic flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// A limited number of calls pass, as probes.
    HalfOpen,
}

/// Where a circuit stands in its reopening schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryPhase {
    /// The interval is constant.
    Fixed,
    /// The interval grows.
    Exponential,
    /// The schedule is used up; the interval stays at the longest reached.
    Capped,
    /// The schedule is used up; the circuit waits for an operator.
    Held,
}

/// Why a circuit changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Too many failures.
    Tripped,
    /// Too many slow calls.
    TooSlow,
    /// Another breaker of the same dependency opened, and this one was [told](super::Breaker::open_elsewhere).
    OpenedElsewhere,
    /// The time had come and a call took the probe.
    ProbeDue,
    /// A probe failed or was too slow.
    ProbeFailed,
    /// Half-open lasted longer than `max_half_open`, or its probes were lost.
    HalfOpenExpired,
    /// Enough probes succeeded.
    Recovered,
    /// An operator forced it open.
    ForcedOpen,
    /// An operator forced it closed.
    ForcedClosed,
    /// An operator reset it.
    Reset,
    /// An operator let it run by itself again.
    Released,
}

/// One change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state after; never the same.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// When. For an expired half-open that is the instant of its expiry, before the present one.
    pub at: Instant,
}

/// A call that the breaker did not let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("circuit breaker is {state}")]
pub struct Refused {
    /// Until the next probe, as far as it is known: `reset_after` when an operator has to act, at most a second when
    /// all probes are out.
    pub retry_after: Duration,
    /// [`State::Open`] or [`State::HalfOpen`].
    pub state: State,
}

/// A breaker at one point in time.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerSnapshot {
    /// The state. An open circuit whose probe is due reads half-open, as the next call will find it.
    pub state: State,
    /// When that state began; `None` before the first change.
    pub since: Option<Instant>,
    /// The mode in force, which an operator may have changed.
    pub mode: Mode,
    /// Failures that count towards the next trip: those within the window, or the present run.
    pub failures: u32,
    /// How often the circuit has changed.
    pub generation: u64,
    /// Probes that are out, while half-open.
    pub probes_out: u32,
    /// Probes that have succeeded, while half-open.
    pub half_open_successes: u32,
    /// How often it has opened again since it was last closed.
    pub reopenings: u32,
    /// Where it stands in its reopening schedule; `None` when closed or without a schedule.
    pub retry_phase: Option<RetryPhase>,
    /// When an open circuit lets the next probe pass, which lies in the past when no call has come for it yet; `None`
    /// when it is not open, has begun to probe, or waits for an operator.
    pub next_probe_at: Option<Instant>,
    /// Whether it is open because another breaker of the same dependency opened.
    pub opened_elsewhere: bool,
    /// Calls refused since it last opened or closed, by a check or by an acquisition.
    pub refused: u64,
    /// When a call last failed.
    pub last_failure: Option<Instant>,
    /// When a call last succeeded.
    pub last_success: Option<Instant>,
}

impl State {
    /// `closed`, `open` or `half-open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl RetryPhase {
    /// `fixed`, `exponential`, `capped` or `held`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Exponential => "exponential",
            Self::Capped => "capped",
            Self::Held => "held",
        }
    }
}

impl Reason {
    /// The reason in lower case with hyphens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tripped => "tripped",
            Self::TooSlow => "too-slow",
            Self::OpenedElsewhere => "opened-elsewhere",
            Self::ProbeDue => "probe-due",
            Self::ProbeFailed => "probe-failed",
            Self::HalfOpenExpired => "half-open-expired",
            Self::Recovered => "recovered",
            Self::ForcedOpen => "forced-open",
            Self::ForcedClosed => "forced-closed",
            Self::Reset => "reset",
            Self::Released => "released",
        }
    }
}

impl Mode {
    /// The name used in configuration files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::ForcedOpen => "forced-open",
            Self::ForcedClosed => "forced-closed",
            Self::Observe => "observe",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RetryPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
