//! What can go wrong.

use std::{io, path::PathBuf, sync::Arc};

/// The queue could not do it; nothing has changed, but for [`Error::Slow`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read or written: the disk is full, say.
    #[error("the outbox file cannot be used")]
    Storage(#[source] Arc<rusqlite::Error>),
    /// Whoever asked has waited long enough: it may still be done. Said by those who wait, never by the queue itself.
    #[error("the outbox takes too long")]
    Slow,
    /// The queue is closed.
    #[error("the outbox is closed")]
    Closed,
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Arc::new(error))
    }
}

/// A call was not queued.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// It is larger than [`Bounds::max_body`](crate::Bounds::max_body).
    #[error("the call has {octets} octets, and the outbox takes {max}")]
    TooLarge {
        /// Octets of its parameters and body.
        octets: u64,
        /// Most that are taken.
        max: u64,
    },
    /// There is no room, and nothing is done that could be forgotten.
    #[error("the outbox is full: {entries} entries of {octets} octets")]
    Full {
        /// Entries that it holds.
        entries: u64,
        /// Octets of them.
        octets: u64,
    },
    /// The key belongs to a call of the same operation with other parameters, another body or another caller.
    #[error("the idempotency key belongs to another call")]
    Conflict,
    /// The queue could not do it.
    #[error(transparent)]
    Queue(#[from] Error),
}

/// The file could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be made.
    #[error("`{}` cannot be made", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process, or another queue of this one, has it open.
    #[error("`{}` is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged, or no SQLite file.
    #[error("`{}` is damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the check found.
        detail: String,
    },
    /// A newer version of this crate wrote it.
    #[error("`{}` was written by a newer version: its format is {found}, this one knows {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest known one.
        known: i64,
    },
    /// It cannot be read or written.
    #[error("`{}` cannot be used", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// No thread could be started.
    #[error("no thread for the outbox")]
    Thread(#[source] io::Error),
}
