//! Real guests in the real host: each file is one promise of the host and the guests that try it.
//!
//! Guests are written in WAT and made plugins by the same sections that a bindings generator writes, so
//! every test also takes the way of a core module through the host.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod backends;
mod bodies;
mod breaker;
mod granted;
mod hostile;
mod inspecting;
mod languages;
mod limits;
mod loading;
mod logging;
mod phases;
mod rehearsal;
mod side_requests;
mod signing;
mod state;
mod support;
mod tokens;
mod wasi;
