//! `cargo xtask bench`: what a request costs beside bare hyper, nginx, HAProxy and Envoy.
//!
//! The load generator and the upstream run on core 0, the proxy alone on core 1 with one worker. The
//! figure is the CPU time of the proxy per request, from the operating system's accounting of the
//! process: it holds on a shared machine, where requests per second do not. Scenarios of one run are
//! interleaved and repeated; medians are shown, and ratios are to be read within one run only. `--hostile` measures
//! something else: what misbehaving plugins cost their neighbours.

mod hostile;
mod peers;

use crate::run::{self, cargo, is_there, root};
use anyhow::{Context, Result, bail};
use peers::{Peer, Scenario};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Ports of the benchmark; it is a command of its own, so nothing else of ours runs beside it.
pub(crate) const UPSTREAM: &str = "127.0.0.1:9101";

pub(crate) fn run(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--hostile") {
        return hostile::run();
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    let (rounds, seconds) = if quick { (1, 3) } else { (5, 6) };
    crate::guests::build_guests(&root()?, "plugins")?;
    run::run(cargo(&["build", "--release", "--package", "bascule", "--package", "bascule-bench"])?)?;
    for (program, package) in
        [("wrk", "wrk"), ("nginx", "nginx-light"), ("haproxy", "haproxy"), ("taskset", "util-linux")]
    {
        if !on_path(program) {
            run::run(apt(package)?)?;
        }
    }
    let work = root()?.join("target/bench");
    fs::create_dir_all(&work)?;
    let peers = peers::all(&work)?;
    let mut upstream = pinned(0, &release("bench-upstream")?, &[UPSTREAM])?;
    let measured = measure(&peers, rounds, seconds, &work);
    let _ = upstream.kill();
    let _ = upstream.wait();
    let table = table(&measured?);
    crate::say(&table);
    fs::write(work.join("latest.md"), table)?;
    Ok(())
}

struct Figure {
    scenario: Scenario,
    peer: &'static str,
    micros: f64,
    resident_mib: f64,
}

fn measure(peers: &[Peer], rounds: usize, seconds: u64, work: &Path) -> Result<Vec<Figure>> {
    wait_for(UPSTREAM)?;
    let mut samples: Vec<(Scenario, &'static str, Vec<f64>, f64)> = Vec::new();
    for round in 0..rounds {
        for peer in peers {
            let mut proxy =
                pinned(1, &peer.program, &peer.args.iter().map(String::as_str).collect::<Vec<_>>())?;
            let done = (|| {
                wait_for(peer.listen)?;
                for (scenario, path) in &peer.paths {
                    load(peer.listen, path, 1, work)?;
                    let before = cpu_micros(proxy.id())?;
                    let requests = load(peer.listen, path, seconds, work)?;
                    let used = cpu_micros(proxy.id())? - before;
                    let micros = used as f64 / requests.max(1) as f64;
                    let resident = resident_mib(proxy.id())?;
                    crate::say(&format!(
                        "round {}  {:<22} {:<8} {micros:6.1} µs  {requests} requests",
                        round + 1,
                        scenario.name(),
                        peer.name
                    ));
                    let known = samples.iter_mut().find(|(s, p, ..)| s == scenario && *p == peer.name);
                    match known {
                        Some((_, _, all, largest)) => {
                            all.push(micros);
                            *largest = largest.max(resident);
                        }
                        None => samples.push((*scenario, peer.name, vec![micros], resident)),
                    }
                }
                Ok::<_, anyhow::Error>(())
            })();
            let _ = proxy.kill();
            let _ = proxy.wait();
            done.with_context(|| format!("measuring {}", peer.name))?;
        }
    }
    Ok(samples
        .into_iter()
        .map(|(scenario, peer, mut all, resident_mib)| {
            all.sort_by(f64::total_cmp);
            let micros = all.get(all.len() / 2).copied().unwrap_or_default();
            Figure { scenario, peer, micros, resident_mib }
        })
        .collect())
}

/// Runs wrk on core 0 and returns how many requests were answered with success.
fn load(listen: &str, path: &str, seconds: u64, work: &Path) -> Result<u64> {
    let script = work.join("count.lua");
    fs::write(
        &script,
        "done = function(s) io.write('answered ', s.requests - s.errors.status, ' failed ', \
         s.errors.status + s.errors.connect + s.errors.read + s.errors.timeout, '\\n') end\n",
    )?;
    let output = Command::new("taskset")
        .args(["-c", "0", "wrk", "-t1", "-c64", "-d", &format!("{seconds}s"), "-s"])
        .arg(&script)
        .arg(format!("http://{listen}{path}"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("answered ")).context("wrk printed no count")?;
    let mut words = line.split(' ').skip(1);
    let answered: u64 = words.next().context("no count")?.parse()?;
    let failed: u64 = words.nth(1).context("no count")?.parse()?;
    if failed > answered / 1000 {
        bail!("{failed} of {} requests to {listen}{path} failed", answered + failed);
    }
    Ok(answered)
}

fn pinned(core: usize, program: &Path, args: &[&str]) -> Result<Child> {
    Command::new("taskset")
        .args(["-c", &core.to_string()])
        .arg(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))
}

fn wait_for(address: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            bail!("nothing listens on {address}");
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a program has no event for 'somebody else listens now'"
        )]
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// User and system time of a process and its threads so far. `taskset` replaces itself by the
/// program, so the child's id is the program's; nginx and Envoy run as one process.
fn cpu_micros(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold spaces; what follows its bracket does not.
    let (_, rest) = stat.rsplit_once(") ").context("an odd /proc/stat line")?;
    let field = |index: usize| rest.split(' ').nth(index).and_then(|field| field.parse::<u64>().ok());
    let ticks =
        field(11).zip(field(12)).map(|(user, system)| user + system).context("an odd /proc/stat line")?;
    // USER_HZ is 100 on every Linux that Rust runs on.
    Ok(ticks * 10_000)
}

fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}

fn table(figures: &[Figure]) -> String {
    let mut text = String::from(
        "\n| scenario | peer | CPU-µs per request | Bascule / peer | resident MiB |\n| --- | --- | --- | --- | --- |\n",
    );
    for figure in figures {
        let ours = figures.iter().find(|other| other.scenario == figure.scenario && other.peer == "bascule");
        let ratio = ours.map_or_else(String::new, |ours| format!("{:.2}", ours.micros / figure.micros));
        text.push_str(&format!(
            "| {} | {} | {:.1} | {ratio} | {:.0} |\n",
            figure.scenario.name(),
            figure.peer,
            figure.micros,
            figure.resident_mib
        ));
    }
    text
}

pub(crate) fn release(name: &str) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().map(|root| root.join("target")), |dir| Ok(dir.into()))?;
    Ok(target.join("release").join(name))
}

fn on_path(program: &str) -> bool {
    is_there(program, &["--version"]) || is_there(program, &["-v"]) || is_there("which", &[program])
}

fn apt(package: &str) -> Result<Command> {
    crate::say(&format!("installing {package}"));
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--quiet", package]).current_dir(root()?);
    Ok(command)
}
