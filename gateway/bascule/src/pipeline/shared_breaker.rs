//! A circuit that several integrations and operations share: `[breakers.NAME]`.
//!
//! It outlives configurations in which its settings stay the same, while its users may come and go; so who uses it is
//! told to it anew by every generation ([`SharedBreaker::show_to`]). Each user's state series moves with the circuit;
//! failures and transitions are counted once, under the service `breaker:NAME`.

use super::Peers;
use crate::{model::BreakerName, telemetry::IntegrationMetrics};
use bascule_resilience::{Breaker, BreakerConfig, State};
use parking_lot::Mutex;
use std::{sync::Arc, time::Instant};

/// A breaker with everybody who uses it.
pub struct SharedBreaker {
    /// The circuit.
    pub breaker: Arc<Breaker>,
    /// Where its failures and transitions are counted.
    pub metrics: Arc<IntegrationMetrics>,
    shown: Arc<Shown>,
}

/// The series that show its state. The lock is held while they are set, so that the latest state is what stays.
struct Shown(Mutex<Vec<Arc<IntegrationMetrics>>>);

impl SharedBreaker {
    /// The service under which a shared breaker is counted. No integration can have that name.
    pub fn service(name: &BreakerName) -> String {
        format!("breaker:{name}")
    }

    /// A circuit without users.
    pub fn new(
        name: &BreakerName,
        config: &BreakerConfig,
        metrics: Arc<IntegrationMetrics>,
        peers: &Arc<Peers>,
    ) -> Arc<Self> {
        let shown = Arc::new(Shown(Mutex::default()));
        let (peers, service) = (Arc::downgrade(peers), Self::service(name));
        let (counted, told, name) = (Arc::clone(&metrics), Arc::clone(&shown), name.clone());
        let breaker = Breaker::new(config.clone(), move |transition| {
            told.set(transition.to);
            if let Some(peers) = peers.upgrade() {
                peers.circuit_changed(&service, transition);
            }
            let (from, to) = (transition.from.to_string(), transition.to.to_string());
            counted.breaker_change(&from, &to);
            let reason = transition.reason.to_string();
            if transition.to == State::Open {
                tracing::warn!(breaker = %name, from, to, reason, "the shared circuit opened");
            } else {
                tracing::info!(breaker = %name, from, to, reason, "the shared circuit changed");
            }
        });
        Arc::new(Self { breaker, metrics, shown })
    }

    /// Shows the state in its own series and in these, and in no others from here on.
    pub fn show_to(&self, mut users: Vec<Arc<IntegrationMetrics>>, now: Instant) {
        users.push(Arc::clone(&self.metrics));
        let mut shown = self.shown.0.lock();
        *shown = users;
        Shown::set_all(&shown, self.breaker.state(now));
    }

    /// Shows the state nowhere any more: another circuit has taken the name.
    pub fn retire(&self) {
        self.shown.0.lock().clear();
    }
}

impl Shown {
    fn set(&self, state: State) {
        Self::set_all(&self.0.lock(), state);
    }

    fn set_all(series: &[Arc<IntegrationMetrics>], state: State) {
        let value = match state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        };
        series.iter().for_each(|metrics| metrics.breaker_state(value));
    }
}
