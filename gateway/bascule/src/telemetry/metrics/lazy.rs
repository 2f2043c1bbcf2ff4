//! Counters whose last label is known only when it is counted, such as the status of an answer.
//!
//! Each value is bound when it first occurs; after that, counting is a short scan of a table that is
//! read without a lock. The table is bounded, because a provider could otherwise make nine hundred
//! series of one operation by answering with made-up statuses.

use std::{borrow::Cow, sync::Arc};

use arc_swap::ArcSwap;
use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, Counter},
};

use crate::telemetry::attributes::label;

/// Most values of the label; further ones are counted together as `other`.
const VALUES_MAX: usize = 64;

/// One counter with all its labels but one.
pub(super) struct LazyCounters<K> {
    counter: Counter<u64>,
    labels: Vec<KeyValue>,
    last: &'static str,
    table: ArcSwap<Vec<(K, BoundCounter<u64>)>>,
}

impl<K: Copy + PartialEq> LazyCounters<K> {
    pub(super) fn new(counter: &Counter<u64>, labels: &[KeyValue], last: &'static str) -> Self {
        Self { counter: counter.clone(), labels: labels.to_vec(), last, table: ArcSwap::default() }
    }

    /// Counts one under `key`; `value` is the label's text, made only when it is new.
    pub(super) fn count(&self, key: K, value: impl FnOnce() -> Cow<'static, str>) {
        let table = self.table.load();
        if let Some((_, counter)) = table.iter().find(|(known, _)| *known == key) {
            counter.add(1);
        } else if table.len() < VALUES_MAX {
            self.bind(key, value()).add(1);
        } else {
            self.counter.add(1, &self.labelled(Cow::Borrowed(label::OTHER)));
        }
    }

    fn bind(&self, key: K, value: Cow<'static, str>) -> BoundCounter<u64> {
        let bound = self.counter.bind(&self.labelled(value));
        self.table.rcu(|table| {
            let mut next = Vec::clone(table);
            // Another thread may have been first; both counters feed the same series.
            if next.len() < VALUES_MAX && !next.iter().any(|(known, _)| *known == key) {
                next.push((key, bound.clone()));
            }
            Arc::new(next)
        });
        bound
    }

    fn labelled(&self, value: Cow<'static, str>) -> Vec<KeyValue> {
        let mut labels = self.labels.clone();
        labels.push(KeyValue::new(self.last, value));
        labels
    }
}
