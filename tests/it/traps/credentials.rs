//! Traps around credentials.

use super::{Bascule, signature};
use crate::support::{Provider, Request, reply, until_async};
use http::Method;
use parking_lot::Mutex;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

fn oauth2(provider: &Provider, tokens: &Provider) -> String {
    format!(
        "base_url = \"{}\"\n[retry]\nmax_attempts = 2\nbase_delay = \"1ms\"\n[operations.get]\npath = \"/get\"\n\
         [auth]\ntype = \"oauth2\"\ntoken_url = \"{}/token\"\nclient_id = \"me\"\nclient_secret = \"s3cret\"\n",
        provider.url(),
        tokens.url()
    )
}

/// Gives the tokens `t1`, `t2`, … of that life, except while it is away; the first one always.
async fn identity_provider(away: &Arc<AtomicBool>, life: u32) -> Provider {
    let away = Arc::clone(away);
    Provider::new(move |request| {
        if request.number > 1 && away.load(Ordering::SeqCst) {
            return reply(500, &[], "away");
        }
        let token = json!({"access_token": format!("t{}", request.number), "token_type": "Bearer", "expires_in": life});
        reply(200, &[("content-type", "application/json")], token.to_string())
    })
    .await
}

fn no_token() -> (u16, String) {
    (502, "upstream-auth".to_owned())
}

#[tokio::test]
async fn an_old_token_is_never_used_after_the_identity_provider_failed() {
    let away = Arc::new(AtomicBool::new(true));
    let tokens = identity_provider(&away, 2).await;
    let provider = Provider::new(|request| reply(200, &[], request.header("authorization").to_owned())).await;
    let bascule = Bascule::start(&oauth2(&provider, &tokens)).await;
    // Until its real end the old one serves, whatever the identity provider does.
    let end = until_async("the token ends", || async {
        let answer = bascule.get().await;
        let served = answer.status == 200 && answer.text() == "Bearer t1";
        assert!(served || answer.code() == no_token(), "{answer:?}");
        (!served).then_some(answer)
    })
    .await;
    assert_eq!(end.header("bascule-attempts"), "0");
    let sent = provider.count();
    assert!(sent > 0);
    for _ in 0..20 {
        assert_eq!(bascule.get().await.code(), no_token());
    }
    assert_eq!(provider.count(), sent, "nothing is sent without a token");
    away.store(false, Ordering::SeqCst);
    let back = until_async("there are tokens again", || async {
        let answer = bascule.get().await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_ne!(back.text(), "Bearer t1");
    let old = provider
        .seen()
        .iter()
        .skip(sent)
        .filter(|request| request.header("authorization") == "Bearer t1")
        .count();
    assert_eq!(old, 0);
}

#[tokio::test]
async fn a_token_that_was_refused_is_not_sent_again_when_there_is_no_other() {
    let away = Arc::new(AtomicBool::new(true));
    let tokens = identity_provider(&away, 3600).await;
    let provider = Provider::new(|_| reply(401, &[], "expired")).await;
    let bascule = Bascule::start(&oauth2(&provider, &tokens)).await;
    for _ in 0..5 {
        assert!([401, 502].contains(&bascule.get().await.status.as_u16()));
    }
    assert_eq!(provider.count(), 1, "the one that was refused was sent once");
}

/// Signed with AWS's signer, whose signature covers path, query, headers and body.
fn signed(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
forward_headers = ["content-type", "x-amz-meta-note"]
headers = {{ x-amz-meta-gateway = "of   the integration" }}
[retry]
max_attempts = 3
base_delay = "1ms"
[circuit_breaker]
mode = "off"
[auth]
type = "plugin"
[[plugins]]
source = "builtin:aws-sigv4"
config = {{ service = "s3", region = "eu-central-1" }}
credentials = {{ access_key_id = "AKIDEXAMPLE", secret_access_key = "{}" }}
[operations.put_object]
method = "PUT"
path = "/{{bucket}}/{{key...}}"
body = "raw"
[operations.get_object]
path = "/{{bucket}}/{{key...}}"
query = {{ list-type = "2" }}
"#,
        signature::SECRET
    )
}

#[tokio::test]
async fn headers_are_never_changed_after_signing() {
    let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&wrong);
    let provider = Provider::new(move |request: &Request| {
        if let Err(reason) = signature::verify(request) {
            told.lock().push(format!("{reason}: {request:#?}"));
        }
        // Every other one fails, so that half of those that follow are second attempts.
        reply(if request.number % 2 == 1 { 503 } else { 200 }, &[], "")
    })
    .await;
    let bascule = Bascule::start(&signed(&provider.url())).await;
    let caller = bascule
        .data()
        .header("content-type", "text/plain; charset=utf-8")
        .header("x-amz-meta-note", "two   blanks")
        .header("accept-encoding", "gzip, br")
        .header("connection", "keep-alive, x-amz-meta-drop")
        .header("x-amz-meta-drop", "of this connection only")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let paths = [
        (Method::PUT, "/v1/storage/put_object?bucket=b&key=dir/a%20b.txt", "hello"),
        (Method::GET, "/v1/storage/get_object?bucket=b&key=c", ""),
        (Method::PUT, "/proxy/storage/b/d%20e", "proxied"),
        (Method::GET, "/proxy/storage/b?list-type=2&prefix=x%2Fy", ""),
    ];
    for (method, path, body) in &paths {
        let path = path.replace("storage", "api");
        let answer = caller.send(method.clone(), &path, *body).await;
        assert_eq!((answer.status.as_u16(), answer.header("bascule-attempts")), (200, "2"), "{path}");
    }
    assert_eq!(provider.count(), 2 * paths.len());
    assert!(wrong.lock().is_empty(), "{}", wrong.lock().join("\n"));
    // The headers of the callers are among those that are covered; else this would prove little.
    let covered =
        |name: &str| provider.seen().iter().filter(|request| signature::covers(request, name)).count();
    assert_eq!(covered("x-amz-meta-note"), 2 * paths.len());
    assert_eq!(covered("x-amz-meta-gateway"), 2 * paths.len());
    assert_eq!(covered("x-amz-meta-drop"), 0);
    // And the check can fail: one octet more in a header is noticed.
    let mut changed = provider.last();
    assert_eq!(signature::verify(&changed), Ok(()));
    changed.headers.insert("x-amz-meta-note", "two blanks more".parse().unwrap());
    assert!(signature::verify(&changed).is_err());
}
