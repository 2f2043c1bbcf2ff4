//! `cargo xtask bench --hostile`: what a good operation notices of plugins that misbehave at full speed beside it.
//!
//! One gateway on all cores; one load of a good operation, first alone and then beside a load of operations whose
//! plugins loop without end, take all memory, or trap. The plugins' breakers are set to open as late and
//! as briefly as they can, which is the worst case: otherwise the bad calls would be refused at once. Both runs are of one process, so that their ratio holds
//! on a shared machine.

use super::{UPSTREAM, release, wait_for};
use crate::run::{self, cargo, root};
use anyhow::{Context, Result};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

const LISTEN: &str = "127.0.0.1:9107";
const SECONDS: u64 = 10;

/// What a load came to, in microseconds.
struct Load {
    answered: u64,
    failed: u64,
    p50: u64,
    p99: u64,
}

pub(crate) fn run() -> Result<()> {
    crate::guests::build_guests(&root()?, "plugins")?;
    crate::guests::build_guests(&root()?, "tests/guests")?;
    run::run(cargo(&["build", "--release", "--package", "bascule", "--package", "bascule-bench"])?)?;
    let work = root()?.join("target/bench/hostile");
    configure(&work)?;
    let mut upstream = started(&release("bench-upstream")?, &[UPSTREAM])?;
    let mut gateway = started(&release("bascule")?, &["serve", "--config", &work.display().to_string()])?;
    let measured = measure(&work);
    for child in [&mut gateway, &mut upstream] {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (alone, beside, misdeeds) = measured?;
    crate::say(&format!(
        "\n| good operation | answered | failed | p50 µs | p99 µs |\n| --- | --- | --- | --- | --- |\n\
         | alone | {} | {} | {} | {} |\n| beside {misdeeds} misdeeds | {} | {} | {} | {} |\n\np99 beside / alone: {:.2}",
        alone.answered,
        alone.failed,
        alone.p50,
        alone.p99,
        beside.answered,
        beside.failed,
        beside.p50,
        beside.p99,
        beside.p99 as f64 / alone.p99.max(1) as f64
    ));
    Ok(())
}

fn configure(work: &Path) -> Result<()> {
    fs::create_dir_all(work.join("integrations"))?;
    fs::write(
        work.join("bascule.toml"),
        format!(
            "[server]\nlisten = \"{LISTEN}\"\n[admin]\nlisten = \"127.0.0.1:9108\"\n[telemetry]\nsample = 0.01\n\
             completion_log = false\n"
        ),
    )?;
    fs::write(
        work.join("integrations/good.toml"),
        format!("base_url = \"http://{UPSTREAM}\"\n[operations.get]\npath = \"/1024\"\n"),
    )?;
    for guest in ["loop", "hog", "trap"] {
        fs::write(
            work.join(format!("integrations/{guest}.toml")),
            format!(
                "base_url = \"http://{UPSTREAM}\"\n[[plugins]]\nsource = \"{}\"\n\
                 limits = {{ breaker = {{ failures = 1000, min_calls = 100000, open = \"10ms\", open_max = \"10ms\" }} }}\n\
                 [operations.{guest}]\npath = \"/1024\"\n",
                root()?.join(format!("tests/guests/dist/{guest}.wasm")).display()
            ),
        )?;
    }
    let counted = "done = function(s, l) io.write('load ', s.requests - s.errors.status, ' ', s.errors.status + \
                   s.errors.connect + s.errors.read + s.errors.timeout, ' ', l:percentile(50), ' ', \
                   l:percentile(99), '\\n') end\n";
    fs::write(work.join("good.lua"), counted)?;
    let each = "local paths = {'/v1/loop/loop', '/v1/hog/hog', '/v1/trap/trap'}\nlocal i = 0\n\
                request = function() i = i % 3 + 1; return wrk.format('GET', paths[i]) end\n";
    fs::write(work.join("bad.lua"), format!("{each}{counted}"))?;
    Ok(())
}

fn measure(work: &Path) -> Result<(Load, Load, u64)> {
    wait_for(UPSTREAM)?;
    wait_for(LISTEN)?;
    wrk(work, "good", SECONDS / 5, 8)?.wait_with_output()?;
    let alone = counted(wrk(work, "good", SECONDS, 8)?)?;
    let bad = wrk(work, "bad", SECONDS + 2, 16)?;
    let beside = counted(wrk(work, "good", SECONDS, 8)?)?;
    let bad = counted(bad)?;
    Ok((alone, beside, bad.answered + bad.failed))
}

fn wrk(work: &Path, script: &str, seconds: u64, connections: usize) -> Result<Child> {
    Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"])
        .arg(work.join(format!("{script}.lua")))
        .arg(format!("http://{LISTEN}/v1/good/get"))
        .stdout(Stdio::piped())
        .spawn()
        .context("wrk cannot be started")
}

fn counted(load: Child) -> Result<Load> {
    let output = load.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("load ")).context("wrk printed no count")?;
    let mut words = line.split(' ').map(|word| word.parse::<f64>());
    let mut next = || Ok::<_, anyhow::Error>(words.next().context("wrk printed too little")?? as u64);
    Ok(Load { answered: next()?, failed: next()?, p50: next()?, p99: next()? })
}

fn started(program: &Path, args: &[&str]) -> Result<Child> {
    Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))
}
