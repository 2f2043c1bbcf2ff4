//! `bascule simulate`.

use super::{
    exit::{Exit, complain, print, start_failed},
    options::{ConfigArg, ReportFormat},
};
use crate::{
    app::StartError,
    config,
    simulate::{self, simulate},
};
use bascule_resilience::{Clock, TokioClock};
use std::{
    io::{self, IsTerminal},
    path::PathBuf,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// A journal: its folder, or one of its files; several are put together in the order of time
    #[arg(long, value_name = "JOURNAL", required = true, num_args = 1..)]
    from: Vec<PathBuf>,
    /// Look at this integration only
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
    /// Decides what is left to chance: the same seed gives the same report
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "human")]
    format: ReportFormat,
}

pub(super) fn run(args: &Args) -> Exit {
    let loaded = match config::load(&args.config.sources()) {
        Ok(loaded) => loaded,
        Err(problems) => return start_failed(&StartError::Configuration(Box::new(problems))),
    };
    if !loaded.warnings.is_empty() && args.format == ReportFormat::Human {
        complain(&loaded.warnings.render_human(io::stderr().is_terminal()));
    }
    let only = args.integration.as_deref();
    if let Some(only) = only.filter(|only| !loaded.config.integrations.contains_key(*only)) {
        complain(&format!("error: the configuration has no integration `{}`", only.escape_debug()));
        return Exit::Failure;
    }
    let journal = match simulate::load(&args.from, only) {
        Ok(journal) => journal,
        Err(error) => {
            complain(&format!("error: {error}"));
            return Exit::Failure;
        }
    };
    let report = simulate(&loaded.config, journal, only, args.seed, TokioClock.now());
    let printed = match args.format {
        ReportFormat::Human => print(&report.to_human()),
        ReportFormat::Json => print(&format!("{:#}\n", report.to_json())),
    };
    if !report.has_calls() {
        complain("error: the configuration has none of the operations that were called");
        return Exit::Failure;
    }
    printed
}
