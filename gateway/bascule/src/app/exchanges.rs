//! The gate that a version of a plugin passes before it goes live: its recorded exchanges.
//!
//! They come from the plugin's own file and from what its table names in `exchanges`; all of them are rehearsed
//! together, within one time limit. A version that does otherwise is a problem of the configuration like any other, so at
//! the start nothing runs and at a reload the old version stays.

use super::{plugins::describe, sources::Found};
use crate::config::PluginSettings;
use bascule_plugin_host::{Exchange, ExchangeError, Plugin, Rehearsal};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What to do about a version that fails.
const HELP: &str = "`bascule plugin test FILE --exchanges PATH` shows every difference; where the plugin is \
                    right, record them anew with --bless";

/// The files of exchanges that a path stands for: itself, or a folder's `*.json` in the order of their names.
///
/// # Errors
/// When the folder cannot be read.
pub fn exchange_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Lets a version pass that does what its exchanges say. `embedded` are those of its file.
pub(super) fn pass(
    plugin: &Plugin,
    settings: &PluginSettings,
    embedded: Result<Vec<Exchange>, ExchangeError>,
) -> Result<(), Found> {
    let unusable = |place: &str, error: &(dyn std::error::Error + 'static)| {
        (format!("{place}: {}", describe(error)), "docs/plugins.md describes recorded exchanges".to_owned())
    };
    let mut exchanges = embedded.map_err(|error| unusable("the exchanges in its file", &error))?;
    for path in &settings.exchanges {
        let shown = path.display().to_string();
        for file in exchange_files(path).map_err(|error| unusable(&shown, &error))? {
            let shown = file.display().to_string();
            let document = fs::read(&file).map_err(|error| unusable(&shown, &error))?;
            exchanges.extend(Exchange::read(&document).map_err(|error| unusable(&shown, &error))?);
        }
    }
    let rehearsal = plugin.rehearse(&exchanges).map_err(|error| unusable("its exchanges", &error))?;
    match failure(&rehearsal) {
        None => Ok(()),
        Some(text) => Err((text, HELP.to_owned())),
    }
}

/// The first difference, and how many more there are.
fn failure(rehearsal: &Rehearsal) -> Option<String> {
    let mut failed = rehearsal.steps.iter().filter(|step| !step.passed());
    let first = failed.next()?;
    let difference = first.differences.first()?;
    let note = first.note.as_ref().filter(|_| first.got.is_some()).map(|note| format!(" ({note})"));
    let more = match (first.differences.len() - 1) + failed.map(|step| step.differences.len()).sum::<usize>()
    {
        0 => String::new(),
        1 => "; and one more difference".to_owned(),
        more => format!("; and {more} more differences"),
    };
    Some(format!(
        "this version does not pass its exchange \"{}\", {}: {difference}{}{more}",
        first.exchange,
        first.phase,
        note.unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_its_json_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.json", "c.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let names = |path: &Path| -> Vec<String> {
            let files = exchange_files(path).unwrap();
            files.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(folder.path()), ["a.json", "b.json"]);
        assert_eq!(names(&folder.path().join("c.txt")), ["c.txt"]);
    }
}
