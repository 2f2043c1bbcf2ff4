//! `telemetry`: measurements and span attributes go to the observer, within their bounds.
//!
//! What is out of bounds is dropped and counted; one log line at the end of the phase says how many.

use crate::bindings::bascule::plugin::telemetry::Host;
use crate::lasting::series::{Kind, is_name};
use crate::limits::{ANNOTATION_BYTES_MAX, ANNOTATIONS_MAX, LABEL_VALUE_BYTES_MAX, MEASUREMENTS_MAX};
use crate::phase::Hook;
use crate::state::State;
use crate::state::log_budget::cut;

/// What one phase has measured so far.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    measurements: usize,
    annotations: usize,
    dropped: u32,
}

impl Measured {
    /// What was dropped since this was last asked.
    pub(crate) fn take_dropped(&mut self) -> u32 {
        std::mem::take(&mut self.dropped)
    }
}

impl State {
    fn may_measure(&self) -> bool {
        self.shared.grants.telemetry && self.hook != Hook::Lifecycle
    }

    /// The labels as they may be kept, if the measurement may be made at all.
    fn measurement(
        &mut self,
        kind: Kind,
        name: &str,
        labels: Vec<(String, String)>,
    ) -> Option<Vec<(String, String)>> {
        let secrets = self.secrets();
        let tidy = |value: String| cut(&secrets.redact(value), LABEL_VALUE_BYTES_MAX).to_owned();
        let labels: Vec<_> = labels.into_iter().map(|(label, value)| (label, tidy(value))).collect();
        let admitted = self.may_measure()
            && self.measured.measurements < MEASUREMENTS_MAX
            && self.shared.lasting.series.admit(kind, name, &labels);
        match admitted {
            true => self.measured.measurements += 1,
            false => self.measured.dropped = self.measured.dropped.saturating_add(1),
        }
        admitted.then_some(labels)
    }
}

impl Host for State {
    fn count(&mut self, name: String, value: u64, labels: Vec<(String, String)>) -> wasmtime::Result<()> {
        if let Some(labels) = self.measurement(Kind::Count, &name, labels) {
            self.shared.observer.count(&self.shared.name, &self.call, &name, value, &labels);
        }
        Ok(())
    }

    fn observe(&mut self, name: String, value: f64, labels: Vec<(String, String)>) -> wasmtime::Result<()> {
        if !value.is_finite() {
            self.measured.dropped = self.measured.dropped.saturating_add(1);
        } else if let Some(labels) = self.measurement(Kind::Observation, &name, labels) {
            self.shared.observer.observe(&self.shared.name, &self.call, &name, value, &labels);
        }
        Ok(())
    }

    fn annotate(&mut self, key: String, value: String) -> wasmtime::Result<()> {
        if !self.may_measure() || self.measured.annotations >= ANNOTATIONS_MAX || !is_name(&key) {
            self.measured.dropped = self.measured.dropped.saturating_add(1);
            return Ok(());
        }
        self.measured.annotations += 1;
        let value = self.secrets().redact(value);
        let value = cut(&value, ANNOTATION_BYTES_MAX);
        self.shared.observer.annotate(&self.shared.name, &self.call, &key, value);
        Ok(())
    }
}
