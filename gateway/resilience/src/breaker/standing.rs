//! Where a circuit stands, and what time alone makes of it.
//!
//! A plain value: each step gives the standing that follows. That way a status page can be shown where the circuit
//! stands *at* a point in time without moving it there, and both follow the same rules.
//!
//! | half-open ends by itself                              | as of                                            |
//! |-------------------------------------------------------|--------------------------------------------------|
//! | with `max_half_open`                                  | that long after it began                         |
//! | without, all probes out and nothing heard of any      | [`PROBE_LOST_AFTER`] after the last sign of life |
//!
//! It then opens again as if a probe had failed, at the very instant at which the time was up, however much later
//! somebody looks. A circuit without traffic is therefore not made to wait twice, and a probe that was lost for ever (a
//! leaked permit, a call that hangs) cannot keep it half-open for ever.

use std::time::{Duration, Instant};

use super::config::BreakerConfig;
use super::event::{RetryPhase, State};
use super::schedule::opening;
use super::ticket::Gate;
use crate::span::later;
use crate::window::WINDOW_MIN;

/// How long probes that are all out may stay silent before they count as lost. Longer than any sensible call takes to
/// its outcome; being wrong costs one probe more, whose older sister no longer counts.
pub(super) const PROBE_LOST_AFTER: Duration = Duration::from_secs(600);

/// The state of a circuit with all that belongs to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) phase: Phase,
    /// When the phase began; `None` before the first change.
    pub(super) since: Option<Instant>,
    /// How often it has changed.
    pub(super) generation: u64,
    /// How often it has opened again since it was last closed.
    pub(super) reopenings: u32,
    pub(super) retry_phase: Option<RetryPhase>,
    /// Open at another breaker's word.
    pub(super) elsewhere: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Closed,
    /// `until` is `None` while it waits for an operator.
    Open {
        until: Option<Instant>,
    },
    HalfOpen(Probing),
}

/// The course of a half-open phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probing {
    pub(super) out: u32,
    pub(super) successes: u32,
    since: Instant,
    /// When a probe last began or reported.
    heard: Instant,
    /// Chance for the jitter of a reopening by lapse of time, which nobody is there to give.
    unit: f64,
}

impl Standing {
    pub(super) const fn new(phase: Phase) -> Self {
        Self { phase, since: None, generation: 0, reopenings: 0, retry_phase: None, elsewhere: false }
    }

    /// Anew in `phase`, with the reopening schedule at its beginning.
    pub(super) fn restarted(self, phase: Phase, at: Instant) -> Self {
        Self { reopenings: 0, retry_phase: None, ..self.entered(phase, at) }
    }

    /// Open after a trip.
    pub(super) fn opened(self, config: &BreakerConfig, at: Instant, unit: f64) -> Self {
        let opening = opening(config, self.reopenings, unit);
        let until = opening.lasts.map(|lasts| later(at, lasts));
        Self { retry_phase: opening.phase, ..self.entered(Phase::Open { until }, at) }
    }

    /// Open again.
    pub(super) fn reopened(self, config: &BreakerConfig, at: Instant, unit: f64) -> Self {
        Self { reopenings: self.reopenings.saturating_add(1), ..self }.opened(config, at, unit)
    }

    /// Open until then, at another breaker's word. The reopening schedule stays where it is.
    pub(super) fn opened_elsewhere(self, until: Instant, at: Instant) -> Self {
        Self { elsewhere: true, ..self.entered(Phase::Open { until: Some(until) }, at) }
    }

    /// Half-open, with no probe out yet.
    pub(super) fn probing(self, at: Instant, unit: f64) -> Self {
        self.entered(Phase::probing(at, unit), at)
    }

    /// What has become of it by `now`, if time alone has changed it.
    pub(super) fn lapsed(self, config: &BreakerConfig, now: Instant) -> Option<Self> {
        let Phase::HalfOpen(probing) = self.phase else { return None };
        let end = probing.end(config).filter(|end| *end <= now)?;
        Some(self.reopened(config, end, probing.unit))
    }

    /// The state as an outsider sees it at `now`: an open circuit whose probe is due is half-open to him.
    pub(super) fn state_at(&self, now: Instant) -> State {
        if self.is_due(now) { State::HalfOpen } else { self.state() }
    }

    pub(super) const fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen(_) => State::HalfOpen,
        }
    }

    /// When the state that [`state_at`](Self::state_at) tells began.
    pub(super) fn since_at(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Open { until } if self.is_due(now) => until,
            _ => self.since,
        }
    }

    /// Whether it is open and the next call is a probe.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Open { until: Some(until) } if until <= now)
    }

    fn entered(self, phase: Phase, at: Instant) -> Self {
        let generation = self.generation.wrapping_add(1) & Gate::GENERATION_MAX;
        Self { phase, since: Some(at), generation, elsewhere: false, ..self }
    }
}

impl Phase {
    pub(super) const fn probing(at: Instant, unit: f64) -> Self {
        Self::HalfOpen(Probing { out: 0, successes: 0, since: at, heard: at, unit })
    }
}

impl Probing {
    pub(super) const fn took(&mut self, now: Instant) {
        self.out = self.out.saturating_add(1);
        self.heard = now;
    }

    pub(super) const fn succeeded(&mut self, now: Instant) {
        self.out = self.out.saturating_sub(1);
        self.successes = self.successes.saturating_add(1);
        self.heard = now;
    }

    pub(super) const fn gave_back(&mut self) {
        self.out = self.out.saturating_sub(1);
    }

    fn end(&self, config: &BreakerConfig) -> Option<Instant> {
        match config.max_half_open {
            Some(max) => Some(later(self.since, max.max(WINDOW_MIN))),
            None if self.out >= config.half_open_probes.get() => Some(later(self.heard, PROBE_LOST_AFTER)),
            None => None,
        }
    }
}
