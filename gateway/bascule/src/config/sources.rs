//! Finds the files: `bascule.toml`, and `integrations/*.toml` beside it.
//!
//! It reads them whole, within a bound, and knows nothing of what is in them.

use super::{
    diagnostic::{Diagnostic, Problems},
    environment::Environment,
    source::SourceText,
};
use crate::model::IntegrationName;
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The gateway's file.
const FILE: &str = "bascule.toml";
/// Where it is looked for after the current folder.
const SYSTEM: &str = "/etc/bascule";
/// The folder of the integrations' files.
const INTEGRATIONS: &str = "integrations";
/// Largest file: far above any that people write, small enough to be held many times over.
const FILE_MAX: u64 = 4 << 20;
/// How to begin, for whoever has no configuration yet.
const BEGIN: &str = "write a bascule.toml (an empty one is a working gateway), name one with --config, \
                     set up an integration with --env PREFIX, or try `bascule demo`";

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`: a file, or a folder that holds `bascule.toml`. None: `./bascule.toml`, then
    /// `/etc/bascule/bascule.toml`.
    pub path: Option<PathBuf>,
    /// `--env PREFIX`: integrations that are described by variables alone.
    pub env_prefixes: Vec<String>,
    /// Where variables are looked up.
    pub env: Environment,
}

/// The files as they were found.
#[derive(Default)]
pub(crate) struct Found {
    /// Folder of relative paths.
    pub(crate) root: PathBuf,
    /// `bascule.toml`; none when only variables describe the configuration.
    pub(crate) gateway: Option<SourceText>,
    /// The integrations' files by name.
    pub(crate) integrations: Vec<(IntegrationName, SourceText)>,
}

/// Finds and reads the files. What cannot be read is noted and left out.
pub(crate) fn find(sources: &Sources, problems: &mut Problems) -> Found {
    find_in(sources, &[PathBuf::from(FILE), Path::new(SYSTEM).join(FILE)], problems)
}

/// The same, with the places that are looked at when no path is given.
fn find_in(sources: &Sources, usual: &[PathBuf], problems: &mut Problems) -> Found {
    let Some(file) = gateway_file(sources, usual, problems) else {
        return Found { root: PathBuf::from("."), ..Found::default() };
    };
    let folder = folder_of(&file);
    let gateway = read(&file, problems);
    let integrations = integrations(&folder, problems);
    Found { root: folder, gateway, integrations }
}

/// The files that a configuration consists of, without a look into them: for whoever waits for a change.
pub fn config_files(sources: &Sources) -> Vec<PathBuf> {
    let usual = [PathBuf::from(FILE), Path::new(SYSTEM).join(FILE)];
    let mut nobody_asked = Problems::new();
    let Some(file) = gateway_file(sources, &usual, &mut nobody_asked) else { return Vec::new() };
    let mut files = integration_files(&folder_of(&file), &mut nobody_asked);
    files.push(file);
    files
}

/// The folder of relative paths.
fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn gateway_file(sources: &Sources, usual: &[PathBuf], problems: &mut Problems) -> Option<PathBuf> {
    let Some(path) = &sources.path else {
        let found = usual.iter().find(|file| file.is_file()).cloned();
        if found.is_none() && sources.env_prefixes.is_empty() {
            let message = format!("there is no configuration: looked for ./{FILE} and {SYSTEM}/{FILE}");
            problems.push(Diagnostic::new(FILE, "", message, BEGIN));
        }
        return found;
    };
    if !path.is_dir() {
        return Some(path.clone());
    }
    let file = path.join(FILE);
    if file.is_file() {
        return Some(file);
    }
    problems.push(Diagnostic::new(path, "", format!("the folder holds no {FILE}"), BEGIN));
    None
}

fn integrations(root: &Path, problems: &mut Problems) -> Vec<(IntegrationName, SourceText)> {
    let files = integration_files(root, problems);
    files.iter().filter_map(|file| Some((name_of(file, problems)?, read(file, problems)?))).collect()
}

fn integration_files(root: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let folder = if root == Path::new(".") { PathBuf::from(INTEGRATIONS) } else { root.join(INTEGRATIONS) };
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(Diagnostic::new(&folder, "", format!("the folder cannot be read: {error}"), ""));
            return Vec::new();
        }
    };
    files.retain(|file| is_toml(file));
    files.sort();
    files
}

/// Other extensions and dot files (editors leave them) are no integrations.
fn is_toml(file: &Path) -> bool {
    let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    file.extension().is_some_and(|extension| extension == "toml") && !hidden
}

fn name_of(file: &Path, problems: &mut Problems) -> Option<IntegrationName> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    match IntegrationName::new(&stem) {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("the file's name is the integration's, and {error}");
            problems.push(Diagnostic::new(file, "", message, "rename the file"));
            None
        }
    }
}

fn read(file: &Path, problems: &mut Problems) -> Option<SourceText> {
    match read_text(file) {
        Ok(text) => {
            problems.add_file(file, text.as_str().into());
            Some(SourceText::new(file, text))
        }
        Err(error) => {
            problems.push(Diagnostic::new(file, "", format!("the file cannot be read: {error}"), ""));
            None
        }
    }
}

fn read_text(file: &Path) -> io::Result<String> {
    let mut octets = Vec::new();
    std::fs::File::open(file)?.take(FILE_MAX + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > FILE_MAX {
        return Err(io::Error::other("it is larger than 4MiB"));
    }
    String::from_utf8(octets).map_err(|error| {
        let line =
            error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|o| **o == b'\n').count()
                + 1;
        io::Error::other(format!("line {line} is not UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Auth, load::assemble};
    use std::fs;

    #[test]
    fn the_usual_places_are_looked_at_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let usual = ["here", "system"].map(|name| folder.path().join(name).join(FILE));
        fs::create_dir_all(folder.path().join("system/integrations")).unwrap();
        fs::write(&usual[1], "").unwrap();
        fs::write(folder.path().join("system/integrations/x.toml"), "").unwrap();
        let mut problems = Problems::new();
        let found = find_in(&Sources::default(), &usual, &mut problems);
        assert_eq!((found.root, found.integrations.len()), (folder.path().join("system"), 1));
        fs::create_dir(folder.path().join("here")).unwrap();
        fs::write(&usual[0], "").unwrap();
        let found = find_in(&Sources::default(), &usual, &mut problems);
        assert_eq!((found.root, found.integrations.len()), (folder.path().join("here"), 0));
        assert!(problems.is_empty(), "{problems}");
    }

    #[test]
    fn without_a_file_a_prefix_is_enough_and_nothing_is_not() {
        let mut sources = Sources {
            path: None,
            env_prefixes: vec!["A".into()],
            env: Environment::from_map([("A_BASE_URL", "https://user:secret@a")]),
        };
        let mut problems = Problems::new();
        let found = find_in(&sources, &[], &mut problems);
        let loaded = assemble(found, &sources, problems).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(
            matches!(&loaded.config.integrations["a"].auth, Auth::Basic { username, .. } if username == "user")
        );
        sources.env_prefixes.clear();
        let mut problems = Problems::new();
        let found = find_in(&sources, &[], &mut problems);
        let text = assemble(found, &sources, problems).unwrap_err().to_string();
        assert!(text.contains("looked for ./bascule.toml and /etc/bascule/bascule.toml"), "{text}");
        assert!(text.contains("bascule demo"), "{text}");
    }
}
