//! The one thread that owns the file.
//!
//! ```text
//!          ┌──── cannot be written: removed ────┐
//!   open ──┴──► written, transaction by transaction   ──► closed, tried again after a minute ──► open, and empty
//! ```
//!
//! A transaction with a purge in it is synced to the disk before anybody hears that it is done; others are left to the
//! system, which loses nothing when a process is killed. The reads of the store are within the transaction, so behind every
//! purge that was pending before.

use crate::{
    Clock, Notice, OpenError, Options, Unsettled,
    group::{GROUP_MAX, Group},
    mark,
    open::{begin, expunge, move_aside, open, remove},
    pending::{Pending, Work},
    restore::restore,
    table,
};
use bascule_cache::Store;
use parking_lot::Mutex;
use rusqlite::{Connection, Result};
use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a file that cannot be used is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The part of the file that one record may take, as a divisor.
const RECORD_PART: u64 = 8;

/// What the file holds: octets and entries.
#[derive(Default)]
pub(crate) struct Figures(Mutex<(u64, u64)>);

pub(crate) struct Writer {
    options: Options,
    store: Arc<Store>,
    pending: Arc<Pending>,
    figures: Arc<Figures>,
    clock: Clock,
    notices: Box<dyn Fn(Notice) + Send>,
}

/// The file as the thread sees it.
enum File {
    Open { db: Connection, entries: u64 },
    Closed(Closed),
}

struct Closed {
    try_at: Instant,
    behind: Behind,
}

/// What may be there that the next start reads, though it is not open here.
#[derive(Clone, Copy)]
enum Behind {
    /// A file of ours that purges have not reached.
    Ours,
    /// None, or one that another process has open.
    Others {
        /// Purges have not reached it, nor is there a mark.
        missed: bool,
    },
    /// One that is none of the cache's.
    Foreign,
}

impl Figures {
    pub(crate) fn get(&self) -> (u64, u64) {
        *self.0.lock()
    }

    fn set(&self, bytes: u64, entries: u64) {
        *self.0.lock() = (bytes, entries);
    }
}

impl Writer {
    pub(crate) fn new(
        options: Options,
        store: Arc<Store>,
        pending: Arc<Pending>,
        figures: Arc<Figures>,
        clock: Clock,
        notices: Box<dyn Fn(Notice) + Send>,
    ) -> Self {
        Self { options, store, pending, figures, clock, notices }
    }

    /// Opens, restores, tells so, and writes until there will be nothing more to write.
    pub(crate) fn run(self, restored: impl FnOnce()) {
        let mut file = self.first();
        restored();
        while let Some(mut work) = self.pending.take() {
            let waiting = std::mem::take(&mut work.waiting);
            let (next, settled) = self.work(file, work);
            file = next;
            for waiting in waiting {
                waiting(settled.clone());
            }
        }
        let foreign = matches!(file, File::Closed(Closed { behind: Behind::Foreign, .. }));
        drop(file);
        self.pending.end(Some(self.options.path.as_path()).filter(|_| !foreign));
    }

    fn first(&self) -> File {
        let opened = match open(&self.options.path) {
            Err(error @ OpenError::Damaged { .. }) => self.begin_anew(error),
            opened => opened,
        };
        let db = match opened {
            Ok(db) => db,
            Err(error) => {
                let behind = Behind::Others { missed: false }.after(&error);
                (self.notices)(Notice::Unusable(error));
                return File::Closed(self.closed(behind));
            }
        };
        match self.restored(&db) {
            Ok((restoration, entries)) => {
                (self.notices)(Notice::Restored(restoration));
                File::Open { db, entries }
            }
            Err(error) => File::Closed(self.give_up(db, error).0),
        }
    }

    fn begin_anew(&self, error: OpenError) -> std::result::Result<Connection, OpenError> {
        let path = &self.options.path;
        let moved_to = move_aside(path).map_err(|source| OpenError::Create { path: path.clone(), source })?;
        (self.notices)(Notice::Damaged { error, moved_to });
        open(path)
    }

    fn restored(&self, db: &Connection) -> Result<(crate::Restoration, u64)> {
        let clocks = (self.clock)();
        let mut group = Group::begin(db)?;
        table::make_room(&mut group, self.options.max_size, clocks.1)?;
        group.commit()?;
        table::shrink(db)?;
        let restoration = restore(db, &self.store, clocks, || !self.pending.is_closed())?;
        let entries = table::entries(db)?;
        self.figures.set(table::used(db)?, entries);
        Ok((restoration, entries))
    }

