//! The gradient limit: as many calls at a time as do not make one another slower than tolerated.
//!
//! After `Gradient2Limit` of Netflix's concurrency-limits. Once per round (as many calls as the limit, at least 20) the
//! mean latency is held against the *baseline*, the latency without load:
//!
//! ```text
//! gradient  = tolerance × baseline ÷ latency, between 0.5 and 1
//! gradient = 1:  target = limit + √limit        (headroom)
//! gradient < 1:  target = limit × gradient
//! limit     = 0.8 × limit + 0.2 × target
//! ```
//!
//! Netflix's baseline is a slow average of all latencies. Under lasting load that average climbs with the queue it should
//! reveal, and the limit with it. Here a round *under load* (half of the limit in use or more) does not lift the baseline;
//! it is learnt
//!
//! - from rounds without load, slowly;
//! - from a round that is over twice as quick: then the baseline was wrong, or the provider has recovered;
//! - by a **probe**, after every 100 rounds under load, or sooner when there is doubt: the limit is lowered to a share
//!   at which `tolerance` says that nothing queues, the calls begun before are let go by, and 20 calls begun since give
//!   the new baseline. (`GradientLimit`, Envoy's adaptive concurrency filter and TCP BBR probe likewise.) Calls whose
//!   answers are being streamed are let be, and a probe that takes too long is given up: it must not become a stall.
//!
//! ```text
//! learning ──doubt, or 100 rounds under load──▶ draining ──in flight ≤ lowered limit──▶ measuring ──20 calls──▶ learning
//!                                                  └────────────────── out of time ──────────┴───────────────────▲
//! ```
//!
//! A failed or throttled call counts as one that took twice the tolerated time, so that a share of them shrinks the
//! limit as slowness does; it never enters the baseline.

use std::time::{Duration, Instant};

use super::adaptive::{Bounds, Sample};
use crate::outcome::Outcome;
use crate::span::later;

/// Fewest calls in a round: the mean of fewer says little about a skewed distribution.
const ROUND_MIN: u32 = 20;

/// Share of the way that the limit goes towards its target, per round.
const SMOOTHING: f64 = 0.2;

/// Share of the way that the baseline goes towards a round without load.
const BASELINE_SMOOTHING: f64 = 0.1;

/// The limit never shrinks as if latency had more than doubled beyond what is tolerated: a round may be an outlier.
const GRADIENT_MIN: f64 = 0.5;

/// A round this many times quicker than the baseline refutes it.
const REFUTED: f64 = 2.0;

/// Rounds under load from one probe to the next. A probe costs most of the throughput of about two rounds.
const PROBE_EVERY: u32 = 100;

/// The same while the baseline is in doubt.
const PROBE_SOON: u32 = 10;

/// A probe that changes the baseline by more than this share leaves it in doubt.
const SURPRISE: f64 = 0.2;

/// What a probe may take, in mean latencies: this many for the drain, and this many times what its calls need.
const PROBE_PATIENCE: f64 = 3.0;

pub(super) struct Gradient {
    limit: f64,
    bounds: Bounds,
    tolerance: f64,
    /// Seconds.
    baseline: Option<f64>,
    round: Round,
    /// Rounds under load until the next probe.
    probe_in: u32,
    /// Rounds in a row in which latency was beyond what is tolerated.
    strained: u32,
    probe: Option<Probe>,
}

/// Calls of the present round.
#[derive(Default)]
struct Round {
    calls: u32,
    seconds: f64,
    peak: usize,
}

/// The baseline is being measured.
struct Probe {
    /// When no more than the lowered limit were in flight; none while that is awaited.
    drained: Option<Instant>,
    /// When it is given up.
    until: Instant,
    /// Calls in flight whose answers have begun; they are beside the lowered limit.
    streaming: usize,
}

impl Gradient {
    pub(super) fn new(limit: f64, bounds: Bounds, tolerance: f64) -> Self {
        Self {
            limit,
            bounds,
            // NaN counts as 1 as well.
            tolerance: tolerance.max(1.0),
            baseline: None,
            round: Round::default(),
            probe_in: PROBE_SOON,
            strained: 0,
            probe: None,
        }
    }

    pub(super) fn present(&self) -> f64 {
        match &self.probe {
            Some(probe) => self.limit.min(self.lowered() + probe.streaming as f64),
            None => self.limit,
        }
    }

