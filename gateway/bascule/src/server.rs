//! The way in: a listener that hands every HTTP/1.1 and HTTP/2 request to a [`Handler`].
//!
//! It owns sockets, limits and draining, and knows nothing of integrations. The data plane and the
//! admin plane are both handlers of it. A failed `accept` is waited out, never fatal; a connection's
//! set-up happens in its own task, never in the accept loop.

mod listener;
mod tls;

pub use listener::{Handler, Listener, ListenerError, ServerBody};
pub use tls::{ServerTls, ServerTlsError};
