//! The handle: what programs call. Every method goes to the writer's thread and waits for its answer.

use crate::{
    Bounds, Call, Ending, EnqueueError, Entry, Error, Lane, Level, OpenError, Page, Place, Queued, Removed,
    Retried, State, Tidied, maintain, open::open, store, writer,
};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::SystemTime,
};
use uuid::Uuid;

/// An open queue. Dropped, it does what it has taken on and closes the file.
pub struct Outbox {
    /// Present until the drop.
    jobs: Option<SyncSender<writer::Job>>,
    writer: Option<JoinHandle<()>>,
    levels: Arc<Mutex<Vec<Level>>>,
}

impl Outbox {
    /// Opens the queue in that file, which is made when it is missing (its folder is not). What was being delivered
    /// when it was last open is waiting again, its time come. Reads the whole file once, to check it.
    ///
    /// # Errors
    /// [`OpenError`]: another process has it open, it is damaged, a newer version wrote it, or the disk refuses.
    pub fn open(path: &Path, now: SystemTime) -> Result<Self, OpenError> {
        let db = open(path)?;
        let recovered = maintain::recover(&db, now).and_then(|_| maintain::levels(&db));
        let found = recovered.map_err(|source| OpenError::Storage { path: path.to_owned(), source })?;
        let levels = Arc::new(Mutex::new(found));
        let (jobs, waiting) = sync_channel(writer::WAITING_MAX);
        let shown = Arc::clone(&levels);
        let writer = thread::Builder::new()
            .name("outbox".to_owned())
            .spawn(move || writer::run(&db, &waiting, &shown))
            .map_err(OpenError::Thread)?;
        Ok(Self { jobs: Some(jobs), writer: Some(writer), levels })
    }

    /// Queues a call. Once this returns, the entry is on the disk.
    ///
    /// A key that is there already with the same call is that entry, whatever its state; a dead one waits again, as if
    /// it were new. A full queue forgets the entries that were done first, never others.
    ///
    /// # Errors
    /// [`EnqueueError`]; nothing is queued then.
    pub fn enqueue(&self, call: Call, bounds: &Bounds, now: SystemTime) -> Result<Queued, EnqueueError> {
        let bounds = *bounds;
        self.ask(move |db| store::enqueue(db, &call, &bounds, now))?
    }

    /// The entry with this call's key, if there is one.
    ///
    /// # Errors
    /// [`EnqueueError::Conflict`] when the key belongs to another call of the operation.
    pub fn find(&self, call: Call) -> Result<Option<Entry>, EnqueueError> {
        self.ask(move |db| store::find(db, &call))?
    }

    /// The entry of that name.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be read.
    pub fn get(&self, id: Uuid) -> Result<Option<Entry>, Error> {
        self.ask(move |db| store::get(db, id))
    }

    /// Operations with waiting entries, ordered by name.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be read.
    pub fn lanes(&self) -> Result<Vec<Lane>, Error> {
        self.ask(store::lanes)
    }

    /// Takes at most `max` entries of the operation whose time has come, those that were queued first before others.
    /// They are running now, and this try of theirs is counted.
    ///
    /// # Errors
    /// [`Error`]; none is taken then.
    pub fn claim(&self, place: Place, max: u32, now: SystemTime) -> Result<Vec<Entry>, Error> {
        self.ask(move |db| store::claim(db, &place, max, now))
    }

    /// A running entry has ended. Says whether there was one.
    ///
    /// # Errors
    /// [`Error`]; it is still running then.
    pub fn finish(&self, id: Uuid, ending: Ending, now: SystemTime) -> Result<bool, Error> {
        self.ask(move |db| store::finish(db, id, &ending, now))
    }

    /// A running entry failed for now and waits until `next_try`, unless it has been tried for longer than
    /// [`Bounds::give_up_after`]: then it is dead. Returns what it is; none when no such entry was running.
    ///
    /// # Errors
    /// [`Error`]; it is still running then.
    pub fn retry_later(
        &self,
        id: Uuid,
        error: String,
        next_try: SystemTime,
        bounds: &Bounds,
        now: SystemTime,
    ) -> Result<Option<State>, Error> {
        let bounds = *bounds;
        self.ask(move |db| store::retry_later(db, id, &error, next_try, &bounds, now))
    }

    /// A running entry was not tried after all and waits until `next_try`. Says whether there was one.
    ///
    /// # Errors
    /// [`Error`]; it is still running then.
    pub fn put_back(&self, id: Uuid, next_try: SystemTime) -> Result<bool, Error> {
        self.ask(move |db| store::put_back(db, id, next_try))
    }

    /// The time of everything that waits for the operation has come. Returns how many had longer to wait.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be written.
    pub fn hasten(&self, place: Place, now: SystemTime) -> Result<usize, Error> {
        self.ask(move |db| maintain::hasten(db, &place, now))
    }

    /// Everything that waits for the operation is dead, for this reason. Returns how many.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be written.
    pub fn abandon(&self, place: Place, reason: String, now: SystemTime) -> Result<usize, Error> {
        self.ask(move |db| maintain::abandon(db, &place, &reason, now))
    }

    /// Gives up what has waited too long, and forgets what was finished long ago. To be called now and then.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be written.
    pub fn tidy(&self, bounds: &Bounds, now: SystemTime) -> Result<Tidied, Error> {
        let bounds = *bounds;
        self.ask(move |db| maintain::tidy(db, &bounds, now))
    }

    /// Tries a waiting or dead entry at once, and its age begins anew.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be written.
    pub fn retry(&self, id: Uuid, now: SystemTime) -> Result<Retried, Error> {
        self.ask(move |db| maintain::retry(db, id, now))
    }

    /// Removes an entry that is not running.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be written.
    pub fn remove(&self, id: Uuid) -> Result<Removed, Error> {
        self.ask(move |db| maintain::remove(db, id))
    }

    /// At most `max` entries in the order in which they were queued, from behind `after` (from the first when there is
    /// no such entry any more); those of one state, or all.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be read.
    pub fn list(&self, of: Option<State>, after: Option<Uuid>, max: u32) -> Result<Page, Error> {
        self.ask(move |db| maintain::list(db, of, after, max))
    }

    /// How many entries each integration has in each state, as of the last commit. Does not block. A level that has
    /// been there before reads zero when its last entry is gone.
    #[must_use]
    pub fn levels(&self) -> Vec<Level> {
        self.levels.lock().clone()
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (job, result) = writer::job(work);
        self.jobs.as_ref().ok_or(Error::Closed)?.send(job).map_err(|_| Error::Closed)?;
        result.recv().map_err(|_| Error::Closed)?
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to do.
            let _ = writer.join();
        }
    }
}
