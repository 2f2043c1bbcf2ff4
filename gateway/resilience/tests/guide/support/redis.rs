//! A Redis server of the test's own. It keeps nothing on disk: what was in it is gone after a restart.

use std::process::{Child, Command};

use tempfile::TempDir;

use super::process;

/// A server that can be stopped and started again.
pub(crate) struct Redis {
    folder: TempDir,
    child: Option<Child>,
}

impl Redis {
    /// A server that takes connections.
    pub(crate) async fn start() -> Self {
        let mut server = Self { folder: tempfile::tempdir().unwrap(), child: None };
        server.restart().await;
        server
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.folder.path().join("socket").display())
    }

    /// Starts it again after [`stop`](Self::stop).
    pub(crate) async fn restart(&mut self) {
        let mut redis = Command::new(process::program("redis-server"));
        // No TCP, no dumps; the empty argument is how Redis is told so.
        redis.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        redis.arg("--unixsocket").arg(self.folder.path().join("socket"));
        redis.arg("--dir").arg(self.folder.path());
        let log = self.folder.path().join("log");
        let client = redis::Client::open(self.url()).unwrap();
        let child = self.child.insert(process::start(&mut redis, &log));
        process::ready(child, &log, async || client.get_multiplexed_async_connection().await.is_ok()).await;
    }

    /// Ends it at once, with all its connections.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
