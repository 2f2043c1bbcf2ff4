//! What a response store holds, kept in one SQLite file, so that a gateway that starts again starts warm.
//!
//! ```text
//! store ──key changed, purged──► pending ──► one thread ──asks the store what is there now──► file
//! store ◄──────────────── what is alive, once, at the start ◄─────────────────────────────────┘
//! ```
//!
//! Three decisions. **The file is worth nothing**: whatever is wrong with it (damage, a full disk, another owner), calls
//! go on without it, and a [`Notice`] says so. **A purge is worth everything**: it is never skipped, it is on the disk
//! (fsync) when [`Disk::when_settled`] says so; where it cannot be written the file is removed instead, and where another process
//! has the file, a mark beside it makes the next one who opens it begin empty. **What waits to be
//! written is keys**: the thread asks the store what is there when it comes to write it, so that nothing older than what is
//! stored, and nothing that was purged, is ever written.
//!
//! What was stored moments before a process is killed may be missing; what was stored under a key before that may be there
//! instead, for as long as it was to live. A file that could not be opened at the start begins empty when it can be.
//!
//! The crate reads no clock that was not passed in, logs nothing and knows no gateway.

mod disk;
mod error;
mod group;
mod mark;
mod open;
mod pending;
mod restore;
mod table;
mod writer;

pub use disk::{Clock, Disk, DiskStats, Notice, Options};
pub use error::{OpenError, Unsettled};
pub use restore::Restoration;

#[cfg(test)]
mod tests;
