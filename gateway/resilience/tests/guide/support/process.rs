//! Running server programs: finding them, starting them, knowing when they are ready.
//!
//! Ready means that a client can connect. The only waits are pauses between tries, ended early by a server that gave up.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The longest that a server may take to get ready: a machine with two busy cores needs a few seconds.
const READY_MAX: Duration = Duration::from_secs(40);

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(20);

/// Where Debian keeps programs that it does not put on PATH, newest version last.
const DEBIAN_POSTGRESQL: &str = "/usr/lib/postgresql";

/// The path of a server program.
///
/// # Panics
/// When it is not installed.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<PathBuf> = fs::read_dir(DEBIAN_POSTGRESQL)
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    debian.sort();
    let mut folders = std::env::split_paths(&path).chain(debian.into_iter().rev());
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()));
    found.unwrap_or_else(|| panic!("`{name}` is not installed: `cargo xtask test` installs it"))
}

/// Runs a program to its end.
///
/// # Panics
/// When it fails, with what it said.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
}

/// Starts a server that writes to `log`.
pub(crate) fn start(command: &mut Command, log: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// Waits until `connect` succeeds.
///
/// # Panics
/// When the server ends or takes too long, with its log.
pub(crate) async fn ready(child: &mut Child, log: &Path, mut connect: impl AsyncFnMut() -> bool) {
    let tries = async {
        while !connect().await {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended ({ended:?}):\n{}", contents(log));
            tokio::time::sleep(PAUSE).await;
        }
    };
    let in_time = tokio::time::timeout(READY_MAX, tries).await.is_ok();
    assert!(in_time, "the server does not get ready:\n{}", contents(log));
}

fn contents(log: impl AsRef<OsStr>) -> String {
    fs::read_to_string(Path::new(&log)).unwrap_or_default()
}
