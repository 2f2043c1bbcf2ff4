//! The real binary as a child process.

use super::{Client, gateway::write_config, until};
use parking_lot::Mutex;
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

/// The binary that `BASCULE_BIN` names; without it the one that was built beside the tests, under the same profile.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BASCULE_BIN").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let test = std::env::current_exe().expect("the path of this test");
    let path = test.parent().and_then(Path::parent).expect("a target folder").join("bascule");
    assert!(
        path.is_file(),
        "{} is missing: build the gateway first, under the profile of the tests (`cargo build -p bascule`)",
        path.display()
    );
    path
}

/// The binary with these arguments and nothing in its environment but what is given.
pub fn command(arguments: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary());
    prepare(command.args(arguments), env);
    command
}

fn prepare(command: &mut Command, env: &[(&str, &str)]) {
    command
        .env_clear()
        // Compiled plugins are kept between runs.
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
}

/// Runs the binary to its end.
pub async fn run(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    command(arguments, env).output().await.expect("the binary runs")
}

/// A folder with a configuration.
pub fn config_folder(gateway: &str, integrations: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_config(folder.path(), gateway, integrations);
    folder
}

/// `bascule serve` in a process of its own, killed when it is dropped.
pub struct Served {
    child: Child,
    pub data: SocketAddr,
    pub admin: SocketAddr,
    printed: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Served {
    /// Starts it and waits until it listens.
    pub async fn start(folder: &Path, more: &[&str], env: &[(&str, &str)]) -> Self {
        let folder = folder.to_str().expect("a printable path");
        let mut arguments = vec!["--log-format", "json", "serve", "--config", folder];
        arguments.extend(more);
        Self::spawn(&arguments, env).await
    }

    /// The same with all arguments given; they must ask for JSON logs.
    pub async fn spawn(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        Self::run(command(arguments, env)).await
    }

    /// The gateway with at most so many open files.
    pub async fn start_with_files(folder: &Path, files: u32) -> Self {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\" \"$@\"")).arg(binary());
        command.args(["--log-format", "json", "serve", "--config"]).arg(folder);
        prepare(&mut command, &[]);
        Self::run(command).await
    }

    async fn run(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the binary runs");
        let printed: Arc<Mutex<String>> = Arc::default();
        let readers = vec![
            tokio::spawn(keep(child.stdout.take().expect("a pipe"), Arc::clone(&printed))),
            tokio::spawn(keep(child.stderr.take().expect("a pipe"), Arc::clone(&printed))),
        ];
        let found = until("the gateway listens", || listening(&printed.lock())).await;
        Self { child, data: found.0, admin: found.1, printed, readers }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("a running process")
    }

    /// A client of the data plane.
    pub fn data(&self) -> Client {
        Client::new(self.data)
    }

    /// A client of the admin plane.
    pub fn admin(&self) -> Client {
        Client::new(self.admin)
    }

    /// What it has printed so far, on both streams.
    pub fn printed(&self) -> String {
        self.printed.lock().clone()
    }

    /// Sends it a signal by name.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().expect("a running process");
        let status =
            Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).status().await.expect("a shell");
        assert!(status.success());
    }

    /// Waits for its end: the exit status, and everything that it printed.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().await.expect("an exit status");
        for reader in self.readers {
            reader.await.expect("all of the output");
        }
        (status.code(), self.printed.lock().clone())
    }
}

async fn keep(stream: impl AsyncRead + Unpin, printed: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut printed = printed.lock();
        printed.push_str(&line);
        printed.push('\n');
    }
}

fn listening(printed: &str) -> Option<(SocketAddr, SocketAddr)> {
    // A talkative log has tens of thousands of lines, and is looked at many times.
    printed.lines().filter(|line| line.contains("listening")).find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let address = |name: &str| line[name].as_str()?.parse().ok();
        (line["message"] == "listening").then(|| Some((address("data")?, address("admin")?)))?
    })
}
