//! `bascule.lock`: what every remote reference of a configuration meant when it was locked.
//!
//! The text is sorted and always the same for the same entries, so that a change of it is a change of
//! plugins and can be reviewed. It is written by a command and never by a start: a start uses the locked
//! digests and does not even ask where a tag points now.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::digest::Digest;
use crate::reference::Reference;

/// The format that is written and read.
const VERSION: u32 = 1;

/// Largest file that is read: some thousand entries.
const BYTES_MAX: u64 = 1 << 20;

const HEADER: &str =
    "# What the plugins of this configuration are, to the octet. Written by `bascule plugin lock`.\n";

/// The entries of a lock file; [`Default`] has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    entries: BTreeMap<String, Locked>,
}

/// What one reference meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// The digest of an artifact's manifest; none for `https://`.
    pub manifest: Option<Digest>,
    /// The digest of the plugin.
    pub content: Digest,
    /// Octets of the plugin.
    pub size: u64,
    /// The id of the key that signed it, when keys were configured.
    pub signer: Option<String>,
}

impl Locked {
    /// Whether it is the same plugin. Who signed it is known only where keys were configured, which need not be so for
    /// all tables that name one reference.
    pub(crate) fn is_what(&self, other: &Self) -> bool {
        let same_signer = match (&self.signer, &other.signer) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        same_signer && (self.manifest, self.content, self.size) == (other.manifest, other.content, other.size)
    }
}

/// A lock file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// It cannot be read or written.
    #[error("the lock file `{path}` cannot be read or written")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// It is not what this version writes.
    #[error("the lock file `{path}` cannot be understood")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// It was written by another version.
    #[error("the lock file `{path}` has format {found}, and this version reads {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    #[serde(default, rename = "plugin", skip_serializing_if = "Vec::is_empty")]
    plugins: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Digest>,
    content: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
}

impl Lock {
    /// The lock file at that path; empty when there is none.
    ///
    /// # Errors
    /// [`LockError`]: a file that is there and cannot be understood is never taken for an empty one.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::File { path: path.to_owned(), source };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.map_err(failed)?,
        };
        let mut text = String::new();
        file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > BYTES_MAX {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        let syntax = |source| LockError::Syntax { path: path.to_owned(), source: Box::new(source) };
        let text: Text = toml::from_str(&text).map_err(syntax)?;
        if text.version != VERSION {
            return Err(LockError::Version { path: path.to_owned(), found: text.version });
        }
        let entries = text.plugins.into_iter().map(|entry| {
            let Entry { source, manifest, content, size, signer } = entry;
            (source, Locked { manifest, content, size, signer })
        });
        Ok(Self { entries: entries.collect() })
    }

    /// Writes the file, whole or not at all; leaves it alone when it says the same already.
    ///
    /// # Errors
    /// [`LockError::File`].
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let text = self.text();
        if fs::read_to_string(path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let replace = || {
            let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_data()?;
            // It is to be read and committed by people: not only by its owner, as temporary files are.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            file.as_file().set_permissions(mode)?;
            file.persist(path)?;
            Ok(())
        };
        replace().map_err(|source| LockError::File { path: path.to_owned(), source })
    }

    /// What that reference meant when it was locked.
    #[must_use]
    pub fn get(&self, reference: &Reference) -> Option<&Locked> {
        self.entry(&reference.to_string())
    }

    /// The same by the reference's text, as [`references`](Self::references) gives it.
    #[must_use]
    pub fn entry(&self, reference: &str) -> Option<&Locked> {
        self.entries.get(reference)
    }

    /// Locks a reference anew.
    pub fn insert(&mut self, reference: &Reference, locked: Locked) {
        self.entries.insert(reference.to_string(), locked);
    }

    /// The references that are locked, sorted.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    fn text(&self) -> String {
        let entry = |(source, locked): (&String, &Locked)| Entry {
            source: source.clone(),
            manifest: locked.manifest,
            content: locked.content,
            size: locked.size,
            signer: locked.signer.clone(),
        };
        let text = Text { version: VERSION, plugins: self.entries.iter().map(entry).collect() };
        // Strings and numbers in tables: there is nothing that TOML could not say.
        HEADER.to_owned() + &toml::to_string(&text).unwrap_or_default()
    }
}

/// The name that tells two versions apart, the manifest's where there is one, and who signed.
impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.manifest.unwrap_or(self.content))?;
        self.signer.as_ref().map_or(Ok(()), |signer| write!(f, ", signed by {signer}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let mut lock = Lock::default();
        let content = Digest::of(b"plugin");
        let manifest = Some(Digest::of(b"manifest"));
        let oci = Reference::parse("oci://registry.example/acme/signer:1").unwrap();
        lock.insert(&oci, Locked { manifest, content, size: 6, signer: Some("sha256:ab".to_owned()) });
        let https = Reference::parse("https://example.com/p.wasm").unwrap();
        lock.insert(&https, Locked { manifest: None, content, size: 6, signer: None });
        lock
    }

    #[test]
    fn the_text_is_sorted_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bascule.lock");
        assert_eq!(Lock::read(&path).unwrap(), Lock::default());
        lock().write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let digests = [b"plugin".as_slice(), b"manifest"].map(Digest::of);
        let expected = format!(
            "{HEADER}version = 1\n\n[[plugin]]\nsource = \"https://example.com/p.wasm\"\ncontent = \"{0}\"\n\
             size = 6\n\n[[plugin]]\nsource = \"oci://registry.example/acme/signer:1\"\nmanifest = \"{1}\"\n\
             content = \"{0}\"\nsize = 6\nsigner = \"sha256:ab\"\n",
            digests[0], digests[1]
        );
        assert_eq!(text, expected);
        assert_eq!(Lock::read(&path).unwrap(), lock());
    }

    #[test]
    fn what_cannot_be_understood_is_never_an_empty_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bascule.lock");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            Lock::read(&path).unwrap_err()
        };
        assert!(matches!(read("version = 2"), LockError::Version { found: 2, .. }));
        for text in ["", "version = 1\nmore = 1", "version = 1\n[[plugin]]\nsource = \"x\""] {
            assert!(matches!(read(text), LockError::Syntax { .. }), "{text}");
        }
        assert!(matches!(read(&"#".repeat(2 << 20)), LockError::File { .. }));
    }
}
