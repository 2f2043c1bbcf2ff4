//! What callers may send: sizes, media types, encodings, and how refusals read.

use crate::support::{Gateway, Provider, reply};
use http::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SMALL: &str = "[server]\nlisten = \"127.0.0.1:0\"\nmax_body = \"1KiB\"\n\
                     [admin]\nlisten = \"127.0.0.1:0\"\n[telemetry]\ncompletion_log = false\n";

fn config(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[operations.note]
method = "POST"
path = "/notes"
params.text = {{ type = "string" }}
params.tags = {{ type = "array" }}
[operations.find]
path = "/find"
query = {{ n = "{{n}}", x = "{{x}}", on = "{{on}}", tag = "{{tag}}", o = "{{o}}" }}
params.n = {{ type = "integer" }}
params.x = {{ type = "number" }}
params.on = {{ type = "boolean" }}
params.tag = {{ type = "array" }}
params.o = {{ type = "object" }}
[operations.file]
path = "/files/{{name}}"
[operations.upload]
method = "PUT"
path = "/upload"
query = {{ kind = "{{kind}}" }}
params.kind = {{ type = "string" }}
body = "raw"
"#
    )
}

async fn echoing() -> Provider {
    Provider::new(|request| reply(200, &[], request.target.clone())).await
}

async fn gateway(provider: &Provider) -> Gateway {
    Gateway::with(SMALL, &[("api", &config(&provider.url()))], &[]).await
}

#[tokio::test]
async fn held_bodies_are_bounded_and_raw_ones_are_not() {
    let provider = echoing().await;
    let gateway = gateway(&provider).await;
    let answer = gateway.call("api", "note", json!({"text": "x".repeat(2000)})).await;
    assert_eq!(answer.code(), (413, "payload-too-large".to_owned()));
    // The same without a length, which is only found out on the way.
    let mut stream = TcpStream::connect(gateway.data().address()).await.unwrap();
    let chunk = format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000));
    let head = "POST /v1/api/note HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}{chunk}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(provider.count(), 0);
    assert_eq!(gateway.call("api", "note", json!({"text": "x".repeat(500)})).await.status, 200);
    let answer = gateway.data().send(Method::PUT, "/v1/api/upload", vec![0; 5000]).await;
    assert_eq!((answer.status.as_u16(), provider.last().body.len()), (200, 5000));
    let answer = gateway.data().send(Method::POST, "/proxy/api/any", vec![0; 5000]).await;
    assert_eq!((answer.status.as_u16(), provider.last().body.len()), (200, 5000));
}

#[tokio::test]
async fn parameters_come_as_json_and_nothing_else() {
    let provider = echoing().await;
    let gateway = gateway(&provider).await;
    for (kind, body, code) in [
        ("text/plain", "{}", (415, "unsupported-media-type")),
        ("application/x-www-form-urlencoded", "text=a", (415, "unsupported-media-type")),
        ("application/json", "{", (400, "invalid-request")),
        ("application/json", "[]", (400, "invalid-request")),
        ("application/json", "null", (400, "invalid-request")),
        ("application/json", "{} {}", (400, "invalid-request")),
        ("application/json", "{\"text\":\"\\ud800\"}", (400, "invalid-request")),
        ("application/json", "{\"text\":\"a\",\"text\":\"b\"}", (422, "invalid-parameters")),
        ("application/json", "{\"text\":1}", (422, "invalid-parameters")),
        ("application/json; charset=utf-8", "{}", (200, "")),
        ("application/vnd.api+json", "{}", (200, "")),
        ("application/json", "", (200, "")),
    ] {
        let client = gateway.data().header("content-type", kind);
        let answer = client.send(Method::POST, "/v1/api/note", body).await;
        assert_eq!(answer.code(), (code.0, code.1.to_owned()), "{kind} {body}");
    }
    assert_eq!(provider.count(), 3);
    // A deep nest is refused instead of exhausting the stack.
    let deep = format!("{{\"tags\":{}1{}}}", "[".repeat(300), "]".repeat(300));
    let answer = gateway.data().send(Method::POST, "/v1/api/note", deep).await;
    assert_eq!(answer.code(), (400, "invalid-request".to_owned()));
}

#[tokio::test]
async fn texts_of_a_query_are_read_as_the_declared_types() {
    let provider = echoing().await;
    let gateway = gateway(&provider).await;
    for (query, sent) in [
        ("n=7", "?n=7"),
        ("n=-3&x=1.5e3&on=true", "?n=-3&x=1500.0&on=true"),
        ("tag=a&tag=b", "?tag=a&tag=b"),
        ("tag=a", "?tag=a"),
        ("", ""),
    ] {
        let answer = gateway.data().get(&format!("/v1/api/find?{query}")).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, format!("/find{sent}")), "{query}");
    }
    for (query, pointer) in [
        ("n=x", "/n"),
        ("n=1.5", "/n"),
        ("n=", "/n"),
        ("x=abc", "/x"),
        ("on=yes", "/on"),
        ("o=1", "/o"),
        ("other=1", "/other"),
        ("n=1&n=2", "/n"),
        ("n=1&%6E=2", "/n"),
    ] {
        let answer = gateway.data().get(&format!("/v1/api/find?{query}")).await;
        assert_eq!(answer.code(), (422, "invalid-parameters".to_owned()), "{query}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{query}");
        assert!(answer.json()["errors"][0]["detail"].is_string());
    }
}

