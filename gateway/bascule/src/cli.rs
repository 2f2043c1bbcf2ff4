//! The command line: verbs, what they print, and their exit statuses (`contract.md` §1).
//!
//! Results go to standard output, logs and diagnostics to standard error. Every verb is a file below;
//! this one only tells them apart.

mod admin;
mod cache;
mod call;
mod check;
mod demo;
mod exit;
mod inspect;
mod options;
mod plugin;
mod rehearse;
mod serve;
mod simulate;
mod status;

use clap::{Parser, Subcommand};
use exit::Exit;
use options::LogFormatArg;
use std::process::ExitCode;

/// An integration gateway: third-party APIs declared in TOML, called through one binary
#[derive(Debug, Parser)]
#[command(name = "bascule", version, about, max_term_width = 100)]
struct Cli {
    /// How logs and completion records are written to standard error
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormatArg,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gateway
    ///
    /// Exits with 0 after a clean drain, 69 when it cannot listen, 75 when calls did not finish in time,
    /// 78 when the configuration is bad.
    Serve(serve::Args),
    /// Validate the configuration and its plugins without listening; prints every problem
    Check(check::Args),
    /// Run one operation through the whole pipeline and print the response body
    Call(call::Args),
    /// Start stand-ins of four providers with the gateway in front of them, and show what to try
    Demo(demo::Args),
    /// Tools for plugin authors, and for those who run plugins
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Show the integrations of a running gateway
    ///
    /// Exits with 0 when all of them are healthy.
    Status(status::Args),
    /// Show and drop what a running gateway has stored
    #[command(subcommand)]
    Cache(cache::Cache),
    /// Tell what another configuration would have made of journalled calls
    ///
    /// Replays them in virtual time and reports when circuits would have opened, calls saved and lost, quota used,
    /// latency. Exits with 1 when there is nothing to replay, 78 when the configuration is bad.
    Simulate(simulate::Args),
    /// Print the JSON Schema of the configuration
    Schema,
}

/// Runs the command line. Usage errors exit with 2, bugs with 70.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = cli.log_format.into();
    let outcome = std::panic::catch_unwind(|| match cli.verb {
        Verb::Serve(args) => serve::run(args, format),
        Verb::Check(args) => check::run(&args),
        Verb::Call(args) => call::run(args, format),
        Verb::Demo(args) => demo::run(&args, format),
        Verb::Plugin(plugin) => plugin::run(&plugin),
        Verb::Status(args) => status::run(args),
        Verb::Cache(verb) => cache::run(&verb),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Schema => exit::print(&format!("{:#}\n", crate::config::json_schema())),
    });
    // A panic has already told its story on standard error.
    outcome.unwrap_or(Exit::Bug).into()
}
