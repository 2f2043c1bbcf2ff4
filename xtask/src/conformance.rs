//! `cargo xtask conformance`: the public suite of HTTP caching against a gateway with a plugin in the path.
//!
//! The suite is the npm package `http-cache-tests`. Its origin server and the gateway are started on free ports; the gateway
//! has `[cache] mode = "http", proxy = true` and a plugin that lets everything pass. The table goes to docs/http-cache.md,
//! between the marks that stand there. A required case that fails and has no reason below is an error.

mod report;

use crate::{
    guests,
    run::{self, cargo, is_there, root},
    say,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The suite, at the version that the reasons are about.
const PACKAGE: &str = "http-cache-tests";
const VERSION: &str = "0.4.5";
const RUNNER: &str = include_str!("conformance/run.mjs");
const PASSING: &str = "tests/guests/dist/pass.wasm";

/// A started program, which ends with this.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run() -> Result<()> {
    ensure!(is_there("node", &["--version"]), "the suite needs node: install nodejs and npm");
    guests::build_guests(&root()?, "tests/guests")?;
    run::run(cargo(&["build", "--profile", "demo", "--package", "bascule"])?)?;
    let work = target()?.join("conformance");
    let suite = install(&work)?;
    let (origin, gateway) = (free_port()?, free_port()?);
    let _origin = start_origin(&suite, origin)?;
    let _gateway = start_gateway(&work, origin, gateway)?;
    let mut runner = Command::new("node");
    runner.arg("--no-warnings").arg("run.mjs").arg(format!("http://127.0.0.1:{gateway}/proxy/origin"));
    let output = runner.current_dir(&suite).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the suite's runner failed ({})", output.status);
    let results = report::Results::parse(&String::from_utf8(output.stdout)?)?;
    say(&results.summary());
    results.write_to(&root()?.join("docs/http-cache.md"), VERSION)?;
    let unexplained = results.unexplained();
    if !unexplained.is_empty() {
        bail!(
            "required cases fail without a reason in xtask/src/conformance/report.rs: {}",
            unexplained.join(", ")
        );
    }
    Ok(())
}

/// The suite's package in a folder of its own, with our runner in it.
fn install(work: &Path) -> Result<PathBuf> {
    fs::create_dir_all(work)?;
    let suite = work.join("node_modules").join(PACKAGE);
    let manifest = fs::read_to_string(suite.join("package.json")).unwrap_or_default();
    if !manifest.contains(&format!("\"version\": \"{VERSION}\"")) {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--no-save"]).arg(format!("{PACKAGE}@{VERSION}"));
        npm.arg("--prefix").arg(work).current_dir(work);
        run::run(npm)?;
    }
    fs::write(suite.join("run.mjs"), RUNNER)?;
    Ok(suite)
}

fn start_origin(suite: &Path, port: u16) -> Result<Started> {
    let mut node = Command::new("node");
    node.arg("server/server.mjs").current_dir(suite);
    node.env("npm_config_protocol", "http").env("npm_config_port", port.to_string());
    node.env("npm_config_pidfile", suite.join("server.pid"));
    start(node, port)
}

/// Retries and the breaker are off: the suite counts requests, and its origin fails on purpose.
fn start_gateway(work: &Path, origin: u16, port: u16) -> Result<Started> {
    let integrations = work.join("integrations");
    fs::create_dir_all(&integrations)?;
    let admin = free_port()?;
    fs::write(
        work.join("bascule.toml"),
        format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
             [telemetry]\ncompletion_log = false\n"
        ),
    )?;
    fs::write(
        integrations.join("origin.toml"),
        format!(
            "base_url = \"http://127.0.0.1:{origin}\"\n[cache]\nmode = \"http\"\nproxy = true\n\
             [retry]\nmax_attempts = 1\n[circuit_breaker]\nmode = \"off\"\n[[plugins]]\nsource = \"{}\"\n",
            root()?.join(PASSING).display()
        ),
    )?;
    let mut bascule = Command::new(target()?.join("demo/bascule"));
    bascule.args(["serve", "--config"]).arg(work);
    start(bascule, port)
}

fn start(mut command: Command, port: u16) -> Result<Started> {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
    let mut started = Started(child.with_context(|| format!("{program} cannot be started"))?);
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = started.0.try_wait()? {
            bail!("{program} ended ({status})");
        }
        ensure!(Instant::now() < deadline, "{program} does not listen");
        #[expect(
            clippy::disallowed_methods,
            reason = "a program has no event for 'somebody else listens now'"
        )]
        thread::sleep(Duration::from_millis(50));
    }
    Ok(started)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn target() -> Result<PathBuf> {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| Ok(root()?.join("target")), |folder| Ok(folder.into()))
}
