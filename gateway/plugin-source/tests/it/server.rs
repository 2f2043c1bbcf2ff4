//! A small HTTP server on a free port of this machine, with or without TLS. The gateway's tests use it too.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Takes a request, its body read, and gives the answer.
pub(crate) type Handler = dyn Fn(Request<Bytes>) -> Answer + Send + Sync;

/// A server; it goes with this.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn serve(
    handler: impl Fn(Request<Bytes>) -> Answer + Send + Sync + 'static,
    tls: Option<Arc<ServerConfig>>,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler: Arc<Handler> = Arc::new(handler);
    let acceptor = tls.map(TlsAcceptor::from);
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (handler, acceptor) = (handler.clone(), acceptor.clone());
            connections.spawn(async move {
                match acceptor {
                    None => converse(stream, handler).await,
                    // A client that does not trust the certificate ends the handshake.
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            converse(stream, handler).await;
                        }
                    }
                }
            });
        }
    });
    Server { address, task }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, handler: Arc<Handler>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            Ok::<_, Infallible>(handler(Request::from_parts(head, body)))
        }
    });
    // A client that has enough closes the connection.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The repository's certificate for `localhost`, and a client that trusts it alone.
pub(crate) fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let certificate = include_bytes!("../../../../tests/data/tls/cert.pem");
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../../../tests/data/tls/key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    (Arc::new(server), client(roots))
}

pub(crate) fn client(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(client.with_root_certificates(roots).with_no_client_auth())
}

pub(crate) fn full(body: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(body.into()).boxed()
}

/// An answer of that status with these headers.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(full(body)).unwrap()
}

/// A body that goes on for ever, or says one octet and then nothing more.
pub(crate) enum Odd {
    Endless,
    Stuck { said: bool },
}

impl Body for Odd {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Endless => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 65536]))))),
            Self::Stuck { said } if !*said => {
                *said = true;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"\0")))))
            }
            Self::Stuck { .. } => Poll::Pending,
        }
    }
}
