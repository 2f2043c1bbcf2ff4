//! `bascule serve`.

use super::{
    exit::{Exit, complain, start_failed},
    options::{ConfigArg, options, runtime},
};
use crate::{
    app::Running,
    telemetry::{LogFormat, Redactor, init_logs},
};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Set up an integration from the environment alone: PREFIX_BASE_URL and its kin serve /proxy/prefix/
    #[arg(long = "env", value_name = "PREFIX")]
    env: Vec<String>,
}

pub(super) fn run(args: Args, format: LogFormat) -> Exit {
    let redactor = Redactor::default();
    let _log = match init_logs(format, "info", redactor.clone()) {
        Ok(log) => log,
        Err(error) => {
            complain(&format!("error: {error}"));
            return Exit::Bug;
        }
    };
    let mut sources = args.config.sources();
    sources.env_prefixes = args.env;
    let options = options(sources, format, redactor, false);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: no runtime: {error}"));
            return Exit::Bug;
        }
    };
    runtime.block_on(async {
        let running = match Running::start(options).await {
            Ok(running) => running,
            Err(error) => return start_failed(&error),
        };
        tracing::info!(data = %running.data, admin = %running.admin, "listening");
        if let Err(error) = until_told(&running).await {
            complain(&format!("error: no signals: {error}"));
        }
        tracing::info!("draining");
        if running.shutdown().await { Exit::Success } else { Exit::Drain }
    })
}

/// TERM and INT end the gateway, HUP reloads its configuration.
async fn until_told(running: &Running) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                if let Err(problems) = running.reload().await {
                    tracing::error!("the new configuration has problems; the old one stays");
                    complain(&problems.render_human(false));
                }
            }
        }
    }
}
