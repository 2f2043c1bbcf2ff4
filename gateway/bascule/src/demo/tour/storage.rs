//! Storage: signed uploads and downloads, small ones hashed and large ones streamed, and proof that
//! the stand-in does look at signatures.

use super::{
    Place,
    calls::{counter, expect, expect_status, send, summary},
    table::Table,
};
use crate::demo::{
    client,
    fleet::{Fleet, S3_BUCKET},
};
use anyhow::ensure;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;

const SMALL: &[u8] = b"Welcome to Bascule.\n";
/// Over the 1 MiB up to which the gateway holds an upload for a second attempt: this one is streamed.
const LARGE_BYTES: usize = 2 * 1024 * 1024;

pub(super) async fn steps(place: &Place, fleet: &Fleet, table: &mut Table<'_>) -> anyhow::Result<()> {
    table.row("the signature counts", "PUT straight to the stand-in, unsigned", unsigned(fleet).await)?;
    let put = "PUT /v1/StorageService/put_object, 20 octets";
    table.row("a signed upload", put, upload(place, fleet, "notes/hello world.txt", SMALL).await)?;
    let get = "GET /v1/StorageService/get_object";
    table.row("a signed download", get, download(place, "notes/hello world.txt", SMALL).await)?;
    let large: Vec<u8> = (0..LARGE_BYTES).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect();
    table.row("a streamed upload", "the same, 2 MiB", upload(place, fleet, "large.bin", &large).await)?;
    table.row("a streamed download", get, download(place, "large.bin", &large).await)?;
    table.row("a listing", "GET /v1/StorageService/list_objects", list(place).await)?;
    table.row("a removal", "DELETE through POST …/delete_object, then GET", remove(place).await)
}

fn target(operation: &str, key: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("bucket", S3_BUCKET)
        .append_pair("key", key)
        .finish();
    format!("/v1/StorageService/{operation}?{query}")
}

async fn unsigned(fleet: &Fleet) -> anyhow::Result<String> {
    let request = Request::put(format!("/{S3_BUCKET}/intruder")).body(Full::from(SMALL))?;
    let reply = client::send(fleet.s3.address(), request).await?;
    expect_status(&reply, 403)?;
    let text = String::from_utf8_lossy(&reply.body);
    ensure!(text.contains("<Code>AccessDenied</Code>"), "not AccessDenied: {text}");
    Ok("403 AccessDenied".to_owned())
}

async fn upload(place: &Place, fleet: &Fleet, key: &str, content: &[u8]) -> anyhow::Result<String> {
    let before = counter(&fleet.s3, "signed_headers").await?;
    let headers = [("content-type", "text/plain")];
    let body = Bytes::copy_from_slice(content);
    let reply = send(place, Method::PUT, &target("put_object", key), &headers, body).await?;
    expect(&reply, 200, "upstream", "1")?;
    let verified = counter(&fleet.s3, "signed_headers").await? - before;
    ensure!(verified == 1, "{verified} signatures were verified");
    Ok(format!("{}; signature verified", summary(&reply)))
}

async fn download(place: &Place, key: &str, content: &[u8]) -> anyhow::Result<String> {
    let reply = send(place, Method::GET, &target("get_object", key), &[], Bytes::new()).await?;
    expect(&reply, 200, "upstream", "1")?;
    ensure!(reply.body == content, "{} octets came back, and not the ones sent", reply.body.len());
    let kind = reply.header("content-type");
    ensure!(kind == "text/plain", "the content type became `{kind}`");
    Ok(format!("{}; {} octets, as sent", summary(&reply), reply.body.len()))
}

async fn list(place: &Place) -> anyhow::Result<String> {
    let target = format!("/v1/StorageService/list_objects?bucket={S3_BUCKET}&prefix=notes%2F");
    let reply = send(place, Method::GET, &target, &[], Bytes::new()).await?;
    expect(&reply, 200, "upstream", "1")?;
    let text = String::from_utf8_lossy(&reply.body);
    ensure!(text.contains("<Key>notes/hello world.txt</Key>"), "the key is not listed");
    ensure!(!text.contains("large.bin"), "the prefix did not arrive");
    Ok(summary(&reply))
}

async fn remove(place: &Place) -> anyhow::Result<String> {
    let parameters = serde_json::json!({ "bucket": S3_BUCKET, "key": "notes/hello world.txt" });
    let reply = super::calls::call(place, "StorageService/delete_object", &parameters).await?;
    expect(&reply, 204, "upstream", "1")?;
    let gone =
        send(place, Method::GET, &target("get_object", "notes/hello world.txt"), &[], Bytes::new()).await?;
    expect_status(&gone, 404)?;
    let text = String::from_utf8_lossy(&gone.body);
    ensure!(text.contains("NoSuchKey"), "not NoSuchKey: {text}");
    Ok(format!("{}; then 404 NoSuchKey", summary(&reply)))
}
