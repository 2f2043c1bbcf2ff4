//! The reference model: the breaker as one would explain it, without locks, rings or generations that run over.
//!
//! Written for obviousness: it remembers every event and counts anew each time. Times are whole milliseconds since the
//! history began. What it does not know: threads, and how fast anything is.

use std::num::NonZeroU32;
use std::time::Duration;

use super::standing::PROBE_LOST_AFTER;
use super::*;

pub(super) struct Model {
    pub(super) config: BreakerConfig,
    pub(super) mode: Mode,
    pub(super) phase: Phase,
    pub(super) since: Option<u64>,
    pub(super) epoch: u32,
    pub(super) reopenings: u32,
    pub(super) refused: u64,
    pub(super) last_failure: Option<u64>,
    pub(super) last_success: Option<u64>,
    /// When it was first told a time: windows are cut into parts from then on.
    origin: Option<u64>,
    /// The outcomes since the counts were last cleared.
    events: Vec<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Closed,
    Open { until: Option<u64> },
    HalfOpen { out: u32, successes: u32, heard: u64, unit: f64 },
}

/// A call as the model sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    epoch: u32,
    pub(super) role: Role,
    pub(super) failed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    at: u64,
    failed: bool,
    slow: Option<bool>,
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}

impl Model {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self {
            mode: config.mode,
            phase: initial(config.mode),
            config,
            since: None,
            epoch: 0,
            reopenings: 0,
            refused: 0,
            last_failure: None,
            last_success: None,
            origin: None,
            events: Vec::new(),
        }
    }

    /// It is `now`: what was due on the way happens.
    pub(super) fn arrive(&mut self, now: u64) {
        self.origin.get_or_insert(now);
        self.lapse(now);
    }

    pub(super) fn lapse(&mut self, now: u64) {
        let Phase::HalfOpen { out, heard, unit, .. } = self.phase else { return };
        let end = match self.config.max_half_open {
            Some(max) => self.since.unwrap() + millis(max),
            None if out >= self.config.half_open_probes.get() => heard + millis(PROBE_LOST_AFTER),
            None => return,
        };
        if end <= now {
            self.reopenings += 1;
            self.open(end, unit);
        }
    }

    pub(super) fn failures(&self, now: u64) -> u32 {
        let failures = match &self.config.trip {
            Trip::Count { failures, window } => {
                let within = |event: &&Event| event.failed && now - event.at < millis(*window);
                self.events.iter().filter(within).count().min(failures.get() as usize)
            }
            Trip::Consecutive { .. } => self.events.iter().rev().take_while(|event| event.failed).count(),
            Trip::Rate { .. } => self.recent(now).filter(|event| event.failed).count(),
        };
        u32::try_from(failures).unwrap()
    }

    /// The outcomes within the last sixty parts of the window, the present one included.
    fn recent(&self, now: u64) -> impl Iterator<Item = &Event> {
        let origin = self.origin.unwrap_or(now);
        let width = millis(self.config.trip.window()) / 60;
        let part = move |at: u64| (at - origin) / width;
        self.events.iter().filter(move |event| part(now) - part(event.at) < 60)
    }

    fn trips(&self, now: u64) -> bool {
        let reached = |rate: f64, min_calls: NonZeroU32, calls: usize, hits: usize| {
            hits > 0 && calls >= min_calls.get() as usize && hits as f64 >= rate * calls as f64
        };
        let by_failures = match &self.config.trip {
            Trip::Count { failures, .. } | Trip::Consecutive { failures } => {
                self.failures(now) >= failures.get()
            }
            Trip::Rate { rate, min_calls, .. } => {
                reached(*rate, *min_calls, self.recent(now).count(), self.failures(now) as usize)
            }
        };
        let timed = || self.recent(now).filter_map(|event| event.slow);
        by_failures
            || self.config.slow_call.as_ref().is_some_and(|slow| {
                reached(slow.rate, slow.min_calls, timed().count(), timed().filter(|slow| *slow).count())
            })
    }

    fn enter(&mut self, phase: Phase, at: u64) {
        self.phase = phase;
        self.since = Some(at);
        self.epoch += 1;
        self.events.clear();
        if !matches!(phase, Phase::HalfOpen { .. }) {
            self.refused = 0;
        }
    }

    pub(super) fn restart(&mut self, phase: Phase, at: u64) {
        self.reopenings = 0;
        self.enter(phase, at);
    }

    fn open(&mut self, at: u64, unit: f64) {
        let lasts = match &self.config.reopen {
            Some(reopen) if self.reopenings > 0 => {
                let grown = self.reopenings.saturating_sub(reopen.fixed);
                let held = grown > reopen.exponential && reopen.then == AfterReopen::Hold;
                let doubled = 1 << grown.min(reopen.exponential);
                let lasts = (millis(reopen.interval) * doubled).min(millis(reopen.max_interval));
                (!held).then(|| (lasts as f64 * (1.0 + reopen.jitter * (2.0 * unit - 1.0))).round() as u64)
            }
            _ => Some(millis(self.config.reset_after)),
        };
        self.enter(Phase::Open { until: lasts.map(|lasts| at + lasts) }, at);
    }

    fn is_due(&self, now: u64) -> bool {
        matches!(self.phase, Phase::Open { until: Some(until) } if until <= now)
    }

    pub(super) fn state(&self, now: u64) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } if !self.is_due(now) => State::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    pub(super) fn passes(&self, now: u64) -> bool {
        let free = match self.phase {
            Phase::Closed => true,
            Phase::Open { .. } => self.is_due(now),
            Phase::HalfOpen { out, .. } => out < self.config.half_open_probes.get(),
        };
        free || self.mode == Mode::Observe
    }

    pub(super) fn acquire(&mut self, now: u64, unit: f64) -> Option<Call> {
        if self.phase != Phase::Closed {
            self.arrive(now);
        }
        if self.is_due(now) {
            self.enter(Phase::HalfOpen { out: 0, successes: 0, heard: now, unit }, now);
        }
        let role = match &mut self.phase {
            Phase::Closed if self.mode == Mode::Off => Role::Unwatched,
            Phase::Closed => Role::Counted,
            Phase::HalfOpen { out, heard, .. } if *out < self.config.half_open_probes.get() => {
                *out += 1;
                *heard = now;
                Role::Probe
            }
            _ if self.mode == Mode::Observe => Role::Shadow,
            _ => {
                self.refused += 1;
                return None;
            }
        };
        Some(Call { epoch: self.epoch, role, failed: false })
    }

    pub(super) fn settle(&mut self, call: Call, slow: Option<bool>, now: u64, unit: f64) {
        if call.role == Role::Unwatched {
            return;
        }
        self.arrive(now);
        if call.epoch != self.epoch {
            return;
        }
        let last = if call.failed { &mut self.last_failure } else { &mut self.last_success };
        *last = Some(now);
        match call.role {
            Role::Counted => {
                self.events.push(Event { at: now, failed: call.failed, slow });
                if matches!(self.mode, Mode::Auto | Mode::Observe) && self.trips(now) {
                    self.open(now, unit);
                }
            }
            Role::Probe if call.failed || slow == Some(true) => {
                self.reopenings += 1;
                self.open(now, unit);
            }
            Role::Probe => {
                let Phase::HalfOpen { out, successes, heard, .. } = &mut self.phase else { unreachable!() };
                *out -= 1;
                *successes += 1;
                *heard = now;
                if *successes >= self.config.half_open_successes.get() {
                    self.restart(Phase::Closed, now);
                }
            }
            Role::Shadow | Role::Unwatched => {}
        }
    }

    pub(super) fn give_back(&mut self, call: Call) {
        if let Phase::HalfOpen { out, .. } = &mut self.phase
            && call.epoch == self.epoch
            && call.role == Role::Probe
        {
            *out -= 1;
        }
    }

    /// A settled call breaks after all: one failure more, also by a probe that is out no longer.
    pub(super) fn break_late(&mut self, call: Call, now: u64, unit: f64) {
        if !call.failed {
            self.settle(Call { failed: true, ..call }, None, now, unit);
        }
    }

    pub(super) fn stands(&self, call: Call) -> bool {
        self.phase == Phase::Closed || self.mode == Mode::Observe || call.epoch == self.epoch
    }

    pub(super) fn force(&mut self, mode: Mode, now: u64) {
        self.arrive(now);
        self.mode = mode;
        self.restart(initial(mode), now);
    }

    pub(super) fn reset(&mut self, now: u64) {
        self.arrive(now);
        self.mode = self.config.mode;
        self.restart(initial(self.mode), now);
    }

    pub(super) fn auto(&mut self, now: u64) {
        self.arrive(now);
        let held = matches!(self.phase, Phase::Open { until: None });
        if !held && self.mode != Mode::ForcedClosed {
            return;
        }
        self.mode = match self.config.mode {
            Mode::ForcedOpen | Mode::ForcedClosed => Mode::Auto,
            mode => mode,
        };
        let half_open = Phase::HalfOpen { out: 0, successes: 0, heard: now, unit: 0.5 };
        self.restart(if held && self.mode != Mode::Off { half_open } else { Phase::Closed }, now);
    }
}

fn initial(mode: Mode) -> Phase {
    if mode == Mode::ForcedOpen { Phase::Open { until: None } } else { Phase::Closed }
}
