//! Circuits by name, so that every part of a program that calls the same dependency shares one.
//!
//! Names come from code and configuration: the registry holds one circuit per distinct name and never forgets one.
//! It is not meant for names made from input (a URL, a tenant), which would make it grow without bound.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{CircuitBreaker, HealthStatus, Stats};
use crate::breaker::BreakerConfig;
use crate::clock::{Clock, Random, SystemRandom, TokioClock};

/// Named circuits, made on first use.
pub struct Registry {
    default_config: BreakerConfig,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    circuits: RwLock<BTreeMap<String, CircuitBreaker>>,
}

impl Registry {
    /// An empty registry; circuits that nobody registers get `default_config`.
    #[must_use]
    pub fn new(default_config: BreakerConfig) -> Self {
        Self::with_sources(default_config, Arc::new(TokioClock), Arc::new(SystemRandom))
    }

    /// Like [`new`](Self::new), with a clock and a source of chance for all circuits.
    #[must_use]
    pub fn with_sources(
        default_config: BreakerConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self { default_config, clock, random, circuits: RwLock::default() }
    }

    /// The circuit of that name, made with the default settings if there is none yet.
    #[must_use]
    pub fn get(&self, name: &str) -> CircuitBreaker {
        if let Some(circuit) = self.circuits.read().get(name) {
            return circuit.clone();
        }
        let make = || self.make(name, self.default_config.clone());
        self.circuits.write().entry(name.to_owned()).or_insert_with(make).clone()
    }

    /// Makes a circuit with settings of its own. It replaces one of the same name; who holds that keeps it.
    pub fn register(&self, name: &str, config: BreakerConfig) -> CircuitBreaker {
        let circuit = self.make(name, config);
        self.circuits.write().insert(name.to_owned(), circuit.clone());
        circuit
    }

    /// What all circuits have seen, in the order of their names.
    #[must_use]
    pub fn stats(&self) -> Vec<Stats> {
        self.circuits.read().values().map(CircuitBreaker::stats).collect()
    }

    /// How all dependencies fare, by the names of their circuits.
    #[must_use]
    pub fn health(&self) -> BTreeMap<String, HealthStatus> {
        self.circuits.read().iter().map(|(name, circuit)| (name.clone(), circuit.health())).collect()
    }

    /// Resets the circuit of that name; `false` if there is none.
    pub fn reset(&self, name: &str) -> bool {
        let circuit = self.circuits.read().get(name).cloned();
        circuit.as_ref().map(CircuitBreaker::reset).is_some()
    }

    /// Resets all circuits.
    pub fn reset_all(&self) {
        // Not under the lock: a callback may use the registry.
        let circuits: Vec<CircuitBreaker> = self.circuits.read().values().cloned().collect();
        circuits.iter().for_each(CircuitBreaker::reset);
    }

    fn make(&self, name: &str, config: BreakerConfig) -> CircuitBreaker {
        CircuitBreaker::new(name)
            .config(config)
            .clock(Arc::clone(&self.clock))
            .random(Arc::clone(&self.random))
            .build()
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(BreakerConfig::default())
    }
}
