//! A durable queue of calls to be delivered later, in one SQLite file.
//!
//! What is queued is a call of an operation with its idempotency key: whoever reads the queue makes the call with that
//! very key, as often as it takes. What [`Outbox::enqueue`] has accepted is on the disk (write-ahead log,
//! `synchronous = FULL`) and survives a killed process as well as a power cut; what was being delivered then is
//! delivered again. So delivery is *at least once*, and the key is what makes it once.
//!
//! ```text
//!            enqueue                 claim                  finish(done)
//!  (nothing) ───────► waiting ─────────────────► running ─────────────────► done ── retention ──► (nothing)
//!                      ▲   │  ◄── retry_later, put_back ──┤                               ▲
//!                      │   │      and the next open       │ finish(dead)                  │
//!                      │   └────── give_up_after ────────►▼                               │
//!                      └─────── retry, enqueue ───────── dead ───────── retention ────────┘
//! ```
//!
//! One thread owns the connection and takes what waits for it in one transaction: that is the group commit. The crate
//! has no clock (methods take `now`), knows nothing of what it keeps (parameters, headers and body are octets to it),
//! and needs no async runtime: every method but [`Outbox::levels`] blocks for about one write to the disk, so async
//! code calls them from a thread that may block.

mod bounds;
mod entry;
mod error;
mod maintain;
mod open;
mod outbox;
mod row;
mod store;
mod writer;

pub use bounds::Bounds;
pub use entry::{Answer, Call, Ending, Entry, Lane, Level, Page, Place, State};
pub use error::{EnqueueError, Error, OpenError};
pub use maintain::{Removed, Retried, Tidied};
pub use outbox::Outbox;
pub use store::Queued;

/// Most octets of an answer that are kept; what is beyond is cut off ([`Answer::cut`]).
pub const ANSWER_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests;
