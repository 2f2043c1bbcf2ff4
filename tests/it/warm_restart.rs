//! The cache's file: what answers after a restart, what never does, and starts that have to do without it.

use crate::support::{Answer, Client, Metrics, Provider, Served, config_folder, reply, until_async};
use http::Method;
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};
use tempfile::TempDir;

const BASE: &str = r#"
[server]
listen = "127.0.0.1:0"
auth.api_keys = [{ name = "a", key = "key-of-a" }, { name = "b", key = "key-of-b" }]
[admin]
listen = "127.0.0.1:0"
[cache.disk]
path = "cache.db"
"#;

/// By rule, of a caller alone, and as the provider says.
fn config(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
forward_headers = ["accept-language"]
[operations.rule]
path = "/rule"
cache = "1h"
[operations.own]
path = "/own"
cache = {{ ttl = "1h", vary_by = ["caller"] }}
[operations.http]
path = "/http"
cache = "http"
"#
    )
}

/// Answers with the number of the request, and in the language that is asked for.
async fn provider() -> Provider {
    Provider::new(|request| {
        let headers = [
            ("cache-control", "max-age=3600"),
            ("age", "100"),
            ("etag", "\"v1\""),
            ("vary", "accept-language"),
        ];
        reply(200, &headers, format!("{} {}", request.header("accept-language"), request.number))
    })
    .await
}

fn folder(provider: &Provider) -> TempDir {
    config_folder(BASE, &[("api", &config(&provider.url()))])
}

async fn start(folder: &Path) -> Served {
    Served::start(folder, &[], &[]).await
}

fn of(client: Client, caller: &str) -> Client {
    client.header("authorization", &format!("Bearer key-of-{caller}"))
}

