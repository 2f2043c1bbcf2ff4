//! The one record that every request ends in: log line, journal line, metrics, end of the span.

use crate::{
    model::{Answer, CallPhase, Problem, Spent},
    pipeline::{LiveIntegration, LiveOperation, Progress, Services},
    telemetry::{
        CompletionRecord, attributes,
        journal::{self, CallRecord},
    },
};
use bascule_resilience::Priority;
use http::Method;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

/// What the record says when the caller left before there was an answer, as nginx and Envoy do.
const CALLER_GONE: u16 = 499;

/// How it ended, as far as that is known.
struct End {
    status: u16,
    source: Option<String>,
    source_kind: Option<&'static str>,
    cache: Option<String>,
    outcome: &'static str,
    problem: Option<&'static str>,
    rung: Option<&'static str>,
}

/// Collects the record. Dropped without an end, it says that the caller has gone.
pub(super) struct Completion {
    services: Arc<Services>,
    progress: Arc<Progress>,
    begun: Instant,
    place: Option<(Arc<LiveIntegration>, Arc<LiveOperation>)>,
    method: String,
    caller: Option<String>,
    /// The caller's own; none: the operation's.
    priority: Option<Priority>,
    /// Whether it got as far as the pipeline.
    entered: bool,
    end: End,
    octets_in: Arc<AtomicU64>,
    done: bool,
}

impl Completion {
    /// For a request that was accepted at `begun`, by the same reading as the progress has.
    pub(super) fn begin(
        services: &Arc<Services>,
        progress: &Arc<Progress>,
        method: &Method,
        begun: Instant,
    ) -> Self {
        let end = End {
            status: CALLER_GONE,
            source: None,
            source_kind: None,
            cache: None,
            outcome: "cancelled",
            problem: None,
            rung: None,
        };
        Self {
            services: Arc::clone(services),
            progress: Arc::clone(progress),
            begun,
            place: None,
            method: method.as_str().to_owned(),
            caller: None,
            priority: None,
            entered: false,
            end,
            octets_in: Arc::default(),
            done: false,
        }
    }

