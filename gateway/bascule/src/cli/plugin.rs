//! `bascule plugin`: tools for those who write plugins and those who run them.
//!
//! Whatever goes wrong is told on standard error and exits with 1, as everything that only looks does.

mod lock;
mod publish;
mod remote;

use super::{
    exit::{Exit, complain},
    inspect,
    options::runtime,
    rehearse,
};
use anyhow::Context;

/// Tools for plugin authors and for those who run plugins.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Plugin {
    /// Show what a plugin exports, imports and needs to be granted
    Inspect(inspect::Args),
    /// Play recorded exchanges to a plugin in the sandbox and compare what it does
    ///
    /// Exits with 0 when everything is as recorded, 1 otherwise.
    Test(rehearse::Args),
    /// Look up what every remote plugin of the configuration is now, and write it to bascule.lock
    Lock(lock::Args),
    /// Tell whether every remote plugin still is what was locked, and every file what is pinned and signed
    Verify(lock::Args),
    /// Fetch a plugin from a registry or an https server
    Pull(remote::PullArgs),
    /// Publish a plugin in a registry, signed with --sign
    Push(publish::PushArgs),
    /// Sign a file: writes FILE.sig beside it
    Sign(publish::SignArgs),
}

pub(super) fn run(plugin: &Plugin) -> Exit {
    match plugin {
        Plugin::Inspect(args) => inspect::run(args),
        Plugin::Test(args) => rehearse::run(args),
        Plugin::Lock(args) => done(block_on(lock::lock(args))),
        Plugin::Verify(args) => done(block_on(lock::verify(args))),
        Plugin::Pull(args) => done(block_on(remote::pull(args))),
        Plugin::Push(args) => done(block_on(publish::push(args))),
        Plugin::Sign(args) => done(publish::sign(args)),
    }
}

pub(super) use remote::{Remote, fetch};

/// Runs what needs a network.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    runtime().context("no runtime")?.block_on(work)
}

fn done(result: anyhow::Result<Exit>) -> Exit {
    result.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        Exit::Failure
    })
}
