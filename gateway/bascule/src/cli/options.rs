//! Options that several verbs share.

use crate::{
    app::Options,
    config::{Environment, Sources},
    telemetry::{LogFormat, Redactor},
};
use clap::{Args, ValueEnum};
use std::{io, num::NonZeroUsize, path::PathBuf};
use tokio::runtime::{Builder, Runtime};

/// How often a worker looks at timers and sockets, in polls. tokio's 61 lets a few busy plugin calls
/// starve timers for hundreds of milliseconds; measured with yielding guests, 4 does not.
const EVENT_INTERVAL: u32 = 4;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormatArg {
    Text,
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> Self {
        match format {
            LogFormatArg::Text => Self::Text,
            LogFormatArg::Json => Self::Json,
        }
    }
}

/// How a verb prints what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    Human,
    Json,
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub(super) struct ConfigArg {
    /// A file, or a folder that holds `bascule.toml`
    /// [default: ./bascule.toml, then /etc/bascule/bascule.toml]
    #[arg(long, short, value_name = "PATH", env = "BASCULE_CONFIG")]
    pub(super) config: Option<PathBuf>,
}

impl ConfigArg {
    pub(super) fn sources(&self) -> Sources {
        Sources { path: self.config.clone(), env_prefixes: Vec::new(), env: Environment::process() }
    }
}

/// Start options over these sources. Compiled plugins are kept in the user's cache folder.
pub(super) fn options(sources: Sources, log_format: LogFormat, redactor: Redactor, quiet: bool) -> Options {
    Options { sources, log_format, plugin_cache: cache_folder(), redactor, quiet }
}

/// Where compiled and fetched plugins are kept; none without a home.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("bascule").join("plugins"))
}

/// The runtime that everything runs on: a worker per core.
pub(super) fn runtime() -> io::Result<Runtime> {
    let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Builder::new_multi_thread().worker_threads(workers).event_interval(EVENT_INTERVAL).enable_all().build()
}
