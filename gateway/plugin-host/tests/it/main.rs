//! Real guests in the real host: each file is one promise of the host and the guests that try it.
//!
//! Guests are written in WAT and made plugins by the same sections that a bindings generator writes, so
//! every test also takes the way of a core module through the host.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod bodies;
mod breaker;
mod inspecting;
mod limits;
mod loading;
mod logging;
mod phases;
mod rehearsal;
mod signing;
mod support;
