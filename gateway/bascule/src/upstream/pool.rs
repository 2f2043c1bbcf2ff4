//! Kept connections to one endpoint.
//!
//! HTTP/1.1 connections are handed out one exchange at a time and come back when the answer has been
//! read to its end; an answer that is dropped half-read closes its connection. One HTTP/2 connection
//! is shared by everybody. How many connections there can be is bounded by the integration's
//! concurrency limit, which every exchange holds a permit of; how many are *kept* is bounded here.

use super::RequestBody;
use crate::net::Traffic;
use hyper::client::conn::{http1, http2};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Connections kept per endpoint: the default concurrency of common HTTP clients; more are closed after use.
const IDLE_MAX: usize = 64;

/// How long a connection is kept unused. Providers commonly close after 60 s or more; staying below
/// that avoids most races with their close.
const IDLE_LIFETIME: Duration = Duration::from_secs(50);

/// An HTTP/1.1 connection that is free.
pub(super) struct Kept {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) traffic: Arc<Traffic>,
}

/// The HTTP/2 connection.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) sender: http2::SendRequest<RequestBody>,
    pub(super) traffic: Arc<Traffic>,
}

#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<(Kept, Instant)>>,
    shared: Mutex<Option<Shared>>,
}

impl Pool {
    /// The most recently used connection that is still open.
    pub(super) fn take(&self) -> Option<Kept> {
        let mut idle = self.idle.lock();
        while let Some((kept, since)) = idle.pop() {
            if since.elapsed() > IDLE_LIFETIME {
                // Older ones lie below: all of them have outlived their time.
                idle.clear();
                return None;
            }
            if !kept.sender.is_closed() {
                return Some(kept);
            }
        }
        None
    }

    /// Keeps a connection for the next exchange.
    pub(super) fn give_back(&self, kept: Kept) {
        if kept.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push((kept, Instant::now()));
    }

    /// The HTTP/2 connection while it is open.
    pub(super) fn shared(&self) -> Option<Shared> {
        let mut shared = self.shared.lock();
        if shared.as_ref().is_some_and(|connection| connection.sender.is_closed()) {
            *shared = None;
        }
        shared.clone()
    }

    /// Makes a new HTTP/2 connection the shared one.
    pub(super) fn share(&self, connection: Shared) {
        *self.shared.lock() = Some(connection);
    }
}
