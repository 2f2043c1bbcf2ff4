//! The way out: every socket that Bascule opens to somebody else's server.
//!
//! [`connect`] resolves a name once, checks every address against the egress rules and connects to a
//! checked one; everything else here goes through it. [`Client`] keeps an integration's connections
//! (HTTP/1.1, or HTTP/2 where TLS negotiates it), [`TokenCell`] a token of its. Nothing here knows
//! retries, breakers or plugins: one call of [`Client::send`] is one exchange.

mod body;
mod client;
mod connect;
mod egress;
mod error;
mod exchange;
mod pool;
mod tls;
mod token;

pub use body::{CallerSide, RequestBody};
pub use client::{Client, ClientSettings, Endpoint};
pub use connect::connect;
pub use egress::EgressPolicy;
pub use error::{SendError, SendErrorKind};
pub use exchange::{Exchange, Head};
pub use tls::Tls;
pub(crate) use token::{FETCH_LIMIT, fresh};
pub use token::{TokenCell, TokenError};
