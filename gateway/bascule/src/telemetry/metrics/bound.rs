//! What the pipeline holds: the instruments of one operation, and of one integration.

use std::borrow::Cow;

use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, BoundGauge, BoundHistogram, Counter},
};

use super::{
    instruments::Instruments,
    lazy::LazyCounters,
    ledger::Ledger,
    lookups::{CacheLookups, Lookups},
};
use crate::{model::Spent, telemetry::attributes::label};

/// Instruments of one operation. One observation per call: [`request`](Self::request) once, the others as they apply.
pub struct OperationMetrics {
    requests: LazyCounters<u16>,
    duration: BoundHistogram<f64>,
    spent: Ledger,
    errors: LazyCounters<&'static str>,
    retries: BoundCounter<u64>,
    hedges: LazyCounters<&'static str>,
    cache: LazyCounters<&'static str>,
    lookups: Lookups,
    fallback: LazyCounters<&'static str>,
    timeouts: LazyCounters<&'static str>,
    outbox_deliveries: LazyCounters<&'static str>,
    outbox_refusals: LazyCounters<&'static str>,
}

/// Instruments of one integration.
pub struct IntegrationMetrics {
    service: KeyValue,
    state: BoundGauge<i64>,
    failures: BoundCounter<u64>,
    changes: Counter<u64>,
    rate_limit: LazyCounters<&'static str>,
}

impl OperationMetrics {
    pub(super) fn bind(instruments: &Instruments, integration: &str, operation: &str) -> Self {
        let labels = [
            KeyValue::new(label::SERVICE, integration.to_owned()),
            KeyValue::new(label::ENDPOINT, operation.to_owned()),
        ];
        Self {
            requests: LazyCounters::new(&instruments.requests, &labels, label::STATUS),
            duration: instruments.request_duration.bind(&labels),
            spent: Ledger::new(&instruments.spent, &labels),
            errors: LazyCounters::new(&instruments.errors, &labels, label::ERROR_TYPE),
            retries: instruments.retries.bind(&labels),
            hedges: LazyCounters::new(&instruments.hedges, &labels, label::RESULT),
            cache: LazyCounters::new(&instruments.cache, &labels, label::RESULT),
            lookups: Lookups::default(),
            fallback: LazyCounters::new(&instruments.fallback, &labels, label::RUNG),
            timeouts: LazyCounters::new(&instruments.timeouts, &labels, label::KIND),
            outbox_deliveries: LazyCounters::new(&instruments.outbox_deliveries, &labels, label::RESULT),
            outbox_refusals: LazyCounters::new(&instruments.outbox_refusals, &labels, label::REASON),
        }
    }

    /// A call ended: the status that the caller got (499 when it left), and how long it took, by phase.
    pub fn request(&self, status: u16, spent: &Spent) {
        self.requests.count(status, || Cow::Owned(status.to_string()));
        self.duration.record(spent.total().as_secs_f64());
        self.spent.record(spent);
    }

    /// A call ended in an error of this kind.
    pub fn error(&self, error_type: &'static str) {
        self.errors.count(error_type, || Cow::Borrowed(error_type));
    }

    /// An attempt after the first.
    pub fn retry(&self) {
        self.retries.add(1);
    }

    /// An attempt was doubled, and its hedge `won` or `lost`.
    pub fn hedge(&self, result: &'static str) {
        self.hedges.count(result, || Cow::Borrowed(result));
    }

    /// A cache lookup had this result.
    pub fn cache(&self, result: &'static str) {
        self.cache.count(result, || Cow::Borrowed(result));
        self.lookups.count(result);
    }

    /// What a lookup had found was used after all, in place of a failure.
    pub fn cache_instead(&self, result: &'static str) {
        self.cache.count(result, || Cow::Borrowed(result));
    }

    /// How the cache lookups ended so far.
    pub fn cache_lookups(&self) -> CacheLookups {
        self.lookups.read()
    }

    /// This rung of the fallback ladder answered.
    pub fn fallback(&self, rung: &'static str) {
        self.fallback.count(rung, || Cow::Borrowed(rung));
    }

    /// A queued call was tried: it is `done` or `dead`, or will be `retried`.
    pub fn outbox_delivery(&self, result: &'static str) {
        self.outbox_deliveries.count(result, || Cow::Borrowed(result));
    }

    /// A call was not queued: the outbox is `full` or `failing`, or the call `too-large`.
    pub fn outbox_refusal(&self, reason: &'static str) {
        self.outbox_refusals.count(reason, || Cow::Borrowed(reason));
    }

    /// This time limit passed.
    pub fn timeout(&self, kind: &'static str) {
        self.timeouts.count(kind, || Cow::Borrowed(kind));
    }
}

impl IntegrationMetrics {
    /// The state starts as 0, closed, for an integration that is new.
    pub(super) fn bind(instruments: &Instruments, integration: &str) -> Self {
        let service = KeyValue::new(label::SERVICE, integration.to_owned());
        let labels = std::slice::from_ref(&service);
        Self {
            state: instruments.breaker_state.bind(labels),
            failures: instruments.breaker_failures.bind(labels),
            changes: instruments.breaker_changes.clone(),
            rate_limit: LazyCounters::new(&instruments.rate_limit, labels, label::RESULT),
            service,
        }
    }

    /// The breaker's state: 0 closed, 1 open, 2 half-open.
    pub fn breaker_state(&self, state: i64) {
        self.state.record(state);
    }

    /// The breaker counted a failure.
    pub fn breaker_failure(&self) {
        self.failures.add(1);
    }

    /// The breaker went from one state to another.
    pub fn breaker_change(&self, from: &str, to: &str) {
        let labels = [
            self.service.clone(),
            KeyValue::new(label::FROM, from.to_owned()),
            KeyValue::new(label::TO, to.to_owned()),
        ];
        self.changes.add(1, &labels);
    }

    /// The rate limiter decided.
    pub fn rate_limit(&self, result: &'static str) {
        self.rate_limit.count(result, || Cow::Borrowed(result));
    }
}