    /// Gives up a probe that takes too long.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.probe.as_ref().is_some_and(|probe| probe.until < now) {
            self.end_probe(PROBE_EVERY);
        }
    }

    pub(super) fn update(&mut self, sample: &Sample) {
        self.tick(sample.now);
        if let Some(probe) = &mut self.probe {
            probe.streaming = sample.streaming;
        }
        let failed = match sample.outcome {
            Outcome::Success => false,
            Outcome::Transient { .. } | Outcome::Throttled { .. } => true,
            Outcome::Rejected | Outcome::AuthExpired | Outcome::ContractBroken | Outcome::Cancelled => return,
        };
        let seconds = sample.latency.as_secs_f64();
        if self.probe.is_some() {
            self.probed(sample, seconds, failed);
            return;
        }
        let counted = match (failed, self.baseline) {
            (false, _) => seconds,
            (true, Some(baseline)) => seconds.max(2.0 * self.tolerance * baseline),
            (true, None) => return,
        };
        self.round.add(counted, sample.in_flight);
        if f64::from(self.round.calls) >= self.limit.max(f64::from(ROUND_MIN)) {
            self.end_round(sample);
        }
    }

    fn end_round(&mut self, last: &Sample) {
        let round = std::mem::take(&mut self.round);
        let latency = round.mean();
        let Some(baseline) = self.baseline else {
            self.baseline = Some(latency);
            return;
        };
        let under_load = round.peak as f64 * 2.0 >= self.limit;
        if !under_load {
            self.baseline = Some(baseline + BASELINE_SMOOTHING * (latency - baseline));
            self.strained = 0;
            return;
        }
        let baseline = if latency * REFUTED < baseline {
            self.baseline = Some(latency);
            self.probe_in = self.probe_in.min(PROBE_SOON);
            latency
        } else {
            baseline
        };
        self.step(self.tolerance * baseline, latency);
        self.probe_in = self.probe_in.saturating_sub(1);
        if self.probe_in == 0 || self.strained >= PROBE_SOON {
            self.begin_probe(last, latency);
        }
    }

    fn begin_probe(&mut self, last: &Sample, latency: f64) {
        let rounds = PROBE_PATIENCE * (1.0 + f64::from(ROUND_MIN) / self.lowered().max(1.0));
        let patience = Duration::try_from_secs_f64(latency * rounds).unwrap_or(Duration::MAX);
        let until = later(last.now, patience);
        self.probe = Some(Probe { drained: None, until, streaming: last.streaming });
    }

    /// Moves the limit by one round's latency.
    fn step(&mut self, tolerated: f64, latency: f64) {
        let target = if latency > tolerated {
            self.strained += 1;
            self.limit * (tolerated / latency).max(GRADIENT_MIN)
        } else {
            self.strained = 0;
            self.limit + self.limit.sqrt()
        };
        self.limit = self.bounds.hold(self.limit + SMOOTHING * (target - self.limit));
    }

    /// The limit of a probe: where latency is as tolerated, this share of the limit leaves half of the provider idle.
    fn lowered(&self) -> f64 {
        self.bounds.hold(self.limit / (2.0 * self.tolerance))
    }

    fn probed(&mut self, sample: &Sample, seconds: f64, failed: bool) {
        let lowered = self.lowered().max(1.0);
        let Some(probe) = &mut self.probe else { return };
        if probe.drained.is_none() && sample.in_flight.saturating_sub(sample.streaming) as f64 <= lowered {
            probe.drained = Some(sample.now);
        }
        let began = sample.now.checked_sub(sample.latency);
        let since = probe.drained.is_some_and(|drained| began.is_some_and(|began| began >= drained));
        if failed || !since {
            return;
        }
        self.round.add(seconds, sample.in_flight);
        if self.round.calls >= ROUND_MIN {
            let measured = self.round.mean();
            let before = self.baseline.replace(measured).unwrap_or(measured);
            let surprised = (measured - before).abs() > SURPRISE * before;
            self.end_probe(if surprised { PROBE_SOON } else { PROBE_EVERY });
        }
    }

    fn end_probe(&mut self, next_in: u32) {
        self.probe = None;
        self.round = Round::default();
        self.probe_in = next_in;
        self.strained = 0;
    }
}

impl Round {
    fn add(&mut self, seconds: f64, in_flight: usize) {
        self.calls += 1;
        self.seconds += seconds;
        self.peak = self.peak.max(in_flight);
    }

    fn mean(&self) -> f64 {
        self.seconds / f64::from(self.calls.max(1))
    }
}
