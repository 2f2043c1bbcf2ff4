//! Composition: a configuration becomes a running gateway.
//!
//! Start order: telemetry, plugins, integrations, listeners. Stop order: not ready, stop accepting,
//! let calls finish, flush telemetry. A reload builds a whole new generation beside the running one
//! and swaps it in; when anything is wrong with it, nothing has changed.

mod breakers;
mod build;
mod builtin;
mod control;
mod export;
mod integration;
mod levels;
mod plugins;
mod running;
mod side;

pub use build::{Parts, build};
pub use builtin::{BuiltinError, shipped};
pub use plugins::plugin_host;
pub use running::{Assembled, Options, Running, StartError, assemble};
