//! The S3 stand-in over HTTP.

use super::*;
use crate::demo::{
    client::{self, Reply},
    standin::{CONTROL_PATH, StandIn},
};
use bytes::Bytes;
use http_body_util::Full;

const TIME: &str = "20130524T000000Z";

fn verifier() -> Verifier {
    Verifier {
        access_key_id: "KEY".to_owned(),
        secret_access_key: "secret".to_owned(),
        region: "us-east-1".to_owned(),
        service: Service::s3(),
    }
}

async fn start() -> StandIn {
    StandIn::start(S3::new(verifier(), &["bucket"], Clock::fixed(1_369_353_600))).await.unwrap()
}

fn hash(body: &[u8]) -> Payload {
    Payload::Hash(sigv4::hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body).as_ref()))
}

struct Sent<'a> {
    method: &'a str,
    target: &'a str,
    body: &'a [u8],
    payload: Payload,
    time: &'a str,
}

fn request<'a>(method: &'a str, target: &'a str, body: &'a [u8]) -> Sent<'a> {
    Sent { method, target, body, payload: hash(body), time: TIME }
}

async fn send(s3: &StandIn, sent: Sent<'_>) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_str(&s3.address().to_string()).unwrap());
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    headers.insert("x-amz-meta-colour", HeaderValue::from_static("red"));
    sigv4::testing::sign_headers(
        &verifier(),
        sent.method,
        sent.target,
        &mut headers,
        &sent.payload,
        sent.time,
    );
    let mut request = Request::builder().method(sent.method).uri(sent.target);
    *request.headers_mut().unwrap() = headers;
    client::send(s3.address(), request.body(Full::from(Bytes::copy_from_slice(sent.body))).unwrap())
        .await
        .unwrap()
}

fn code(reply: &Reply) -> String {
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    text.split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map_or(text.clone(), |(code, _)| code.to_owned())
}

async fn counters(s3: &StandIn) -> Value {
    client::get(s3.address(), CONTROL_PATH, None).await.unwrap().json()
}

#[tokio::test]
async fn an_object_lives_from_put_to_delete() {
    let s3 = start().await;
    let put = send(&s3, request("PUT", "/bucket/a%20b/c.txt", b"hello")).await;
    assert_eq!((put.status.as_u16(), put.header("etag").len()), (200, 34));
    let get = send(&s3, request("GET", "/bucket/a%20b/c.txt", b"")).await;
    assert_eq!((get.status.as_u16(), get.body.as_ref()), (200, b"hello".as_ref()));
    assert_eq!(get.header("content-type"), "text/plain");
    assert_eq!(get.header("x-amz-meta-colour"), "red");
    assert_eq!(get.header("last-modified"), "Fri, 24 May 2013 00:00:00 GMT");
    let head = send(&s3, request("HEAD", "/bucket/a%20b/c.txt", b"")).await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.body.len()), (200, "5", 0));
    assert_eq!(send(&s3, request("DELETE", "/bucket/a%20b/c.txt", b"")).await.status, 204);
    let gone = send(&s3, request("GET", "/bucket/a%20b/c.txt", b"")).await;
    assert_eq!((gone.status.as_u16(), code(&gone).as_str()), (404, "NoSuchKey"));
    assert_eq!(send(&s3, request("DELETE", "/bucket/a%20b/c.txt", b"")).await.status, 204);
    let counters = counters(&s3).await;
    assert_eq!((&counters["signed_headers"], &counters["held_bytes"]), (&6.into(), &0.into()));
}

#[tokio::test]
async fn keys_are_listed_in_pages() {
    let s3 = start().await;
    for key in ["a/1", "a/2", "a/3", "b"] {
        send(&s3, request("PUT", &format!("/bucket/{key}"), b"x")).await;
    }
    let list = async |query: &str| {
        let reply = send(&s3, request("GET", &format!("/bucket?list-type=2&{query}"), b"")).await;
        assert_eq!(reply.status, 200);
        String::from_utf8(reply.body.to_vec()).unwrap()
    };
    let first = list("prefix=a%2F&max-keys=2").await;
    assert!(first.contains("<Key>a/1</Key>") && first.contains("<Key>a/2</Key>"), "{first}");
    assert!(
        !first.contains("<Key>a/3</Key>") && first.contains("<IsTruncated>true</IsTruncated>"),
        "{first}"
    );
    assert!(first.contains("<NextContinuationToken>a/2</NextContinuationToken>"), "{first}");
    let second = list("prefix=a%2F&max-keys=2&continuation-token=a%2F2").await;
    assert!(
        second.contains("<Key>a/3</Key>") && second.contains("<IsTruncated>false</IsTruncated>"),
        "{second}"
    );
    assert!(!second.contains("<Key>b</Key>"), "{second}");
    assert!(list("").await.contains("<KeyCount>4</KeyCount>"));
}

