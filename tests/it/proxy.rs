//! `/proxy`: requests and answers pass as they are, save for what belongs to one connection or to the gateway.

use crate::support::{Gateway, Provider, RawProvider, read_head, reply};
use bytes::Bytes;
use http::{Method, Response};
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn config(url: &str, more: &str) -> String {
    format!("base_url = \"{url}/base\"\n[retry]\nmax_attempts = 1\n{more}\n")
}

async fn in_front_of(provider: &Provider) -> Gateway {
    Gateway::start(&[("api", &config(&provider.url(), ""))]).await
}

/// Writes a request as it stands and reads until the gateway closes.
async fn raw(gateway: &Gateway, request: &str) -> String {
    let mut stream = TcpStream::connect(gateway.data().address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn every_method_passes_with_its_body() {
    let provider =
        Provider::new(|request| reply(200, &[("x-method", request.method.as_str())], "answer")).await;
    let gateway = in_front_of(&provider).await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let body = if matches!(method, Method::GET | Method::HEAD) { "" } else { "payload" };
        let answer = gateway.data().send(method.clone(), "/proxy/api/x", body).await;
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.header("x-method"), method.as_str());
        assert_eq!(answer.header("bascule-source"), "upstream");
        assert_eq!(answer.text(), if method == Method::HEAD { "" } else { "answer" });
        let seen = provider.last();
        assert_eq!((seen.method, seen.body), (method, Bytes::from(body)));
    }
}

#[tokio::test]
async fn path_and_query_pass_letter_by_letter() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let gateway = in_front_of(&provider).await;
    for target in [
        "/",
        "/a/b",
        "/a//b/",
        "/a%2Fb/c%20d?q=a+b&q=%41&empty=&flag",
        "/%7Euser/~user/a:b@c;d=e,f?x=/y?z",
        "/caf%C3%A9?%zz",
        "/a?",
    ] {
        assert_eq!(gateway.data().get(&format!("/proxy/api{target}")).await.status, 200, "{target}");
        assert_eq!(provider.last().target, format!("/base{target}"));
    }
    assert_eq!(gateway.data().get("/proxy/api").await.status, 200);
    assert_eq!(provider.last().target, "/base/");
}

