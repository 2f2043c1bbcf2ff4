//! Integration tests: the real gateway in front of scripted providers, over real sockets.
//!
//! Every test starts its own gateway on free ports from its own configuration, so they run in
//! parallel and share nothing but the process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "this package is tests: a panic is how they say no"
)]

mod support;

#[path = "../../gateway/plugin-source/tests/it/registry.rs"]
#[expect(dead_code, reason = "what only the library's own tests need")]
mod registry;
#[path = "../../gateway/plugin-source/tests/it/server.rs"]
mod server;

mod admin;
mod auth;
mod cache;
mod calls;
mod cli;
mod components;
mod config_errors;
mod crowd;
mod fallback;
mod fan_out;
mod hot_swap;
mod http_cache;
mod journal;
mod ladder;
mod ledger;
mod limits;
mod metrics;
mod mission;
mod outbox;
mod plugin_contract;
mod plugin_failures;
mod plugin_faults;
mod plugin_platform;
mod plugin_sandbox;
mod plugin_secrets;
mod plugin_sources;
mod plugin_tokens;
mod plugin_verdicts;
mod plugins;
mod plugins_shipped;
mod proxy;
mod quota_forms;
mod rate_limit;
mod rehearsals;
mod reload;
mod resilience;
mod retry;
mod second_level;
mod secrets;
mod shared_breakers;
mod shared_state;
mod sigv4_vectors;
mod simulate;
mod streaming;
mod swaps;
mod telemetry;
mod timeouts;
mod traffic;
mod traps;
mod upstream_faults;
mod warm_restart;