    /// The counter of the caller's octets.
    pub(super) fn octets_in(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.octets_in)
    }

    /// Names the caller, and says how much its calls matter.
    pub(super) fn caller(&mut self, name: &str, priority: Option<Priority>) {
        self.caller = Some(name.to_owned());
        self.priority = priority;
    }

    /// The request is a call now: what refuses it from here on is the integration's.
    pub(super) fn entered(&mut self) {
        self.entered = true;
    }

    /// Names what is called. From here on the call is counted in metrics, whose labels are bounded
    /// because only names that exist get here.
    pub(super) fn place(&mut self, integration: &Arc<LiveIntegration>, operation: &Arc<LiveOperation>) {
        self.progress
            .with_span(|span| span.name(integration.settings.name.as_str(), operation.name.as_str()));
        self.place = Some((Arc::clone(integration), Arc::clone(operation)));
    }

    pub(super) fn integration(&self) -> Option<&Arc<LiveIntegration>> {
        self.place.as_ref().map(|(integration, _)| integration)
    }

    pub(super) fn operation(&self) -> Option<&Arc<LiveOperation>> {
        self.place.as_ref().map(|(_, operation)| operation)
    }

    /// Takes down how the call ended.
    pub(super) fn ended(
        &mut self,
        status: u16,
        answer: Option<&Answer>,
        problem: Option<&Problem>,
        failure: Option<&'static str>,
        rung: Option<&'static str>,
    ) {
        self.end = End {
            status,
            source: answer.map(|answer| answer.source.to_string()),
            source_kind: answer.map(|answer| answer.source.kind()),
            cache: answer.and_then(|answer| answer.cache.as_ref()).map(ToString::to_string),
            outcome: failure.unwrap_or("success"),
            problem: problem.map(|problem| problem.code.as_str()),
            rung,
        };
    }

    /// The answer's body is passed on from now on.
    pub(super) fn streams(&self) {
        self.progress.switch(CallPhase::Body, self.services.now());
    }

    /// The answer has been handed over whole.
    pub(super) fn finish(mut self, octets: u64) {
        self.close(octets);
    }

    /// The caller left in the middle of the answer.
    pub(super) fn left(mut self, octets: u64) {
        self.end.outcome = "cancelled";
        self.end.status = CALLER_GONE;
        self.close(octets);
    }

    /// The answer broke off on the provider's side.
    pub(super) fn broke(mut self, octets: u64) {
        self.end.outcome = "broken";
        self.close(octets);
    }

    /// How long it has taken so far.
    pub(super) fn elapsed(&self) -> std::time::Duration {
        self.services.now().saturating_duration_since(self.begun)
    }

    fn close(&mut self, octets: u64) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let totals = self.progress.totals();
        let spent = self.progress.stop(self.services.now());
        let elapsed = spent.total();
        // The wall clock may have been set meanwhile; the stopwatch is right.
        let at = SystemTime::now().checked_sub(elapsed).unwrap_or(SystemTime::UNIX_EPOCH);
        if let Some((integration, operation)) = &self.place {
            self.journal(integration, operation, &spent, at);
            operation.metrics.request(self.end.status, &spent);
        }
        if let Some(source) = &self.end.source {
            self.progress.with_span(|span| {
                if span.is_recording() {
                    span.attribute(attributes::span::SOURCE, source.clone());
                }
            });
        }
        let error_type = self.end.problem.or(Some(self.end.outcome)).filter(|outcome| *outcome != "success");
        self.progress.end(self.end.status, error_type);
        self.services.telemetry.completion(CompletionRecord {
            at,
            trace_id: self.progress.trace_id().to_owned(),
            integration: self.integration().map(|integration| integration.settings.name.to_string()),
            operation: self.operation().map(|operation| operation.name.to_string()),
            caller: self.caller.take(),
            method: std::mem::take(&mut self.method),
            status: self.end.status,
            source: self.end.source.take(),
            cache: self.end.cache.take(),
            attempts: totals.attempts,
            outcome: Some(self.end.outcome),
            problem: self.end.problem,
            fallback: self.end.rung.map(ToOwned::to_owned),
            elapsed,
            upstream: totals.upstream,
            plugin: totals.plugin,
            bytes_in: self.octets_in.load(Ordering::Relaxed),
            bytes_out: octets,
        });
    }
}

impl Completion {
    /// Hands the call to the journal, when one is kept: names of the configuration, words from fixed lists, figures.
    fn journal(
        &self,
        integration: &Arc<LiveIntegration>,
        operation: &Arc<LiveOperation>,
        spent: &Spent,
        at: SystemTime,
    ) {
        let Some(notes) = self.progress.take_notes() else { return };
        let (attempts, more) = notes.into_records(&operation.full_name, spent.total());
        // Refused is who made no attempt of its own; a rung may have made some.
        let asked = attempts.iter().any(|attempt| attempt.of.is_none());
        let (time, time_us) = journal::unix_millis(at);
        let refused = self.entered && journal::REFUSALS.contains(&self.end.outcome) && !asked;
        self.services.telemetry.journal(CallRecord {
            v: journal::VERSION,
            time,
            time_us,
            integration: integration.settings.name.to_string(),
            operation: operation.name.to_string(),
            priority: self.priority.unwrap_or(operation.policy.priority).as_str().into(),
            safe: self.progress.is_safe(),
            timeout_ms: journal::whole_millis(operation.policy.timeouts.whole),
            status: self.end.status,
            source: self.end.source_kind.map(Into::into),
            ended: self.end.outcome.into(),
            refused: refused.then(|| self.end.outcome.into()),
            cache: self.progress.cache().as_str().into(),
            elapsed_ms: journal::millis(spent.total()),
            queued_ms: journal::millis(spent.on(CallPhase::Queue)),
            attempts,
            more,
        });
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if !self.done {
            self.end.outcome = "cancelled";
            self.end.status = CALLER_GONE;
            self.close(0);
        }
    }
}
