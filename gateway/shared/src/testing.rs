//! A Redis server of a test's own, and a way to it that can be made slow. For tests only.
//!
//! The server listens on a socket in a folder of its own, so that no port is needed, and keeps nothing on disk: what was
//! in it is gone after a restart.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The program.
const PROGRAM: &str = "redis-server";

/// The longest that a server may take to listen: a busy machine needs seconds.
const READY_MAX: Duration = Duration::from_secs(40);

/// Between two looks at whether it does.
const PAUSE: Duration = Duration::from_millis(10);

/// A server that can be stopped and started again.
pub struct RedisServer {
    folder: TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// A server that takes connections.
    ///
    /// # Errors
    /// When the program is not installed (`cargo xtask servers` installs it) or does not get ready.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same with further arguments, such as `--requirepass`.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn start_with(arguments: &[&str]) -> io::Result<Self> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { folder: tempfile::tempdir()?, arguments, child: None };
        server.restart().await?;
        Ok(server)
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Starts it again after [`stop`](Self::stop).
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn restart(&mut self) -> io::Result<()> {
        self.stop();
        let mut redis = Command::new(PROGRAM);
        // No TCP and no dumps; the empty argument is how the server is told so.
        redis.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        redis.arg("--unixsocket").arg(self.socket()).arg("--dir").arg(self.folder.path());
        redis.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = redis.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{PROGRAM}: {error}; `cargo xtask servers` installs it"))
        })?;
        self.child = Some(child);
        let ready = async {
            while UnixStream::connect(self.socket()).await.is_err() {
                sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(READY_MAX, ready).await.map_err(io::Error::other)
    }

    /// Ends it at once, with all its connections. It is listening no longer when this returns.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_file(self.socket());
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A TCP port in front of a [`RedisServer`], which passes everything on or, when it is held, nothing.
pub struct Relay {
    port: u16,
    held: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// A relay on a free port.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(server: &RedisServer) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (held, hold) = watch::channel(false);
        let socket = server.socket();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (socket, hold) = (socket.clone(), hold.clone());
                connections.spawn(async move {
                    if let Ok(server) = UnixStream::connect(socket).await {
                        let (from_client, to_client) = client.into_split();
                        let (from_server, to_server) = server.into_split();
                        tokio::select! {
                            () = pass(from_client, to_server, hold.clone()) => {}
                            () = pass(from_server, to_client, hold) => {}
                        }
                    }
                });
            }
        });
        Ok(Self { port, held, _tasks: tasks })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Passes nothing on, or everything again. Connections stay open, as with a server that hangs.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

async fn pass(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    mut hold: watch::Receiver<bool>,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let free = hold.wait_for(|held| !held).await.is_ok();
        let Some(octets) = buffer.get(..length).filter(|_| free) else { return };
        if to.write_all(octets).await.is_err() {
            return;
        }
    }
}
