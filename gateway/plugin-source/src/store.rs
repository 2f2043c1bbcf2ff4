//! Fetched plugins on disk, by their sha256, for starts without a network.
//!
//! A file is checked against its name whenever it is read, so the folder has to be trusted no further
//! than that: whoever can write to it can make a start fail, and nothing more. Files are written under
//! another name and renamed. Beyond its size the store forgets what was used longest ago, never the
//! latest. Two processes may share it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::NamedTempFile;

use crate::digest::Digest;
use crate::evidence::Evidence;

/// Only the user we run as may look into the folder.
const PRIVATE: u32 = 0o700;

/// Largest evidence that is read back: 16 signatures with payloads of 64 KiB in base64.
const EVIDENCE_BYTES_MAX: u64 = 2 << 20;

/// A folder of files that are named by their digests. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Store {
    dir: Arc<Path>,
    bytes_max: u64,
}

impl Store {
    /// What a store holds unless it is told otherwise: 256 MiB.
    pub const BYTES_MAX_DEFAULT: u64 = 256 << 20;

    /// The store in that folder, which is made, and made private, if need be. `bytes_max` bounds the sum
    /// of its files.
    ///
    /// # Errors
    /// When the folder cannot be made or made private.
    pub fn open(dir: impl Into<PathBuf>, bytes_max: u64) -> io::Result<Self> {
        let dir = dir.into();
        DirBuilder::new().recursive(true).mode(PRIVATE).create(&dir)?;
        if fs::metadata(&dir)?.permissions().mode() & 0o777 != PRIVATE {
            fs::set_permissions(&dir, Permissions::from_mode(PRIVATE))?;
        }
        Ok(Self { dir: dir.into(), bytes_max })
    }

    /// The octets with that digest, unless there are none, or other ones, or more than `limit`.
    ///
    /// A file that is not what its name says is removed, and a warning logged.
    #[must_use]
    pub fn get(&self, digest: Digest, limit: u64) -> Option<Vec<u8>> {
        let path = self.content(digest);
        let octets = read(&path, limit)?;
        if Digest::of(&octets) == digest {
            return Some(octets);
        }
        tracing::warn!(path = %path.display(), "a stored plugin is not what its name says and is removed");
        forget(&path);
        None
    }

    /// Keeps these octets and gives their digest.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&self, octets: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(octets);
        self.write(&self.content(digest), octets)?;
        Ok(digest)
    }

    pub(crate) fn evidence(&self, content: Digest) -> Option<Evidence> {
        serde_json::from_slice(&read(&self.evidence_file(content), EVIDENCE_BYTES_MAX)?).ok()
    }

    pub(crate) fn put_evidence(&self, content: Digest, evidence: &Evidence) -> io::Result<()> {
        let octets = serde_json::to_vec(evidence)?;
        self.write(&self.evidence_file(content), &octets)
    }

    fn content(&self, digest: Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    fn evidence_file(&self, content: Digest) -> PathBuf {
        self.dir.join(format!("{}.sig", content.hex()))
    }

    fn write(&self, path: &Path, octets: &[u8]) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.dir)?;
        file.write_all(octets)?;
        file.as_file().sync_data()?;
        file.persist(path)?;
        self.shrink(path)
    }

    /// Removes what was used longest ago until the rest is small enough; keeps the file just written.
    fn shrink(&self, written: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Another process may have removed it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), entry.path()));
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files.iter().filter(|(_, _, path)| path != written) {
            if total <= self.bytes_max {
                break;
            }
            forget(path);
            total = total.saturating_sub(*size);
        }
        Ok(())
    }
}

/// A file's octets, unless it is not there or has more than that. Marks it as used.
fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    // Where the mark cannot be set, the file is only forgotten earlier.
    let _ = file.set_modified(SystemTime::now());
    let mut octets = Vec::new();
    (&file).take(limit.saturating_add(1)).read_to_end(&mut octets).ok()?;
    (octets.len() as u64 <= limit).then_some(octets)
}

/// Removing is a courtesy: what stays is checked again, or removed the next time.
fn forget(path: &Path) {
    let _ = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn store(bytes_max: u64) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("a/b"), bytes_max).unwrap();
        (dir, store)
    }

    #[test]
    fn what_was_put_is_found_under_its_digest() {
        let (_dir, store) = store(1 << 20);
        let digest = store.put(b"plugin").unwrap();
        assert_eq!((digest, store.get(digest, 6)), (Digest::of(b"plugin"), Some(b"plugin".to_vec())));
        assert_eq!((store.get(digest, 5), store.get(Digest::of(b"other"), 6)), (None, None));
    }

    #[test]
    fn a_file_that_is_not_what_its_name_says_is_never_given_and_goes() {
        let (_dir, store) = store(1 << 20);
        let digest = store.put(b"plugin").unwrap();
        fs::write(store.content(digest), b"plugiN").unwrap();
        assert_eq!(store.get(digest, 100), None);
        assert!(!store.content(digest).exists());
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_the_latest_never() {
        let (_dir, store) = store(25);
        let [a, b] = [b"aaaaaaaaaa", b"bbbbbbbbbb"].map(|octets| store.put(octets).unwrap());
        for (digest, age) in [(a, 20), (b, 10)] {
            let then = SystemTime::now() - Duration::from_secs(age);
            File::open(store.content(digest)).unwrap().set_modified(then).unwrap();
        }
        assert!(store.get(a, 10).is_some(), "used now, so that `b` is the older one");
        let c = store.put(b"cccccccccc").unwrap();
        let there = [a, b, c].map(|digest| store.get(digest, 100).is_some());
        assert_eq!(there, [true, false, true]);
        let big = store.put(&[0; 100]).unwrap();
        assert_eq!([a, c, big].map(|digest| store.get(digest, 100).is_some()), [false, false, true]);
    }

    #[test]
    fn the_folder_is_private() {
        let (dir, _store) = store(1);
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        Store::open(&open, 1).unwrap();
        for folder in [&open, &dir.path().join("a/b")] {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, PRIVATE);
        }
    }
}
