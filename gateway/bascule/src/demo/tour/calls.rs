//! How the tour calls the gateway and the stand-ins' switches, and how it says what it expected.

use super::Place;
use crate::demo::{
    client::{self, Reply},
    standin::{CONTROL_PATH, StandIn},
};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;

/// `POST /v1/INTEGRATION/OPERATION` with these parameters.
pub(super) async fn call(place: &Place, operation: &str, parameters: &Value) -> anyhow::Result<Reply> {
    Ok(client::post(place.data, &format!("/v1/{operation}"), parameters).await?)
}

/// Any request to the data plane.
pub(super) async fn send(
    place: &Place,
    method: Method,
    target: &str,
    headers: &[(&'static str, &str)],
    body: Bytes,
) -> anyhow::Result<Reply> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(client::send(place.data, request.body(Full::new(body))?).await?)
}

/// Changes switches of a stand-in.
pub(super) async fn switch(stand_in: &StandIn, switches: &Value) -> anyhow::Result<()> {
    let reply = client::post(stand_in.address(), CONTROL_PATH, switches).await?;
    ensure!(reply.status == 200, "the stand-in refused {switches}: {}", text(&reply));
    Ok(())
}

/// A counter of a stand-in.
pub(super) async fn counter(stand_in: &StandIn, name: &str) -> anyhow::Result<u64> {
    let reply = client::get(stand_in.address(), CONTROL_PATH, None).await?;
    let counters = reply.json();
    counters.get(name).and_then(Value::as_u64).with_context(|| format!("no counter `{name}`"))
}

/// What every answer must be: this status, from this rung of the ladder, after so many attempts.
pub(super) fn expect(reply: &Reply, status: u16, source: &str, attempts: &str) -> anyhow::Result<()> {
    expect_status(reply, status)?;
    expect_header(reply, "bascule-source", source)?;
    expect_header(reply, "bascule-attempts", attempts)
}

/// Just the status.
pub(super) fn expect_status(reply: &Reply, status: u16) -> anyhow::Result<()> {
    ensure!(reply.status == status, "status {}, not {status}: {}", reply.status.as_u16(), text(reply));
    Ok(())
}

/// Just one header.
pub(super) fn expect_header(reply: &Reply, name: &str, value: &str) -> anyhow::Result<()> {
    let seen = reply.header(name);
    ensure!(seen == value, "{name}: `{seen}`, not `{value}`");
    Ok(())
}

/// That these members are in the body.
pub(super) fn expect_members(body: &Value, names: &[&str]) -> anyhow::Result<()> {
    for name in names {
        ensure!(body.get(name).is_some(), "no member `{name}` in {}", shortened(&body.to_string()));
    }
    Ok(())
}

/// A text member of a body; empty when it is none.
pub(super) fn member<'a>(body: &'a Value, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Status and where the answer came from, for the last column.
pub(super) fn summary(reply: &Reply) -> String {
    let (source, attempts) = (reply.header("bascule-source"), reply.header("bascule-attempts"));
    let status = reply.status.as_u16();
    match attempts {
        "" => format!("{status}"),
        "1" => format!("{status} from {source}, 1 attempt"),
        attempts => format!("{status} from {source}, {attempts} attempts"),
    }
}

fn text(reply: &Reply) -> String {
    shortened(&String::from_utf8_lossy(&reply.body))
}

/// The first 200 characters: enough to see what went wrong, little enough for a table.
fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}
