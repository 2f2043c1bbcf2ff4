//! Tidiness that no linter knows: headers, file sizes, unfinished words.

use anyhow::{Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Past this a file holds two ideas. Generated code and tests are exempt.
const LINES_MAX: usize = 600;
/// Folders that are not ours to tidy.
const SKIPPED: &[&str] = &["target", "dist", "generated", ".git"];

pub(crate) fn check(root: &Path) -> Result<()> {
    let mut untidy = Vec::new();
    for file in sources(root)? {
        let text = fs::read_to_string(&file)?;
        let shown = file.strip_prefix(root).unwrap_or(&file).display();
        if !text.starts_with("//!") {
            untidy.push(format!("{shown}: no `//!` header"));
        }
        let lines = text.lines().count();
        let is_test = file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs");
        if lines > LINES_MAX && !is_test {
            untidy.push(format!("{shown}: {lines} lines, more than {LINES_MAX}"));
        }
        if file.file_name().is_some_and(|name| name == "mod.rs") {
            untidy.push(format!("{shown}: `foo.rs` beside `foo/` instead of `mod.rs`"));
        }
    }
    if untidy.is_empty() {
        return Ok(());
    }
    bail!("untidy:\n  {}", untidy.join("\n  "))
}

fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !SKIPPED.contains(&name) {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        check(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()).unwrap();
    }
}
