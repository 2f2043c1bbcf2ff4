//! `bascule check`.

use super::{
    exit::{Exit, complain, print, start_failed},
    options::{ConfigArg, ReportFormat, options, runtime},
};
use crate::{
    app::{StartError, assemble, floating},
    config::{Problems, load},
    telemetry::{LogFormat, Redactor},
};
use std::io::{self, IsTerminal};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// How problems are printed
    #[arg(long, value_enum, default_value = "human")]
    format: ReportFormat,
}

pub(super) fn run(args: &Args) -> Exit {
    // Breakers, limiters and connections are built as for serving, and those want a runtime.
    let Ok(runtime) = runtime() else {
        complain("error: no runtime");
        return Exit::Bug;
    };
    let _entered = runtime.enter();
    let sources = args.config.sources();
    let warnings = load(&sources).map(|loaded| {
        let mut warnings = loaded.warnings;
        warnings.extend(floating(&loaded.config, &warnings));
        warnings
    });
    let warnings = warnings.unwrap_or_default();
    if !warnings.is_empty() && args.format == ReportFormat::Human {
        complain(&warnings.render_human(io::stderr().is_terminal()));
    }
    match assemble(&options(sources, LogFormat::Text, Redactor::default(), true)) {
        Ok(assembled) => {
            if args.format == ReportFormat::Json {
                return print(&format!("{:#}\n", Problems::default().to_json()));
            }
            let generation = assembled.services.generation.load();
            let operations: usize = generation.integrations.values().map(|live| live.operations.len()).sum();
            let plugins: usize = generation.integrations.values().map(|live| live.plugins.len()).sum();
            print(&format!(
                "ok: {}, {}, {}\n",
                counted(generation.integrations.len(), "integration"),
                counted(operations, "operation"),
                counted(plugins, "plugin")
            ))
        }
        Err(StartError::Configuration(problems)) if args.format == ReportFormat::Json => {
            print(&format!("{:#}\n", problems.to_json()));
            Exit::Failure
        }
        Err(error) => match start_failed(&error) {
            Exit::Config => Exit::Failure,
            other => other,
        },
    }
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
