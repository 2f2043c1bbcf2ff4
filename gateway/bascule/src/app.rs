//! Composition: a configuration becomes a running gateway.
//!
//! Start order: telemetry, plugins, integrations, listeners. Stop order: not ready, stop accepting,
//! let calls finish, flush telemetry. A reload builds a whole new generation beside the running one
//! and swaps it in; when anything is wrong with it, nothing has changed. A version of a plugin that keeps failing
//! gives its place back to the one before (`rollback.rs`).

mod breakers;
mod build;
mod builtin;
mod control;
mod disk;
mod exchanges;
mod export;
mod integration;
mod levels;
mod plugins;
mod rollback;
mod running;
mod second_level;
mod side;
mod sources;
mod versions;
mod warm_up;
mod watch;

pub use build::{Parts, build};
pub use builtin::{BuiltinError, shipped};
pub use exchanges::exchange_files;
pub use plugins::plugin_host;
pub use running::{Assembled, Options, Running, StartError, assemble};
pub use sources::{PluginSources, floating, wanted};
