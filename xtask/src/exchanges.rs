//! Putting a plugin's recorded exchanges into its module, so that the file can be tested wherever it goes.
//!
//! They become one list in a custom section behind the code, which is how `docs/plugins.md` describes it for any tool.
//! What the texts say is not looked at: the gateway does that, and the tests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The section that the gateway looks for.
const SECTION: &[u8] = b"bascule:exchanges";

/// The module with the exchanges of that folder; as it is when there is no such folder.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn embed(mut module: Vec<u8>, folder: &Path) -> Result<Vec<u8>> {
    let texts = texts(folder)?;
    if !texts.is_empty() {
        let list = format!("[{}]", texts.join(","));
        let content = [&leb128(SECTION.len())[..], SECTION, list.as_bytes()].concat();
        module.push(0);
        module.extend(leb128(content.len()));
        module.extend(content);
    }
    Ok(module)
}

fn texts(folder: &Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<Result<Vec<PathBuf>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let text = |file: &PathBuf| fs::read_to_string(file).with_context(|| file.display().to_string());
    files.iter().map(text).collect()
}

/// A length as WebAssembly writes it.
fn leb128(mut value: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            octets.push(low);
            return octets;
        }
        octets.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_the_format_has_them() {
        assert_eq!(leb128(0), [0]);
        assert_eq!(leb128(127), [0x7f]);
        assert_eq!(leb128(624_485), [0xe5, 0x8e, 0x26]);
    }

    #[test]
    fn without_a_folder_the_module_stays_as_it_is() {
        assert_eq!(embed(vec![1, 2], Path::new("/nowhere/exchanges")).unwrap(), [1, 2]);
    }
}
