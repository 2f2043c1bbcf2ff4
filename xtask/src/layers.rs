//! The layers of `gateway/bascule/src`: lower never imports higher, siblings do not know each other; and the
//! libraries beside it, which know none of our crates.

use anyhow::{Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the highest to the lowest. Modules of one line are siblings.
const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["demo"],
    &["app", "simulate"],
    &["admin", "dataplane", "delivery"],
    &["pipeline"],
    &["server", "upstream"],
    &["telemetry", "net"],
    &["config"],
    &["model"],
];

/// The crates below the gateway: none depends on another crate of this repository.
const LIBRARIES: &[&str] = &["resilience", "cache", "plugin-host", "plugin-source", "shared"];

/// The demo meets the gateway only over HTTP, so that it proves what a user would see.
const ALONE: &str = "demo";

pub(crate) fn check(root: &Path) -> Result<()> {
    let src = root.join("gateway/bascule/src");
    let mut broken = Vec::new();
    for (level, modules) in LAYERS.iter().enumerate() {
        for module in *modules {
            for file in files_of(&src, module)? {
                let text = fs::read_to_string(&file)?;
                for (number, line) in text.lines().enumerate() {
                    let forbidden = imports(&text, line).into_iter().filter(|other| {
                        other != module
                            && (*module == ALONE || level_of(other).is_some_and(|theirs| theirs <= level))
                    });
                    let shown = file.strip_prefix(root).unwrap_or(&file);
                    broken.extend(
                        forbidden.map(|other| {
                            format!("{}:{}: {module} uses {other}", shown.display(), number + 1)
                        }),
                    );
                }
            }
        }
    }
    for library in LIBRARIES {
        let manifest = Path::new("gateway").join(library).join("Cargo.toml");
        let text = fs::read_to_string(root.join(&manifest))?;
        // For its tests a library may name itself, with other features.
        let others = ours(&text).filter(|other| other.strip_prefix("bascule-") != Some(library));
        broken.extend(others.map(|other| format!("{}: {library} uses {other}", manifest.display())));
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("layers are crossed upwards or sideways:\n  {}", broken.join("\n  "))
}

/// The packages of this repository that a manifest depends on.
fn ours(manifest: &str) -> impl Iterator<Item = &str> {
    let names = manifest.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| *name == "bascule" || name.starts_with("bascule-"))
}

fn level_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// `module.rs` and everything below `module/`.
fn files_of(src: &Path, module: &str) -> Result<Vec<PathBuf>> {
    let mut files = vec![src.join(format!("{module}.rs"))];
    let mut folders = vec![src.join(module)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.retain(|file| file.exists());
    Ok(files)
}

/// The top-level modules that a line names: `crate::x`, and the lines of a `use crate::{…}` block.
fn imports<'a>(text: &'a str, line: &'a str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = line.get(at + "crate::".len()..).unwrap_or_default();
        let name: &str = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        if !name.is_empty() {
            found.push(name);
        }
    }
    // Inside a grouped import every member stands on a line of its own, four spaces in (rustfmt).
    if let Some(member) = line.strip_prefix("    ")
        && !member.starts_with(' ')
        && in_group(text, line)
    {
        let name = member.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        found.push(name);
    }
    found
}

fn in_group(text: &str, line: &str) -> bool {
    let offset = line.as_ptr() as usize - text.as_ptr() as usize;
    let before = text.get(..offset).unwrap_or_default();
    match (before.rfind("use crate::{"), before.rfind("};")) {
        (Some(open), Some(close)) => open > close,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_seen_in_both_forms() {
        let text = "use crate::{\n    config::X,\n    model::{A, B},\n};\nuse crate::app::Y;\nfn f() { crate::admin::g() }\n";
        let found: Vec<_> = text.lines().flat_map(|line| imports(text, line)).collect();
        assert_eq!(found, ["config", "model", "app", "admin"]);
    }

    #[test]
    fn dependencies_on_our_own_packages_are_seen() {
        let manifest = "name = \"bascule-x\"\n[dependencies]\nbascule-cache.workspace = true\nbascule = { path = \"y\" }\nbytes = \"1\"\n";
        assert_eq!(ours(manifest).collect::<Vec<_>>(), ["bascule-cache", "bascule"]);
    }

    #[test]
    fn the_layers_hold() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        check(root).unwrap();
    }
}
