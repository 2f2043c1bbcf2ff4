//! The one thread that owns the connection.
//!
//! It takes what waits for it, does all of it in one transaction, commits, and only then answers. While it commits, the
//! next ones gather: the more there are, the fewer writes to the disk each costs, without anybody waiting for a timer.

use crate::{Error, Level, maintain::levels};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::sync::{
    Arc,
    mpsc::{Receiver, sync_channel},
};

/// Most that wait for the thread; each may hold a body.
pub(crate) const WAITING_MAX: usize = 256;
/// Most that share a transaction: bounds how long the first of them waits.
const GROUP_MAX: usize = 64;

/// Tells whoever asked, once it is known whether the transaction was committed.
type Reply = Box<dyn FnOnce(Result<(), Error>) + Send>;
/// Works within the transaction, or hears why there is none.
pub(crate) type Job = Box<dyn FnOnce(Result<&Connection, Error>) -> Reply + Send>;

/// The job that does this, and where its result arrives.
pub(crate) fn job<T: Send + 'static>(
    work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> (Job, Receiver<Result<T, Error>>) {
    let (done, result) = sync_channel(1);
    let job: Job = Box::new(move |db| {
        let worked = db.and_then(|db| alone(db, work));
        Box::new(move |committed| {
            // Who asked may have gone.
            let _ = done.send(committed.and(worked));
        })
    });
    (job, result)
}

/// What fails leaves nothing behind, and the others of its group alone.
fn alone<T>(db: &Connection, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
    if db.is_autocommit() {
        // A write failed and SQLite has rolled back the whole group: nothing more may be done outside of it.
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
        return Err(rusqlite::Error::SqliteFailure(code, None).into());
    }
    db.execute_batch("SAVEPOINT job")?;
    let worked = work(db);
    let end = if worked.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    db.execute_batch(end)?;
    Ok(worked?)
}

/// Works until nobody can ask any more. The connection is closed at the end.
pub(crate) fn run(db: &Connection, jobs: &Receiver<Job>, shown: &Arc<Mutex<Vec<Level>>>) {
    while let Ok(first) = jobs.recv() {
        let group = std::iter::once(first).chain(jobs.try_iter().take(GROUP_MAX - 1));
        let begun = db.execute_batch("BEGIN").map_err(Error::from);
        let replies: Vec<Reply> = group.map(|job| job(begun.clone().map(|()| db))).collect();
        let committed = begun.and_then(|()| commit(db));
        if let Ok(levels) = levels(db) {
            *shown.lock() = levels;
        }
        for reply in replies {
            reply(committed.clone());
        }
    }
}

fn commit(db: &Connection) -> Result<(), Error> {
    db.execute_batch("COMMIT").map_err(|error| {
        // SQLite may have done so by itself; then there is nothing to roll back.
        if !db.is_autocommit() {
            let _ = db.execute_batch("ROLLBACK");
        }
        Error::from(error)
    })
}