    /// Does the work, and says whether all purges of it are settled.
    fn work(&self, file: File, work: Work) -> (File, std::result::Result<(), Unsettled>) {
        match file {
            File::Open { db, entries } => match self.write(&db, entries, &work) {
                Ok(entries) => (File::Open { db, entries }, Ok(())),
                Err(error) => {
                    self.pending.skip(work.keys.len());
                    let (closed, settled) = self.give_up(db, error);
                    (File::Closed(closed), settled)
                }
            },
            File::Closed(closed) => self.work_without(closed, work),
        }
    }

    fn work_without(&self, closed: Closed, mut work: Work) -> (File, std::result::Result<(), Unsettled>) {
        let now = (self.clock)().0;
        if now < closed.try_at {
            self.pending.skip(work.keys.len());
            let (behind, settled) = closed.behind.settle(&self.options.path, work.purges());
            return (File::Closed(Closed { behind, ..closed }), settled.map_err(unsettled));
        }
        match open(&self.options.path) {
            Ok(db) => {
                // What is in it has missed purges.
                work.everything = true;
                (self.notices)(Notice::Back);
                self.work(File::Open { db, entries: 0 }, work)
            }
            Err(error) => {
                let behind = closed.behind.after(&error);
                self.work_without(Closed { try_at: now + AGAIN_AFTER, behind }, work)
            }
        }
    }

    /// Purges, and then keys as far as they fit into one transaction; the rest of them is put back. Returns how many entries
    /// there are.
    fn write(&self, db: &Connection, entries: u64, work: &Work) -> Result<u64> {
        db.pragma_update(None, "synchronous", if work.purges() { "FULL" } else { "NORMAL" })?;
        let (mut come, mut gone, mut octets, mut done) = (0_u64, 0, 0, 0);
        let nothing = work.everything || table::leaves_nothing(db, &work.purges)?;
        let before = if nothing { begin(db).map(|()| 0)? } else { entries };
        let mut group = Group::begin(db)?;
        for purge in work.purges.iter().filter(|_| !nothing) {
            gone += table::purge(&mut group, purge)?;
        }
        let (now, wall) = (self.clock)();
        for key in &work.keys {
            let kept = self.store.kept(key, now);
            let record = kept.as_ref().map(|kept| kept.encode(now, wall));
            let size = record.as_ref().map_or(0, Vec::len) as u64;
            let fits = size <= self.options.max_size / RECORD_PART;
            if fits && octets > 0 && octets + size > GROUP_MAX {
                break;
            }
            done += 1;
            match (kept, record) {
                (Some(kept), Some(record)) if fits => {
                    octets += size;
                    come += 1;
                    gone += table::put(db, key, &kept, &record, now, wall)?;
                }
                (kept, _) => {
                    self.pending.skip(usize::from(kept.is_some()));
                    gone += table::remove(db, key)?;
                }
            }
        }
        gone += table::make_room(&mut group, self.options.max_size, wall)?;
        group.commit()?;
        self.pending.put_back(work.keys.get(done..).unwrap_or_default());
        let entries = before.saturating_add(come).saturating_sub(gone as u64);
        self.figures.set(table::used(db)?, entries);
        Ok(entries)
    }

    /// A file that cannot be written may be what fills the disk, and purges do not reach it: it goes.
    fn give_up(
        &self,
        db: Connection,
        error: rusqlite::Error,
    ) -> (Closed, std::result::Result<(), Unsettled>) {
        drop(db);
        self.figures.set(0, 0);
        let removed = remove(&self.options.path);
        (self.notices)(Notice::GivenUp(error));
        let behind = if removed.is_ok() { Behind::Others { missed: false } } else { Behind::Ours };
        (self.closed(behind), removed.map_err(unsettled))
    }

    fn closed(&self, behind: Behind) -> Closed {
        Closed { try_at: (self.clock)().0 + AGAIN_AFTER, behind }
    }
}

impl Behind {
    /// What it is now that the file could not be opened.
    fn after(self, error: &OpenError) -> Self {
        match (error, self) {
            (OpenError::Foreign { .. }, _) => Self::Foreign,
            (OpenError::InUse { .. }, Self::Ours) => Self::Others { missed: true },
            (OpenError::InUse { .. }, Self::Foreign) => Self::Others { missed: false },
            (OpenError::InUse { .. }, others @ Self::Others { .. }) => others,
            _ => Self::Ours,
        }
    }

    /// Sees to it that nothing comes back that was purged.
    fn settle(self, path: &Path, purges: bool) -> (Self, io::Result<()>) {
        match self {
            Self::Ours => match expunge(path) {
                Ok(()) => (Self::Others { missed: false }, Ok(())),
                error => (self, error),
            },
            Self::Others { missed } if missed || purges => {
                let left = mark::leave(path);
                (Self::Others { missed: left.is_err() }, left)
            }
            Self::Others { .. } | Self::Foreign => (self, Ok(())),
        }
    }
}

fn unsettled(error: io::Error) -> Unsettled {
    Unsettled::Storage(Arc::new(error))
}
