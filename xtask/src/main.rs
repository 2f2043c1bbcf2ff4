//! Every chore of the project, one verb each: `cargo xtask help`.
//!
//! The verbs install what they need where they can (a wasm target, cargo-deny, Debian packages), say
//! what they took, and fail with what to do where they cannot. No verb skips anything silently.

mod bench;
mod check;
mod conformance;
mod exchanges;
mod guests;
mod languages;
mod layers;
mod run;
mod servers;
mod tidy;

use anyhow::{Context, Result, bail};
use run::{cargo, root};
use std::{fs, path::Path, process::ExitCode};

const HELP: &str = "\
cargo xtask VERB

  demo [--once]   build plugins and gateway, then run the demo (--once: make its calls and exit)
  test [FILTER]   everything that has to hold: check, unit and integration tests, plugins' tests,
                  explored schedules
  check           format, lints, documentation links, dependency policy, layers, tidiness
  plugins         build the shipped plugins and the test guests for wasm
  servers         install the servers that tests start: PostgreSQL, Redis
  soak            ten thousand swaps of a plugin's version under load (minutes)
  bench [--quick] CPU per request beside bare hyper, nginx and Envoy
  conformance     the public suite of HTTP caching against a gateway; its table goes to docs/http-cache.md
  bindings        generate the SDK's bindings from wit/ anew
  help            this text
";

/// Tests that try interleavings instead of waiting for them: package, its folder, and the feature that puts a scheduler
/// beneath its locks. The feature also names the kind of the tests, `tests/FEATURE_*.rs`.
const EXPLORED: [(&str, &str, &str); 3] = [
    ("bascule-cache", "gateway/cache", "shuttle"),
    ("bascule-resilience", "gateway/resilience", "shuttle"),
    ("bascule-resilience", "gateway/resilience", "loom"),
];
/// The library is tested by itself: the clients that its examples wrap want other features of shared dependencies, for
/// which cargo would compile the plugin engine a second time.
const LIBRARY: &str = "bascule-resilience";

/// Swaps of `soak`.
const SOAK_SWAPS: &str = "10000";

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
        "soak" => soak(),
        "bench" => bench::run(&rest),
        "conformance" => conformance::run(),
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
    guests::build_guests(&root()?, "tests/guests")?;
    languages::build(&root()?)
}

fn demo(args: &[String]) -> Result<()> {
    guests::build_guests(&root()?, "plugins")?;
    let mut command = cargo(&["run", "--profile", "demo", "--package", "bascule", "--", "demo"])?;
    command.args(args);
    run::run(command)
}

/// The test of some hundred swaps, with as many as memory has to stay flat over.
fn soak() -> Result<()> {
    run::run(cargo(&["build", "--profile", "demo", "--package", "bascule"])?)?;
    let mut test =
        cargo(&["test", "--profile", "demo", "--package", "bascule-tests", "swaps", "--", "--nocapture"])?;
    test.env("BASCULE_SWAPS", SOAK_SWAPS);
    run::run(test)
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
    run::run(native)?;
    schedules(filter)
}

/// One run each, because a feature changes the locks of the whole package.
fn schedules(filter: &[String]) -> Result<()> {
    for (package, folder, feature) in EXPLORED {
        for test in explored(&root()?.join(folder).join("tests"), feature)? {
            let mut tests =
                cargo(&["test", "--package", package, "--features", feature, "--test", test.as_str()])?;
            tests.args(filter);
            run::run(tests)?;
        }
    }
    Ok(())
}

/// The tests of a folder whose names begin with the feature's, in their order.
fn explored(folder: &Path, feature: &str) -> Result<Vec<String>> {
    let mut tests = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "rs")
            && name.strip_prefix(feature).is_some_and(|rest| rest.starts_with('_'))
        {
            tests.push(name);
        }
    }
    tests.sort();
    Ok(tests)
}

/// Progress for people.
#[expect(clippy::print_stdout, reason = "a chore's results belong on standard output")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explored_tests_are_found_by_their_names() {
        let folder = |name: &str| root().unwrap().join("gateway").join(name).join("tests");
        assert_eq!(explored(&folder("cache"), "shuttle").unwrap(), ["shuttle_body", "shuttle_coalescer"]);
        assert_eq!(
            explored(&folder("resilience"), "shuttle").unwrap(),
            ["shuttle_bulkhead", "shuttle_limiter", "shuttle_renewing"]
        );
        assert!(explored(&folder("nowhere"), "shuttle").is_err());
    }
}
