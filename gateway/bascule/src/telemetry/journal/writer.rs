//! Writes records into files of bounded number and size, and goes on by itself after the disk failed.
//!
//! | state | a record |
//! | --- | --- |
//! | writing | is appended by one write; where the file would grow too large, the next one is begun |
//! | the write failed | is counted; what was half written is cut off |
//! | pausing, for a second | is counted, nothing is tried |
//! | the pause is over | is tried again, after a line with the count |
//!
//! The oldest file is removed before a new one is begun, so that the bound holds at any time; and since a failed file
//! is gone on with, a full disk does not push out one file after the other.

use super::{
    name::{Name, list},
    record::{CallRecord, DroppedRecord},
};
use crate::{config::JournalSettings, telemetry::queue::Work};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

/// How long nothing is tried after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a failure is logged at most.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether the file is still there. Who clears the folder by hand loses that much.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    settings: JournalSettings,
    open: Option<Open>,
    /// Records that are not in the journal and have not been told of.
    lost: u64,
    resume: Option<Instant>,
    warned: Option<Instant>,
    looked: Option<Instant>,
}

/// The file that is written.
struct Open {
    file: File,
    path: PathBuf,
    /// Octets of whole lines.
    good: u64,
    /// Whether something half written may follow them.
    torn: bool,
}

impl Writer {
    pub(super) fn new(settings: JournalSettings) -> Self {
        Self { settings, open: None, lost: 0, resume: None, warned: None, looked: None }
    }

    /// Finds out whether files can be written in the folder, which it makes. Leaves nothing behind.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.settings.folder)?;
        let mut probe = tempfile::Builder::new().prefix(".journal-").tempfile_in(&self.settings.folder)?;
        probe.write_all(b"\n")
    }

    /// Writes a record, or what takes its place.
    pub(super) fn handle(&mut self, work: &Work<CallRecord>, now: Instant, wall: SystemTime) {
        let record = match work {
            Work::Item(record) => Some(record),
            Work::Dropped(count) => {
                self.lost = self.lost.saturating_add(*count);
                None
            }
        };
        let tried = match self.resume {
            Some(resume) if now < resume => None,
            _ => Some(self.write(record, now, wall)),
        };
        match tried {
            Some(Ok(())) => self.resume = None,
            Some(Err(error)) => {
                self.lost = self.lost.saturating_add(u64::from(record.is_some()));
                self.resume = Some(now + PAUSE);
                self.warn(&error, now);
            }
            None => self.lost = self.lost.saturating_add(u64::from(record.is_some())),
        }
    }

    fn write(&mut self, record: Option<&CallRecord>, now: Instant, wall: SystemTime) -> io::Result<()> {
        if self.lost > 0 {
            self.append(&line(&DroppedRecord { dropped: self.lost })?, now, wall)?;
            self.lost = 0;
        }
        record.map_or(Ok(()), |record| self.append(&line(record)?, now, wall))
    }

    fn append(&mut self, line: &[u8], now: Instant, wall: SystemTime) -> io::Result<()> {
        let length = line.len() as u64;
        let full = |open: &Open| open.good > 0 && open.good.saturating_add(length) > self.settings.max_file;
        if self.open.as_ref().is_some_and(full) {
            self.open = None;
        }
        if self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_EVERY) {
            self.looked = Some(now);
            self.open.take_if(|open| !open.path.exists());
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.torn) {
            match open.file.set_len(open.good) {
                Ok(()) => open.torn = false,
                // It stays as it is; readers forgive a torn last line.
                Err(_) => self.open = None,
            }
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(begin(&self.settings, wall)?),
        };
        match open.file.write_all(line) {
            Ok(()) => {
                open.good += length;
                Ok(())
            }
            Err(error) => {
                open.torn = true;
                Err(error)
            }
        }
    }

    fn warn(&mut self, error: &io::Error, now: Instant) {
        if self.warned.is_none_or(|warned| now.saturating_duration_since(warned) >= WARN_EVERY) {
            self.warned = Some(now);
            let folder = self.settings.folder.display();
            tracing::warn!(%folder, %error, lost = self.lost, "the journal cannot be written; calls go on without it");
        }
    }
}

/// Begins the next file, once there is room for it among those that are kept.
fn begin(settings: &JournalSettings, wall: SystemTime) -> io::Result<Open> {
    fs::create_dir_all(&settings.folder)?;
    let names = list(&settings.folder)?;
    let keep = usize::try_from(settings.max_files).unwrap_or(usize::MAX).saturating_sub(1);
    for name in names.iter().take(names.len().saturating_sub(keep)) {
        match fs::remove_file(settings.folder.join(name.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let path = settings.folder.join(Name::next(names.last(), wall).to_string());
    let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
    Ok(Open { file, path, good: 0, torn: false })
}

fn line(record: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests;
