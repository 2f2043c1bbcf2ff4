//! A plugin file on its way to a component: size, digest, kind, and core modules made components.
//!
//! The layer field of the header tells components from core modules. A core module with
//! `component-type` sections, which is what a plain cargo build yields, becomes a component here, so
//! that authors need no further tool. One that imports `wasi_snapshot_preview1` gets the adapter to WASI 0.2
//! that has no `main`.

pub(crate) mod cache;
pub(crate) mod compile;
pub(crate) mod trusted;

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use crate::crypto::hash::sha256;
use crate::error::LoadError;
use crate::limits::ARTIFACT_BYTES_CAP;

/// What a file was before it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactKind {
    /// A component; taken as it is.
    Component,
    /// A core module with `component-type` sections; made a component at load.
    Module,
}

/// A file that is WebAssembly, as a component.
pub(crate) struct Artifact<'a> {
    pub(crate) kind: ArtifactKind,
    /// Octets of the file.
    pub(crate) size: u64,
    /// sha256 of the file.
    pub(crate) digest: [u8; 32],
    pub(crate) component: Cow<'a, [u8]>,
}

impl<'a> Artifact<'a> {
    /// # Errors
    /// [`LoadError::TooLarge`], [`LoadError::NotWasm`] or [`LoadError::NotBindings`].
    pub(crate) fn read(bytes: &'a [u8], limit: u64) -> Result<Self, LoadError> {
        let size = bytes.len() as u64;
        let limit = limit.min(ARTIFACT_BYTES_CAP);
        if size > limit {
            return Err(LoadError::TooLarge { size, limit });
        }
        let kind = kind_of(bytes).ok_or(LoadError::NotWasm)?;
        let component = match kind {
            ArtifactKind::Component => Cow::Borrowed(bytes),
            ArtifactKind::Module => Cow::Owned(componentize(bytes)?),
        };
        Ok(Self { kind, size, digest: sha256(bytes), component })
    }
}

/// The kind by magic number, version and layer: `\0asm`, then 1 and 0, or 13 and 1.
fn kind_of(bytes: &[u8]) -> Option<ArtifactKind> {
    match bytes.get(..8)? {
        b"\0asm\x01\0\0\0" => Some(ArtifactKind::Module),
        b"\0asm\x0d\0\x01\0" => Some(ArtifactKind::Component),
        _ => None,
    }
}

fn componentize(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    let encode = || {
        let mut encoder = ComponentEncoder::default().validate(true).module(module)?;
        if imports_preview1(module) {
            let name = WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
            encoder = encoder.adapter(name, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?;
        }
        encoder.encode()
    };
    encode().map_err(|error| LoadError::NotBindings { source: error.into() })
}

/// Whether a core module imports WASI 0.1. One that cannot be read does not: the encoder says why.
fn imports_preview1(module: &[u8]) -> bool {
    let imports = Parser::new(0).parse_all(module).find_map(|payload| match payload {
        Ok(Payload::ImportSection(imports)) => Some(imports),
        _ => None,
    });
    let mut imports = imports.into_iter().flat_map(|imports| imports.into_imports());
    imports.any(|import| import.is_ok_and(|import| import.module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME))
}

/// Lower-case hex.
pub(crate) fn hex(octets: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_wasm_is_refused_before_anything_reads_it() {
        for bytes in [&b""[..], b"\0asm", b"#!/bin/sh\n", b"\0asm\x02\0\0\0", b"(module)"] {
            assert!(matches!(Artifact::read(bytes, 1 << 20), Err(LoadError::NotWasm)));
        }
    }

    #[test]
    fn the_size_limit_is_checked_first_and_is_capped() {
        let big = vec![0; 101];
        let error = Artifact::read(&big, 100).err().unwrap();
        assert!(matches!(error, LoadError::TooLarge { size: 101, limit: 100 }));
    }

    #[test]
    fn a_module_without_bindings_is_told_from_a_broken_one() {
        let module = wat::parse_str(r#"(module (import "env" "f" (func)))"#).unwrap();
        let error = Artifact::read(&module, 1 << 20).err().unwrap();
        assert!(matches!(error, LoadError::NotBindings { .. }), "{error}");
    }
}