#[tokio::test]
async fn a_body_other_than_the_signed_one_is_not_stored() {
    let s3 = start().await;
    let sent = Sent { payload: hash(b"hello"), ..request("PUT", "/bucket/key", b"jello") };
    let reply = send(&s3, sent).await;
    assert_eq!((reply.status.as_u16(), code(&reply).as_str()), (400, "XAmzContentSHA256Mismatch"));
    assert_eq!(code(&send(&s3, request("GET", "/bucket/key", b"")).await), "NoSuchKey");
    let unsigned = Sent { payload: Payload::Unsigned, ..request("PUT", "/bucket/key", b"jello") };
    assert_eq!(send(&s3, unsigned).await.status, 200);
    assert_eq!(counters(&s3).await["unsigned_payloads"], 1);
}

#[tokio::test]
async fn a_request_of_another_hour_is_refused() {
    let s3 = start().await;
    let reply = send(&s3, Sent { time: "20130524T010000Z", ..request("PUT", "/bucket/key", b"x") }).await;
    assert_eq!((reply.status.as_u16(), code(&reply).as_str()), (403, "RequestTimeTooSkewed"));
}

#[tokio::test]
async fn nothing_goes_without_a_signature() {
    let s3 = start().await;
    let put = Request::put("/bucket/key").body(Full::from("x")).unwrap();
    let reply = client::send(s3.address(), put).await.unwrap();
    assert_eq!((reply.status.as_u16(), code(&reply).as_str()), (403, "AccessDenied"));
    assert_eq!(counters(&s3).await["refused"], 1);
}

#[tokio::test]
async fn a_presigned_address_needs_no_headers() {
    let s3 = start().await;
    send(&s3, request("PUT", "/bucket/key", b"shared")).await;
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_str(&s3.address().to_string()).unwrap());
    let target = sigv4::testing::presign(&verifier(), "/bucket/key", &headers, TIME, 60);
    let reply = client::get(s3.address(), &target, None).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.body.as_ref()), (200, b"shared".as_ref()));
    let forged = target.replace("/bucket/key", "/bucket/other");
    let reply = client::get(s3.address(), &forged, None).await.unwrap();
    assert_eq!(code(&reply), "SignatureDoesNotMatch");
    assert_eq!(counters(&s3).await["presigned"], 1);
}

#[tokio::test]
async fn large_objects_pass_and_too_large_ones_do_not() {
    let s3 = start().await;
    let large: Vec<u8> = (0..5_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    assert_eq!(send(&s3, request("PUT", "/bucket/large", &large)).await.status, 200);
    let back = send(&s3, request("GET", "/bucket/large", b"")).await;
    assert_eq!(back.body, large);
    assert_eq!(counters(&s3).await["held_bytes"], 5_000_000);
    let huge = vec![0; 25 * 1024 * 1024];
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_str(&s3.address().to_string()).unwrap());
    headers.insert("expect", HeaderValue::from_static("100-continue"));
    sigv4::testing::sign_headers(&verifier(), "PUT", "/bucket/huge", &mut headers, &Payload::Unsigned, TIME);
    let mut put = Request::put("/bucket/huge");
    *put.headers_mut().unwrap() = headers;
    // The server gives the connection up after a while, so a client may see a broken pipe instead of the answer.
    if let Ok(reply) = client::send(s3.address(), put.body(Full::from(huge)).unwrap()).await {
        assert_eq!(code(&reply), "EntityTooLarge");
    }
    assert_eq!(counters(&s3).await["held_bytes"], 5_000_000);
}

#[tokio::test]
async fn the_store_as_a_whole_is_bounded() {
    let s3 = start().await;
    let body = vec![7; 20 * 1024 * 1024];
    for key in ["one", "two"] {
        assert_eq!(send(&s3, request("PUT", &format!("/bucket/{key}"), &body)).await.status, 200);
    }
    // Replacing needs room for both for a moment; 8 MiB are left.
    let full = send(&s3, request("PUT", "/bucket/three", &body[..9 * 1024 * 1024])).await;
    assert_eq!((full.status.as_u16(), code(&full).as_str()), (503, "SlowDown"));
    send(&s3, request("DELETE", "/bucket/one", b"")).await;
    assert_eq!(send(&s3, request("PUT", "/bucket/three", &body)).await.status, 200);
}

#[tokio::test]
async fn an_unknown_bucket_is_said_to_be_unknown() {
    let s3 = start().await;
    let reply = send(&s3, request("PUT", "/elsewhere/key", b"x")).await;
    assert_eq!((reply.status.as_u16(), code(&reply).as_str()), (404, "NoSuchBucket"));
}
