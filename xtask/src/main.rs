//! Every chore of the project, one verb each: `cargo xtask help`.
//!
//! The verbs install what they need where they can (a wasm target, cargo-deny, Debian packages), say
//! what they took, and fail with what to do where they cannot. No verb skips anything silently.

mod bench;
mod check;
mod guests;
mod layers;
mod run;
mod servers;
mod tidy;

use anyhow::{Result, bail};
use run::{cargo, root};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask VERB

  demo [--once]   build plugins and gateway, then run the demo (--once: make its calls and exit)
  test [FILTER]   everything that has to hold: check, unit and integration tests, plugins' tests
  check           format, lints, documentation links, dependency policy, layers, tidiness
  plugins         build the shipped plugins and the test guests for wasm
  servers         install the servers that tests start: PostgreSQL, Redis
  bench [--quick] CPU per request beside bare hyper, nginx and Envoy
  bindings        generate the SDK's bindings from wit/ anew
  help            this text
";

/// The library is tested by itself: the clients that its examples wrap want other features of shared dependencies, for
/// which cargo would compile the plugin engine a second time.
const LIBRARY: &str = "bascule-resilience";

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_else(|| "help".into());
    let rest: Vec<String> = args.collect();
    match verb.as_str() {
        "demo" => demo(&rest),
        "test" => test(&rest),
        "check" => check::run(),
        "plugins" => plugins(),
        "servers" => servers::install_missing(),
        "bench" => bench::run(&rest),
        "bindings" => guests::regenerate_bindings(),
        "help" | "--help" | "-h" => {
            say(HELP);
            Ok(())
        }
        other => bail!("no verb `{other}`\n\n{HELP}"),
    }
}

fn plugins() -> Result<()> {
    guests::build_guests(&root()?, "plugins")?;
    guests::build_guests(&root()?, "tests/guests")
}

fn demo(args: &[String]) -> Result<()> {
    guests::build_guests(&root()?, "plugins")?;
    let mut command = cargo(&["run", "--profile", "demo", "--package", "bascule", "--", "demo"])?;
    command.args(args);
    run::run(command)
}

fn test(filter: &[String]) -> Result<()> {
    servers::install_missing()?;
    plugins()?;
    check::run()?;
    // The integration tests start the real binary, so it has to be there before them.
    run::run(cargo(&["build", "--profile", "demo", "--package", "bascule"])?)?;
    let mut tests = cargo(&["test", "--profile", "demo", "--workspace", "--exclude", LIBRARY])?;
    tests.args(filter);
    run::run(tests)?;
    let mut library = cargo(&["test", "--package", LIBRARY])?;
    library.args(filter);
    run::run(library)?;
    let mut native = cargo(&["test"])?;
    native.args(filter).current_dir(root()?.join("plugins"));
    run::run(native)
}

/// Progress for people.
#[expect(clippy::print_stdout, reason = "a chore's results belong on standard output")]
fn say(text: &str) {
    println!("{text}");
}
