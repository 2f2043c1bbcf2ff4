//! A second level of the response store, in one Redis or Valkey that several gateways share.
//!
//! ```text
//!   miss ──► GET, then the purges of what it belongs to ──► valid ──► the store ──► a hit
//!   store ──key changed──► pending ──► SET, for as long as it lives
//!   store ──purged───────► pending ──► a number, kept and published ──► the stores of the others
//! ```
//!
//! Three decisions. **The server is never needed**: whatever it does not answer within its bound is a miss. **It is never
//! believed**: what it holds is sealed with the gateways' key, together with the name that it has there, and only what
//! verifies is used. **A purge is a number**: the server numbers purges in the order in which it hears of them; an entry is
//! stored with the number up to which its gateway had heard of all of them, and is not used when anything that it belongs to
//! was purged later. So an answer that was under way when something was purged elsewhere is recognised on every gateway.
//!
//! Purges are published as well, so that the other gateways drop what they hold themselves. Who was cut off asks for what
//! it missed. A purge that cannot be sent waits, and is never skipped; for as long as the server is away gateways do not
//! hear of each other's purges.
//!
//! It knows no gateway and no pipeline.

mod level;
mod pending;
mod purges;
mod seal;

pub use level::{Clock, Level, LevelStats, Options};

#[cfg(test)]
mod tests;
