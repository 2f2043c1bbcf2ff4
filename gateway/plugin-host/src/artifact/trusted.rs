//! The one unsafe step of the crate: loading compiled code from a file.
//!
//! Reading compiled code runs whatever machine code is in the file, so the file must be one that this
//! program's compiler wrote. `cache.rs` sees to that, and nothing else calls this.

use std::path::Path;

use wasmtime::Engine;
use wasmtime::component::Component;

/// A file of the code cache whose digest has just been found equal to the recorded one.
pub(crate) struct CheckedCode<'a> {
    /// Made only by [`super::cache::CodeCache`].
    pub(super) path: &'a Path,
}

/// Maps the code; the pages are shared by all engines that map the same file.
#[expect(unsafe_code, reason = "compiled code can only be trusted, not checked")]
pub(crate) fn map(engine: &Engine, code: &CheckedCode<'_>) -> wasmtime::Result<Component> {
    // SAFETY: the file must hold what `precompile_component` of a compatible engine gave, and must not
    // change while it is mapped.
    // - Origin: the file lies in a folder with mode 0700 that belongs to the user we run as and that
    //   nobody else could write to when it was opened; `CodeCache::open` makes sure of all that. Only this user's processes can have put it there, and they can
    //   change our memory by other means as well. The name holds the digest of the plugin and the
    //   compatibility hash of the engine; wasmtime checks version and settings again.
    // - Integrity: its sha256 was compared with the one recorded when it was written, so a torn write
    //   or a bad disk is found before a single octet is run.
    // - Stability: files are written under another name and renamed; none is ever written in place.
    unsafe { Component::deserialize_file(engine, code.path) }
}
