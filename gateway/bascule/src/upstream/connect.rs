//! The one function through which every outgoing socket goes.

use super::{EgressPolicy, SendError, SendErrorKind, error::describe};
use crate::model::TimeoutKind;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

/// Most addresses tried for one name: enough for any dual-stacked provider, and a bound on the wait.
const ADDRESSES_MAX: usize = 8;

/// Resolves `host` once, refuses if *any* of its addresses is not allowed, and connects to one of them
/// in the resolver's order. The whole takes at most `limit`. Cancel-safe: dropping it opens nothing.
///
/// # Errors
/// `Dns` when the name has no address, `Egress` when an address is not allowed, `Connect` when none
/// answers, `Timeout(Connect)` when the limit passes.
pub async fn connect(
    host: &str,
    port: u16,
    policy: EgressPolicy,
    limit: Duration,
) -> Result<TcpStream, SendError> {
    let deadline = Instant::now() + limit;
    let timed_out = || {
        let message = format!("no connection to {host}:{port} within {} ms", limit.as_millis());
        SendError::unsent(SendErrorKind::Timeout(TimeoutKind::Connect), message)
    };
    let addresses = timeout_at(deadline, resolve(host, port)).await.map_err(|_| timed_out())??;
    if let Some(denied) = addresses.iter().find(|address| !policy.allows(address.ip())) {
        let message = format!("{host} resolves to {}, which is not allowed", denied.ip());
        return Err(SendError::unsent(SendErrorKind::Egress, message));
    }
    let mut last = None;
    for (index, address) in addresses.iter().enumerate() {
        // Every address gets an equal share of what is left, so that a dead first one does not eat it all.
        let left = deadline.saturating_duration_since(Instant::now());
        let shares = u32::try_from(addresses.len().saturating_sub(index)).unwrap_or(1).max(1);
        match timeout_at(Instant::now() + left / shares, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small requests must not wait for the previous one's acknowledgement.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = Some(format!("{address}: {}", describe(&error))),
            Err(_) if Instant::now() >= deadline => return Err(timed_out()),
            Err(_) => last = Some(format!("{address}: no answer")),
        }
    }
    let message = last.unwrap_or_else(|| format!("{host} has no address"));
    Err(SendError::unsent(SendErrorKind::Connect, message))
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, SendError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let dns = |message: String| SendError::unsent(SendErrorKind::Dns, message);
    let found =
        lookup_host((host, port)).await.map_err(|error| dns(format!("{host}: {}", describe(&error))))?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() { Err(dns(format!("{host} has no address"))) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn loopback_needs_permission_even_by_name() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let denied = connect(host, port, EgressPolicy::default(), LIMIT).await.unwrap_err();
            assert_eq!(denied.kind, SendErrorKind::Egress, "{host}");
            assert!(!denied.sent);
        }
        let policy = EgressPolicy { allow_loopback: true, allow_private: false };
        assert!(connect("127.0.0.1", port, policy, LIMIT).await.is_ok());
    }

    #[tokio::test]
    async fn a_closed_port_is_a_connect_failure() {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let policy = EgressPolicy { allow_loopback: true, allow_private: false };
        let error = connect("127.0.0.1", port, policy, LIMIT).await.unwrap_err();
        assert_eq!(error.kind, SendErrorKind::Connect);
    }
}