#[tokio::test]
async fn path_parameters_stay_in_their_segment() {
    let provider = echoing().await;
    let gateway = gateway(&provider).await;
    let file = async |name: &str| gateway.call("api", "file", json!({"name": name})).await;
    for (name, sent) in [("a/b", "/files/a%2Fb"), ("a?b#c", "/files/a%3Fb%23c"), ("ü%", "/files/%C3%BC%25")]
    {
        assert_eq!(file(name).await.text(), sent);
    }
    assert_eq!(file("a\r\nb").await.text(), "/files/a%0D%0Ab");
    for name in [".", "..", ""] {
        let answer = file(name).await;
        assert_eq!(answer.code(), (422, "invalid-parameters".to_owned()), "{name:?}");
        assert_eq!(answer.json()["errors"][0]["pointer"], "/name");
    }
    assert_eq!(gateway.call("api", "file", json!({})).await.json()["errors"][0]["pointer"], "/name");
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let provider = echoing().await;
    let gateway = gateway(&provider).await;
    let mut many = gateway.data();
    for number in 0..130 {
        many = many.header(&format!("x-{number}"), "1");
    }
    assert_eq!(many.get("/v1/api/find").await.code(), (431, "headers-too-large".to_owned()));
    let long = gateway.data().header("x-long", &"x".repeat(70 * 1024));
    assert_eq!(long.get("/v1/api/find").await.code(), (431, "headers-too-large".to_owned()));
    let fits = gateway.data().header("x-long", &"x".repeat(30 * 1024));
    assert_eq!(fits.get("/v1/api/find").await.status, 200);
}

#[tokio::test]
async fn headers_of_the_gateway_must_be_readable() {
    let provider = echoing().await;
    let gateway = gateway(&provider).await;
    for (name, value) in [
        ("bascule-timeout", "soon"),
        ("bascule-timeout", "5"),
        ("bascule-timeout", "-1s"),
        ("bascule-timeout", "0s"),
        ("bascule-timeout", ""),
        ("bascule-skip", "everything"),
    ] {
        let answer = gateway.data().header(name, value).get("/v1/api/find").await;
        assert_eq!(answer.code(), (400, "invalid-request".to_owned()), "{name}: {value}");
    }
    for value in ["250ms", "2s", "1m"] {
        assert_eq!(gateway.data().header("bascule-timeout", value).get("/v1/api/find").await.status, 200);
    }
    assert_eq!(provider.count(), 3);
}

#[tokio::test]
async fn raw_operations_take_parameters_from_the_query_and_any_payload() {
    let provider = echoing().await;
    let gateway = gateway(&provider).await;
    for (method, kind) in [(Method::PUT, "application/json"), (Method::POST, "image/png")] {
        let client = gateway.data().header("content-type", kind).header("content-language", "de");
        let answer = client.send(method, "/v1/api/upload?kind=a", "{\"kind\":\"b\"}").await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "/upload?kind=a"));
        let seen = provider.last();
        assert_eq!((seen.method, seen.body), (Method::PUT, "{\"kind\":\"b\"}".into()));
        assert_eq!(
            (seen.headers["content-type"].to_str().unwrap(), &seen.headers["content-language"]),
            (kind, &http::HeaderValue::from_static("de"))
        );
    }
    assert_eq!(gateway.data().get("/v1/api/upload").await.code(), (405, "method-not-allowed".to_owned()));
    let answer = gateway.data().send(Method::PUT, "/v1/api/upload?nope=1", "").await;
    assert_eq!(answer.code(), (422, "invalid-parameters".to_owned()));
    assert_eq!(gateway.data().send(Method::PUT, "/v1/api/note", "{}").await.status, 405);
}

#[tokio::test]
async fn nothing_of_the_callers_headers_reaches_a_declared_operation_unasked() {
    let provider = echoing().await;
    let gateway = gateway(&provider).await;
    let client =
        gateway.data().header("cookie", "a=1").header("authorization", "Bearer x").header("x-mine", "1");
    assert_eq!(client.header("idempotency-key", "k").post("/v1/api/note", &json!({})).await.status, 200);
    let seen = provider.last();
    for name in ["cookie", "authorization", "x-mine"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    assert_eq!(seen.header("idempotency-key"), "k");
}
