//! The state machine itself: a plain struct, every rule of the breaker, no lock and no clock.
//!
//! All methods are called under the breaker's lock. Whatever starts a new generation goes through `enter`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{BreakerConfig, Mode};
use super::counts::Counts;
use super::event::{BreakerSnapshot, Reason, Refused, RetryPhase, State, Transition};
use super::outbox::Outbox;
use super::schedule::opening;
use super::ticket::{Gate, Role, Ticket};
use crate::span::later;

/// What a call is told when all probes are out: come back soon, one of them will report.
const PROBES_OUT_WAIT: Duration = Duration::from_secs(1);

/// A circuit.
#[derive(Debug)]
pub(super) struct Circuit {
    config: Arc<BreakerConfig>,
    mode: Mode,
    phase: Phase,
    generation: u64,
    /// How often it has opened again since it was last closed.
    reopenings: u32,
    retry_phase: Option<RetryPhase>,
    counts: Counts,
    latest: Option<Instant>,
    last_failure: Option<Instant>,
    last_success: Option<Instant>,
    pub(super) outbox: Outbox,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    /// `until` is `None` while it waits for an operator.
    Open {
        until: Option<Instant>,
    },
    HalfOpen {
        since: Instant,
        out: u32,
        successes: u32,
    },
}

/// What a permit reports; neutral outcomes are given back instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
}

impl Circuit {
    pub(super) fn new(config: Arc<BreakerConfig>) -> Self {
        let phase = Phase::initial(config.mode);
        Self {
            mode: config.mode,
            phase,
            generation: 0,
            reopenings: 0,
            retry_phase: None,
            counts: Counts::new(&config),
            latest: None,
            last_failure: None,
            last_success: None,
            outbox: Outbox::default(),
            config,
        }
    }

    pub(super) const fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    pub(super) const fn gate(&self) -> Gate {
        match (self.phase, self.mode) {
            (Phase::Closed, Mode::Off) => Gate::Unwatched(self.generation),
            (Phase::Closed, _) => Gate::Counted(self.generation),
            _ => Gate::Ask,
        }
    }

    /// Whether every call is refused, as of the latest time seen.
    pub(super) fn refuses_all(&self) -> bool {
        let due = self.latest.is_some_and(|latest| self.phase.is_due(latest));
        self.state() == State::Open && !due && self.mode != Mode::Observe
    }

    /// Whether a call would pass. Changes nothing but the latest time seen.
    pub(super) fn verdict(&mut self, now: Instant) -> Result<(), Refused> {
        let now = self.tick(now);
        let passes = match self.phase {
            Phase::Closed => true,
            Phase::Open { .. } => self.phase.is_due(now),
            // Past its time the permit decides: it reopens the circuit with the jitter that only it is given.
            Phase::HalfOpen { out, .. } => out < self.config.half_open_probes.get() || self.is_expired(now),
        };
        if passes || self.mode == Mode::Observe { Ok(()) } else { Err(self.refusal(now)) }
    }

    /// Lets one call pass, as a probe if need be.
    pub(super) fn admit(&mut self, now: Instant, unit: f64) -> Result<Ticket, Refused> {
        let now = self.tick(now);
        if self.is_expired(now) {
            self.reopen(now, unit, Reason::HalfOpenExpired);
        }
        if self.phase.is_due(now) {
            self.enter(Phase::HalfOpen { since: now, out: 0, successes: 0 }, Reason::ProbeDue, now);
        }
        let role = match &mut self.phase {
            Phase::Closed if self.mode == Mode::Off => Role::Unwatched,
            Phase::Closed => Role::Counted,
            Phase::HalfOpen { out, .. } if *out < self.config.half_open_probes.get() => {
                *out += 1;
                Role::Probe
            }
            _ if self.mode == Mode::Observe => Role::Shadow,
            _ => return Err(self.refusal(now)),
        };
        Ok(Ticket::new(self.generation, role))
    }

    /// Takes the outcome of a call. One from an older generation moves nothing.
    pub(super) fn settle(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        now: Instant,
        elapsed: Duration,
        unit: f64,
    ) {
        let now = self.tick(now);
        if ticket.generation() != self.generation {
            return;
        }
        let failed = outcome == Outcome::Failure;
        let last = if failed { &mut self.last_failure } else { &mut self.last_success };
        *last = Some(now);
        let slow = self.config.slow_call.as_ref().map(|slow| elapsed > slow.threshold);
        match ticket.role() {
            Role::Counted => self.count(now, failed, slow, unit),
            Role::Probe => self.probed(now, failed || slow == Some(true), unit),
            Role::Shadow | Role::Unwatched => {}
        }
    }

    /// One failure more by a call that was settled before. Says whether it was counted.
    pub(super) fn late_failure(&mut self, ticket: Ticket, now: Instant, unit: f64) -> bool {
        let now = self.tick(now);
        if ticket.generation() != self.generation {
            return false;
        }
        self.last_failure = Some(now);
        match ticket.role() {
            Role::Counted => self.count(now, true, None, unit),
            Role::Probe => self.reopen(now, unit, Reason::ProbeFailed),
            Role::Shadow | Role::Unwatched => return false,
        }
        true
    }

