//! `bascule cache`: what a running gateway has stored.

use super::{
    admin::AdminArgs,
    exit::{Exit, complain, print},
    options::runtime,
};
use anyhow::{Context, bail};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use std::fmt::Write;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Cache {
    /// Show how much is stored of each integration
    Stats(Stats),
    /// Show the head of what is stored for a call
    ///
    /// Exits with 1 when nothing is.
    Get(Get),
    /// Drop what is stored of an integration, an operation, a call or a tag
    Purge(Purge),
}

#[derive(Debug, clap::Args)]
pub(super) struct Stats {
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Get {
    #[command(flatten)]
    admin: AdminArgs,
    integration: String,
    /// An operation; `proxy` with path=/PATH and query=QUERY for what went through /proxy
    operation: String,
    /// The call's parameters
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Purge {
    #[command(flatten)]
    admin: AdminArgs,
    integration: String,
    /// Only this operation's
    operation: Option<String>,
    /// Only the answer to the call with these parameters
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Only what carries this tag
    #[arg(long, conflicts_with = "operation")]
    tag: Option<String>,
}

pub(super) fn run(verb: &Cache) -> Exit {
    let done = runtime().context("no runtime").and_then(|runtime| runtime.block_on(ask(verb)));
    match done {
        Ok(text) => print(&text),
        Err(error) => {
            complain(&format!("error: {error:#}"));
            Exit::Failure
        }
    }
}

async fn ask(verb: &Cache) -> anyhow::Result<String> {
    match verb {
        Cache::Stats(args) => Ok(table(&args.admin.plane()?.ask(Method::GET, "/cache").await?)),
        Cache::Get(args) => {
            let params = parameters(&args.parameters)?;
            let path = path(&args.integration, Some(&args.operation), Some(params), None);
            let found = args.admin.plane()?.ask(Method::GET, &path).await?;
            Ok(format!("{found:#}\n"))
        }
        Cache::Purge(args) => {
            let params = if args.parameters.is_empty() { None } else { Some(parameters(&args.parameters)?) };
            let path = path(&args.integration, args.operation.as_deref(), params, args.tag.as_deref());
            args.admin.plane()?.ask(Method::DELETE, &path).await?;
            Ok(String::new())
        }
    }
}

fn parameters(given: &[String]) -> anyhow::Result<Value> {
    let mut params = Map::new();
    for parameter in given {
        let Some((name, value)) = parameter.split_once('=') else { bail!("`{parameter}` is no NAME=VALUE") };
        params.insert(name.to_owned(), Value::from(value));
    }
    Ok(Value::Object(params))
}

fn path(integration: &str, operation: Option<&str>, params: Option<Value>, tag: Option<&str>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let params = params.map(|params| params.to_string());
    let entries = [("operation", operation), ("params", params.as_deref()), ("tag", tag)];
    let query: Vec<String> =
        entries.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value?)))).collect();
    format!("/integrations/{}/cache?{}", encoded(integration), query.join("&"))
}

fn table(stats: &Value) -> String {
    let none = Vec::new();
    let integrations = stats.get("integrations").and_then(Value::as_array).unwrap_or(&none);
    let name = |row: &Value| row.get("name").and_then(Value::as_str).unwrap_or("all").to_owned();
    let number = |row: &Value, field: &str| row.get(field).and_then(Value::as_u64).unwrap_or(0);
    let width = integrations.iter().map(|row| name(row).len()).max().unwrap_or(0).max(11);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:width$}  {:>9}  {:>12}  {:>9}  {:>9}  {:>9}",
        "INTEGRATION", "ENTRIES", "BYTES", "EVICTIONS", "LOOKUPS", "HIT RATIO"
    );
    for row in integrations.iter().chain([stats]) {
        let (entries, bytes, evictions) =
            (number(row, "entries"), number(row, "bytes"), number(row, "evictions"));
        let lookups = number(row, "hits") + number(row, "stale") + number(row, "misses");
        let ratio = row.get("hit_ratio").and_then(Value::as_f64);
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0));
        let _ = writeln!(
            text,
            "{:width$}  {entries:>9}  {bytes:>12}  {evictions:>9}  {lookups:>9}  {ratio:>9}",
            name(row)
        );
    }
    let _ = writeln!(text, "capacity {} bytes", number(stats, "capacity"));
    if let Some(disk) = stats.get("disk") {
        let (entries, bytes, skipped) =
            (number(disk, "entries"), number(disk, "bytes"), number(disk, "skipped"));
        let _ = writeln!(text, "on disk {entries} entries, {bytes} bytes, {skipped} changes not written");
    }
    if let Some(shared) = stats.get("shared") {
        let (hits, misses) = (number(shared, "hits"), number(shared, "misses"));
        let (refused, waiting) = (number(shared, "refused"), number(shared, "purges_waiting"));
        let _ = writeln!(
            text,
            "shared server {hits} hits, {misses} misses, {refused} refused, {waiting} purges wait"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_ends_with_the_whole() {
        let row = json!({"name": "shop", "entries": 2, "bytes": 300, "evictions": 0, "hits": 2, "stale": 1,
            "misses": 1, "coalesced": 1, "hit_ratio": 0.75});
        let text =
            table(&json!({"entries": 2, "bytes": 300, "evictions": 1, "capacity": 9, "integrations": [row]}));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["shop", "2", "300", "0", "4", "75.0", "%"]);
        assert_eq!(lines[2], ["all", "2", "300", "1", "0", "-"]);
        assert_eq!(lines[3], ["capacity", "9", "bytes"]);
        assert_eq!(lines.len(), 4, "a file is told of where there is one");
        let text = table(&json!({"disk": {"entries": 3, "bytes": 400, "skipped": 5}}));
        let told = json!({"shared": {"hits": 1, "misses": 2, "refused": 3, "purges_waiting": 4}});
        let shared = "shared server 1 hits, 2 misses, 3 refused, 4 purges wait";
        assert_eq!(table(&told).lines().last(), Some(shared));
        assert_eq!(text.lines().last(), Some("on disk 3 entries, 400 bytes, 5 changes not written"));
    }

    #[test]
    fn what_is_named_is_encoded() {
        let params = parameters(&["id=a&b".to_owned()]).unwrap();
        let call = path("shop", Some("get"), Some(params), None);
        assert_eq!(call, "/integrations/shop/cache?operation=get&params=%7B%22id%22%3A%22a%26b%22%7D");
        assert_eq!(path("shop", None, None, Some("a b")), "/integrations/shop/cache?tag=a%20b");
        assert!(parameters(&["id".to_owned()]).is_err());
    }
}
