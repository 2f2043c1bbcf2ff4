//! A server that takes connections and never says a word.

use std::net::{SocketAddr, TcpListener};

/// A port whose backlog takes connections that nobody accepts.
pub(crate) struct Silent {
    pub(crate) address: SocketAddr,
    _listener: TcpListener,
}

impl Silent {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { address: listener.local_addr().unwrap(), _listener: listener }
    }
}
