//! What goes wrong when the host starts, when a plugin is loaded and when one is called.
//!
//! Three enums for three audiences: [`HostError`] stops the gateway, [`LoadError`] is a configuration
//! problem with a line that says what to change, [`PluginError`] is an outcome of one call.

use std::path::PathBuf;
use std::time::Duration;

use crate::bindings::bascule::plugin::types::Fault;
use crate::phase::Phase;

/// The host cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The engine refuses its configuration, with and without the pool.
    #[error("the WebAssembly engine cannot be set up")]
    Engine(#[source] wasmtime::Error),
    /// The folder for compiled code cannot be made or is not private.
    #[error("the folder for compiled plugins `{path}` cannot be used")]
    CacheDir {
        /// The folder.
        path: PathBuf,
        /// What the operating system says, or whose folder it is.
        #[source]
        source: std::io::Error,
    },
    /// The thread that counts CPU time cannot be started.
    #[error("the epoch thread cannot be started")]
    Ticker(#[source] std::io::Error),
}

/// A plugin that cannot be loaded. The texts are for the person who wrote the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Larger than `limits.artifact`.
    #[error("the file has {size} octets, more than the {limit} allowed")]
    TooLarge {
        /// Octets of the file.
        size: u64,
        /// Octets allowed.
        limit: u64,
    },
    /// The file is not the pinned one.
    #[error("the file has sha256 {actual}, but {expected} is pinned")]
    DigestMismatch {
        /// The pin, in hex.
        expected: String,
        /// What was found, in hex.
        actual: String,
    },
    /// Neither a WebAssembly component nor a core module.
    #[error("not a WebAssembly component or module")]
    NotWasm,
    /// A core module without `component-type` sections.
    #[error("a WebAssembly module that was not made with a bindings generator for bascule:plugin")]
    NotBindings {
        /// What could not be matched.
        #[source]
        source: SourceError,
    },
    /// A component that cannot be read.
    #[error("not a valid plugin component")]
    Malformed {
        /// What the reader says.
        #[source]
        source: SourceError,
    },
    /// Imports that a later version of the host may offer.
    #[error("`{interface}` is not in this version")]
    NotInThisVersion {
        /// The interface as the component names it.
        interface: String,
    },
    /// Made for another version of the contract, or for an interface that there never was.
    #[error("`{interface}` is unknown to this host, which speaks bascule:plugin@0.1.x")]
    UnknownInterface {
        /// The interface as the component names it.
        interface: String,
    },
    /// An interface of plugins in a backend, which runs in any host of its standard.
    #[error("`{interface}` is for plugins; a backend finds `wasi:*` interfaces alone")]
    NotForBackends {
        /// The interface as the component names it.
        interface: String,
    },
    /// No phase among the exports.
    #[error("the component exports no phase of bascule:plugin")]
    NoPhase,
    /// No phase among the exports, but one that makes it a backend.
    #[error(
        "the component serves requests by itself (`wasi:http/incoming-handler`): it belongs in the [component] of an \
         integration with type = \"wasm\""
    )]
    IsBackend,
    /// To be a backend, and without the export that makes it one.
    #[error(
        "the component does not export `wasi:http/incoming-handler@0.2`, and so can serve no requests by itself"
    )]
    NotBackend,
    /// `phases` names one that the component does not export.
    #[error("`phases` names `{phase}`, which the component does not export (it exports: {exported})")]
    PhaseMissing {
        /// The phase named.
        phase: Phase,
        /// What there is, comma-separated.
        exported: String,
    },
    /// Imports that the configuration does not grant.
    #[error("the component imports `{}`; add `{line}` to its {table} table", .interfaces.join("`, `"))]
    MissingGrant {
        /// Where the line belongs: `[[plugins]]` or `[component]`.
        table: &'static str,
        /// The interfaces as the component names them.
        interfaces: Vec<String>,
        /// The line to add, in place of the one that is there: it repeats what is granted already.
        line: String,
    },
    /// A limit of zero.
    #[error("the limit `{limit}` is zero")]
    ZeroLimit {
        /// Its name.
        limit: &'static str,
    },
    /// A limit above what any configuration may allow.
    #[error("the limit `{limit}` is higher than {cap}")]
    LimitTooHigh {
        /// Its name.
        limit: &'static str,
        /// The highest value, as the configuration would write it.
        cap: &'static str,
    },
    /// `config` is no table.
    #[error("`config` is not a table")]
    ConfigNotTable,
    /// The plugin's own check found problems.
    #[error("the plugin refuses its configuration: {}", .problems.join("; "))]
    BadConfig {
        /// One text per problem, as the plugin put it.
        problems: Vec<String>,
    },
    /// A phase whose functions do not have the contract's types.
    #[error("the phase `{phase}` does not fit the contract")]
    WrongTypes {
        /// The interface.
        phase: &'static str,
        /// The engine's explanation.
        #[source]
        source: SourceError,
    },
    /// The trial run at load time failed.
    #[error("the plugin fails when it is started")]
    Trial(#[source] PluginError),
    /// Compilation, or reading compiled code, failed.
    #[error("the plugin cannot be compiled")]
    Compile {
        /// The engine's explanation.
        #[source]
        source: SourceError,
    },
    /// More code than is compiled here.
    #[error("the plugin has more than {limit} {what}")]
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// Compilation took too long and was given up.
    #[error("the plugin was not compiled within {limit:?}")]
    CompileTimeout {
        /// The time allowed.
        limit: Duration,
    },
    /// The compiled code cannot be stored.
    #[error("the compiled plugin cannot be stored")]
    Store(#[source] std::io::Error),
}

/// An error of the engine or its tools, whose types are not part of this crate's surface.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Why one call of a plugin gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The plugin answered with a fault; checked, and known secrets blanked out. Of a backend: an error in place of an
    /// answer.
    #[error("the plugin answered with the fault `{}`", .0.code)]
    Fault(Fault),
    /// The guest trapped. The message is for logs.
    #[error("the plugin trapped: {message}")]
    Trapped {
        /// Where it panicked or which trap it was, with the last error line that it logged.
        message: String,
    },
    /// CPU or wall time ran out.
    #[error("the plugin used up its {kind} time of {limit:?}")]
    TimedOut {
        /// Which clock.
        kind: TimeoutKind,
        /// The limit.
        limit: Duration,
    },
    /// Memory ran out: the plugin's own, or that of all instances together.
    #[error("the plugin needs more than the {limit} octets of memory allowed")]
    OutOfMemory {
        /// Octets, of whichever limit was met.
        limit: u64,
    },
    /// No instance was free within 50 ms.
    #[error("no instance of the plugin was free in time")]
    Busy,
    /// The plugin's own breaker is open.
    #[error("the plugin is out of service after repeated failures")]
    Unavailable {
        /// Time until the next probe.
        retry_after: Duration,
    },
    /// An answer that breaks a rule of the contract.
    #[error("the plugin gave an answer that cannot be used: {reason}")]
    BadAnswer {
        /// Which rule.
        reason: String,
    },
}

/// Which clock a limit is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutKind {
    /// Time in which the guest ran.
    Cpu,
    /// Time since the call began, waiting included.
    Wall,
}

impl std::fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU",
            Self::Wall => "wall",
        })
    }
}

impl PluginError {
    /// The kind of failure as a metric label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Fault(_) => "fault",
            Self::Trapped { .. } => "trap",
            Self::TimedOut { kind: TimeoutKind::Cpu, .. } => "cpu",
            Self::TimedOut { kind: TimeoutKind::Wall, .. } => "wall",
            Self::OutOfMemory { .. } => "memory",
            Self::Busy => "busy",
            Self::Unavailable { .. } => "unavailable",
            Self::BadAnswer { .. } => "bad-answer",
        }
    }

    pub(crate) fn bad_answer(reason: impl Into<String>) -> Self {
        Self::BadAnswer { reason: reason.into() }
    }
}
