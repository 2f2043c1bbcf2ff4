//! A provider goes down and comes back: stale answers, the circuit opening, the default, recovery by probes.

use super::{
    Place,
    admin::circuit_state,
    calls::{call, counter, expect, expect_header, expect_members, expect_status, member, summary, switch},
    table::Table,
    until,
};
use crate::demo::{client::Reply, fleet::Fleet};
use anyhow::ensure;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Asked in turn while the circuit recovers, since a probe is a call that the cache cannot answer.
const PROBED: [&str; 8] = ["Paris", "London", "Rome", "Madrid", "Oslo", "Tokyo", "Sydney", "Nairobi"];
/// Calls until the circuit must be open: its threshold is 5.
const FAILURES_MAX: usize = 12;

pub(super) async fn steps(place: &Place, fleet: &Fleet, table: &mut Table<'_>) -> anyhow::Result<()> {
    let get_current = "POST /v1/WeatherAPI/get_current {city: Berlin}";
    table.row("weather", get_current, fresh(place).await)?;
    table.row(
        "the provider goes down",
        "the same until the cached answer is stale",
        stale(place, fleet).await,
    )?;
    table.row("the circuit opens", "the same until it does, then once more", opens(place, fleet).await)?;
    table.row("the last rung", "the same for New York, which nobody asked before", last_rung(place).await)?;
    table.row(
        "the provider comes back",
        "other cities until the circuit is closed",
        recovers(place, fleet).await,
    )
}

async fn get_current(place: &Place, city: &str) -> anyhow::Result<Reply> {
    call(place, "WeatherAPI/get_current", &json!({ "city": city })).await
}

async fn fresh(place: &Place) -> anyhow::Result<String> {
    let reply = get_current(place, "Berlin").await?;
    expect(&reply, 200, "upstream", "1")?;
    let weather = reply.json();
    expect_members(&weather, &["place", "country", "temperature", "unit", "conditions", "observed_at"])?;
    ensure!(member(&weather, "place") == "Berlin", "weather of {}", member(&weather, "place"));
    Ok(summary(&reply))
}

async fn stale(place: &Place, fleet: &Fleet) -> anyhow::Result<String> {
    switch(&fleet.weather, &json!({ "outage": true })).await?;
    let reply = until("a stale answer", async || {
        let reply = get_current(place, "Berlin").await?;
        expect_status(&reply, 200)?;
        Ok((reply.header("bascule-source") == "stale").then_some(reply))
    })
    .await?;
    ensure!(member(&reply.json(), "place") == "Berlin", "weather of another place");
    ensure!(!reply.header("age").is_empty(), "no Age");
    Ok(format!("{}; {}", summary(&reply), reply.header("cache-status")))
}

async fn opens(place: &Place, fleet: &Fleet) -> anyhow::Result<String> {
    let mut calls = 0;
    while circuit_state(place, "WeatherAPI").await? != "open" {
        ensure!(calls < FAILURES_MAX, "the circuit is not open after {calls} more failed calls");
        expect_header(&get_current(place, "Berlin").await?, "bascule-source", "stale")?;
        calls += 1;
    }
    // An open circuit lets a probe through now and then; between two of them the provider has its peace.
    until("a refusal by the circuit", async || {
        let before = counter(&fleet.weather, "hits").await?;
        let reply = get_current(place, "Berlin").await?;
        let asked = counter(&fleet.weather, "hits").await? - before;
        expect_status(&reply, 200)?;
        expect_header(&reply, "bascule-source", "stale")?;
        let status = reply.header("cache-status");
        ensure!(asked > 0 || status.contains("hit"), "Cache-Status: `{status}`, without hit");
        Ok((asked == 0).then(|| format!("{}; {status}", summary(&reply))))
    })
    .await
}

async fn last_rung(place: &Place) -> anyhow::Result<String> {
    let reply = get_current(place, "New York").await?;
    expect_status(&reply, 200)?;
    expect_header(&reply, "bascule-source", "default")?;
    let body = reply.json();
    ensure!(body == json!({ "status": "unavailable" }), "the default is {body}");
    Ok(format!("{}; {body}", summary(&reply)))
}

async fn recovers(place: &Place, fleet: &Fleet) -> anyhow::Result<String> {
    switch(&fleet.weather, &json!({ "outage": false })).await?;
    let turn = AtomicUsize::new(0);
    let reply = until("the circuit's closing", async || {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let reply =
            get_current(place, PROBED.iter().cycle().nth(turn % PROBED.len()).unwrap_or(&"Paris")).await?;
        expect_status(&reply, 200)?;
        let closed = circuit_state(place, "WeatherAPI").await? == "closed";
        Ok((closed && reply.header("bascule-source") == "upstream").then_some(reply))
    })
    .await?;
    Ok(format!("{}; circuit closed", summary(&reply)))
}
