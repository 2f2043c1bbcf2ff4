//! `bascule plugin lock` and `verify`: what remote plugins were, and whether they still are.

use crate::{
    app::{PluginSources, StartError, wanted},
    cli::{
        exit::{Exit, complain, print, start_failed},
        options::{ConfigArg, cache_folder},
    },
    config::{Config, load},
    upstream::Tls,
};
use bascule_plugin_source::{Lock, Sources, Wanted};
use std::fmt::Write;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

/// A configuration with what its plugins ask for.
struct Configured {
    config: Config,
    wanted: Vec<Wanted>,
    sources: Sources,
    /// Without a cache folder, what is fetched goes with this.
    _kept: PluginSources,
}

/// None when the configuration has problems; they have been told.
fn configured(args: &Args) -> anyhow::Result<Option<Configured>> {
    let config = match load(&args.config.sources()) {
        Ok(loaded) => loaded.config,
        Err(problems) => {
            start_failed(&StartError::Configuration(Box::new(problems)));
            return Ok(None);
        }
    };
    let plugins = config.integrations.values().flat_map(|integration| &integration.plugins);
    let wanted: Vec<Wanted> = plugins.filter_map(wanted).collect();
    // What is locked is kept where the gateway looks, so that it starts without a network.
    let kept = PluginSources::new(&Tls::new()?, cache_folder().as_deref())?;
    let sources = kept.by(&config.source_rules, wanted.iter().map(|wanted| &wanted.reference))?;
    Ok(Some(Configured { config, wanted, sources, _kept: kept }))
}

/// Resolves every remote reference and writes the lock file, or nothing when one of them cannot be had.
pub(super) async fn lock(args: &Args) -> anyhow::Result<Exit> {
    let Some(Configured { config, wanted, sources, _kept }) = configured(args)? else {
        return Ok(Exit::Failure);
    };
    let path = &config.source_rules.lock;
    let old = Lock::read(path)?;
    let mut new = Lock::default();
    let mut failed = false;
    for wanted in &wanted {
        match sources.resolve(wanted).await {
            Ok(Some(locked)) => new.insert(&wanted.reference, locked),
            Ok(None) => {}
            Err(error) => {
                failed = true;
                complain(&format!("error: {:#}", anyhow::Error::new(error)));
            }
        }
    }
    if failed {
        complain(&format!("{} stays as it was", path.display()));
        return Ok(Exit::Failure);
    }
    new.write(path)?;
    let changes = changes(&old, &new);
    let count = new.references().count();
    let what = if changes.is_empty() { "nothing changed" } else { "written" };
    Ok(print(&format!("{changes}{}: {count} locked, {what}\n", path.display())))
}

/// A line for each entry that came, went or changed, sorted by source.
fn changes(old: &Lock, new: &Lock) -> String {
    let mut sources: Vec<&str> = old.references().chain(new.references()).collect();
    sources.sort_unstable();
    sources.dedup();
    let mut text = String::new();
    for source in sources {
        let _ = match (old.entry(source), new.entry(source)) {
            (Some(old), Some(new)) if old == new => Ok(()),
            (Some(old), Some(new)) => writeln!(text, "~ {source}\n    was {old}\n    is  {new}"),
            (None, Some(new)) => writeln!(text, "+ {source}\n    is  {new}"),
            (Some(old), None) => writeln!(text, "- {source}\n    was {old}"),
            (None, None) => Ok(()),
        };
    }
    text
}

/// Tells every finding.
pub(super) async fn verify(args: &Args) -> anyhow::Result<Exit> {
    let Some(Configured { config, wanted, sources, _kept }) = configured(args)? else {
        return Ok(Exit::Failure);
    };
    let lock = Lock::read(&config.source_rules.lock)?;
    let findings = sources.verify(&wanted, &lock).await;
    if findings.is_empty() {
        return Ok(print(&format!("ok: {} plugins from elsewhere or in files\n", wanted.len())));
    }
    for finding in findings {
        print(&format!("{:#}\n", anyhow::Error::new(finding)));
    }
    Ok(Exit::Failure)
}
