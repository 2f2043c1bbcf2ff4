//! Loads a whole configuration: every file is read to its end, then what concerns several is checked.

use super::{
    check::{self, Known},
    context::{Collected, Context, Places},
    diagnostic::{Diagnostic, Problems, Severity, Sound},
    digest::fingerprint,
    environment::Environment,
    keys::{GATEWAY, INTEGRATION, Table},
    read::{self, Gateway, IntegrationFile, SharedBreakers},
    reader::Reader,
    settings::{Config, SourceRules},
    source::{SourceText, line_column},
    sources::{Found, Sources, find},
};
use crate::model::{IntegrationName, Secret};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};
use toml::de::{DeTable, DeValue};

/// The lock file of plugins, beside `bascule.toml`.
const LOCK: &str = "bascule.lock";

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is hardly meant; also the texts of all files, for problems that are found later
    /// ([`Problems::about_the_same_files`]).
    pub warnings: Problems,
    /// Where every key stands.
    pub places: Places,
}

/// Loads the configuration.
///
/// # Errors
/// All its problems (and warnings) when there is one that is not a mere warning.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut problems = Problems::new();
    let found = find(sources, &mut problems);
    assemble(found, sources, problems)
}

/// Builds the configuration of files that are at hand.
pub(crate) fn assemble(found: Found, sources: &Sources, problems: Problems) -> Result<Loaded, Problems> {
    let mut all = All { problems, secrets: BTreeSet::new(), places: Places::default() };
    let gateway = gateway(&found, &sources.env, &mut all);
    let mut known: BTreeMap<IntegrationName, Known> = BTreeMap::new();
    for (name, source) in &found.integrations {
        let shared = &gateway.breakers;
        known.insert(name.clone(), integration(name, source, &found.root, &sources.env, shared, &mut all));
    }
    for prefix in &sources.env_prefixes {
        from_environment(prefix, &sources.env, &mut known, &mut all);
    }
    let mut findings = check::ladders(&known);
    findings.extend(check::branches(&known));
    findings.extend(check::components(&known));
    findings.extend(check::sizes(&known, &all.places));
    findings.extend(check::settle(&mut known, &all.places));
    findings.extend(check::queues(&gateway, &known, &all.places));
    findings.extend(check::sharing(&gateway, &known, &found, &all.places));
    findings.extend(check::callers(&gateway, &known, &found, &all.places));
    findings.into_iter().for_each(|finding| all.problems.push(finding));
    if !all.problems.iter().any(|found| found.severity == Severity::Error) {
        let unused = check::unused_breakers(&gateway, &known, &found, &all.places);
        unused.into_iter().for_each(|finding| all.problems.push(finding));
    }
    all.problems.sort();
    let rules = SourceRules { lock: found.root.join(LOCK), ..gateway.source_rules };
    if all.problems.iter().any(|found| found.severity == Severity::Error) {
        let errors = all.problems.iter().filter(|found| found.severity == Severity::Error);
        let broken: BTreeSet<PathBuf> = errors.map(|found| found.file.clone()).collect();
        let settings = known.into_values().filter_map(|known| known.integration);
        let rules = match &found.gateway {
            Some(file) if broken.contains(&file.path) => None,
            _ => Some(rules),
        };
        // Without rules nobody knows who logs in where.
        let sound = settings.filter(|settings| {
            !broken.contains(&settings.file) && (rules.is_some() || !settings.has_remote_plugins())
        });
        let integrations = sound.collect();
        all.problems.set_sound(Sound { integrations, rules: rules.unwrap_or_default() });
        return Err(all.problems);
    }
    let integrations =
        known.into_iter().filter_map(|(name, known)| Some((name, known.integration?))).collect();
    let config = Config {
        root: found.root,
        server: gateway.server,
        admin: gateway.admin,
        telemetry: gateway.telemetry,
        cache: gateway.cache,
        journal: gateway.journal,
        outbox: gateway.outbox,
        breakers: gateway.breakers.declared,
        announced_breakers: gateway.breakers.announced,
        source_rules: rules,
        integrations,
        secrets: longest_first(all.secrets),
    };
    Ok(Loaded { config, warnings: all.problems, places: all.places })
}

/// What the files have in common.
struct All {
    problems: Problems,
    secrets: BTreeSet<String>,
    places: Places,
}

impl All {
    fn collect(&mut self, file: &Path, collected: Collected) {
        collected.found.into_iter().for_each(|found| self.problems.push(found));
        self.secrets.extend(collected.secrets);
        self.places.add(file, collected.places);
    }
}

/// A secret that contains another is scrubbed before it.
fn longest_first(secrets: BTreeSet<String>) -> Vec<Secret> {
    let mut secrets: Vec<String> = secrets.into_iter().collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().map(Secret::new).collect()
}

