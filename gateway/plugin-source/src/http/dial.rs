//! From an URL to a connection: resolve, ask the egress rule, connect, and TLS unless it is this machine.
//!
//! The addresses that were asked about are the ones connected to; the name is not resolved again.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::{Host, Url};

use super::{Http, shown};
use crate::error::FetchError;

/// Most addresses tried for one name.
const ADDRESSES_MAX: usize = 8;

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Http {
    /// A connection to the URL's host, opened within the time for connecting, handshake included.
    pub(super) async fn dial(&self, url: &Url) -> Result<Box<dyn Stream>, FetchError> {
        let unreachable = |source| FetchError::Unreachable { host: host_of(url), source };
        let timed_out = |_elapsed| unreachable(io::ErrorKind::TimedOut.into());
        timeout(self.connect, self.dial_unhurried(url)).await.map_err(timed_out)?
    }

    async fn dial_unhurried(&self, url: &Url) -> Result<Box<dyn Stream>, FetchError> {
        let host = host_of(url);
        let unreachable = |source| FetchError::Unreachable { host: host.clone(), source };
        let addresses = addresses(url).await.map_err(unreachable)?;
        for address in addresses.iter().map(SocketAddr::ip) {
            if url.scheme() != "https" && !address.is_loopback() {
                return Err(FetchError::PlainHttp { url: shown(url) });
            }
            if !(self.egress)(&host, address) {
                return Err(FetchError::EgressDenied { host, address });
            }
        }
        // Several addresses are tried in the resolver's order; the last one's failure is the one told.
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(unreachable)?;
        if url.scheme() != "https" {
            return Ok(Box::new(stream));
        }
        let tls = |source| FetchError::Tls { host: host.clone(), source };
        let name = server_name(url).ok_or_else(|| tls(io::ErrorKind::InvalidInput.into()))?;
        let stream = self.tls.connect(name, stream).await.map_err(tls)?;
        Ok(Box::new(stream))
    }
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

async fn addresses(url: &Url) -> io::Result<Vec<SocketAddr>> {
    let port = url.port_or_known_default().unwrap_or_default();
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![(IpAddr::from(address), port).into()],
        Some(Host::Ipv6(address)) => vec![(IpAddr::from(address), port).into()],
        Some(Host::Domain(name)) => lookup_host((name, port)).await?.take(ADDRESSES_MAX).collect(),
        None => Vec::new(),
    };
    if addresses.is_empty() {
        return Err(io::Error::other("it has no address"));
    }
    Ok(addresses)
}

fn server_name(url: &Url) -> Option<ServerName<'static>> {
    match url.host()? {
        Host::Domain(name) => ServerName::try_from(name.to_owned()).ok(),
        Host::Ipv4(address) => Some(ServerName::from(IpAddr::from(address))),
        Host::Ipv6(address) => Some(ServerName::from(IpAddr::from(address))),
    }
}
