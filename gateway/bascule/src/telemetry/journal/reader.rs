//! Reads journals: files in the order of time, lines one by one, each within a bound.
//!
//! A journal is read after crashes and from versions that are yet to come, so nothing in it ends the reading: a line
//! that cannot be read is told with its place, and the next one follows. Only the last line of a file may be torn
//! without a word, since that is what a crash leaves.

use super::{
    LINE_MAX,
    name::list,
    record::{CallRecord, DroppedRecord, VERSION},
};
use serde::Deserialize;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    vec,
};

/// What a line says.
#[derive(Debug)]
pub enum Journalled {
    /// A call.
    Call(Box<CallRecord>),
    /// So many calls are missing here.
    Dropped(u64),
    /// Nothing that can be understood.
    Unreadable(Unreadable),
}

/// A line that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: {why}", file.display())]
pub struct Unreadable {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1; 0 when it is the file as a whole.
    pub line: u64,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It is longer than [`LINE_MAX`].
    #[error("the line is longer than {LINE_MAX} octets")]
    TooLong,
    /// It is of a format that this version does not know.
    #[error("the record is of format {v}, and this version reads {VERSION}")]
    Version {
        /// The format.
        v: u64,
    },
    /// It is no record.
    #[error("the line is no record: {0}")]
    NoRecord(#[from] serde_json::Error),
    /// The file cannot be read on.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The lines of a journal, as an iterator. Holds one file and one line at a time.
#[derive(Debug)]
pub struct Reader {
    files: vec::IntoIter<PathBuf>,
    open: Option<Lines>,
}

#[derive(Debug)]
struct Lines {
    path: PathBuf,
    source: BufReader<File>,
    number: u64,
    buffer: Vec<u8>,
}

/// Reads a file, or all files of a journal's folder from the oldest on. A folder is listed now; what is written to
/// the last file meanwhile is read too.
///
/// # Errors
/// When there is no such file or folder, or it cannot be listed.
pub fn read(path: &Path) -> io::Result<Reader> {
    let files = if path.is_dir() {
        list(path)?.into_iter().map(|name| path.join(name.to_string())).collect()
    } else {
        File::open(path)?;
        vec![path.to_owned()]
    };
    Ok(Reader { files: files.into_iter(), open: None })
}

impl Iterator for Reader {
    type Item = Journalled;

    fn next(&mut self) -> Option<Journalled> {
        loop {
            if let Some(lines) = &mut self.open {
                match lines.next() {
                    Ok(Some(found)) => return Some(found),
                    Ok(None) => self.open = None,
                    // Reading on would fail on and on.
                    Err(error) => {
                        let found = lines.unreadable(error.into());
                        self.open = None;
                        return Some(found);
                    }
                }
            }
            let path = self.files.next()?;
            match File::open(&path) {
                Ok(file) => self.open = Some(Lines::new(path, file)),
                // The gateway may have removed it since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Some(Journalled::Unreadable(Unreadable {
                        file: path,
                        line: 0,
                        why: error.into(),
                    }));
                }
            }
        }
    }
}

impl Lines {
    fn new(path: PathBuf, file: File) -> Self {
        Self { path, source: BufReader::new(file), number: 0, buffer: Vec::new() }
    }

    /// The next line that says something.
    fn next(&mut self) -> io::Result<Option<Journalled>> {
        loop {
            self.buffer.clear();
            self.number += 1;
            let bound = LINE_MAX as u64 + 1;
            if self.source.by_ref().take(bound).read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(None);
            }
            let whole = self.buffer.pop_if(|octet| *octet == b'\n').is_some();
            if self.buffer.len() > LINE_MAX {
                self.skip()?;
                return Ok(Some(self.unreadable(Why::TooLong)));
            }
            if self.buffer.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match parse(&self.buffer) {
                Ok(found) => return Ok(Some(found)),
                Err(_) if !whole => return Ok(None),
                Err(why) => return Ok(Some(self.unreadable(why))),
            }
        }
    }

    /// To the end of a line that is too long.
    fn skip(&mut self) -> io::Result<()> {
        loop {
            let buffered = self.source.fill_buf()?;
            if buffered.is_empty() {
                return Ok(());
            }
            let end = buffered.iter().position(|octet| *octet == b'\n');
            let count = end.map_or(buffered.len(), |at| at + 1);
            self.source.consume(count);
            if end.is_some() {
                return Ok(());
            }
        }
    }

    fn unreadable(&self, why: Why) -> Journalled {
        Journalled::Unreadable(Unreadable { file: self.path.clone(), line: self.number, why })
    }
}

