//! Integration tests: the real gateway in front of scripted providers, over real sockets.
//!
//! Every test starts its own gateway on free ports from its own configuration, so they run in
//! parallel and share nothing but the process.

mod support;

mod calls;
mod admin;
mod cli;
mod config_errors;
mod metrics;
mod mission;
mod plugin_faults;
mod plugin_sandbox;
mod plugins;
mod plugins_shipped;
mod reload;
mod secrets;
mod sigv4_vectors;
mod telemetry;