async fn call(served: &Served, caller: &str, operation: &str, language: &str) -> Answer {
    let client = of(served.data(), caller).header("accept-language", language);
    let answer = client.post(&format!("/v1/api/{operation}"), &json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// Waits until the file holds so many keys.
async fn written(served: &Served, entries: f64) {
    until_async("the file has it", async || {
        let metrics = Metrics::of(&served.admin()).await;
        (metrics.value("cache_disk_entries", &[]) == entries).then_some(())
    })
    .await;
}

async fn kill(served: Served) -> String {
    served.signal("KILL").await;
    served.ended().await.1
}

fn source(answer: &Answer) -> &str {
    answer.header("bascule-source")
}

#[tokio::test]
async fn a_killed_gateway_answers_again_from_what_it_had_stored() {
    let provider = provider().await;
    let folder = folder(&provider);
    let first = start(folder.path()).await;
    let mut texts = Vec::new();
    for (operation, language) in [("rule", "de"), ("own", "de"), ("http", "de"), ("http", "fr")] {
        texts.push(call(&first, "a", operation, language).await.text());
    }
    written(&first, 3.0).await;
    kill(first).await;
    let file = folder.path().join("cache.db");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let second = start(folder.path()).await;
    let before = provider.count();
    for ((operation, language), text) in
        [("rule", "de"), ("own", "de"), ("http", "de"), ("http", "fr")].into_iter().zip(&texts)
    {
        let hit = call(&second, "a", operation, language).await;
        assert_eq!((&hit.text(), source(&hit)), (text, "cache"), "{operation}");
        let told = hit.header("cache-status").rsplit(", ").next().unwrap_or_default();
        assert!(told.starts_with("bascule; hit; ttl="), "{operation}: {told}");
        let age: u64 = hit.header("age").parse().unwrap();
        let expected = if operation == "http" { 100..160 } else { 0..60 };
        assert!(expected.contains(&age), "{operation}: {age}");
    }
    assert_eq!(provider.count(), before);
    assert_eq!(source(&call(&second, "b", "own", "de").await), "upstream", "an answer of another caller");
    assert_eq!(source(&call(&second, "a", "http", "it").await), "upstream", "no answer in this language");
    let stats = second.admin().get("/cache").await.json();
    assert!(
        stats["disk"]["entries"].as_u64() >= Some(3) && stats["disk"]["bytes"].as_u64() > Some(0),
        "{stats}"
    );
    second.signal("TERM").await;
    let (status, printed) = second.ended().await;
    assert_eq!(status, Some(0));
    assert!(printed.contains("stored answers were restored"), "{printed}");
    // What was stored right before an orderly end is there, too.
    let third = start(folder.path()).await;
    assert_eq!(source(&call(&third, "b", "own", "de").await), "cache");
}

#[tokio::test]
async fn what_was_purged_stays_purged_however_the_gateway_ends() {
    let provider = provider().await;
    let folder = folder(&provider);
    let first = start(folder.path()).await;
    for operation in ["rule", "own", "http"] {
        call(&first, "a", operation, "de").await;
    }
    written(&first, 3.0).await;
    for operation in ["rule", "http"] {
        let path = format!("/integrations/api/cache?operation={operation}");
        assert_eq!(first.admin().send(Method::DELETE, &path, "").await.status, 204);
    }
    kill(first).await;
    let second = start(folder.path()).await;
    for (operation, expected) in [("rule", "upstream"), ("http", "upstream"), ("own", "cache")] {
        assert_eq!(source(&call(&second, "a", operation, "de").await), expected, "{operation}");
    }
}

#[tokio::test]
async fn a_purge_at_a_gateway_that_goes_without_the_file_holds_for_the_next_one() {
    let provider = provider().await;
    let folder = folder(&provider);
    let old = start(folder.path()).await;
    call(&old, "a", "rule", "de").await;
    written(&old, 1.0).await;
    let new = start(folder.path()).await;
    assert_eq!(new.admin().send(Method::DELETE, "/integrations/api/cache", "").await.status, 204);
    kill(new).await;
    old.signal("TERM").await;
    assert_eq!(old.ended().await.0, Some(0));
    assert_eq!(source(&call(&start(folder.path()).await, "a", "rule", "de").await), "upstream");
}

#[tokio::test]
async fn another_configuration_never_sees_what_was_stored_under_the_old_one() {
    let provider = provider().await;
    let folder = folder(&provider);
    let first = start(folder.path()).await;
    call(&first, "a", "rule", "de").await;
    written(&first, 1.0).await;
    kill(first).await;
    let changed = format!("{}\n[headers]\nx-tenant = \"other\"\n", config(&provider.url()));
    fs::write(folder.path().join("integrations/api.toml"), changed).unwrap();
    let second = start(folder.path()).await;
    assert_eq!(source(&call(&second, "a", "rule", "de").await), "upstream");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_a_warning() {
    let provider = provider().await;
    let folder = folder(&provider);
    let first = start(folder.path()).await;
    call(&first, "a", "rule", "de").await;
    written(&first, 1.0).await;
    // In use: the second gateway serves without it.
    let second = start(folder.path()).await;
    assert_eq!(source(&call(&second, "a", "rule", "de").await), "upstream");
    assert_eq!(source(&call(&second, "a", "rule", "de").await), "cache");
    assert_eq!(second.admin().send(Method::DELETE, "/integrations/api/cache", "").await.status, 204);
    let printed = kill(second).await;
    assert!(printed.contains("is in use by another process"), "{printed}");
    first.signal("TERM").await;
    assert_eq!(first.ended().await.0, Some(0));
    // Damaged: it is moved aside, and a new one begins.
    let file = folder.path().join("cache.db");
    let mut octets = fs::read(&file).unwrap();
    octets[100..6000].fill(0xA5);
    fs::write(&file, octets).unwrap();
    let third = start(folder.path()).await;
    assert_eq!(source(&call(&third, "a", "rule", "de").await), "upstream");
    written(&third, 1.0).await;
    let printed = kill(third).await;
    assert!(
        printed.contains("the cache's file is damaged") && printed.contains("cache.db.damaged"),
        "{printed}"
    );
    assert_eq!(source(&call(&start(folder.path()).await, "a", "rule", "de").await), "cache");
}
