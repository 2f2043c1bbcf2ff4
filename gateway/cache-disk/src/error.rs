//! What can go wrong.

use std::{io, path::PathBuf, sync::Arc};

/// The file could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be made, moved or removed.
    #[error("`{}` cannot be made", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process, or another store of this one, has it open.
    #[error("`{}` is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is sound, and no file of this crate's. It is left alone.
    #[error("`{}` holds something else", path.display())]
    Foreign {
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
    /// It cannot be read or written.
    #[error("`{}` cannot be used", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

/// A purge has taken effect, but nobody vouches for the disk: what was purged may come back with the next start.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unsettled {
    /// The file can be neither written nor removed, nor marked where another process has it.
    #[error("the file of the cache can be neither written nor removed")]
    Storage(#[source] Arc<io::Error>),
    /// As many wait for the file as may.
    #[error("too many purges wait for the file of the cache")]
    Crowded,
    /// The file was closed, as the process is about to end.
    #[error("the file of the cache is closed")]
    Closed,
}
