//! HTTP mode from end to end, as a gateway drives it: a small caching proxy on this crate's public interface, an origin
//! that answers as a test tells it, and a clock that only the test moves.
//!
//! The cases are those of the public suite (<https://cache-tests.fyi>) by their names there, as far as they are about what
//! a cache decides; how bytes come and go is the gateway's, which runs the suite itself.

#![expect(clippy::unwrap_used, reason = "what is wrong here fails the test")]

#[path = "http_mode/directives.rs"]
mod directives;
#[path = "http_mode/proxy.rs"]
mod proxy;
#[path = "http_mode/stale.rs"]
mod stale;
#[path = "http_mode/suite.rs"]
mod suite;
#[path = "http_mode/validation.rs"]
mod validation;
