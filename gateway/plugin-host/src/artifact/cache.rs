//! Compiled code on disk.
//!
//! Compilation takes milliseconds to seconds, mapping a compiled file 60 µs, and all engines share the
//! mapped pages; so code always goes through a file, in a private folder that lives as long as the host
//! when none is configured. A file that is missing, torn or of another engine is compiled anew, never
//! an error, and said when it was there. Nothing is evicted here: an upgrade leaves files behind that a person may delete.

use std::fs::{self, DirBuilder, Permissions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use tempfile::{NamedTempFile, TempDir};
use wasmtime::Engine;

use super::compile::Compiler;
use super::trusted::{self, CheckedCode};
use super::{Artifact, hex};
use crate::crypto::hash::sha256;
use crate::error::{HostError, LoadError};

/// Only the user we run as may look into the folder.
const PRIVATE: u32 = 0o700;

/// A folder with one of these bits may hold files that others have put there already.
const OTHERS_WRITE: u32 = 0o022;

/// The folder of compiled code.
pub(crate) struct CodeCache {
    dir: PathBuf,
    compiler: Compiler,
    /// Removes the folder with the host when nobody asked to keep it.
    _own: Option<TempDir>,
}

/// What is there of one plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Intact,
    Nothing,
    /// Torn, changed, without its digest, or of another engine.
    Broken,
}

/// The two files of one plugin for one kind of engine.
pub(crate) struct CodeFile {
    code: PathBuf,
    /// sha256 of the code in hex.
    digest: PathBuf,
}

impl CodeCache {
    /// # Errors
    /// [`HostError::CacheDir`] when the folder cannot be made, belongs to somebody else, or cannot be
    /// made private.
    pub(crate) fn open(dir: Option<PathBuf>, compiler: Compiler) -> Result<Self, HostError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| HostError::CacheDir { path, source }
        };
        match dir {
            Some(dir) => {
                make_private(&dir).map_err(failed(&dir))?;
                Ok(Self { dir, compiler, _own: None })
            }
            None => {
                let own = tempfile::Builder::new().prefix("bascule-code-").tempdir();
                let own = own.map_err(failed(&std::env::temp_dir()))?;
                make_private(own.path()).map_err(failed(own.path()))?;
                Ok(Self { dir: own.path().to_owned(), compiler, _own: Some(own) })
            }
        }
    }

    /// The compiled code of that artifact, compiled now unless an intact file is there.
    ///
    /// # Errors
    /// As [`Compiler::compile`], and [`LoadError::Store`] when the result cannot be written.
    pub(crate) fn code(&self, engine: &Engine, artifact: &Artifact<'_>) -> Result<CodeFile, LoadError> {
        let file = self.file(engine, artifact);
        let found = file.found(engine);
        if found != Found::Intact {
            if found == Found::Broken {
                let path = file.code.display();
                tracing::warn!(%path, "compiled code is not what was written there and is compiled anew");
            }
            let code = self.compiler.compile(engine, &artifact.component)?;
            file.write(&self.dir, &code).map_err(LoadError::Store)?;
        }
        Ok(file)
    }

    fn file(&self, engine: &Engine, artifact: &Artifact<'_>) -> CodeFile {
        let mut name = Sha256Hasher(Context::new(&SHA256));
        name.write(&artifact.digest);
        engine.precompile_compatibility_hash().hash(&mut name);
        let name = hex(name.0.finish().as_ref());
        CodeFile {
            code: self.dir.join(format!("{name}.cwasm")),
            digest: self.dir.join(format!("{name}.sha256")),
        }
    }
}

impl CodeFile {
    /// The file, checked a moment ago, for mapping.
    pub(crate) fn checked(&self) -> CheckedCode<'_> {
        CheckedCode { path: &self.code }
    }

    fn found(&self, engine: &Engine) -> Found {
        match (fs::read_to_string(&self.digest), fs::read(&self.code)) {
            (Ok(recorded), Ok(code)) if recorded == hex(&sha256(&code)) => {
                // The engine looks whether it wrote the file itself, in this version and with these settings.
                if trusted::map(engine, &self.checked()).is_ok() { Found::Intact } else { Found::Broken }
            }
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
            _ => Found::Broken,
        }
    }

    /// Writes the code first: a digest without its code, or with older code, is not intact.
    fn write(&self, dir: &Path, code: &[u8]) -> io::Result<()> {
        replace(dir, &self.code, code)?;
        replace(dir, &self.digest, hex(&sha256(code)).as_bytes())
    }
}

/// Puts a file in place whole: readers see the old one or the new one.
fn replace(dir: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(content)?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    Ok(())
}

