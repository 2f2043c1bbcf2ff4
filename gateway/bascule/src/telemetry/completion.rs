//! One line per call, also when the caller goes away: what was asked, what came of it, how long it took.
//!
//! The pipeline hands over a record and goes on; a thread of its own writes it. These are not tracing
//! events: they cost the call no formatting, cannot be filtered away by a log level, and a stuck
//! terminal or pipe drops lines (and says how many) instead of holding up calls.

mod format;

use std::{
    io::{self, Write},
    time::{Duration, SystemTime},
};

use super::{
    logs::LogFormat,
    queue::{Queue, Work},
    redact::Redactor,
};

/// Most records waiting to be written, some hundred octets each: a second's worth on a busy gateway.
const QUEUE_MAX: usize = 8192;

/// What one call came to. Absent parts do not apply, or were not known when it ended.
#[derive(Clone, Debug)]
pub struct CompletionRecord {
    /// When the call was accepted; it ended `elapsed` later.
    pub at: SystemTime,
    /// Trace id in hex.
    pub trace_id: String,
    /// The integration, when the name was one.
    pub integration: Option<String>,
    /// The operation, when the name was one.
    pub operation: Option<String>,
    /// Name of the key that the caller used.
    pub caller: Option<String>,
    /// HTTP method of the caller's request.
    pub method: String,
    /// Status that the caller got; 499 when it left before.
    pub status: u16,
    /// Which rung of the ladder answered: `Bascule-Source`.
    pub source: Option<String>,
    /// What the cache did: `Cache-Status`.
    pub cache: Option<String>,
    /// Attempts made upstream.
    pub attempts: u32,
    /// How the call ended: `success`, or the kind of failure.
    pub outcome: Option<&'static str>,
    /// Code of the problem document, if that was the answer.
    pub problem: Option<&'static str>,
    /// Which kind of rung of the fallback ladder answered.
    pub fallback: Option<String>,
    /// The whole call.
    pub elapsed: Duration,
    /// Waiting for the provider, over all attempts.
    pub upstream: Duration,
    /// In plugins.
    pub plugin: Duration,
    /// Octets of the request's body.
    pub bytes_in: u64,
    /// Octets of the answer's body.
    pub bytes_out: u64,
}

impl Default for CompletionRecord {
    /// Nothing known yet, at the first instant of 1970, since a time must be passed in.
    fn default() -> Self {
        Self {
            at: SystemTime::UNIX_EPOCH,
            trace_id: String::new(),
            integration: None,
            operation: None,
            caller: None,
            method: String::new(),
            status: 0,
            source: None,
            cache: None,
            attempts: 0,
            outcome: None,
            problem: None,
            fallback: None,
            elapsed: Duration::ZERO,
            upstream: Duration::ZERO,
            plugin: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
        }
    }
}

/// The thread that writes records.
pub(super) struct CompletionLog {
    queue: Queue<CompletionRecord>,
}

impl CompletionLog {
    /// Writes to `sink`, one `write_all` per line, without known secrets.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn start(
        format: LogFormat,
        redactor: Redactor,
        mut sink: Box<dyn Write + Send>,
    ) -> io::Result<Self> {
        let handle = move |work: Work<CompletionRecord>| {
            let line = match work {
                Work::Item(record) => format::record(format, &record),
                Work::Dropped(count) => format::dropped(format, SystemTime::now(), count),
            };
            // There is nowhere left to report that the log itself cannot be written.
            let _ = sink.write_all(redactor.text(&line).as_bytes());
        };
        Ok(Self { queue: Queue::start("completion-log", QUEUE_MAX, handle)? })
    }

    /// Queues the record, or counts it as dropped.
    pub(super) fn push(&self, record: CompletionRecord) {
        self.queue.push(record);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Waits until what was pushed is written, for at most `limit`. Blocks.
    pub(super) fn flush(&self, limit: Duration) {
        self.queue.flush(limit);
    }
}
