//! What several gateways share through one Redis or Valkey server.
//!
//! The decision behind it: the server may speed things up and may never hold anything up. Every call is answered within
//! one bound, [`Options::timeout`]; a server that is away or slow is noticed, and then calls fail at once, without a
//! wait, until it is back. Whoever calls goes on with what it has of its own.
//!
//! ```text
//!              connected, greeted, PING answered in time
//!     AWAY ────────────────────────────────────────────► CONNECTED
//!      ▲  │ tries again, 50 ms to 2 s between two tries      │
//!      │  └──► AWAY                                          │
//!      └─────────────────────────────────────────────────────┘
//!        connection lost · 5 timeouts within a second or in a row · a server that says it cannot serve
//! ```
//!
//! | state     | a call                                                                                         |
//! |-----------|------------------------------------------------------------------------------------------------|
//! | away      | fails at once                                                                                  |
//! | connected | is answered, or fails: at once when [`Options::unanswered_max`] are out, else within the timeout |
//!
//! All calls go over one connection, which is pipelined and carries what is published, too ([`Shared::subscribe`]). It
//! speaks RESP3, which Redis has since 6.0 and Valkey from its beginning, to one server: a cluster is to be reached
//! through a proxy, and keys that belong together carry a hash tag, so that such a proxy keeps them together.
//!
//! The crate knows nothing of what is shared: no limits, no circuits, no cache. It needs a tokio runtime.

mod call;
mod connect;
mod health;
mod hub;
mod keeper;
mod live;
mod reply;
mod server;
mod shared;
#[cfg(feature = "testing")]
pub mod testing;

pub use call::{CallError, Command, Script};
pub use connect::ConnectError;
pub use health::Health;
pub use hub::{Notice, Subscription};
pub use reply::Reply;
pub use server::{Server, ServerProblem};
pub use shared::{Options, Shared};