/// Makes the folder if need be, and makes sure that it is ours alone.
fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE).create(dir)?;
    let metadata = fs::symlink_metadata(dir)?;
    if !metadata.is_dir() {
        return Err(io::Error::other("it is not a folder"));
    }
    // A file that we make belongs to the user we run as: no system call beyond std is needed.
    let ours = NamedTempFile::new_in(dir)?.as_file().metadata()?.uid();
    if metadata.uid() != ours {
        return Err(io::Error::other("it belongs to another user"));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS_WRITE != 0 {
        return Err(io::Error::other("others may write to it"));
    }
    if mode != PRIVATE {
        fs::set_permissions(dir, Permissions::from_mode(PRIVATE))?;
    }
    Ok(())
}

/// Feeds what implements `Hash` into sha256, whose result does not change with the process.
struct Sha256Hasher(Context);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finish();
        digest.as_ref().iter().take(8).fold(0, |sum, octet| sum << 8 | u64::from(*octet))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn open(dir: Option<PathBuf>) -> Result<CodeCache, HostError> {
        CodeCache::open(dir, Compiler::new(Duration::from_secs(120)))
    }

    fn artifact() -> Artifact<'static> {
        let component = wat::parse_str("(component)").unwrap();
        let digest = sha256(&component);
        let size = component.len() as u64;
        Artifact { kind: super::super::ArtifactKind::Component, size, digest, component: component.into() }
    }

    #[test]
    fn code_is_compiled_once_and_found_again() {
        let dir = TempDir::new().unwrap();
        let open = || open(Some(dir.path().join("code"))).unwrap();
        let (engine, artifact) = (Engine::default(), artifact());
        let first = open().code(&engine, &artifact).unwrap();
        let written = fs::metadata(&first.code).unwrap().ino();
        let second = open().code(&engine, &artifact).unwrap();
        assert_eq!(written, fs::metadata(&second.code).unwrap().ino(), "not written again");
        super::super::trusted::map(&engine, &second.checked()).unwrap();
    }

    #[test]
    fn torn_and_foreign_files_are_compiled_anew() {
        let cache = open(None).unwrap();
        let (engine, artifact) = (Engine::default(), artifact());
        for broken in [&b"garbage"[..], b""] {
            let file = cache.code(&engine, &artifact).unwrap();
            assert_eq!(file.found(&engine), Found::Intact);
            fs::write(&file.code, broken).unwrap();
            assert_eq!(file.found(&engine), Found::Broken);
            let file = cache.code(&engine, &artifact).unwrap();
            super::super::trusted::map(&engine, &file.checked()).unwrap();
            fs::remove_file(&file.digest).unwrap();
            assert_eq!(file.found(&engine), Found::Broken);
            fs::remove_file(&file.code).unwrap();
            assert_eq!(file.found(&engine), Found::Nothing);
        }
    }

    #[test]
    fn code_that_the_engine_did_not_write_is_compiled_anew_even_with_its_digest() {
        let cache = open(None).unwrap();
        let (engine, artifact) = (Engine::default(), artifact());
        let file = cache.code(&engine, &artifact).unwrap();
        fs::write(&file.code, b"foreign").unwrap();
        fs::write(&file.digest, hex(&sha256(b"foreign"))).unwrap();
        let file = cache.code(&engine, &artifact).unwrap();
        assert_eq!(file.found(&engine), Found::Intact);
    }

    #[test]
    fn another_engine_setting_has_another_file() {
        let cache = open(None).unwrap();
        let artifact = artifact();
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let other = Engine::new(&config).unwrap();
        assert_ne!(cache.file(&Engine::default(), &artifact).code, cache.file(&other, &artifact).code);
        let equal = Engine::new(&config).unwrap();
        assert_eq!(cache.file(&equal, &artifact).code, cache.file(&other, &artifact).code);
    }

    #[test]
    fn a_folder_that_others_could_write_to_is_refused() {
        let outer = TempDir::new().unwrap();
        fs::set_permissions(outer.path(), Permissions::from_mode(0o777)).unwrap();
        let error = open(Some(outer.path().to_owned())).err().unwrap();
        assert!(matches!(error, HostError::CacheDir { .. }));
    }

    #[test]
    fn the_folder_is_made_private_and_goes_with_the_host() {
        let mode = |dir: &Path| fs::metadata(dir).unwrap().permissions().mode() & 0o777;
        let outer = TempDir::new().unwrap();
        let readable = outer.path().join("code");
        fs::create_dir(&readable).unwrap();
        fs::set_permissions(&readable, Permissions::from_mode(0o755)).unwrap();
        let kept = open(Some(readable.clone())).unwrap();
        assert_eq!(mode(&readable), PRIVATE);
        drop(kept);
        assert!(readable.exists());
        let own = open(None).unwrap();
        let dir = own.dir.clone();
        assert_eq!(mode(&dir), PRIVATE);
        drop(own);
        assert!(!dir.exists());
    }
}