#[tokio::test]
async fn no_path_leads_out_of_the_base() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let gateway = in_front_of(&provider).await;
    for path in [
        "/..",
        "/../x",
        "/a/../../x",
        "/%2e%2e/x",
        "/.%2E/x",
        "/a/..%2fx",
        "/a%5c..%5cx",
        "/./x",
        "/%00",
        "/%",
    ] {
        let answer =
            raw(&gateway, &format!("GET /proxy/api{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
                .await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
        assert!(answer.contains("urn:bascule:problem:invalid-request"), "{path}: {answer}");
    }
    assert_eq!(provider.count(), 0);
}

#[tokio::test]
async fn headers_of_the_connection_and_of_the_gateway_stay_behind() {
    let provider = Provider::new(|_| {
        reply(
            200,
            &[
                ("connection", "x-private"),
                ("x-private", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-authenticate", "Basic"),
                ("bascule-source", "forged"),
                ("bascule-secret", "forged"),
                ("x-passed", "yes"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
            ],
            "",
        )
    })
    .await;
    let gateway = in_front_of(&provider).await;
    let mut client = gateway.data();
    let kept = [
        ("cookie", "c=1"),
        ("authorization", "Bearer mine"),
        ("accept", "text/x"),
        ("accept-encoding", "br"),
        ("user-agent", "sdk/1"),
        ("x-custom", "1"),
        ("if-none-match", "\"e\""),
        ("range", "bytes=0-1"),
    ];
    let dropped = [
        ("connection", "keep-alive, x-nominated"),
        ("x-nominated", "1"),
        ("keep-alive", "1"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic eA=="),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "h2c"),
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-proto", "https"),
        ("bascule-timeout", "20s"),
        ("bascule-skip", "retry"),
        ("bascule-anything", "1"),
    ];
    for (name, value) in kept.iter().chain(&dropped) {
        client = client.header(name, value);
    }
    let answer = client.get("/proxy/api/x").await;
    let seen = provider.last();
    for (name, value) in kept {
        assert_eq!(seen.header(name), value, "{name}");
    }
    for (name, _) in dropped {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    assert_eq!(seen.header("host"), provider.url().trim_start_matches("http://"));
    for name in ["x-private", "keep-alive", "proxy-authenticate", "bascule-secret"] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
    assert_eq!(answer.header("bascule-source"), "upstream");
    assert_eq!(answer.header("x-passed"), "yes");
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
}

#[tokio::test]
async fn the_gateways_credentials_replace_the_callers() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    for (auth, header, value) in [
        ("type = \"bearer\"\ntoken = \"real\"", "authorization", "Bearer real"),
        ("type = \"basic\"\nusername = \"u\"\npassword = \"p\"", "authorization", "Basic dTpw"),
        ("type = \"api_key\"\nkey = \"real\"", "x-api-key", "real"),
        ("type = \"api_key\"\nkey = \"real\"\nname = \"X-Token\"", "x-token", "real"),
    ] {
        let gateway = Gateway::start(&[("api", &config(&provider.url(), &format!("[auth]\n{auth}")))]).await;
        let client = gateway.data().header(header, "placeholder").header(header, "another");
        assert_eq!(client.get("/proxy/api/x").await.status, 200);
        let seen = provider.last();
        assert_eq!(seen.headers.get_all(header).iter().collect::<Vec<_>>(), [value]);
    }
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let config = format!("proxy = false\n{}", config(&provider.url(), ""));
    let gateway = Gateway::start(&[("api", &config)]).await;
    assert_eq!(gateway.data().get("/proxy/api/x").await.code(), (404, "not-found".to_owned()));
    assert_eq!(gateway.data().get("/proxy/nobody/x").await.problem(), "unknown-integration");
    assert_eq!(provider.count(), 0);
}

#[tokio::test]
async fn answers_without_a_body_keep_what_they_say_about_it() {
    let provider = RawProvider::new(|mut stream| async move {
        let head = String::from_utf8(read_head(&mut stream).await).unwrap();
        let answer = match head.split(' ').nth(1) {
            Some("/base/204") => "HTTP/1.1 204 No Content\r\nx-kind: none\r\n\r\n",
            Some("/base/304") => "HTTP/1.1 304 Not Modified\r\netag: \"e\"\r\ncontent-length: 99\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 12345\r\nx-kind: head\r\n\r\n",
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let config =
        format!("{}[operations.head]\nmethod = \"HEAD\"\npath = \"/op\"\n", config(&provider.url(), ""));
    let gateway = Gateway::start(&[("api", &config)]).await;
    let head = gateway.data().send(Method::HEAD, "/proxy/api/any", "").await;
    assert_eq!((head.header("content-length"), head.header("x-kind")), ("12345", "head"));
    let none = gateway.data().get("/proxy/api/204").await;
    assert_eq!((none.status.as_u16(), none.header("x-kind"), none.body.len()), (204, "none", 0));
    let unchanged = gateway.data().get("/proxy/api/304").await;
    assert_eq!(
        (unchanged.status.as_u16(), unchanged.header("etag"), unchanged.body.len()),
        (304, "\"e\"", 0)
    );
    // Through /v1 the answer to a GET cannot have the length of a body that is not there.
    let called = gateway.data().get("/v1/api/head").await;
    assert_eq!((called.status.as_u16(), called.header("x-kind"), called.body.len()), (200, "head", 0));
}

#[tokio::test]
async fn redirects_are_passed_on_not_followed() {
    let provider = Provider::new(|_| reply(302, &[("location", "http://127.0.0.1:1/elsewhere")], "")).await;
    let gateway = in_front_of(&provider).await;
    let answer = gateway.data().get("/proxy/api/x").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, "http://127.0.0.1:1/elsewhere"));
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn bodies_of_unknown_length_pass_both_ways() {
    let provider = RawProvider::new(|mut stream| async move {
        let head = String::from_utf8(read_head(&mut stream).await).unwrap().to_lowercase();
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
        let mut body = String::new();
        while !body.ends_with("0\r\n\r\n") {
            body.push(stream.read_u8().await.unwrap().into());
        }
        assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n");
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let gateway = Gateway::start(&[("api", &config(&provider.url(), ""))]).await;
    let request = "POST /proxy/api/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                   transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let answer = raw(&gateway, request).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200") && answer.contains("transfer-encoding: chunked"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let octets: String = body.split("\r\n").skip(1).step_by(2).collect();
    assert_eq!(octets, "abcdef");
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_spoken_too() {
    let provider = Provider::new(|request| reply(200, &[], request.target.clone())).await;
    let gateway = in_front_of(&provider).await;
    let stream = TcpStream::connect(gateway.data().address()).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for path in ["/a", "/b"] {
        let request = http::Request::builder()
            .uri(format!("http://{}/proxy/api{path}", gateway.data().address()))
            .body(Full::new(Bytes::new()))
            .unwrap();
        let response: Response<_> = sender.send_request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), format!("/base{path}"));
    }
    assert_eq!(provider.last().header("host"), provider.url().trim_start_matches("http://"));
}
