//! Broken configurations: every problem is told at once, at its line, with what to write instead.
//!
//! `data/broken/` has a folder per case. A line that has a problem says after `#!` what must be said
//! about it; no other line may have one.

use crate::support::Gateway;
use bascule::{
    app::{Options, StartError, assemble},
    config::{Diagnostic, Environment, Sources},
    telemetry::{LogFormat, Redactor},
};
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

const BROKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/broken");

/// File, line and a part of the text.
type Expected = (PathBuf, usize, String);

fn expected(folder: &Path) -> Vec<Expected> {
    let mut files = vec![folder.join("bascule.toml")];
    // A configuration without integrations has no folder for them.
    let integrations = fs::read_dir(folder.join("integrations")).into_iter().flatten();
    files.extend(integrations.map(|entry| entry.unwrap().path()));
    let mut expected = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            if let Some((_, part)) = line.split_once(" #! ") {
                expected.push((file.clone(), number + 1, part.trim().to_owned()));
            }
        }
    }
    expected
}

/// What the gateway says about a configuration that it must refuse.
fn refused(folder: &Path) -> (Vec<Diagnostic>, String) {
    let sources = Sources {
        path: Some(folder.to_path_buf()),
        env_prefixes: Vec::new(),
        env: Environment::from_map(HashMap::<String, String>::new()),
    };
    let options = Options {
        sources,
        log_format: LogFormat::Text,
        plugin_cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("config-errors")),
        redactor: Redactor::default(),
        quiet: true,
    };
    match assemble(&options) {
        Err(StartError::Configuration(problems)) => {
            (problems.iter().cloned().collect(), problems.render_human(false))
        }
        Err(error) => panic!("{}: {error}", folder.display()),
        Ok(_) => panic!("{} is not refused", folder.display()),
    }
}

/// Compares and returns what is wrong.
fn differences(folder: &Path) -> Vec<String> {
    let (found, human) = refused(folder);
    let mut wrong = Vec::new();
    let expected = expected(folder);
    assert!(!expected.is_empty(), "{}", folder.display());
    for (file, line, part) in &expected {
        let here =
            || found.iter().filter(|one| one.file.ends_with(relative(folder, file)) && one.line() == *line);
        if !here().any(|one| format!("{}: {} {}", one.key, one.message, one.help).contains(part.as_str())) {
            let said: Vec<String> = here().map(|one| format!("{} | {}", one.message, one.help)).collect();
            wrong.push(format!("{}:{line}: `{part}` is not said; said: {said:?}", file.display()));
        }
    }
    let lines: BTreeSet<(&Path, usize)> =
        expected.iter().map(|(file, line, _)| (relative(folder, file), *line)).collect();
    for one in &found {
        let place = format!("{}:{}:{}", one.file.display(), one.line(), one.column());
        if !lines.iter().any(|(file, line)| one.file.ends_with(file) && one.line() == *line) {
            wrong.push(format!("{place}: not expected: {}", one.message));
        }
        if one.help.is_empty() {
            wrong.push(format!("{place}: no advice: {}", one.message));
        }
        if !human.contains(&place) {
            wrong.push(format!("{place}: not in the text for people"));
        }
    }
    wrong
}

fn relative<'a>(folder: &Path, file: &'a Path) -> &'a Path {
    file.strip_prefix(folder).unwrap()
}

#[tokio::test]
async fn every_problem_is_told_at_its_line_with_advice() {
    let mut cases: Vec<PathBuf> = fs::read_dir(BROKEN).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 6, "{cases:?}");
    let wrong: Vec<String> = cases.iter().flat_map(|case| differences(case)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_typo_in_one_file_does_not_hide_a_missing_grant_in_another() {
    let guest = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/dist/wants-random.wasm");
    let plugin = format!(
        "base_url = \"http://127.0.0.1:9\"\n[[plugins]]\nsource = \"{guest}\"\n[operations.o]\npath = \"/\"\n"
    );
    let typo = "base_url = \"http://127.0.0.1:9\"\ntimeut = \"1s\"\n[operations.o]\npath = \"/\"\n";
    let refused = Gateway::try_with(&Gateway::base(""), &[("typo", typo), ("plugin", &plugin)], &[]).await;
    let Err(bascule::app::StartError::Configuration(problems)) = refused else { panic!("it started") };
    let told = problems.render_human(false);
    assert!(told.contains("unknown key `timeut`") && told.contains("grants = [\"random\"]"), "{told}");
}
