//! `bascule serve`.

use super::{
    exit::{Exit, complain, start_failed},
    options::{ConfigArg, options, runtime},
};
use crate::{
    app::Running,
    telemetry::{LogFormat, Redactor, init_logs},
};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long blocking work may go on after the drain.
const LEFTOVERS_MAX: Duration = Duration::from_secs(1);

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
    let exit = runtime.block_on(async {
        let running = match Running::start(options).await {
            Ok(running) => running,
            Err(error) => return start_failed(&error),
        };
        tracing::info!(data = %running.data, admin = %running.admin, "listening");
        if let Err(error) = until_told(&running).await {
            complain(&format!("error: no signals: {error}"));
        }
        tracing::info!("draining");
        // Whoever asks a second time means now.
        tokio::select! {
            drained = running.shutdown() => if drained { Exit::Success } else { Exit::Drain },
            _ = until_stopped() => Exit::Drain,
        }
    });
    // Blocking work (a name that does not resolve, a plugin being compiled) does not hold up the exit.
    runtime.shutdown_timeout(LEFTOVERS_MAX);
    exit
}

/// The next TERM or INT.
async fn until_stopped() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// TERM and INT end the gateway, HUP reloads its configuration.
async fn until_told(running: &Running) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let stopped = until_stopped();
    let mut stopped = std::pin::pin!(stopped);
    loop {
        tokio::select! {
            stopped = &mut stopped => return stopped,
            _ = hangup.recv() => {
                if let Err(problems) = running.reload().await {
                    tracing::error!("the new configuration has problems; the old one stays");
                    complain(&problems.render_human(false));
                }
            }
        }
    }
}
