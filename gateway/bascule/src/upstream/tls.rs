//! TLS towards upstreams: one configuration for the process, rustls with aws-lc-rs.

use super::{SendError, SendErrorKind, error::describe};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A client-side TLS configuration. Cloning shares it, session tickets included.
#[derive(Clone)]
pub struct Tls(TlsConnector);

impl Tls {
    /// Trusts the operating system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), or
    /// Mozilla's where it has none. Offers HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// When the crypto provider refuses its own default protocol versions, which is a bug.
    pub fn new() -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// The settings, for a client that makes its own connections.
    pub fn config(&self) -> &Arc<ClientConfig> {
        self.0.config()
    }

    /// Performs the handshake.
    pub(super) async fn handshake(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, SendError> {
        let failed = |message: String| SendError::unsent(SendErrorKind::Tls, message);
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| failed(format!("{host} is no server name")))?;
        self.0.connect(name, stream).await.map_err(|error| failed(format!("{host}: {}", describe(&error))))
    }
}

/// Whether the peer chose HTTP/2.
pub(super) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
