//! The description of a circuit, in the words that people know from other libraries.
//!
//! Thresholds are plain numbers here; a zero is read as 1, the strictest that makes sense, and never as "no limit".

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::CircuitBreaker;
use crate::breaker::{Breaker, BreakerConfig, Transition, Trip};
use crate::clock::{Clock, Random, SystemRandom, TokioClock};

/// Describes a [`CircuitBreaker`]; what is not set has the defaults of [`BreakerConfig`].
#[must_use = "a circuit comes to be with `build`"]
pub struct CircuitBreakerBuilder {
    name: String,
    config: BreakerConfig,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    on_state_change: Box<dyn Fn(&Transition) + Send + Sync>,
}

impl CircuitBreakerBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            config: BreakerConfig::default(),
            clock: Arc::new(TokioClock),
            random: Arc::new(SystemRandom),
            on_state_change: Box::new(|_| ()),
        }
    }

    /// Takes all settings from `config`, for instance a preset's.
    pub fn config(mut self, config: BreakerConfig) -> Self {
        self.config = config;
        self
    }

    /// Failures that open the circuit. Default 5. Replaces a rule by rate with one by count over the same window.
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        let failures = at_least_one(failures);
        self.config.trip = match self.config.trip {
            Trip::Count { window, .. } | Trip::Rate { window, .. } => Trip::Count { failures, window },
            Trip::Consecutive { .. } => Trip::Consecutive { failures },
        };
        self
    }

    /// Successful probes that close it again. Default 3.
    pub fn success_threshold(mut self, successes: u32) -> Self {
        self.config.half_open_successes = at_least_one(successes);
        self
    }

    /// How long the circuit stays open before it probes. Default 30 s. (Not a limit on a call's duration.)
    pub fn timeout(mut self, reset_after: Duration) -> Self {
        self.config.reset_after = reset_after;
        self
    }

    /// The sliding window that failures are counted in. Default 1 min. No effect on a rule by consecutive failures.
    pub fn window(mut self, span: Duration) -> Self {
        match &mut self.config.trip {
            Trip::Count { window, .. } | Trip::Rate { window, .. } => *window = span,
            Trip::Consecutive { .. } => {}
        }
        self
    }

    /// Most probes at a time. Default 1.
    pub fn half_open_probes(mut self, probes: u32) -> Self {
        self.config.half_open_probes = at_least_one(probes);
        self
    }

    /// Called on every change of state, without any lock held.
    pub fn on_state_change(mut self, told: impl Fn(&Transition) + Send + Sync + 'static) -> Self {
        self.on_state_change = Box::new(told);
        self
    }

    /// Another clock. Default [`TokioClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of chance. Default [`SystemRandom`].
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// Makes the circuit.
    #[must_use]
    pub fn build(self) -> CircuitBreaker {
        let breaker = Breaker::new(self.config, self.on_state_change);
        CircuitBreaker::assemble(self.name, breaker, self.clock, self.random)
    }
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}
