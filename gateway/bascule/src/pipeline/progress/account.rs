//! The figures of one call. What is here is written from several tasks, so all of it is atomic or behind a short lock.

use super::{notes::Notes, stopwatch::Stopwatch};
use crate::telemetry::CallSpan;
use http::HeaderValue;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

/// A call's own figures.
pub(super) struct Account {
    /// None once it has ended.
    pub(super) span: Mutex<Option<CallSpan>>,
    pub(super) trace_id: String,
    pub(super) traceparent: HeaderValue,
    pub(super) call_id: OnceLock<Arc<str>>,
    pub(super) attempts: AtomicU32,
    pub(super) upstream_ns: AtomicU64,
    pub(super) plugin_ns: AtomicU64,
    pub(super) stopwatch: Stopwatch,
    /// None when no journal is kept.
    pub(super) notes: Option<Notes>,
    pub(super) looked: AtomicU8,
    pub(super) safe: AtomicBool,
}

/// What a call came to, in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Attempts made upstream.
    pub attempts: u32,
    /// Time spent waiting for the provider.
    pub upstream: Duration,
    /// Time spent in plugins.
    pub plugin: Duration,
}

/// What the cache had for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Looked {
    /// It was not asked.
    Bypass,
    /// A fresh answer.
    Hit,
    /// An answer that is being renewed in the background.
    Stale,
    /// Nothing usable.
    Miss,
    /// Another call's fetch.
    Coalesced,
}

impl Looked {
    /// The name in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
        }
    }
}

impl Account {
    pub(super) fn new(span: Option<CallSpan>, stopwatch: Stopwatch, notes: Option<Notes>) -> Self {
        Self {
            trace_id: span.as_ref().map_or_else(String::new, |span| span.trace_id().to_owned()),
            traceparent: span.as_ref().map_or(HeaderValue::from_static(""), CallSpan::traceparent),
            span: Mutex::new(span),
            call_id: OnceLock::new(),
            attempts: AtomicU32::new(0),
            upstream_ns: AtomicU64::new(0),
            plugin_ns: AtomicU64::new(0),
            stopwatch,
            notes,
            looked: AtomicU8::new(Looked::Bypass as u8),
            safe: AtomicBool::new(false),
        }
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            attempts: self.attempts.load(Ordering::Relaxed),
            upstream: Duration::from_nanos(self.upstream_ns.load(Ordering::Relaxed)),
            plugin: Duration::from_nanos(self.plugin_ns.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn looked(&self) -> Looked {
        let found = self.looked.load(Ordering::Relaxed);
        [Looked::Hit, Looked::Stale, Looked::Miss, Looked::Coalesced]
            .into_iter()
            .find(|looked| *looked as u8 == found)
            .unwrap_or(Looked::Bypass)
    }
}
