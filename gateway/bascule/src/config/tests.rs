//! Tests of whole configurations: texts in, problems or settings out.

mod breakers;
mod examples;
mod fan_outs;
mod files;
mod gateway;
mod integration;
mod ladders;
mod operation;
mod places;
mod policies;
mod prefix;
mod properties;
mod references;
mod sources;
mod vocabulary;

use super::{
    Environment, Loaded, Problems, Sources,
    load::assemble,
    settings::{Integration, Operation},
    source::SourceText,
    sources::Found,
};
use crate::model::IntegrationName;
use std::{path::PathBuf, sync::Arc};

/// What most files of these tests begin with.
const BASE: &str = "base_url = \"https://api.example.com\"\n";

/// Loads a gateway file and integration files that stand in no folder.
fn load_texts(
    gateway: &str,
    integrations: &[(&str, &str)],
    variables: &[(&str, &str)],
) -> Result<Loaded, Problems> {
    let mut problems = Problems::new();
    let mut source = |path: String, text: &str| {
        problems.add_file(&path, text.into());
        SourceText::new(path, text)
    };
    let found = Found {
        root: PathBuf::from("nowhere"),
        gateway: Some(source("bascule.toml".to_owned(), gateway)),
        integrations: integrations
            .iter()
            .map(|(name, text)| {
                (IntegrationName::new(name).unwrap(), source(format!("integrations/{name}.toml"), text))
            })
            .collect(),
    };
    let sources = Sources { env: Environment::from_map(variables.iter().copied()), ..Sources::default() };
    assemble(found, &sources, problems)
}

/// The problems of a gateway file, each as `line: key: message | help`.
fn gateway_problems(gateway: &str) -> Vec<String> {
    listed(load_texts(gateway, &[], &[]))
}

/// The problems of one integration file.
fn problems(integration: &str) -> Vec<String> {
    listed(load_texts("", &[("x", integration)], &[]))
}

fn listed(result: Result<Loaded, Problems>) -> Vec<String> {
    let found = result.map_or_else(|problems| problems, |loaded| loaded.warnings);
    found.iter().map(|one| format!("{}: {}: {} | {}", one.line(), one.key, one.message, one.help)).collect()
}

/// The integration `x` of one file.
fn integration(text: &str) -> Arc<Integration> {
    let loaded = load_texts("", &[("x", text)], &[]).unwrap_or_else(|problems| panic!("{problems}"));
    Arc::clone(&loaded.config.integrations["x"])
}

/// The operation `o` of one integration, written as the lines of its table.
fn operation(lines: &str) -> Arc<Operation> {
    let text = format!("{BASE}[operations.o]\n{lines}");
    Arc::clone(&integration(&text).operations["o"])
}

/// The problems of the operation `o`; its first line is line 3.
fn operation_problems(lines: &str) -> Vec<String> {
    problems(&format!("{BASE}[operations.o]\n{lines}"))
}

/// Asserts that a list has one entry that contains every one of the parts.
#[track_caller]
fn assert_one(found: &[String], parts: &[&str]) {
    assert_eq!(found.len(), 1, "{found:#?}");
    for part in parts {
        assert!(found[0].contains(part), "{part:?} is not in {found:#?}");
    }
}
