//! Whole fetches against servers that the tests start in their own process: honest ones and liars.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod egress;
mod files;
mod https;
mod locking;
mod lying;
mod pulling;
mod registry;
mod server;
mod signing;
mod support;
