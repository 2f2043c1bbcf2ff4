//! One connection: the socket, TLS where the URL says so, the greeting.
//!
//! The socket is made here and not by the client library, so that TLS is the caller's own (one stack, its roots) and
//! one bound covers all of it. What is known to work is known by a PING that was answered in time.

use std::io;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::live::Live;
use crate::server::{Place, Server};
use crate::shared::Options;

/// Calls that wait to be written. More wait outside, within their own bound.
const WRITE_QUEUE: usize = 256;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// It took longer than [`Options::connect_timeout`].
    #[error("no connection within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The socket could not be opened.
    #[error("no connection: {0}")]
    Socket(#[from] io::Error),
    /// The URL asks for TLS, and no settings for it were given.
    #[error("TLS is asked for, and there are no settings for it")]
    NoTls,
    /// The host is no name that a certificate could have.
    #[error("the host is no name that a certificate could have")]
    Name(#[from] InvalidDnsNameError),
    /// The server does not accept user and password.
    #[error("the login was refused")]
    Login,
    /// The server answered the greeting with this error, or not as a server should.
    #[error("the server refused the greeting: {0}")]
    Greeting(String),
    /// It did not answer a PING within [`Options::timeout`].
    #[error("the server is too slow: no answer within {} ms", .0.as_millis())]
    Slow(Duration),
}

/// Opens a connection and makes sure that it is of use. The driver is a task that ends with the [`Live`].
pub(crate) async fn connect(
    server: &Server,
    options: &Options,
    pushed: impl AsyncPushSender,
) -> Result<Live, ConnectError> {
    let limit = options.connect_timeout;
    let opened = timeout(limit, open(server, options, pushed)).await;
    let live = opened.map_err(|_| ConnectError::TimedOut(limit))??;
    let mut connection = live.connection.clone();
    let ping = Cmd::new().arg("PING").to_owned();
    match timeout(options.timeout, ping.query_async::<redis::Value>(&mut connection)).await {
        Ok(Ok(_pong)) => Ok(live),
        Ok(Err(error)) => Err(refused(&error)),
        Err(_) => Err(ConnectError::Slow(options.timeout)),
    }
}

async fn open(
    server: &Server,
    options: &Options,
    pushed: impl AsyncPushSender,
) -> Result<Live, ConnectError> {
    match &server.place {
        Place::Unix(path) => greet(UnixStream::connect(path).await?, server, pushed).await,
        Place::Tcp { host, port, tls } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            // Small commands must not wait for the acknowledgement of the one before.
            stream.set_nodelay(true)?;
            if !tls {
                return greet(stream, server, pushed).await;
            }
            let config = options.tls.clone().ok_or(ConnectError::NoTls)?;
            let name = ServerName::try_from(host.clone())?;
            greet(TlsConnector::from(config).connect(name, stream).await?, server, pushed).await
        }
    }
}

async fn greet<S>(stream: S, server: &Server, pushed: impl AsyncPushSender) -> Result<Live, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(server.database.into())
        .set_lib_name("bascule", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &server.username {
        info = info.set_username(username);
    }
    if let Some(password) = &server.password {
        info = info.set_password(password);
    }
    // The bound of a call is its caller's, and counts the wait for the queue as well.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_pipeline_buffer_size(WRITE_QUEUE)
        .set_push_sender(pushed);
    let opened = MultiplexedConnection::new_with_config(&info, stream, config).await;
    let (connection, driver) = opened.map_err(|error| refused(&error))?;
    Ok(Live::new(connection, driver))
}

/// The error in words that have nothing of the login in them.
fn refused(error: &RedisError) -> ConnectError {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH")) => ConnectError::Login,
        (_, Some(code)) => ConnectError::Greeting(code.to_owned()),
        (_, None) => ConnectError::Greeting(error.category().to_owned()),
    }
}
