//! The deadline ledger: for each phase of a call, the time that was spent in it.
//!
//! A phase is bound when a call first spends time in it. Most operations see a handful of the phases, and thirteen
//! series for each operation would fill the bound of a metric's series with zeros.

use std::sync::OnceLock;

use opentelemetry::{
    KeyValue,
    metrics::{BoundHistogram, Histogram},
};

use crate::{
    model::{CallPhase, Spent},
    telemetry::attributes::label,
};

/// One operation's ledger.
pub(super) struct Ledger {
    histogram: Histogram<f64>,
    labels: Vec<KeyValue>,
    bound: [OnceLock<BoundHistogram<f64>>; CallPhase::ALL.len()],
}

impl Ledger {
    pub(super) fn new(histogram: &Histogram<f64>, labels: &[KeyValue]) -> Self {
        Self { histogram: histogram.clone(), labels: labels.to_vec(), bound: Default::default() }
    }

    /// One observation for every phase in which the call spent time.
    pub(super) fn record(&self, spent: &Spent) {
        for (phase, span) in spent.phases() {
            let Some(place) = self.bound.get(phase as usize) else { continue };
            place.get_or_init(|| self.bind(phase)).record(span.as_secs_f64());
        }
    }

    fn bind(&self, phase: CallPhase) -> BoundHistogram<f64> {
        let mut labels = self.labels.clone();
        labels.push(KeyValue::new(label::PHASE, phase.as_str()));
        self.histogram.bind(&labels)
    }
}
