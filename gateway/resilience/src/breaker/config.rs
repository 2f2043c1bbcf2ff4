//! What an operator may set on a breaker.
//!
//! Counts that make no sense as zero are `NonZero` here, so that no zero can come to mean "unlimited" or "at once".
//! Rates outside `(0, 1]` are read as the nearest sensible value; complaining about them is the configuration's task.

use std::num::NonZeroU32;
use std::time::Duration;

/// Settings of one [`Breaker`](super::Breaker). `Default` gives the defaults named below.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerConfig {
    /// What opens the circuit. Default: 5 failures within a sliding minute.
    pub trip: Trip,
    /// How long the circuit stays open after it tripped. Default 30 s.
    pub reset_after: Duration,
    /// Most probes at a time while half-open. Default 1.
    pub half_open_probes: NonZeroU32,
    /// Successful probes that close the circuit. Default 3.
    pub half_open_successes: NonZeroU32,
    /// Longest time in half-open; after it the circuit opens again, as if a probe had failed, and probes that report
    /// later move nothing. It has to be longer than a probe takes. Default none: half-open lasts until the probes have
    /// decided, but probes that are all out and silent for 10 min count as lost, with the same consequence.
    pub max_half_open: Option<Duration>,
    /// How long the circuit stays open after failed probes. Default none: `reset_after` each time.
    pub reopen: Option<Reopen>,
    /// Whether the breaker decides by itself. Default [`Mode::Auto`].
    pub mode: Mode,
    /// Opens the circuit when too many calls are slow; in half-open, a slow probe counts as failed. Default none.
    pub slow_call: Option<SlowCall>,
}

/// What opens a closed circuit.
#[derive(Clone, Debug, PartialEq)]
pub enum Trip {
    /// So many failures within a sliding window, whatever succeeds in between.
    Count {
        /// Failures that trip. Default 5.
        failures: NonZeroU32,
        /// Span over which they are counted, exactly. Default 1 min.
        window: Duration,
    },
    /// An unbroken run of failures.
    Consecutive {
        /// Failures that trip.
        failures: NonZeroU32,
    },
    /// A share of failures among enough calls.
    Rate {
        /// Share of failures that trips, in `(0, 1]`.
        rate: f64,
        /// Calls within the window below which nothing trips.
        min_calls: NonZeroU32,
        /// Span over which calls are counted, to a sixtieth.
        window: Duration,
    },
}

/// Trips on calls that take too long, whether they succeed or fail. Counted over the window of [`Trip`]; over a minute
/// when that has none.
#[derive(Clone, Debug, PartialEq)]
pub struct SlowCall {
    /// A call that takes longer than this is slow.
    pub threshold: Duration,
    /// Share of slow calls that trips, in `(0, 1]`. Usually 0.8.
    pub rate: f64,
    /// Calls within the window below which nothing trips.
    pub min_calls: NonZeroU32,
}

/// How long the circuit stays open each time it opens *again*, that is from half-open. The first opening after a trip
/// lasts `reset_after`. A recovery starts the schedule anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Reopen {
    /// So many re-openings last `interval` each.
    pub fixed: u32,
    /// The base of the schedule.
    pub interval: Duration,
    /// So many more last `interval × multiplier^k`, k = 1, 2, ….
    pub exponential: u32,
    /// Growth per exponential re-opening.
    pub multiplier: f64,
    /// Upper bound of a re-opening, before jitter.
    pub max_interval: Duration,
    /// Share by which each is shortened or lengthened at random, 0 to 1.
    pub jitter: f64,
    /// What happens after the last exponential one.
    pub then: AfterReopen,
}

/// What follows when a reopening schedule is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AfterReopen {
    /// Go on probing at the longest interval reached.
    #[default]
    Cap,
    /// Stay open until an operator resets the circuit or lets it run again.
    Hold,
}

/// Who decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The breaker.
    #[default]
    Auto,
    /// Nobody: every call is refused.
    ForcedOpen,
    /// Nobody: every call passes; outcomes are counted for show.
    ForcedClosed,
    /// The breaker counts, changes state and reports as in `Auto`, but refuses nothing.
    Observe,
    /// Nobody: every call passes and nothing is counted.
    Off,
}

impl Trip {
    /// The span that calls are counted over; a minute for runs, which have none.
    pub(super) fn window(&self) -> Duration {
        match self {
            Self::Count { window, .. } | Self::Rate { window, .. } => *window,
            Self::Consecutive { .. } => Duration::from_secs(60),
        }
    }
}

impl Default for Trip {
    fn default() -> Self {
        Self::Count { failures: NonZeroU32::MIN.saturating_add(4), window: Duration::from_secs(60) }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            trip: Trip::default(),
            reset_after: Duration::from_secs(30),
            half_open_probes: NonZeroU32::MIN,
            half_open_successes: NonZeroU32::MIN.saturating_add(2),
            max_half_open: None,
            reopen: None,
            mode: Mode::Auto,
            slow_call: None,
        }
    }
}
