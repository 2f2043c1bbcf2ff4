//! Files and folders.

use super::BASE;
use crate::config::{Environment, Problems, Sources, load};
use std::{fs, path::Path};

fn sources(path: &Path) -> Sources {
    Sources { path: Some(path.to_owned()), env_prefixes: Vec::new(), env: Environment::from_map([("A", "")]) }
}

fn messages(result: Result<crate::config::Loaded, Problems>) -> Vec<String> {
    let problems = result.err().unwrap_or_default();
    problems.iter().map(|one| format!("{}: {}", one.file.display(), one.message)).collect()
}

#[test]
fn a_folder_holds_a_gateway_and_integrations() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bascule.toml"), "").unwrap();
    assert!(
        load(&sources(folder.path())).unwrap().config.integrations.is_empty(),
        "integrations are optional"
    );
    let integrations = folder.path().join("integrations");
    fs::create_dir(&integrations).unwrap();
    for name in ["b.toml", "a.toml"] {
        fs::write(integrations.join(name), BASE).unwrap();
    }
    for name in ["README.md", "a.toml.bak", ".#b.toml"] {
        fs::write(integrations.join(name), "not [toml").unwrap();
    }
    for path in [folder.path().to_owned(), folder.path().join("bascule.toml")] {
        let config = load(&sources(&path)).unwrap().config;
        assert_eq!(config.integrations.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(config.root, folder.path());
    }
}

#[test]
fn a_file_of_another_name_is_the_gateway_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("staging.toml"), "[server]\nserver_timing = true\n").unwrap();
    let loaded = load(&sources(&folder.path().join("staging.toml"))).unwrap();
    assert!(loaded.config.server.server_timing);
}

#[test]
fn what_is_not_there_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let found = messages(load(&sources(folder.path())));
    assert!(found[0].contains("the folder holds no bascule.toml"), "{found:?}");
    let found = messages(load(&sources(&folder.path().join("none.toml"))));
    assert!(found[0].contains("cannot be read"), "{found:?}");
}

#[test]
fn bad_file_names_and_octets_are_problems() {
    let folder = tempfile::tempdir().unwrap();
    let integrations = folder.path().join("integrations");
    fs::create_dir(&integrations).unwrap();
    fs::write(folder.path().join("bascule.toml"), "").unwrap();
    fs::write(integrations.join("my.api.toml"), BASE).unwrap();
    fs::write(integrations.join("latin.toml"), b"# a\ndescription = \"\xe4\"\n").unwrap();
    let found = messages(load(&sources(folder.path())));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("line 2 is not UTF-8"), "{found:?}");
    assert!(found[1].contains("`my.api` is not a name"), "{found:?}");
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bascule.toml");
    fs::File::create(&file).unwrap().set_len(5 << 20).unwrap();
    let found = messages(load(&sources(&file)));
    assert!(found[0].contains("larger than 4MiB"), "{found:?}");
}
