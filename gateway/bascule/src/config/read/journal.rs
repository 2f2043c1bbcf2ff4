//! `[journal]` of `bascule.toml`.
//!
//! What can be known without touching the disk's contents is checked here. Whether the folder can be written to
//! shows when the gateway starts: `check` makes no folders.

use crate::config::{
    reader::{Field, Reader},
    settings::JournalSettings,
};
use std::path::PathBuf;

const KIB: u64 = 1 << 10;
/// Smallest file: several of the longest records fit, so that no file is closed for every line.
const FILE_MIN: u64 = 16 * KIB;
/// With the default of eight files, the journal takes at most 128 MiB.
const FILE_DEFAULT: u64 = 16 * KIB * KIB;

pub(super) fn journal(table: Reader<'_, '_>) -> Option<JournalSettings> {
    let folder = table.required("folder", "write folder = \"journal\"").and_then(|field| folder(&field));
    let max_file = table.field("max_file").map_or(Some(FILE_DEFAULT), |field| max_file(&field));
    let max_files = table.field("max_files").map_or(Some(8), |field| field.small());
    table.finish();
    Some(JournalSettings { folder: folder?, max_file: max_file?, max_files: max_files? })
}

fn folder(field: &Field<'_, '_>) -> Option<PathBuf> {
    let text = field.text()?;
    if text.value().trim().is_empty() {
        field.problem("must not be empty", "name a folder of the journal's own: \"journal\"");
        return None;
    }
    let folder = field.ctx.root.join(text.value());
    if folder.exists() && !folder.is_dir() {
        field.problem(format!("`{}` is not a folder", text.written()), "name a folder of the journal's own");
        return None;
    }
    Some(folder)
}

fn max_file(field: &Field<'_, '_>) -> Option<u64> {
    let size = field.size()?;
    if size < FILE_MIN {
        field.problem("a file of the journal holds at least 16KiB", "write \"16KiB\" or more");
        return None;
    }
    Some(size)
}