fn gateway(found: &Found, env: &Environment, all: &mut All) -> Gateway {
    let Some(source) = &found.gateway else { return Gateway::default() };
    let (gateway, collected) =
        with_file(source, &found.root, env, &GATEWAY, |ctx, table| read::gateway(Reader::top(ctx, table)));
    all.collect(&source.path, collected);
    gateway
}

fn integration(
    name: &IntegrationName,
    source: &SourceText,
    root: &Path,
    env: &Environment,
    shared_breakers: &SharedBreakers,
    all: &mut All,
) -> Known {
    let (known, collected) = with_file(source, root, env, &INTEGRATION, |ctx, table| {
        let operations = operation_names(table);
        let digest = fingerprint(ctx, name.as_str(), table);
        let file: IntegrationFile =
            read::integration(Reader::top(ctx, table), name, &operations, digest, shared_breakers);
        let integration = file.integration.map(Arc::new);
        Known { integration, operations, complete: !ctx.broken, rungs: file.rungs, calls: file.calls }
    });
    all.collect(&source.path, collected);
    known
}

fn from_environment(
    prefix: &str,
    env: &Environment,
    known: &mut BTreeMap<IntegrationName, Known>,
    all: &mut All,
) {
    match read::from_environment(prefix, env, &mut all.secrets) {
        Ok(integration) => {
            let name = integration.name.clone();
            if let Some(other) = known.get(&name) {
                let file = other.integration.as_ref().map(|other| other.file.display().to_string());
                let other = file.unwrap_or_else(|| "a file".to_owned());
                all.problems.push(Diagnostic::new(
                    integration.file.clone(),
                    "--env",
                    format!("--env {prefix} declares `{name}`, and so does {other}"),
                    "rename one of them",
                ));
                return;
            }
            let known_one = Known {
                integration: Some(Arc::new(integration)),
                operations: Vec::new(),
                complete: true,
                rungs: Vec::new(),
                calls: Vec::new(),
            };
            known.insert(name, known_one);
        }
        Err(found) => found.into_iter().for_each(|found| all.problems.push(found)),
    }
}

fn operation_names(table: &DeTable<'_>) -> Vec<String> {
    match table.get("operations").map(|value| value.get_ref()) {
        Some(DeValue::Table(operations)) => {
            operations.keys().map(|name| name.get_ref().clone().into_owned()).collect()
        }
        _ => Vec::new(),
    }
}

/// Parses a file and reads it. Syntax errors do not keep the rest from being looked at.
fn with_file<T>(
    source: &SourceText,
    root: &Path,
    env: &Environment,
    top: &'static Table,
    read: impl FnOnce(&Context<'_>, &DeTable<'_>) -> T,
) -> (T, Collected) {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    let table = document.get_ref();
    let mut ctx = Context::new(source, root, env, top, first_table(&source.text, table));
    ctx.broken = !errors.is_empty();
    let value = read(&ctx, table);
    let mut collected = ctx.finish();
    if !errors.is_empty() {
        let syntax = errors.iter().map(|error| syntax_error(source, error));
        collected.found = merge(source, syntax.collect(), collected.found);
    }
    (value, collected)
}

fn syntax_error(source: &SourceText, error: &toml::de::Error) -> Diagnostic {
    let message = error.message().trim_end_matches('.').replace('\n', ", ");
    let help = "write `key = value`: texts stand in quotes, lists in brackets, tables in braces";
    let found = Diagnostic::new(&source.path, "", format!("not TOML: {message}"), help);
    match error.span() {
        Some(span) => found.spanning(span),
        None => found,
    }
}

/// Syntax errors, and what else was found on lines that have none. What the parser made up to go on stands nowhere
/// in the text.
fn merge(source: &SourceText, syntax: Vec<Diagnostic>, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let line = |one: &Diagnostic| one.span.as_ref().map(|span| line_column(&source.text, span.start).0);
    let broken: BTreeSet<_> = syntax.iter().map(line).collect();
    let written = |one: &Diagnostic| one.span.as_ref().is_none_or(|span| !span.is_empty());
    let kept = found
        .into_iter()
        .filter(|one| one.severity == Severity::Error && written(one) && !broken.contains(&line(one)));
    let kept: Vec<_> = kept.collect();
    syntax.into_iter().chain(kept).collect()
}

/// Where the first `[table]` begins: the first top-level key that stands behind a bracket.
fn first_table(text: &str, table: &DeTable<'_>) -> Option<usize> {
    let header = |start: usize| {
        let before = text.get(..start)?;
        let line = before.rfind('\n').map_or(0, |at| at + 1);
        before.get(line..)?.trim_start().starts_with('[').then_some(line)
    };
    table.keys().filter_map(|key| header(key.span().start)).min()
}
