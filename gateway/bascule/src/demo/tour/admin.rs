//! The operators' view: states of all integrations, for those who have a token.

use super::{
    Place,
    calls::{expect_members, expect_status, member},
    table::Table,
};
use crate::demo::client;
use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The integrations of the examples.
const NAMES: [&str; 4] = ["GitHubAPI", "WeatherAPI", "StripeAPI", "StorageService"];

pub(super) async fn steps(place: &Place, table: &mut Table<'_>) -> anyhow::Result<()> {
    table.row("the operators' view", "GET /integrations/status on the admin plane", all(place).await)?;
    table.row("the same without a token", "GET /integrations/status", anonymous(place).await)
}

/// The state of an integration's circuit.
pub(super) async fn circuit_state(place: &Place, integration: &str) -> anyhow::Result<String> {
    let integrations = status(place).await?;
    let found = integrations.iter().find(|known| member(known, "name") == integration);
    Ok(member(found.with_context(|| format!("{integration} has no status"))?, "circuit_state").to_owned())
}

async fn status(place: &Place) -> anyhow::Result<Vec<Value>> {
    let reply = client::get(place.admin, "/integrations/status", Some(&place.admin_token)).await?;
    expect_status(&reply, 200)?;
    let body = reply.json();
    body.get("integrations")
        .and_then(Value::as_array)
        .cloned()
        .context("the status has no list of integrations")
}

async fn all(place: &Place) -> anyhow::Result<String> {
    let integrations = status(place).await?;
    let mut states = Vec::new();
    for name in NAMES {
        let found = integrations.iter().find(|known| member(known, "name") == name);
        let integration = found.with_context(|| format!("{name} is missing"))?;
        expect_members(integration, &["type", "status", "circuit_state", "error_rate"])?;
        ensure!(member(integration, "type") == "rest", "{name} is {}", member(integration, "type"));
        states.push(format!("{name} {}", member(integration, "circuit_state")));
    }
    Ok(format!("200; {}", states.join(", ")))
}

async fn anonymous(place: &Place) -> anyhow::Result<String> {
    let reply = client::get(place.admin, "/integrations/status", None).await?;
    expect_status(&reply, 401)?;
    Ok("401".to_owned())
}
