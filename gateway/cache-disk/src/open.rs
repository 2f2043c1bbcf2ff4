//! Opening the file: one owner, a format that is known, contents that are sound. And what becomes of one that is not.
//!
//! The lock is SQLite's own (`locking_mode = EXCLUSIVE`), which the system gives back when the process ends, however it
//! ends. A network file system has no locks to rely on: the file belongs on a local disk.
//!
//! The decision: only a file that says that it is ours is ever emptied, moved or removed. Whoever names another file by
//! mistake loses nothing but the cache's warm start.

use crate::{OpenError, mark};
use rusqlite::{Connection, Error, ErrorCode};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// How long to wait for a predecessor that is about to close the file.
const BUSY_MAX: Duration = Duration::from_secs(2);
/// Octets that the write-ahead log may keep on the disk when it is empty.
const LOG_KEPT: i64 = 0;
/// Marks the file as ours: `Bsca`.
const APPLICATION: i64 = 0x4273_6361;
/// Where SQLite keeps that, in four octets.
const APPLICATION_AT: u64 = 68;
/// The one format; a file of another one begins anew, as it is a cache.
const FORMAT: i64 = 1;

/// Opens the file, and makes it when it is missing. It begins empty where a [mark] says that purges have not reached it.
pub(crate) fn open(path: &Path) -> Result<Connection, OpenError> {
    create(path).map_err(|source| unmade(path, source))?;
    match ready(path) {
        // It has no owner who could read it: to close it here gives up nobody's lock.
        Err(OpenError::Damaged { .. }) if !is_ours(path) => Err(OpenError::Foreign { path: path.to_owned() }),
        opened => opened,
    }
}

fn ready(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error| named(path, error);
    let connection = Connection::open(path).map_err(failed)?;
    let (application, tables) = owner(&connection).map_err(failed)?;
    if application != APPLICATION && (application, tables) != (0, 0) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    prepare(&connection).map_err(failed)?;
    let detail: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if detail != "ok" {
        return Err(OpenError::Damaged { path: path.to_owned(), detail });
    }
    let format: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    // Behind the lock: a mark that is left from here on is for the next one who opens it.
    let purged = mark::is_there(path).map_err(|source| unmade(path, source))?;
    if purged || format != FORMAT {
        begin(&connection).map_err(failed)?;
    }
    if purged {
        mark::take_away(path).map_err(|source| unmade(path, source))?;
    }
    Ok(connection)
}

/// It holds answers that may be for some callers alone: nobody but its owner reads it. One that is there is left alone,
/// for to close it here would give up the lock that this process may have on it.
fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Whose file it says it is, and how much is in it.
fn owner(connection: &Connection) -> Result<(i64, i64), Error> {
    connection.busy_timeout(BUSY_MAX)?;
    // Before the first look: the lock that it takes is kept.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok((application, tables))
}

/// The same of a file that SQLite cannot read.
fn is_ours(path: &Path) -> bool {
    let mut octets = [0; 4];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut octets, APPLICATION_AT));
    read.is_ok() && i64::from(u32::from_be_bytes(octets)) == APPLICATION
}

fn prepare(connection: &Connection) -> Result<(), Error> {
    configure(connection)?;
    // Before there is a log: the file itself is to say whose it is.
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_KEPT)?;
    // Takes the lock now rather than with the first write.
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")
}

fn configure(connection: &Connection) -> Result<(), Error> {
    // Whether there is any vacuum is settled before a new file has a table.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // What was purged is not to be read in the file's free pages either.
    connection.pragma_update(None, "secure_delete", "ON")
}

/// Makes the tables, in place of those that are there. However much is in them, next to nothing of it passes through the
/// log: its pages are cut off the file instead of being overwritten. Durable when `synchronous` is `FULL`.
pub(crate) fn begin(db: &Connection) -> Result<(), Error> {
    db.pragma_update(None, "secure_delete", "FAST")?;
    db.pragma_update(None, "auto_vacuum", "FULL")?;
    let transaction = db.unchecked_transaction()?;
    transaction.execute_batch("DROP TABLE IF EXISTS entries; DROP TABLE IF EXISTS tags;")?;
    transaction.execute_batch(include_str!("schema.sql"))?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    configure(db)?;
    // The pages are given back now, and not with some later checkpoint.
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Gives a damaged file another name, in place of the last one that was damaged.
pub(crate) fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let to = beside(path, ".damaged");
    fs::rename(path, &to)?;
    remove_if_there(&beside(path, "-wal"))?;
    Ok(to)
}

/// Removes a file of ours, durably. The log goes after it: a log without its file is nothing, a file without its log may
/// hold what was purged.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    remove_if_there(path)?;
    remove_if_there(&beside(path, "-wal"))?;
    sync_folder(path)
}

/// [`remove`] where the file could not be opened: one that cannot say that it is ours stays, which is an error.
pub(crate) fn expunge(path: &Path) -> io::Result<()> {
    if !fs::exists(path)? {
        return Ok(());
    }
    if !is_ours(path) {
        return Err(io::Error::other("the file cannot be read"));
    }
    remove(path)
}

/// Has the system write down which files are in the folder of this one.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

fn unmade(path: &Path, source: io::Error) -> OpenError {
    OpenError::Create { path: path.to_owned(), source }
}

fn named(path: &Path, error: Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse { path },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Damaged { path, detail: error.to_string() }
        }
        _ => OpenError::Storage { path, source: error },
    }
}
