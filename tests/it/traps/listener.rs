//! Traps around accepting connections.

use crate::support::{Gateway, Provider, Served, config_folder, eventually, reply, until};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A certificate for `localhost` and its key, valid until 2126.
const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/tls");
/// What the gateway needs for itself, and some connections besides.
const FILES: u32 = 64;

async fn idle(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(TcpStream::connect(address).await.expect("a listener"));
    }
    connections
}

#[tokio::test]
async fn an_accept_error_does_not_kill_the_server() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let api = format!("base_url = \"{}\"\n[operations.get]\npath = \"/get\"\n", provider.url());
    let folder = config_folder(&Gateway::base(""), &[("api", &api)]);
    let served = Served::start_with_files(folder.path(), FILES).await;
    assert_eq!(served.data().get("/v1/api/get").await.status, 200);
    let connections = idle(served.data().address(), FILES as usize * 2).await;
    until("no descriptor is left", || {
        served.printed().contains("a connection could not be accepted").then_some(())
    })
    .await;
    drop(connections);
    eventually("calls are answered again", async || {
        served.data().get("/v1/api/get").await.status == StatusCode::OK
    })
    .await;
}

async fn get_over_tls(address: SocketAddr) -> StatusCode {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(format!("{TLS}/cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::get("/v1/api/get").header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
    sender.send_request(request).await.unwrap().status()
}

#[tokio::test]
async fn a_tls_handshake_is_never_inside_the_accept_loop() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let api = format!("base_url = \"{}\"\n[operations.get]\npath = \"/get\"\n", provider.url());
    let base = Gateway::base("").replace(
        "[admin]",
        &format!("tls = {{ cert = \"{TLS}/cert.pem\", key = \"{TLS}/key.pem\" }}\n[admin]"),
    );
    let folder = config_folder(&base, &[("api", &api)]);
    let served = Served::start(folder.path(), &[], &[]).await;
    let silent = idle(served.data().address(), 20).await;
    assert_eq!(get_over_tls(served.data().address()).await, StatusCode::OK);
    // In the accept loop, the answer would come too, but only after each of these had been given up.
    for connection in &silent {
        let read = connection.try_read(&mut [0]);
        assert!(matches!(&read, Err(error) if error.kind() == io::ErrorKind::WouldBlock), "{read:?}");
    }
}
