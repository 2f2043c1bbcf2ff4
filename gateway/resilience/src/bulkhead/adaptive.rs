//! A concurrency limit that finds its own value: what both algorithms have in common.
//!
//! The right number of calls at a time is what the provider can work on at once; more of them only wait there. It is
//! learnt from what each call came to. Both algorithms go back to Netflix's concurrency-limits library
//! (`Gradient2Limit`, `AIMDLimit`); where ours differ is said in their files.
//!
//! | outcome                        | gradient                                          | AIMD          |
//! |--------------------------------|---------------------------------------------------|---------------|
//! | success                        | its latency                                       | good, or overload if slower than `latency` |
//! | throttled, transient           | counts as far too slow                            | overload      |
//! | rejected, auth-expired, contract-broken, cancelled | says nothing                  | says nothing  |
//!
//! Neither grows while fewer than half of the slots are in use: nothing is learnt then about what more would do.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::aimd::Aimd;
use super::gradient::Gradient;
use crate::outcome::Outcome;

/// How a concurrency limit adapts. It stays between `min` and the bulkhead's `max`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdaptiveLimit {
    /// What it goes by. Default [`Algorithm::Gradient`].
    pub algorithm: Algorithm,
    /// Least calls at a time. Default 1. A value above the bulkhead's `max` counts as `max`.
    pub min: NonZeroUsize,
    /// Where it begins. Default 20, at most the bulkhead's `max`.
    pub initial: NonZeroUsize,
    /// AIMD: what the limit is multiplied with on overload, 0 to 1. Default 0.9. It always falls by one at least.
    pub backoff: f64,
    /// Gradient: how many times the unloaded latency is tolerated before the limit shrinks. Default 1.5; less than 1
    /// counts as 1.
    pub tolerance: f64,
    /// AIMD: a successful call that took longer counts as overload. Default `None`: only failures do.
    pub latency: Option<Duration>,
}

/// What an adaptive limit goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Latency: the limit shrinks while calls take longer than they do without load.
    #[default]
    Gradient,
    /// Failures: additive increase while calls succeed, multiplicative decrease when one does not.
    Aimd,
}

/// What became of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) now: Instant,
    pub(super) latency: Duration,
    pub(super) outcome: Outcome,
    /// Calls that held a slot when it ended, itself included.
    pub(super) in_flight: usize,
    /// Those of them whose answers had begun before and are still being read.
    pub(super) streaming: usize,
}

/// The limit between its bounds, and what was learnt so far.
pub(super) struct Limit {
    law: Law,
    min: usize,
    max: usize,
}

enum Law {
    Gradient(Gradient),
    Aimd(Aimd),
}

impl Limit {
    pub(super) fn new(config: &AdaptiveLimit, max: NonZeroUsize) -> Self {
        let (min, max) = (config.min.min(max).get(), max.get());
        let initial = config.initial.get().clamp(min, max) as f64;
        let bounds = Bounds { min: min as f64, max: max as f64 };
        let law = match config.algorithm {
            Algorithm::Gradient => Law::Gradient(Gradient::new(initial, bounds, config.tolerance)),
            Algorithm::Aimd => Law::Aimd(Aimd::new(initial, bounds, config.backoff, config.latency)),
        };
        Self { law, min, max }
    }

    /// Learns from one call.
    pub(super) fn update(&mut self, sample: &Sample) {
        match &mut self.law {
            Law::Gradient(gradient) => gradient.update(sample),
            Law::Aimd(aimd) => aimd.update(sample),
        }
    }

    /// Lets time do what it does without a call that ends.
    pub(super) fn tick(&mut self, now: Instant) {
        if let Law::Gradient(gradient) = &mut self.law {
            gradient.tick(now);
        }
    }

    /// The limit in whole calls.
    pub(super) fn present(&self) -> usize {
        let exact = match &self.law {
            Law::Gradient(gradient) => gradient.present(),
            Law::Aimd(aimd) => aimd.present(),
        };
        (exact as usize).clamp(self.min, self.max)
    }
}

/// The least and the most that a limit may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    min: f64,
    max: f64,
}

impl Bounds {
    pub(super) const fn hold(self, limit: f64) -> f64 {
        limit.clamp(self.min, self.max)
    }
}

impl Default for AdaptiveLimit {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            min: NonZeroUsize::MIN,
            initial: NonZeroUsize::MIN.saturating_add(19),
            backoff: 0.9,
            tolerance: 1.5,
            latency: None,
        }
    }
}
