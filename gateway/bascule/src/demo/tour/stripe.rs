//! Money: a charge whose answer got lost is made once, and a key belongs to one request.

use super::{
    Place,
    calls::{call, counter, expect, expect_status, member, send, summary, switch},
    table::Table,
};
use crate::demo::{client::Reply, fleet::Fleet};
use anyhow::ensure;
use http::Method;
use serde_json::{Value, json};

pub(super) async fn steps(place: &Place, fleet: &Fleet, table: &mut Table<'_>) -> anyhow::Result<()> {
    let charged = "POST /v1/StripeAPI/create_charge; the answer gets lost";
    table.row("a charge not made twice", charged, lost_answer(place, fleet).await)?;
    let repeated = "the same with a caller's Idempotency-Key, twice";
    table.row("a caller's own key", repeated, own_key(place, fleet).await)?;
    table.row("a key used otherwise", "another amount under that key", other_request(place, fleet).await)
}

fn charge(amount: u32) -> Value {
    json!({ "amount": amount, "currency": "eur", "source": "tok_visa", "description": "Bridge toll",
            "metadata": { "crossing": "42" } })
}

async fn create_charge(place: &Place, amount: u32, key: &str) -> anyhow::Result<Reply> {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    let body = charge(amount).to_string().into();
    send(place, Method::POST, "/v1/StripeAPI/create_charge", &headers, body).await
}

async fn lost_answer(place: &Place, fleet: &Fleet) -> anyhow::Result<String> {
    let before = counter(&fleet.stripe, "charges").await?;
    switch(&fleet.stripe, &json!({ "lose_answers": 1 })).await?;
    let reply = call(place, "StripeAPI/create_charge", &charge(1250)).await?;
    expect(&reply, 200, "upstream", "2")?;
    let body = reply.json();
    ensure!(member(&body, "status") == "succeeded", "status is {}", member(&body, "status"));
    let crossing = body.pointer("/metadata/crossing");
    ensure!(crossing == Some(&json!("42")), "metadata did not arrive: {crossing:?}");
    let made = counter(&fleet.stripe, "charges").await? - before;
    ensure!(made == 1, "{made} charges were made");
    Ok(format!("{}; {made} charge, {}", summary(&reply), member(&body, "id")))
}

async fn own_key(place: &Place, fleet: &Fleet) -> anyhow::Result<String> {
    let before = counter(&fleet.stripe, "charges").await?;
    let first = create_charge(place, 300, "toll-42").await?;
    let second = create_charge(place, 300, "toll-42").await?;
    expect(&first, 200, "upstream", "1")?;
    expect(&second, 200, "upstream", "1")?;
    let (first, body) = (first.json(), second.json());
    ensure!(member(&first, "id") == member(&body, "id"), "two different charges came back");
    let made = counter(&fleet.stripe, "charges").await? - before;
    ensure!(made == 1, "{made} charges were made");
    Ok(format!("{}; {made} charge, {}", summary(&second), member(&body, "id")))
}

async fn other_request(place: &Place, fleet: &Fleet) -> anyhow::Result<String> {
    let before = counter(&fleet.stripe, "charges").await?;
    let reply = create_charge(place, 301, "toll-42").await?;
    expect_status(&reply, 400)?;
    let body = reply.json();
    let kind = body.pointer("/error/type").and_then(Value::as_str).unwrap_or_default();
    ensure!(kind == "idempotency_error", "the error is `{kind}`");
    ensure!(counter(&fleet.stripe, "charges").await? == before, "a charge was made");
    Ok(format!("{}; {kind}", summary(&reply)))
}
