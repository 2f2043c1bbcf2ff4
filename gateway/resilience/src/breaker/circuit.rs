//! The state machine itself: a plain struct, every rule of the breaker, no lock and no clock.
//!
//! All methods are called under the breaker's lock. Whatever starts a new generation goes through `enter`. Every method
//! that is given `now` first does what time alone has brought, so that it makes no difference who looks, and when.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{BreakerConfig, Mode};
use super::counts::Counts;
use super::event::{BreakerSnapshot, Reason, Refused, State, Transition};
use super::outbox::Outbox;
use super::standing::{Phase, Standing};
use super::stripes::Stripes;
use super::ticket::{Gate, Role, Ticket};

/// What a call is told when all probes are out: come back soon, one of them will report.
const PROBES_OUT_WAIT: Duration = Duration::from_secs(1);

/// The chance that leaves jittered spans as they are, for changes by an operator.
const NO_CHANCE: f64 = 0.5;

/// A circuit.
#[derive(Debug)]
pub(super) struct Circuit {
    config: Arc<BreakerConfig>,
    mode: Mode,
    standing: Standing,
    counts: Counts,
    /// Shared with the breaker, which lets successes count there without the lock.
    stripes: Arc<Stripes>,
    latest: Option<Instant>,
    last_failure: Option<Instant>,
    last_success: Option<Instant>,
    /// Calls refused since it last opened.
    refused: u64,
    pub(super) outbox: Outbox,
}

/// What a permit reports; neutral outcomes are given back instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
}

impl Circuit {
    pub(super) fn new(config: Arc<BreakerConfig>, stripes: Arc<Stripes>) -> Self {
        Self {
            mode: config.mode,
            standing: Standing::new(initial(config.mode)),
            counts: Counts::new(&config),
            stripes,
            latest: None,
            last_failure: None,
            last_success: None,
            refused: 0,
            outbox: Outbox::default(),
            config,
        }
    }

    pub(super) const fn gate(&self) -> Gate {
        let generation = self.standing.generation;
        match (self.standing.phase, self.mode) {
            (Phase::Closed, Mode::Off) => Gate::Unwatched(generation),
            (Phase::Closed, _) if self.counts.heeds_successes() => Gate::Heeded(generation),
            (Phase::Closed, _) => Gate::Counted(generation),
            _ => Gate::Ask,
        }
    }

    /// Whether every call is refused, as of the latest time seen.
    pub(super) fn refuses_all(&self) -> bool {
        let due = self.latest.is_some_and(|latest| self.standing.is_due(latest));
        self.standing.state() == State::Open && !due && self.mode != Mode::Observe
    }

    /// Whether a call would pass. Changes nothing that time has not changed.
    pub(super) fn verdict(&mut self, now: Instant) -> Result<(), Refused> {
        let now = self.arrive(now);
        let passes = match self.standing.phase {
            Phase::Closed => true,
            Phase::Open { .. } => self.standing.is_due(now),
            Phase::HalfOpen(probing) => probing.out < self.config.half_open_probes.get(),
        };
        if passes || self.mode == Mode::Observe { Ok(()) } else { Err(self.refuse(now)) }
    }

    /// Lets one call pass, as a probe if need be.
    pub(super) fn admit(&mut self, now: Instant, unit: f64) -> Result<Ticket, Refused> {
        let now = self.arrive(now);
        if self.standing.is_due(now) {
            self.enter(self.standing.probing(now, unit), Reason::ProbeDue, now);
        }
        let role = match &mut self.standing.phase {
            Phase::Closed if self.mode == Mode::Off => Role::Unwatched,
            Phase::Closed => Role::Counted,
            Phase::HalfOpen(probing) if probing.out < self.config.half_open_probes.get() => {
                probing.took(now);
                Role::Probe
            }
            _ if self.mode == Mode::Observe => Role::Shadow,
            _ => return Err(self.refuse(now)),
        };
        Ok(Ticket::new(self.standing.generation, role))
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
        let now = self.arrive(now);
        if ticket.generation() != self.standing.generation {
            return;
        }
        let failed = outcome == Outcome::Failure;
        let last = if failed { &mut self.last_failure } else { &mut self.last_success };
        *last = Some(now);
        let slow = self.stripes.slow(elapsed);
        match ticket.role() {
            Role::Counted => self.count(now, failed, slow, unit),
            Role::Probe => self.probed(now, failed || slow == Some(true), unit),
            Role::Shadow | Role::Unwatched => {}
        }
    }

