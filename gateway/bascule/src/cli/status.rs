//! `bascule status`: the integrations of a running gateway, as its admin plane tells.

use super::{
    exit::{Exit, complain, print},
    options::{ConfigArg, runtime},
};
use crate::{
    config::{BaseUrl, Timeouts, load},
    upstream::{Client, ClientSettings, EgressPolicy, RequestBody, Tls},
};
use anyhow::{Context, bail};
use bytes::Bytes;
use http::{
    HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// How often `--watch` looks.
const EVERY: Duration = Duration::from_secs(2);
/// Longest a look may take.
const LIMIT: Duration = Duration::from_secs(5);
/// 1,000 integrations are about 200 KiB.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// The admin plane, e.g. http://127.0.0.1:8081 [default: from the configuration]
    #[arg(long, value_name = "URL")]
    admin: Option<url::Url>,
    /// A token of the admin plane [default: from the configuration]
    #[arg(long, env = "BASCULE_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
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
    let (admin, token) = target(&args)?;
    loop {
        let status = ask(&admin, token.as_deref()).await?;
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

fn target(args: &Args) -> anyhow::Result<(url::Url, Option<String>)> {
    if let Some(admin) = &args.admin {
        return Ok((admin.clone(), args.token.clone()));
    }
    let loaded = load(&args.config.sources()).map_err(|problems| {
        let text = problems.render_human(false);
        anyhow::anyhow!("the configuration has problems; give --admin URL instead\n{text}")
    })?;
    let admin = &loaded.config.admin;
    let token =
        args.token.clone().or_else(|| admin.tokens.first().map(|token| token.token.expose().to_owned()));
    // A listener on every address is reached on this machine's own.
    let mut address = admin.listen;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok((format!("http://{address}").parse()?, token))
}

async fn ask(admin: &url::Url, token: Option<&str>) -> anyhow::Result<Value> {
    let egress = EgressPolicy { allow_private: true, allow_loopback: true };
    let client = Client::new(Tls::new()?, ClientSettings { egress, write: LIMIT });
    let endpoint = client.endpoint(BaseUrl::of(admin));
    let mut request = Request::new(RequestBody::full(Bytes::new()));
    *request.uri_mut() = format!("{}/integrations/status", endpoint.base().path).parse()?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(&endpoint.base().authority)?);
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}"))?);
    }
    let timeouts =
        Timeouts { whole: LIMIT, attempt: None, connect: LIMIT, read: LIMIT, write: LIMIT, body: None };
    let sent = client.send(&endpoint, request, &timeouts, None).await;
    let (head, body) = sent.with_context(|| format!("no answer from {admin}"))?;
    let octets =
        Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let answer: Value = serde_json::from_slice(&octets.to_bytes()).context("the answer is no JSON")?;
    if head.status != StatusCode::OK {
        let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no detail");
        bail!("{admin} answered {}: {detail}", head.status);
    }
    Ok(answer)
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
