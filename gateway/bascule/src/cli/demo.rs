//! `bascule demo`: the example configurations in front of local stand-ins.

use super::{
    exit::{Exit, complain},
    options::{options, runtime},
};
use crate::{
    app::Running,
    config::{Environment, Sources},
    demo::{DemoConfig, DemoOptions, RunningGateway, run as tour},
    telemetry::{LogFormat, Redactor, init_logs},
};
use anyhow::Context;
use std::{collections::HashMap, fs, io::stdout, path::Path};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Make the calls, print a table of what came back, and exit with 0 if all of it is as described
    #[arg(long)]
    once: bool,
}

pub(super) fn run(args: &Args, format: LogFormat) -> Exit {
    let redactor = Redactor::default();
    // The tour provokes failures on purpose; their warnings would only be in its way.
    let _log = match init_logs(format, "error", redactor.clone()) {
        Ok(log) => log,
        Err(error) => {
            complain(&format!("error: {error}"));
            return Exit::Bug;
        }
    };
    let options = DemoOptions { once: args.once };
    let done = runtime().context("no runtime").and_then(|runtime| {
        runtime.block_on(tour(options, &mut stdout(), |config| start(config, format, redactor, args.once)))
    });
    match done {
        Ok(true) => Exit::Success,
        Ok(false) => Exit::Failure,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            Exit::Failure
        }
    }
}

/// Starts the real gateway from the example files, in a private folder.
async fn start(
    config: DemoConfig,
    format: LogFormat,
    redactor: Redactor,
    quiet: bool,
) -> anyhow::Result<RunningGateway> {
    let folder = tempfile::Builder::new().prefix("bascule-demo-").tempdir().context("no temporary folder")?;
    for (path, contents) in &config.files {
        write(&folder.path().join(path), contents)?;
    }
    let env: HashMap<String, String> = config.env.into_iter().collect();
    let admin_token = env.get("BASCULE_ADMIN_TOKEN").cloned().unwrap_or_default();
    let sources = Sources {
        path: Some(folder.path().to_path_buf()),
        env_prefixes: Vec::new(),
        env: Environment::from_map(env),
    };
    let running = Running::start(options(sources, format, redactor, quiet)).await.map_err(|error| {
        super::exit::start_failed(&error);
        anyhow::anyhow!("the gateway does not start")
    })?;
    Ok(RunningGateway {
        data: running.data,
        admin: running.admin,
        admin_token,
        shutdown: Box::new(move || {
            Box::pin(async move {
                running.shutdown().await;
                drop(folder);
            })
        }),
    })
}

fn write(path: &Path, contents: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    fs::write(path, contents).with_context(|| format!("{} cannot be written", path.display()))
}
