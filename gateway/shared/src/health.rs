//! How the connection is doing: for a status page and for metrics.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::call::CallError;

/// Of the latency shown, this part is what was known before.
const MEMORY: f64 = 0.9;

/// How the connection is doing. Counts go on over reconnections.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Whether calls are made. If not, they fail at once.
    pub connected: bool,
    /// For how long that has been so.
    pub lasts: Duration,
    /// Connections that were made.
    pub connections: u64,
    /// Calls that were answered, with an error or without.
    pub answered: u64,
    /// Calls that were not answered within the bound.
    pub timed_out: u64,
    /// Calls whose connection ended first.
    pub lost: u64,
    /// Calls that failed at once: no connection, or too many calls out.
    pub turned_away: u64,
    /// How long an answer takes lately; zero before the first.
    pub latency: Duration,
    /// Why there was no connection at the latest failed try, or why the latest connection ended. No secrets.
    pub problem: Option<String>,
}

/// Counts for [`Health`].
pub(crate) struct Meter(Mutex<Figures>);

struct Figures {
    connected: bool,
    since: Instant,
    connections: u64,
    answered: u64,
    timed_out: u64,
    lost: u64,
    turned_away: u64,
    latency: Option<f64>,
    problem: Option<String>,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Figures {
            connected: false,
            since: now,
            connections: 0,
            answered: 0,
            timed_out: 0,
            lost: 0,
            turned_away: 0,
            latency: None,
            problem: None,
        }))
    }

    pub(crate) fn connected(&self, now: Instant) {
        let mut figures = self.0.lock();
        (figures.connected, figures.since) = (true, now);
        figures.connections += 1;
    }

    /// The connection has ended. The reason that was known first is kept.
    pub(crate) fn ended(&self, problem: &str, now: Instant) {
        let mut figures = self.0.lock();
        if figures.connected {
            (figures.connected, figures.since) = (false, now);
            figures.problem = Some(problem.to_owned());
        }
    }

    pub(crate) fn not_connected(&self, problem: String) {
        self.0.lock().problem = Some(problem);
    }

    pub(crate) fn called(&self, error: Option<&CallError>, took: Duration) {
        let mut figures = self.0.lock();
        match error {
            None | Some(CallError::Refused { .. } | CallError::Unexpected) => {
                figures.answered += 1;
                let took = took.as_secs_f64();
                figures.latency =
                    Some(figures.latency.map_or(took, |known| known * MEMORY + took * (1.0 - MEMORY)));
            }
            Some(CallError::TimedOut) => figures.timed_out += 1,
            Some(CallError::Lost) => figures.lost += 1,
            Some(CallError::Away | CallError::Busy) => figures.turned_away += 1,
        }
    }

    pub(crate) fn health(&self, now: Instant) -> Health {
        let figures = self.0.lock();
        Health {
            connected: figures.connected,
            lasts: now.saturating_duration_since(figures.since),
            connections: figures.connections,
            answered: figures.answered,
            timed_out: figures.timed_out,
            lost: figures.lost,
            turned_away: figures.turned_away,
            latency: Duration::from_secs_f64(figures.latency.unwrap_or(0.0)),
            problem: figures.problem.clone(),
        }
    }
}