fn parse(line: &[u8]) -> Result<Journalled, Why> {
    #[derive(Deserialize)]
    struct Format {
        v: u64,
    }

    match serde_json::from_slice::<CallRecord>(line) {
        Ok(record) if record.v == VERSION => Ok(Journalled::Call(Box::new(record))),
        Ok(record) => Err(Why::Version { v: record.v.into() }),
        Err(error) => {
            if let Ok(DroppedRecord { dropped }) = serde_json::from_slice(line) {
                return Ok(Journalled::Dropped(dropped));
            }
            match serde_json::from_slice(line) {
                Ok(Format { v }) if v != u64::from(VERSION) => Err(Why::Version { v }),
                _ => Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const CALL: &str = r#"{"v":1,"time":7,"integration":"a","operation":"x","priority":"normal","safe":true,"timeout_ms":1,"status":200,"ended":"success","cache":"bypass","elapsed_ms":1.5,"queued_ms":0,"attempts":[{"at_ms":0,"ms":1,"outcome":"success"}]}"#;

    fn told(path: &Path) -> Vec<String> {
        let tell = |found| match found {
            Journalled::Call(record) => format!("call {}", record.time),
            Journalled::Dropped(count) => format!("dropped {count}"),
            Journalled::Unreadable(found) => format!("{}: {}", found.line, found.why),
        };
        read(path).unwrap().map(tell).collect()
    }

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn what_is_left_out_has_its_usual_value() {
        let file = file(format!("{CALL}\n").as_bytes());
        let Some(Journalled::Call(record)) = read(file.path()).unwrap().next() else { panic!("no call") };
        assert!(record.attempts[0].sent && !record.attempts[0].hedge);
        assert_eq!((record.source, record.refused, record.more), (None, None, 0));
    }

    #[test]
    fn bad_lines_are_told_with_their_places_and_skipped() {
        let newer = r#"{"v":2,"calls":[]}"#;
        let text = format!("{CALL}\n\nnonsense\n{newer}\n{{\"dropped\":3}}\n{{}}\n{CALL}\n");
        let told = told(file(text.as_bytes()).path());
        assert_eq!(told.len(), 6, "{told:#?}");
        assert_eq!((told[0].as_str(), told[5].as_str()), ("call 7", "call 7"));
        assert!(told[1].starts_with("3: the line is no record: expected"), "{}", told[1]);
        assert_eq!(told[2], "4: the record is of format 2, and this version reads 1");
        assert_eq!(told[3], "dropped 3");
        assert!(told[4].starts_with("6: the line is no record: missing field"), "{}", told[4]);
    }

    #[test]
    fn a_torn_last_line_is_forgiven_and_a_whole_one_read() {
        assert_eq!(told(file(format!("{CALL}\n{}", &CALL[..40]).as_bytes()).path()), ["call 7"]);
        assert_eq!(told(file(format!("{CALL}\n{CALL}").as_bytes()).path()), ["call 7", "call 7"]);
        assert_eq!(told(file(b"").path()), [""; 0]);
        assert_eq!(told(file(b"\xff\xfe").path()), [""; 0]);
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut text = vec![b'x'; 40 * LINE_MAX];
        text.extend_from_slice(format!("\n{CALL}\n").as_bytes());
        let file = file(&text);
        let mut reader = read(file.path()).unwrap();
        let Some(Journalled::Unreadable(found)) = reader.next() else { panic!("readable") };
        assert!(matches!(found.why, Why::TooLong) && found.line == 1);
        assert!(reader.open.as_ref().unwrap().buffer.capacity() < 4 * LINE_MAX);
        assert!(matches!(reader.next(), Some(Journalled::Call(_))));
        assert!(reader.next().is_none());
        // Exactly the bound is no more than the bound.
        let padded = format!("{CALL}{}\n", " ".repeat(LINE_MAX - CALL.len()));
        assert_eq!(told(self::file(padded.as_bytes()).path()), ["call 7"]);
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        for (name, time) in
            [("20260102T030405Z-0002", 3), ("20260102T030405Z-0001", 2), ("20251231T000000Z-0007", 1)]
        {
            let text = CALL.replacen(":7", &format!(":{time}"), 1);
            fs::write(folder.path().join(format!("journal-{name}.jsonl")), format!("{text}\n{{\"to"))
                .unwrap();
        }
        fs::write(folder.path().join("notes.txt"), "not ours").unwrap();
        assert_eq!(told(folder.path()), ["call 1", "call 2", "call 3"]);
        assert!(read(&folder.path().join("none")).is_err());
    }
}