    /// Judges again after a success that was counted without the lock.
    pub(super) fn review(&mut self, ticket: Ticket, now: Instant, unit: f64) {
        let now = self.arrive(now);
        if ticket.generation() == self.standing.generation {
            self.judge(now, unit);
        }
    }

    /// One failure more by a call that was settled before. Says whether it was counted.
    pub(super) fn late_failure(&mut self, ticket: Ticket, now: Instant, unit: f64) -> bool {
        let now = self.arrive(now);
        if ticket.generation() != self.standing.generation {
            return false;
        }
        self.last_failure = Some(now);
        match ticket.role() {
            Role::Counted => self.count(now, true, None, unit),
            Role::Probe => self.reopen(now, unit),
            Role::Shadow | Role::Unwatched => return false,
        }
        true
    }

    /// Takes back a probe that has nothing to report.
    pub(super) fn give_back(&mut self, ticket: Ticket) {
        if ticket.generation() != self.standing.generation || ticket.role() != Role::Probe {
            return;
        }
        if let Phase::HalfOpen(probing) = &mut self.standing.phase {
            probing.gave_back();
        }
    }

    /// Whether a call that holds `ticket` may still go on at `now`.
    pub(super) fn stands(&self, ticket: Ticket, now: Instant) -> bool {
        let standing = self.standing_at(now);
        let closed = matches!(standing.phase, Phase::Closed);
        closed || self.mode == Mode::Observe || ticket.generation() == standing.generation
    }

    /// Opens at another breaker's word, unless it is open already or does not run by itself. Says whether it did.
    pub(super) fn open_elsewhere(&mut self, until: Instant, now: Instant) -> bool {
        let now = self.arrive(now);
        let passable = self.standing.state() != State::Open || self.standing.is_due(now);
        if self.mode != Mode::Auto || !passable || until <= now {
            return false;
        }
        self.enter(self.standing.opened_elsewhere(until, now), Reason::OpenedElsewhere, now);
        true
    }

    pub(super) fn force(&mut self, mode: Mode, now: Instant) {
        let now = self.arrive(now);
        self.mode = mode;
        let reason = if mode == Mode::ForcedOpen { Reason::ForcedOpen } else { Reason::ForcedClosed };
        self.restart(initial(mode), reason, now);
    }

    pub(super) fn release(&mut self, now: Instant) {
        let now = self.arrive(now);
        let held = matches!(self.standing.phase, Phase::Open { until: None });
        if !held && self.mode != Mode::ForcedClosed {
            return;
        }
        self.mode = match self.config.mode {
            // What the file forces, the operator has just taken back.
            Mode::ForcedOpen | Mode::ForcedClosed => Mode::Auto,
            configured => configured,
        };
        let probing = held && self.mode != Mode::Off;
        let phase = if probing { Phase::probing(now, NO_CHANCE) } else { Phase::Closed };
        self.restart(phase, Reason::Released, now);
    }

    pub(super) fn reset(&mut self, now: Instant) {
        let now = self.arrive(now);
        self.mode = self.config.mode;
        self.restart(initial(self.mode), Reason::Reset, now);
    }

    pub(super) fn state(&self, now: Instant) -> State {
        self.standing_at(now).state_at(self.not_before_latest(now))
    }

