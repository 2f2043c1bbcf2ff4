//! A mapped call, a cache hit, a retry, a rejection, a POST, and an existing client's path through `/proxy`.

use super::{
    Place,
    calls::{
        call, counter, expect, expect_header, expect_members, expect_status, member, send, summary, switch,
    },
    table::Table,
};
use crate::demo::fleet::Fleet;
use anyhow::ensure;
use bytes::Bytes;
use http::Method;
use serde_json::json;

pub(super) async fn steps(place: &Place, fleet: &Fleet, table: &mut Table<'_>) -> anyhow::Result<()> {
    let get_user = "POST /v1/GitHubAPI/get_user {username: octocat}";
    table.row("a mapped call", get_user, mapped_call(place).await)?;
    table.row("the same from the cache", get_user, cache_hit(place, fleet).await)?;
    table.row("a retry", "the same for hubot; the provider fails once", retry(place, fleet).await)?;
    table.row(
        "an error of the provider",
        "the same for a user who does not exist",
        rejection(place).await,
    )?;
    table.row("a call that changes things", "POST /v1/GitHubAPI/create_issue", create_issue(place).await)?;
    table.row("a transparent proxy", "GET /proxy/GitHubAPI/users/monalisa", proxy(place).await)
}

async fn mapped_call(place: &Place) -> anyhow::Result<String> {
    let reply = call(place, "GitHubAPI/get_user", &json!({ "username": "octocat" })).await?;
    expect(&reply, 200, "upstream", "1")?;
    let user = reply.json();
    expect_members(&user, &["login", "name", "public_repos", "followers", "url"])?;
    ensure!(member(&user, "login") == "octocat", "login is {}", member(&user, "login"));
    ensure!(user.get("id").is_none(), "the answer was not mapped: it still has an `id`");
    let status = reply.header("cache-status");
    ensure!(status.contains("fwd=miss"), "Cache-Status: `{status}`, without fwd=miss");
    Ok(format!("{}; {status}", summary(&reply)))
}

async fn cache_hit(place: &Place, fleet: &Fleet) -> anyhow::Result<String> {
    let before = counter(&fleet.github, "hits").await?;
    let reply = call(place, "GitHubAPI/get_user", &json!({ "username": "octocat" })).await?;
    expect(&reply, 200, "cache", "0")?;
    let status = reply.header("cache-status");
    ensure!(status.contains("hit"), "Cache-Status: `{status}`, without hit");
    ensure!(!reply.header("age").is_empty(), "no Age");
    let after = counter(&fleet.github, "hits").await?;
    ensure!(after == before, "the provider was asked {} times", after - before);
    Ok(format!("{}; {status}", summary(&reply)))
}

async fn retry(place: &Place, fleet: &Fleet) -> anyhow::Result<String> {
    switch(&fleet.github, &json!({ "fail_next": 1 })).await?;
    let reply = call(place, "GitHubAPI/get_user", &json!({ "username": "hubot" })).await?;
    expect(&reply, 200, "upstream", "2")?;
    Ok(summary(&reply))
}

async fn rejection(place: &Place) -> anyhow::Result<String> {
    let reply = call(place, "GitHubAPI/get_user", &json!({ "username": "nobody-here" })).await?;
    expect_status(&reply, 404)?;
    expect_header(&reply, "bascule-attempts", "1")?;
    Ok(format!("{}, not retried", summary(&reply)))
}

async fn create_issue(place: &Place) -> anyhow::Result<String> {
    let issue =
        json!({ "owner": "octocat", "repo": "Hello-World", "title": "The bridge is up", "labels": ["demo"] });
    let reply = call(place, "GitHubAPI/create_issue", &issue).await?;
    expect(&reply, 201, "upstream", "1")?;
    let issue = reply.json();
    expect_members(&issue, &["number", "title", "state", "url"])?;
    Ok(format!("{}; issue {}", summary(&reply), issue.get("number").unwrap_or(&json!(null))))
}

async fn proxy(place: &Place) -> anyhow::Result<String> {
    let reply = send(place, Method::GET, "/proxy/GitHubAPI/users/monalisa", &[], Bytes::new()).await?;
    expect(&reply, 200, "upstream", "1")?;
    ensure!(member(&reply.json(), "login") == "monalisa", "another user came back");
    Ok(summary(&reply))
}
