//! Providers that break off, lie, or send what they must not: what callers get, and what is never done.

use crate::support::{Answer, Gateway, RawProvider, read_head};
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::AsyncWriteExt;

fn config(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[retry]
max_attempts = 1
[circuit_breaker]
mode = "off"
[operations.get]
path = "/get"
[operations.kept]
path = "/kept"
cache = "1h"
[operations.post]
method = "POST"
path = "/post"
"#
    )
}

/// What a call of the operation comes to when the provider says this and closes.
async fn said(octets: impl Into<Vec<u8>>) -> Answer {
    let octets: Vec<u8> = octets.into();
    let provider = RawProvider::new(move |mut stream| {
        let octets = octets.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(&octets).await;
            let _ = stream.shutdown().await;
            // Whatever the peer still sends is taken, so that closing does not reset the connection.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url()))]).await;
    let answer = gateway.call("api", "kept", json!({})).await;
    if answer.problem() == "upstream-protocol" {
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| !detail.contains("127.0.0.1")));
    }
    answer
}

fn unreachable() -> (u16, String) {
    (502, "upstream-unreachable".to_owned())
}

fn protocol() -> (u16, String) {
    (502, "upstream-protocol".to_owned())
}

#[tokio::test]
async fn an_end_before_the_first_octet_is_unreachable_and_after_it_a_breach() {
    assert_eq!(said("").await.code(), unreachable());
    assert_eq!(said("H").await.code(), protocol());
    assert_eq!(said("HTTP/1.1 200 OK\r\ncontent-le").await.code(), protocol());
}

#[tokio::test]
async fn a_reset_before_the_head_is_unreachable_and_within_it_a_breach() {
    for (octets, expected) in [(&b""[..], unreachable()), (b"HTTP/1.1 200 OK\r\nx-a: b\r\n", protocol())] {
        let provider = RawProvider::new(move |mut stream| async move {
            read_head(&mut stream).await;
            if !octets.is_empty() {
                let _ = stream.write_all(octets).await;
                // What was sent must arrive before the reset, which would overtake it.
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
            stream.set_zero_linger().expect("a socket option");
        })
        .await;
        let gateway = Gateway::start(&[("api", &config(&provider.url()))]).await;
        assert_eq!(gateway.call("api", "get", json!({})).await.code(), expected);
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_breach() {
    for octets in [
        &b"garbage\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        assert_eq!(said(octets).await.code(), protocol(), "{}", octets.escape_ascii());
    }
}

#[tokio::test]
async fn lengths_that_contradict_each_other_are_a_breach() {
    let twice = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc";
    assert_eq!(said(twice).await.code(), protocol());
}

#[tokio::test]
async fn a_head_that_is_too_large_is_a_breach() {
    let long = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(65 * 1024));
    assert_eq!(said(long).await.code(), protocol());
    let lines = |count: usize| {
        let lines: String = (1..count).map(|number| format!("x-{number}: y\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n")
    };
    assert_eq!(said(lines(129)).await.code(), protocol());
    assert_eq!(said(lines(128)).await.status, 200);
}

#[tokio::test]
async fn switching_protocols_unasked_is_a_breach() {
    let unasked = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(said(unasked).await.code(), protocol());
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let answer = said(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn an_answer_that_ends_early_is_cut_off_for_the_caller_too() {
    for octets in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n01",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n",
    ] {
        let provider = RawProvider::saying(octets).await;
        let gateway = Gateway::start(&[("api", &config(&provider.url()))]).await;
        for path in ["/v1/api/get", "/proxy/api/get"] {
            let response = gateway.data().begin(Method::GET, path, "").await;
            assert_eq!(response.status(), 200);
            assert!(response.into_body().collect().await.is_err(), "{}", octets.escape_ascii());
        }
        // One that is held to be kept has no head to take back: it is a failure, and nothing is kept.
        for requests in [3, 4] {
            assert_eq!(gateway.call("api", "kept", json!({})).await.code(), protocol());
            assert_eq!(provider.connections(), requests);
        }
    }
}

#[tokio::test]
async fn octets_beyond_the_length_are_never_read_as_the_next_answer() {
    let provider = RawProvider::new(|mut stream| async move {
        while read_head(&mut stream).await.ends_with(b"\r\n\r\n") {
            let more = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
            if stream.write_all(more).await.is_err() {
                return;
            }
        }
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url()))]).await;
    for _ in 0..5 {
        assert_eq!(gateway.call("api", "get", json!({})).await.text(), "ok");
    }
}

#[tokio::test]
async fn addresses_of_private_networks_are_not_connected_to() {
    for host in [
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "[::]",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::a00:1]",
        "0xa.1",
    ] {
        let gateway = Gateway::start(&[("api", &config(&format!("http://{host}:9")))]).await;
        for answer in [
            gateway.call("api", "get", json!({})).await,
            gateway.call("api", "post", json!({})).await,
            gateway.data().get("/proxy/api/x").await,
        ] {
            assert_eq!(answer.code(), (502, "egress-denied".to_owned()), "{host}");
            assert!(!answer.json()["detail"].as_str().unwrap().contains(host));
        }
    }
    // The permission for private networks is none for addresses that no server has.
    let config = format!("allow_private = true\n{}", config("http://0.0.0.0:9"));
    let gateway = Gateway::start(&[("api", &config)]).await;
    assert_eq!(gateway.call("api", "get", json!({})).await.problem(), "egress-denied");
}
