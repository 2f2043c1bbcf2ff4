//! A circuit under replay, and the list of its openings.

use bascule_resilience::{Breaker, BreakerConfig, State, Transition};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Openings that are listed; further ones are counted.
const LISTED_MAX: usize = 20;

/// A circuit with its history.
pub(super) struct Circuit {
    pub(super) name: String,
    pub(super) breaker: Arc<Breaker>,
    history: Arc<Mutex<History>>,
}

/// Circuits by name: those of the same name are one.
#[derive(Default)]
pub(super) struct Circuits(BTreeMap<String, Arc<Circuit>>);

/// What a circuit did.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// The first openings.
    pub(super) openings: Vec<Opening>,
    /// How many there were.
    pub(super) count: u64,
    /// Since when it has not been closed.
    troubled: Option<Instant>,
    /// How long it was open or half-open, up to the last time it closed.
    trouble: Duration,
}

/// One time that it opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) at: Instant,
    pub(super) reason: &'static str,
    /// When it let a probe pass, or was closed; none: the journal ended before.
    pub(super) until: Option<Instant>,
}

impl Circuits {
    pub(super) fn named(&mut self, name: &str, config: &BreakerConfig) -> Arc<Circuit> {
        let make = || {
            let history: Arc<Mutex<History>> = Arc::default();
            let told = Arc::clone(&history);
            let breaker = Breaker::new(config.clone(), move |transition| told.lock().changed(transition));
            Arc::new(Circuit { name: name.to_owned(), breaker, history })
        };
        Arc::clone(self.0.entry(name.to_owned()).or_insert_with(make))
    }

    pub(super) fn openings(&self) -> u64 {
        self.0.values().map(|circuit| circuit.history.lock().count).sum()
    }
}

impl Circuit {
    pub(super) fn history(&self) -> History {
        self.history.lock().clone()
    }
}

impl History {
    fn changed(&mut self, transition: &Transition) {
        if transition.from == State::Open
            && let Some(last) = self.openings.last_mut()
            && self.count <= LISTED_MAX as u64
        {
            last.until = Some(transition.at);
        }
        if transition.from == State::Closed {
            self.troubled = Some(transition.at);
        }
        match transition.to {
            State::Open => {
                self.count += 1;
                if self.openings.len() < LISTED_MAX {
                    let reason = transition.reason.as_str();
                    self.openings.push(Opening { at: transition.at, reason, until: None });
                }
            }
            State::Closed => {
                let since = self.troubled.take().unwrap_or(transition.at);
                self.trouble += transition.at.saturating_duration_since(since);
            }
            State::HalfOpen => {}
        }
    }

    /// How long it was open or half-open, until `end`.
    pub(super) fn not_closed(&self, end: Instant) -> Duration {
        let ongoing = self.troubled.map_or(Duration::ZERO, |since| end.saturating_duration_since(since));
        self.trouble + ongoing
    }
}
