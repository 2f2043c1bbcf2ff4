//! The handle: what programs call.

use crate::{
    OpenError, Restoration, Unsettled,
    pending::Pending,
    writer::{Figures, Writer},
};
use bascule_cache::{Follower, Store};
use parking_lot::Mutex;
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

/// Tells the same moment by both clocks.
pub type Clock = Box<dyn Fn() -> (Instant, SystemTime) + Send>;

/// Which file, and how much of a disk it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file, on a local disk. It is made when it is missing, for its owner alone; its folder is not.
    pub path: PathBuf,
    /// How large it may be, in octets. Beside it there is a log of some MiB, or of its largest record.
    pub max_size: u64,
}

/// What an operator should know of.
#[derive(Debug)]
pub enum Notice {
    /// The file is in use. What was in it is stored again, as far as there was room.
    Restored(Restoration),
    /// The file was damaged. It has another name now, and a new one begins empty.
    Damaged {
        /// What was wrong.
        error: OpenError,
        /// Where it is now.
        moved_to: PathBuf,
    },
    /// The file cannot be opened. It is tried again after a minute, if anything is to be written.
    Unusable(OpenError),
    /// The file could not be written and was given up. A new one is begun after a minute.
    GivenUp(rusqlite::Error),
    /// The file can be used again; it begins empty.
    Back,
}

/// What the file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Octets of it that are in use.
    pub bytes: u64,
    /// Keys.
    pub entries: u64,
    /// Changes that were not written, since the start: too many at once, too large, or no file to write to.
    pub skipped: u64,
}

/// A file that follows a store. Dropped, it writes what is pending and closes the file.
pub struct Disk {
    pending: Arc<Pending>,
    figures: Arc<Figures>,
    restored: Mutex<Receiver<()>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Disk {
    /// Opens the file behind the caller's back, restores what is in it, and writes down what changes in the store from now
    /// on. To be called before anything is stored or purged.
    ///
    /// # Errors
    /// No thread can be started. Whatever is wrong with the file is a [`Notice`].
    pub fn start(
        options: Options,
        store: Arc<Store>,
        clock: Clock,
        notices: Box<dyn Fn(Notice) + Send>,
    ) -> io::Result<Self> {
        let (pending, figures) = (Arc::new(Pending::default()), Arc::new(Figures::default()));
        store.follow(Arc::clone(&pending) as Arc<dyn Follower>);
        let (done, restored) = sync_channel(1);
        let writer = Writer::new(options, store, Arc::clone(&pending), Arc::clone(&figures), clock, notices);
        let writer = thread::Builder::new().name("cache-disk".to_owned()).spawn(move || {
            writer.run(|| {
                // Nobody may wait for it.
                let _ = done.send(());
            });
        })?;
        Ok(Self { pending, figures, restored: Mutex::new(restored), writer: Mutex::new(Some(writer)) })
    }

    /// Blocks until what was in the file is stored again, for at most `most`. What takes longer goes on behind the calls,
    /// which it does no harm. Returns whether it is done.
    pub fn wait_restored(&self, most: Duration) -> bool {
        // Disconnected: it was waited for before, or the thread is at its end.
        !matches!(self.restored.lock().recv_timeout(most), Err(std::sync::mpsc::RecvTimeoutError::Timeout))
    }

    /// Calls `told` once, when every purge so far is on the disk, so that nothing of it comes back however the process ends;
    /// or with [`Unsettled`] when that cannot be. It is called from the thread that writes, or from here where it is clear at
    /// once, and must not block. How long that takes is the disk's affair: whoever waits sets a bound.
    pub fn when_settled(&self, told: impl FnOnce(Result<(), Unsettled>) + Send + 'static) {
        self.pending.wait(Box::new(told));
    }

    /// Writes what is pending and closes the file. Blocks. What is stored later is not written; what is purged later leaves a
    /// mark, with which the next start begins empty.
    pub fn close(&self) {
        self.pending.close();
        if let Some(writer) = self.writer.lock().take() {
            // A writer that panicked has nothing left to do.
            let _ = writer.join();
        }
    }

    /// What the file holds, as of the last write.
    pub fn stats(&self) -> DiskStats {
        let (bytes, entries) = self.figures.get();
        DiskStats { bytes, entries, skipped: self.pending.skipped() }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}