    /// Takes back a probe that has nothing to report.
    pub(super) fn give_back(&mut self, ticket: Ticket) {
        if ticket.generation() != self.generation || ticket.role() != Role::Probe {
            return;
        }
        if let Phase::HalfOpen { out, .. } = &mut self.phase {
            *out = out.saturating_sub(1);
        }
    }

    pub(super) fn force(&mut self, mode: Mode, now: Instant) {
        let now = self.tick(now);
        self.mode = mode;
        let reason = if mode == Mode::ForcedOpen { Reason::ForcedOpen } else { Reason::ForcedClosed };
        self.restart(Phase::initial(mode), reason, now);
    }

    pub(super) fn release(&mut self, now: Instant) {
        let now = self.tick(now);
        let held = matches!(self.phase, Phase::Open { until: None });
        if !held && self.mode != Mode::ForcedClosed {
            return;
        }
        self.mode = match self.config.mode {
            // What the file forces, the operator has just taken back.
            Mode::ForcedOpen | Mode::ForcedClosed => Mode::Auto,
            configured => configured,
        };
        let phase = if held && self.mode != Mode::Off {
            Phase::HalfOpen { since: now, out: 0, successes: 0 }
        } else {
            Phase::Closed
        };
        self.restart(phase, Reason::Released, now);
    }

    pub(super) fn reset(&mut self, now: Instant) {
        let now = self.tick(now);
        self.mode = self.config.mode;
        self.restart(Phase::initial(self.mode), Reason::Reset, now);
    }

    pub(super) fn snapshot(&mut self, now: Instant) -> BreakerSnapshot {
        let now = self.latest.map_or(now, |latest| latest.max(now));
        BreakerSnapshot {
            state: self.state(),
            mode: self.mode,
            failures: self.counts.failures(now),
            generation: self.generation,
            retry_phase: self.retry_phase,
            next_probe_at: match self.phase {
                Phase::Open { until } => until,
                Phase::Closed | Phase::HalfOpen { .. } => None,
            },
            last_failure: self.last_failure,
            last_success: self.last_success,
        }
    }

    fn count(&mut self, now: Instant, failed: bool, slow: Option<bool>, unit: f64) {
        self.counts.record(now, failed, slow);
        if matches!(self.mode, Mode::Auto | Mode::Observe)
            && let Some(reason) = self.counts.verdict(now)
        {
            self.open(now, unit, reason);
        }
    }

    fn probed(&mut self, now: Instant, failed: bool, unit: f64) {
        if failed {
            return self.reopen(now, unit, Reason::ProbeFailed);
        }
        if let Phase::HalfOpen { out, successes, .. } = &mut self.phase {
            *out = out.saturating_sub(1);
            *successes += 1;
            if *successes >= self.config.half_open_successes.get() {
                self.restart(Phase::Closed, Reason::Recovered, now);
            }
        }
    }

    fn reopen(&mut self, now: Instant, unit: f64, reason: Reason) {
        self.reopenings = self.reopenings.saturating_add(1);
        self.open(now, unit, reason);
    }

    fn open(&mut self, now: Instant, unit: f64, reason: Reason) {
        let opening = opening(&self.config, self.reopenings, unit);
        self.retry_phase = opening.phase;
        self.counts.clear();
        self.enter(Phase::Open { until: opening.lasts.map(|lasts| later(now, lasts)) }, reason, now);
    }

    /// Enters `phase` with nothing counted and the schedule at its beginning.
    fn restart(&mut self, phase: Phase, reason: Reason, now: Instant) {
        self.reopenings = 0;
        self.retry_phase = None;
        self.counts.clear();
        self.enter(phase, reason, now);
    }

    fn enter(&mut self, phase: Phase, reason: Reason, at: Instant) {
        let from = self.state();
        self.phase = phase;
        self.generation = self.generation.wrapping_add(1) & Gate::GENERATION_MAX;
        let to = self.state();
        if from != to {
            self.outbox.push(Transition { from, to, reason, at });
        }
    }

    fn is_expired(&self, now: Instant) -> bool {
        match (self.phase, self.config.max_half_open) {
            (Phase::HalfOpen { since, .. }, Some(max)) => now.saturating_duration_since(since) >= max,
            _ => false,
        }
    }

    fn refusal(&self, now: Instant) -> Refused {
        let retry_after = match self.phase {
            Phase::Open { until: Some(until) } => until.saturating_duration_since(now),
            Phase::Open { until: None } | Phase::Closed => self.config.reset_after,
            Phase::HalfOpen { .. } => self.config.reset_after.min(PROBES_OUT_WAIT),
        };
        Refused { retry_after, state: self.state() }
    }

    /// `now`, or the latest time seen if that is later.
    fn tick(&mut self, now: Instant) -> Instant {
        let now = self.latest.map_or(now, |latest| latest.max(now));
        self.latest = Some(now);
        now
    }
}

impl Phase {
    const fn initial(mode: Mode) -> Self {
        match mode {
            Mode::ForcedOpen => Self::Open { until: None },
            Mode::Auto | Mode::ForcedClosed | Mode::Observe | Mode::Off => Self::Closed,
        }
    }

    fn is_due(self, now: Instant) -> bool {
        matches!(self, Self::Open { until: Some(until) } if until <= now)
    }
}
