//! `bascule status`: the integrations of a running gateway, as its admin plane tells.

use super::{
    admin::AdminArgs,
    exit::{Exit, complain, print},
    options::runtime,
};
use anyhow::Context;
use http::Method;
use serde_json::Value;
use std::{fmt::Write, time::Duration};

/// How often `--watch` looks.
const EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// Look again every two seconds until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(args: Args) -> Exit {
    let done = runtime().context("no runtime").and_then(|runtime| runtime.block_on(watch(args)));
    done.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        Exit::Failure
    })
}

async fn watch(args: Args) -> anyhow::Result<Exit> {
    let admin = args.admin.plane()?;
    loop {
        let status = admin.ask(Method::GET, "/integrations/status").await?;
        let (table, healthy) = table(&status);
        if args.watch {
            // Home, then clear to the end: the table stays in place.
            print("\x1b[H\x1b[J");
        }
        let printed = print(&table);
        if !args.watch || printed != Exit::Success {
            return Ok(if healthy { printed } else { Exit::Failure });
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn table(status: &Value) -> (String, bool) {
    let none = Vec::new();
    let integrations = status.get("integrations").and_then(Value::as_array).unwrap_or(&none);
    let field = |integration: &Value, name: &str| match integration.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    };
    let width =
        integrations.iter().map(|integration| field(integration, "name").len()).max().unwrap_or(0).max(11);
    let mut text = String::new();
    let _ = writeln!(text, "{:width$}  {:<9}  {:<9}  ERROR RATE", "INTEGRATION", "STATUS", "CIRCUIT");
    for integration in integrations {
        let rate = integration.get("error_rate").and_then(Value::as_f64).unwrap_or(0.0) * 100.0;
        let _ = writeln!(
            text,
            "{:width$}  {:<9}  {:<9}  {rate:.1} %",
            field(integration, "name"),
            field(integration, "status"),
            field(integration, "circuit_state")
        );
    }
    let healthy = integrations.iter().all(|integration| field(integration, "status") == "healthy");
    (text, healthy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_says_whether_all_are_healthy() {
        let row = |name: &str, status: &str| json!({"name": name, "type": "rest", "status": status, "circuit_state": "closed", "error_rate": 0.125});
        let (text, healthy) = table(&json!({"integrations": [row("GitHubAPI", "healthy")]}));
        assert!(healthy);
        assert!(text.contains("GitHubAPI    healthy    closed     12.5 %"), "{text}");
        assert!(!table(&json!({"integrations": [row("a", "healthy"), row("b", "degraded")]})).1);
    }
}
