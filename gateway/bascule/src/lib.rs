//! Bascule, an integration gateway: third-party APIs declared in TOML, called through one binary that
//! retries, breaks circuits, limits, caches and traces, with each provider's peculiarities in a
//! sandboxed WebAssembly plugin.
//!
//! The modules below are listed from the highest layer to the lowest; a lower one never imports a
//! higher one, and siblings do not know each other (`cargo xtask check` enforces it).
//! ARCHITECTURE.md at the top of the repository tells how a call moves through them.

pub mod cli;
pub mod demo;

pub mod app;
pub mod simulate;

pub mod admin;
pub mod dataplane;
pub mod delivery;

pub mod pipeline;

pub mod server;
pub mod upstream;

pub mod net;
pub mod telemetry;

pub mod config;

pub mod model;
