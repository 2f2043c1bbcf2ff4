//! `cargo xtask check`: what a machine can say about the code without running it.

use crate::{
    layers,
    run::{self, cargo, is_there, root},
    say, tidy,
};
use anyhow::Result;

/// The version whose policy file format `deny.toml` is written in.
const CARGO_DENY: &str = "0.20.2";

pub(crate) fn run() -> Result<()> {
    run::run(cargo(&["fmt", "--all", "--check"])?)?;
    let mut plugins = cargo(&["fmt", "--all", "--check"])?;
    plugins.current_dir(root()?.join("plugins"));
    run::run(plugins)?;
    layers::check(&root()?)?;
    tidy::check(&root()?)?;
    run::run(cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])?)?;
    let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--quiet"])?;
    docs.env("RUSTDOCFLAGS", "--deny warnings");
    run::run(docs)?;
    deny()?;
    say("check: all well");
    Ok(())
}

/// Dependency policy: licences, sources, banned crates. The advisory database is a chore of its own,
/// since it needs the network.
fn deny() -> Result<()> {
    if !is_there("cargo", &["deny", "--version"]) {
        say("installing cargo-deny, once");
        run::run(cargo(&["install", "--locked", "--quiet", "cargo-deny", "--version", CARGO_DENY])?)?;
    }
    run::run(cargo(&["deny", "--log-level", "error", "check", "bans", "licenses", "sources"])?)
}
