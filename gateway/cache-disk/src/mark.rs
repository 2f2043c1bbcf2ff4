//! The mark beside the file: purges that could not be written into it.
//!
//! The decision: whoever may not touch the file, as another process has it open, can still say that nothing of it is to come
//! back. Whoever opens it next begins empty, and takes the mark away only then. A mark too many costs a warm start; one
//! that is missing would bring back what was purged.

use crate::open::{beside, remove_if_there, sync_folder};
use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

const ENDING: &str = "-purged";

/// Leaves a mark beside the file, durably. Where there is no file, none is needed.
pub(crate) fn leave(path: &Path) -> io::Result<()> {
    if !fs::exists(path)? {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    // One that is there may be another's, who has not synced it yet.
    options.write(true).create(true).truncate(false).mode(0o600).open(beside(path, ENDING))?.sync_all()?;
    sync_folder(path)
}

pub(crate) fn is_there(path: &Path) -> io::Result<bool> {
    fs::exists(beside(path, ENDING))
}

/// Takes it away. Should that be lost with a power cut, the next start begins empty again.
pub(crate) fn take_away(path: &Path) -> io::Result<()> {
    remove_if_there(&beside(path, ENDING))
}
