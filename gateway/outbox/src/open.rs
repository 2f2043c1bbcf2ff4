//! Opening the file: one owner, a format that is known, contents that are sound.
//!
//! The lock is SQLite's own (`locking_mode = EXCLUSIVE`), which the system gives back when the process ends, however it
//! ends. It keeps other programs from reading, too; and it spares the shared memory that the write-ahead log would
//! otherwise need. A network file system has no locks to rely on: the file belongs on a local disk.

use crate::OpenError;
use rusqlite::{Connection, Error, ErrorCode};
use std::{fs::OpenOptions, io::ErrorKind, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

/// How long to wait for a predecessor that is about to close the file.
const BUSY_MAX: Duration = Duration::from_secs(2);
/// Octets that the write-ahead log may keep on the disk when it is empty.
const LOG_KEPT: i64 = 0;
/// Statements that are kept prepared; there are fewer.
const STATEMENTS: usize = 64;

/// Formats by their number, `user_version`: applied from the file's own on.
const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql")];

/// Opens the file, makes it when it is missing, and brings it to the newest format.
pub(crate) fn open(path: &Path) -> Result<Connection, OpenError> {
    create(path)?;
    let failed = |error| named(path, error);
    let mut connection = Connection::open(path).map_err(failed)?;
    prepare(&connection).map_err(failed)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    let detail: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if detail != "ok" {
        return Err(OpenError::Damaged { path: path.to_owned(), detail });
    }
    migrate(&mut connection, found).map_err(failed)?;
    Ok(connection)
}

/// The file holds what callers sent: nobody but its owner reads it. One that is there is left alone, for to close
/// it here would give up the lock that this process may have on it.
fn create(path: &Path) -> Result<(), OpenError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(OpenError::Create { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

fn prepare(connection: &Connection) -> Result<(), Error> {
    connection.busy_timeout(BUSY_MAX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // NORMAL may lose what was accepted last when the power goes.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_KEPT)?;
    // What is forgotten is not to be read in the file's free pages either.
    connection.pragma_update(None, "secure_delete", "ON")?;
    // Takes the lock now rather than with the first call.
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")
}

fn migrate(connection: &mut Connection, found: i64) -> Result<(), Error> {
    let missing = MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0));
    for (index, migration) in missing {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
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