    pub(super) fn snapshot(&mut self, now: Instant) -> BreakerSnapshot {
        let now = self.not_before_latest(now);
        let standing = self.standing_at(now);
        let (probes_out, half_open_successes) = match standing.phase {
            Phase::HalfOpen(probing) => (probing.out, probing.successes),
            Phase::Closed | Phase::Open { .. } => (0, 0),
        };
        BreakerSnapshot {
            state: standing.state_at(now),
            since: standing.since_at(now),
            mode: self.mode,
            failures: self.counts.failures(&self.stripes, now),
            generation: standing.generation,
            probes_out,
            half_open_successes,
            reopenings: standing.reopenings,
            retry_phase: standing.retry_phase,
            next_probe_at: match standing.phase {
                Phase::Open { until } => until,
                Phase::Closed | Phase::HalfOpen(_) => None,
            },
            opened_elsewhere: standing.elsewhere,
            // A reopening that nobody has taken note of yet has refused nobody.
            refused: if standing.generation == self.standing.generation { self.refused } else { 0 },
            last_failure: self.last_failure,
            last_success: self.last_success.max(self.stripes.last_success()),
        }
    }

    fn count(&mut self, now: Instant, failed: bool, slow: Option<bool>, unit: f64) {
        self.counts.record(&self.stripes, now, failed, slow);
        self.judge(now, unit);
    }

    fn judge(&mut self, now: Instant, unit: f64) {
        if matches!(self.mode, Mode::Auto | Mode::Observe)
            && let Some(reason) = self.counts.verdict(&self.stripes, now)
        {
            self.enter(self.standing.opened(&self.config, now, unit), reason, now);
        }
    }

    fn probed(&mut self, now: Instant, failed: bool, unit: f64) {
        if failed {
            return self.reopen(now, unit);
        }
        if let Phase::HalfOpen(probing) = &mut self.standing.phase {
            probing.succeeded(now);
            if probing.successes >= self.config.half_open_successes.get() {
                self.restart(Phase::Closed, Reason::Recovered, now);
            }
        }
    }

    fn reopen(&mut self, now: Instant, unit: f64) {
        self.enter(self.standing.reopened(&self.config, now, unit), Reason::ProbeFailed, now);
    }

    /// Enters `phase` with the schedule at its beginning.
    fn restart(&mut self, phase: Phase, reason: Reason, now: Instant) {
        self.enter(self.standing.restarted(phase, now), reason, now);
    }

    /// Enters a new generation with nothing counted.
    fn enter(&mut self, standing: Standing, reason: Reason, at: Instant) {
        let (from, to) = (self.standing.state(), standing.state());
        self.standing = standing;
        self.counts.clear();
        self.stripes.begin(standing.generation);
        if to != State::HalfOpen {
            self.refused = 0;
        }
        if from != to {
            self.outbox.push(Transition { from, to, reason, at });
        }
    }

    fn refuse(&mut self, now: Instant) -> Refused {
        self.refused = self.refused.saturating_add(1);
        let retry_after = match self.standing.phase {
            Phase::Open { until: Some(until) } => until.saturating_duration_since(now),
            Phase::Open { until: None } | Phase::Closed => self.config.reset_after,
            Phase::HalfOpen(_) => self.config.reset_after.min(PROBES_OUT_WAIT),
        };
        Refused { retry_after, state: self.standing.state() }
    }

    /// Moves on to `now`, or to the latest time seen if that is later, and does what was due on the way.
    fn arrive(&mut self, now: Instant) -> Instant {
        let now = self.not_before_latest(now);
        if self.latest != Some(now) {
            self.latest = Some(now);
            self.stripes.saw(now);
        }
        if let Some(lapsed) = self.standing.lapsed(&self.config, now) {
            self.enter(lapsed, Reason::HalfOpenExpired, lapsed.since.unwrap_or(now));
        }
        now
    }

    /// Where it stands at `now`, without going there.
    fn standing_at(&self, now: Instant) -> Standing {
        self.standing.lapsed(&self.config, self.not_before_latest(now)).unwrap_or(self.standing)
    }

    /// `now`, or the latest time that anything is known of.
    fn not_before_latest(&self, now: Instant) -> Instant {
        let counted = match self.standing.phase {
            Phase::Closed => self.stripes.last_success(),
            Phase::Open { .. } | Phase::HalfOpen(_) => None,
        };
        self.latest.max(counted).map_or(now, |latest| latest.max(now))
    }
}

const fn initial(mode: Mode) -> Phase {
    match mode {
        Mode::ForcedOpen => Phase::Open { until: None },
        Mode::Auto | Mode::ForcedClosed | Mode::Observe | Mode::Off => Phase::Closed,
    }
}
