//! A PostgreSQL server of the test's own.
//!
//! It refuses to run as root, so that root hands its folder to another user and starts it as that one.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use tempfile::TempDir;

use super::process;

/// Users that a server started by root may run as, the best one first.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A server that can be stopped and started again; what was committed stays.
pub(crate) struct Postgres {
    folder: TempDir,
    /// Somebody else's user and group, when this runs as root.
    user: Option<(u32, u32)>,
    child: Option<Child>,
}

impl Postgres {
    /// A server that takes connections.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Whoever owns what this made is who this runs as.
        let is_root = fs::metadata(folder.path()).unwrap().uid() == 0;
        let user = is_root.then(other_user);
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut server = Self { folder, user, child: None };
        let mut initdb = server.command("initdb");
        initdb.args(["--username=test", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        process::run(initdb.arg("--pgdata").arg(server.data()));
        server.restart().await;
        server
    }

    /// Its address, in the form that libpq and its like read.
    pub(crate) fn url(&self) -> String {
        format!("host={} user=test dbname=postgres", self.folder.path().display())
    }

    /// Starts it again after [`stop`](Self::stop).
    pub(crate) async fn restart(&mut self) {
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        // No TCP, and no care for what a power cut would do.
        postgres.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"]);
        let log = self.folder.path().join("log");
        let url = self.url();
        let child = self.child.insert(process::start(&mut postgres, &log));
        process::ready(child, &log, async || {
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok()
        })
        .await;
    }

    /// Ends it at once, as a crash would, with all its connections.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Not by a kill: the server's own children would outlive it for a moment and hold what the next one needs.
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl.args(["stop", "--mode=immediate", "--silent", "--pgdata"]).arg(self.data());
        if !pg_ctl.status().is_ok_and(|status| status.success()) {
            let _ = child.kill();
        }
        let _ = child.wait();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(process::program(name));
        command.current_dir(self.folder.path());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// User and group of the first of [`USERS`] that there is.
fn other_user() -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let find = |user: &&str| {
        let mut fields = passwd.lines().map(|line| line.split(':')).find(|fields| {
            let mut fields = fields.clone();
            fields.next() == Some(*user)
        })?;
        Some((fields.nth(2)?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    USERS.iter().find_map(find).expect("a user to run PostgreSQL as")
}
