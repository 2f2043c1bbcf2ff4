//! `bascule plugin test`: the gate of `serve` for authors, with every difference.

use super::{
    exit::{Exit, complain, print},
    inspect::octets_of,
};
use crate::app::exchange_files;
use anyhow::{Context, Result, bail};
use bascule_plugin_host::{Exchange, HostConfig, Plugin, PluginHost, Rehearsal};
use std::{
    fmt::Write,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A component or core module, or `builtin:NAME`; the exchanges in it are played too
    file: String,
    /// A file of exchanges, or a folder of `*.json`; may be given more than once
    #[arg(long, value_name = "PATH")]
    exchanges: Vec<PathBuf>,
    /// Write what the plugin does into the files of exchanges, as what is expected of it
    #[arg(long, requires = "exchanges")]
    bless: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    let done = if args.bless { bless(args) } else { test(args) };
    match done {
        Ok((text, true)) => print(&text),
        Ok((text, false)) => {
            print(&text);
            Exit::Failure
        }
        Err(error) => {
            complain(&format!("error: {error:#}"));
            Exit::Failure
        }
    }
}

/// What to print, and whether all is well.
type Done = (String, bool);

fn test(args: &Args) -> Result<Done> {
    let octets = octets_of(&args.file)?;
    let mut exchanges = Exchange::embedded(&octets).context("the exchanges in the file")?;
    for file in files(args)? {
        exchanges.extend(exchanges_of(&file)?.1);
    }
    if exchanges.is_empty() {
        bail!("there are no exchanges: the file holds none, and --exchanges names none");
    }
    let rehearsal = plugin(&args.file, octets.into_owned())?.rehearse(&exchanges)?;
    Ok((table(&rehearsal, exchanges.len()), rehearsal.passed()))
}

fn bless(args: &Args) -> Result<Done> {
    let plugin = plugin(&args.file, octets_of(&args.file)?.into_owned())?;
    let mut text = String::new();
    for file in files(args)? {
        let (document, exchanges) = exchanges_of(&file)?;
        let rehearsal = plugin.rehearse(&exchanges)?;
        let shown = file.display();
        let blessed = rehearsal.blessed(&document).with_context(|| shown.to_string())?;
        let result = if blessed.as_bytes() == document { "unchanged" } else { "written" };
        fs::write(&file, blessed).with_context(|| format!("{shown} cannot be written"))?;
        let _ = writeln!(text, "{shown}: {result}");
    }
    Ok((text, true))
}

fn plugin(file: &str, octets: Vec<u8>) -> Result<Arc<Plugin>> {
    let host = PluginHost::new(HostConfig { engines: NonZeroUsize::MIN, ..HostConfig::default() })?;
    Ok(host.load_unconfigured(file, octets)?)
}

fn files(args: &Args) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in &args.exchanges {
        files.extend(exchange_files(path).with_context(|| format!("{} cannot be read", path.display()))?);
    }
    Ok(files)
}

fn exchanges_of(file: &Path) -> Result<(Vec<u8>, Vec<Exchange>)> {
    let document = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let exchanges = Exchange::read(&document).with_context(|| file.display().to_string())?;
    Ok((document, exchanges))
}

fn table(rehearsal: &Rehearsal, exchanges: usize) -> String {
    let names = rehearsal.steps.iter().map(|step| step.exchange.chars().count());
    let width = names.max().unwrap_or(0).max("EXCHANGE".len());
    let mut text = format!("{:width$}  {:15}  RESULT\n", "EXCHANGE", "PHASE");
    for step in &rehearsal.steps {
        let result = if step.passed() { "as recorded" } else { "differs" };
        let _ = writeln!(text, "{:width$}  {:15}  {result}", step.exchange, step.phase.as_str());
        for difference in &step.differences {
            let _ = writeln!(text, "    {difference}");
        }
        if let (false, Some(note), Some(_)) = (step.passed(), &step.note, &step.got) {
            let _ = writeln!(text, "    {note}");
        }
    }
    let failed = rehearsal.steps.iter().filter(|step| !step.passed()).count();
    let _ = writeln!(
        text,
        "\n{exchanges} exchanges, {} steps: {} as recorded, {failed} not",
        rehearsal.steps.len(),
        rehearsal.steps.len() - failed
    );
    text
}
