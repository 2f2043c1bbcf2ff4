//! `bascule demo`: the example integrations, run against stand-ins of their providers on this machine.
//!
//! The stand-ins are small HTTP servers on loopback that behave as the providers do where it matters (tokens,
//! quotas, idempotency keys, request signatures) and that can be told to misbehave. The configuration is the
//! one in `examples/`, unchanged; only environment values point it at the stand-ins. The demo meets the gateway
//! over HTTP alone: who starts it is passed in, and nothing here knows how it is built.
//!
//! | mode | does |
//! | --- | --- |
//! | as it is | prints addresses and commands to paste, runs until Ctrl-C |
//! | `--once` | makes those calls itself, checks every answer, prints a table, stops |

mod client;
mod clock;
mod commands;
mod examples;
mod fleet;
mod github;
mod s3;
mod standin;
mod stripe;
mod tour;
mod weather;
mod web;

use anyhow::Context as _;
use fleet::Fleet;
use std::{io::Write, net::SocketAddr, path::PathBuf, pin::Pin};

/// How the demo runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct DemoOptions {
    /// Make the calls, print the table and stop, instead of waiting for a person to make them.
    pub once: bool,
}

/// What the gateway of the demo is to be started with.
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// The configuration: paths relative to one folder (`bascule.toml`, `integrations/NAME.toml`), and contents.
    pub files: Vec<(PathBuf, String)>,
    /// Every variable that the files name and that has no default, and those that point at the stand-ins.
    /// Both listeners are put on free ports of loopback.
    pub env: Vec<(String, String)>,
}

/// Stops a gateway: returns when calls in flight have ended and both listeners are closed.
pub type Shutdown = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A gateway that was started from a [`DemoConfig`].
pub struct RunningGateway {
    /// Where applications call.
    pub data: SocketAddr,
    /// Where operators look.
    pub admin: SocketAddr,
    /// A token with the role admin: the value of `BASCULE_ADMIN_TOKEN` in [`DemoConfig::env`].
    pub admin_token: String,
    /// Stops it.
    pub shutdown: Shutdown,
}

/// Starts the stand-ins and, by `start_gateway`, a gateway in front of them; then runs as [`DemoOptions`] says.
///
/// Everything for the reader goes to `out`. Returns whether every call behaved as described; without
/// `once` that is `true` after Ctrl-C. The gateway is stopped in either case.
///
/// # Errors
/// When no loopback port can be had, the gateway does not start, or `out` cannot be written to.
/// A call that behaves otherwise is not an error: it is a row of the table, and the result is `false`.
pub async fn run<F, Fut>(
    options: DemoOptions,
    out: &mut (dyn Write + Send),
    start_gateway: F,
) -> anyhow::Result<bool>
where
    F: FnOnce(DemoConfig) -> Fut,
    Fut: Future<Output = anyhow::Result<RunningGateway>>,
{
    let fleet = Fleet::start().await.context("cannot start the stand-ins")?;
    let pace = if options.once { examples::Pace::Tour } else { examples::Pace::Person };
    let config = examples::config(&fleet, pace).context("cannot make a token for the admin plane")?;
    let gateway = start_gateway(config).await.context("cannot start the gateway")?;
    let RunningGateway { data, admin, admin_token, shutdown } = gateway;
    let place = tour::Place { data, admin, admin_token };
    let result = if options.once {
        tour::run(&place, &fleet, out).await
    } else {
        wait_for_a_person(&place, &fleet, out).await
    };
    shutdown().await;
    result
}

async fn wait_for_a_person(
    place: &tour::Place,
    fleet: &Fleet,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    commands::print(place, fleet, out).context("cannot print the commands")?;
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    Ok(true)
}

#[cfg(test)]
mod tests;
