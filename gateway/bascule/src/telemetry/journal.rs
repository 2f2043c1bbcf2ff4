//! The journal: what became of every call, one JSON line each, in files of bounded number and size.
//!
//! Completion records tell people about calls; the journal keeps what a replay against another configuration needs:
//! when a call came, how each of its attempts ended and how long that took. It holds names of the configuration,
//! words from fixed lists and figures, and nothing that a caller or a provider wrote: no bodies, parameters, URLs,
//! header values or callers. So there is nothing in it to redact.
//!
//! ```text
//! pipeline ──► CallRecord ──► queue, bounded ──► a thread of its own ──► journal-20260102T030405Z-0001.jsonl
//!                             (full: dropped and counted)                 │ full: the next one, the oldest goes
//!                                                                         └ failed: a pause, then it goes on
//! ```
//!
//! What is dropped, for want of room in the queue or on the disk, is counted and told by a line in its place. Nothing
//! here holds up a call, and nothing here knows what the records are read for.

mod name;
mod reader;
mod record;
mod writer;

use crate::{
    config::JournalSettings,
    telemetry::queue::{Queue, Work},
};
use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};
use writer::Writer;

pub use reader::{Journalled, Reader, Unreadable, Why, read};
pub use record::{
    ATTEMPTS_MAX, AttemptRecord, CallRecord, QUOTAS_MAX, QuotaRecord, REFUSALS, VERSION, millis, unix_millis,
    whole_millis,
};

/// Most records waiting to be written: some hundred octets each, 7 KiB at most.
const QUEUE_MAX: usize = 4096;

/// Longest line that is read, in octets. What is written stays far below it.
pub const LINE_MAX: usize = 64 * 1024;

/// There is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder cannot be made, or nothing can be written in it.
    #[error("the journal's folder `{}` cannot be used", folder.display())]
    Folder {
        /// As it was resolved.
        folder: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The operating system gives no thread.
    #[error("no thread for the journal")]
    Thread(#[source] io::Error),
}

/// A journal that is being written.
pub(super) struct Journal {
    settings: JournalSettings,
    queue: Queue<CallRecord>,
}

impl Journal {
    /// Makes the folder if it is missing, finds out whether it can be used, and starts the thread. The first file is
    /// begun with the first record, so that restarts without calls push out nothing.
    pub(super) fn open(settings: JournalSettings) -> Result<Self, JournalError> {
        let mut writer = Writer::new(settings.clone());
        writer.probe().map_err(|source| JournalError::Folder { folder: settings.folder.clone(), source })?;
        let handle = move |work: Work<CallRecord>| writer.handle(&work, Instant::now(), SystemTime::now());
        let queue = Queue::start("journal", QUEUE_MAX, handle).map_err(JournalError::Thread)?;
        Ok(Self { settings, queue })
    }

    pub(super) fn settings(&self) -> &JournalSettings {
        &self.settings
    }

    /// Queues the record, or counts it as dropped.
    pub(super) fn push(&self, record: CallRecord) {
        self.queue.push(record);
    }

    /// Waits until what was pushed is written, for at most `limit`. Blocks.
    pub(super) fn flush(&self, limit: Duration) {
        self.queue.flush(limit);
    }
}

#[cfg(test)]
mod tests;
