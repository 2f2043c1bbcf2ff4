//! The shipped plugins in the gateway, against providers that answer as the real ones do.

use crate::support::{Gateway, Metrics, Provider, reply};
use bascule_plugin_host::PluginHost;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

fn github(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[auth]
type = "bearer"
token = "t0ken"
[retry]
max_attempts = 1
[circuit_breaker]
failures = 1
[[plugins]]
source = "builtin:github"
[operations.get_user]
path = "/users/{{username}}"
[operations.create_issue]
method = "POST"
path = "/repos/{{owner}}/{{repo}}/issues"
params.title = {{ type = "string", required = true }}
"#
    )
}

async fn user(gateway: &Gateway) -> (u16, Value) {
    let answer = gateway.call("github", "get_user", json!({"username": "octocat"})).await;
    (answer.status.as_u16(), answer.json())
}

async fn circuit(gateway: &Gateway, name: &str) -> String {
    let health = gateway.admin().get(&format!("/integrations/{name}/health")).await.json();
    health["circuit_state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn github_gives_small_stable_answers() {
    let provider = Provider::new(|request| match request.method {
        Method::POST => reply(201, &[], r#"{"number":7,"title":"T","state":"open","html_url":"u","id":1}"#),
        _ => reply(
            200,
            &[],
            r#"{"login":"octocat","id":1,"name":"Mona","public_repos":8,"followers":9,"html_url":"h"}"#,
        ),
    })
    .await;
    let gateway = Gateway::start(&[("github", &github(&provider.url()))]).await;
    let expected = json!({"login": "octocat", "name": "Mona", "public_repos": 8, "followers": 9, "url": "h"});
    assert_eq!(user(&gateway).await, (200, expected));
    assert_eq!(provider.last().header("authorization"), "Bearer t0ken");
    let issue = json!({"owner": "o", "repo": "r", "title": "T"});
    let answer = gateway.call("github", "create_issue", issue).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json(), json!({"number": 7, "title": "T", "state": "open", "url": "u"}));
    let seen = provider.last();
    assert_eq!(seen.target, "/repos/o/r/issues");
    assert_eq!(serde_json::from_slice::<Value>(&seen.body).unwrap(), json!({"title": "T"}));
}

#[tokio::test]
async fn a_spent_github_quota_holds_the_limiter_and_leaves_the_circuit_alone() {
    let reset = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(600);
    let reset = reset.as_secs().to_string();
    let provider = Provider::new(move |_| {
        let headers =
            [("x-ratelimit-remaining", "0"), ("x-ratelimit-limit", "60"), ("x-ratelimit-reset", &*reset)];
        reply(403, &headers, r#"{"message":"API rate limit exceeded"}"#)
    })
    .await;
    let gateway = Gateway::start(&[("github", &github(&provider.url()))]).await;
    let (status, first) = user(&gateway).await;
    assert_eq!((status, &first["type"]), (429, &json!("urn:bascule:problem:plugin-rejected")), "{first}");
    assert_eq!((&first["code"], &first["upstream_status"]), (&json!("rate-limited"), &json!(403)));
    for _ in 0..3 {
        let (status, held) = user(&gateway).await;
        assert_eq!(status, 429, "{held}");
        let wait = held["retry_after_ms"].as_u64().unwrap();
        assert!((590_000..=601_000).contains(&wait), "until the quota's reset: {held}");
    }
    // The hold is for all operations: it is the token's quota.
    let issue = json!({"owner": "o", "repo": "r", "title": "T"});
    assert_eq!(gateway.call("github", "create_issue", issue).await.status, 429);
    assert_eq!(provider.count(), 1, "held calls are not sent");
    assert_eq!(circuit(&gateway, "github").await, "closed");
    let metrics = Metrics::of(&gateway.admin()).await;
    let limited = [("service", "github"), ("result", "limited")];
    assert_eq!(metrics.value("rate_limit_decisions_total", &limited), 4.0);
}

#[tokio::test]
async fn a_real_403_of_github_passes_as_forbidden() {
    let provider = Provider::new(|_| {
        let headers = [("x-ratelimit-remaining", "59"), ("x-ratelimit-reset", "4102444800")];
        reply(403, &headers, r#"{"message":"Resource not accessible"}"#)
    })
    .await;
    let gateway = Gateway::start(&[("github", &github(&provider.url()))]).await;
    for number in 1..=3 {
        let (status, problem) = user(&gateway).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
        assert_eq!(problem["detail"], "Resource not accessible");
        assert_eq!(provider.count(), number, "nothing is held");
    }
    assert_eq!(circuit(&gateway, "github").await, "closed");
}

#[tokio::test]
async fn github_failures_have_codes() {
    let provider = Provider::new(|request| match &*request.target {
        "/users/octocat" => reply(404, &[], r#"{"message":"Not Found"}"#),
        _ => reply(422, &[], r#"{"message":"Validation Failed","errors":[{"field":"title"}]}"#),
    })
    .await;
    let gateway = Gateway::start(&[("github", &github(&provider.url()))]).await;
    let (status, problem) = user(&gateway).await;
    assert_eq!((status, &problem["code"]), (404, &json!("user-not-found")));
    let issue = json!({"owner": "o", "repo": "r", "title": "T"});
    let answer = gateway.call("github", "create_issue", issue).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (422, &json!("validation-failed")));
    assert_eq!(answer.json()["details"]["errors"][0]["field"], "title");
}

fn weather(url: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[auth]
type = "api_key"
in = "query"
name = "appid"
key = "k3y-0f-th3-w34ther"
[retry]
max_attempts = 1
[[plugins]]
source = "builtin:openweather"
[operations.get_current]
path = "/weather"
query = {{ q = "{{city}}", units = "{{units}}" }}
params.city = {{ type = "string", required = true }}
params.units = {{ type = "string", default = "metric" }}
"#
    )
}

#[tokio::test]
async fn openweather_is_converted_to_one_shape() {
    let provider = Provider::new(|request| {
        if request.target.contains("q=Atlantis") {
            return reply(404, &[], r#"{"cod":"404","message":"city not found"}"#);
        }
        reply(
            200,
            &[("content-type", "application/json")],
            r#"{"name":"Berlin","sys":{"country":"DE"},"main":{"temp":11.28,"feels_like":10.61,"humidity":71},
               "wind":{"speed":4.12},"weather":[{"main":"Clouds","description":"broken clouds"}],"dt":1440938160}"#,
        )
    })
    .await;
    let gateway = Gateway::start(&[("weather", &weather(&provider.url()))]).await;
    let answer = gateway.call("weather", "get_current", json!({"city": "Berlin"})).await;
    let expected = json!({
        "place": "Berlin", "country": "DE", "temperature": 11.3, "feels_like": 10.6, "unit": "celsius",
        "humidity_percent": 71, "wind_speed": 14.8, "wind_unit": "km/h", "conditions": "broken clouds",
        "observed_at": "2015-08-30T12:36:00Z"
    });
    assert_eq!(answer.json(), expected);
    let target = provider.last().target;
    for part in ["q=Berlin", "units=metric", "appid=k3y-0f-th3-w34ther"] {
        assert!(target.contains(part), "{target}");
    }
    let answer =
        gateway.call("weather", "get_current", json!({"city": "Berlin", "units": "imperial"})).await.json();
    assert_eq!((&answer["unit"], &answer["wind_unit"]), (&json!("fahrenheit"), &json!("mph")));
    let answer = gateway.call("weather", "get_current", json!({"city": "Atlantis"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (404, &json!("place-not-found")));
    let answer = gateway.call("weather", "get_current", json!({"city": "Berlin", "units": "inches"})).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (422, "plugin-rejected"));
}

/// An AWS service with an upload and a download.
fn aws(url: &str, service: &str) -> String {
    format!(
        r#"
base_url = "{url}"
[auth]
type = "plugin"
[[plugins]]
source = "builtin:aws-sigv4"
config = {{ service = "{service}", region = "eu-central-1" }}
credentials = {{ access_key_id = "AKIDEXAMPLE", secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" }}
[operations.put_object]
method = "PUT"
path = "/{{bucket}}/{{key...}}"
body = "raw"
[operations.get_object]
path = "/{{bucket}}/{{key...}}"
"#
    )
}

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn s3_uploads_are_signed_with_their_hash_when_small_and_unsigned_when_streamed() {
    let provider = Provider::new(|_| reply(200, &[("etag", "\"e\"")], "")).await;
    let gateway = Gateway::start(&[("storage", &aws(&provider.url(), "s3"))]).await;
    let put = "/v1/storage/put_object?bucket=b&key=dir/a%20b.txt";
    let answer = gateway.data().send(Method::PUT, put, "hello").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = provider.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str(), &*seen.body),
        ("PUT", "/b/dir/a%20b.txt", &b"hello"[..])
    );
    assert_eq!(seen.header("x-amz-content-sha256"), PluginHost::digest_of(b"hello"));
    let authorization = seen.header("authorization");
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{authorization}");
    assert!(authorization.contains("/eu-central-1/s3/aws4_request"), "{authorization}");
    let signed = authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    for name in ["host", "x-amz-date", "x-amz-content-sha256"] {
        assert!(signed.split(';').any(|one| one == name), "{signed}");
    }
    assert!(!signed.contains("traceparent") && !signed.contains("user-agent"), "{signed}");

    let large = Bytes::from((0..20 * MIB).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<_>>());
    let answer = gateway.data().send(Method::PUT, put, large.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = provider.last();
    assert_eq!(seen.header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    assert_eq!(seen.header("content-length"), large.len().to_string());
    assert!(seen.body == large, "the 20 MiB arrive as they were sent");
}

#[tokio::test]
async fn a_service_that_signs_bodies_takes_none_that_cannot_be_held() {
    let provider = Provider::new(|_| reply(200, &[], "")).await;
    let gateway = Gateway::start(&[("functions", &aws(&provider.url(), "execute-api"))]).await;
    let put = "/v1/functions/put_object?bucket=b&key=k";
    let answer = gateway.data().send(Method::PUT, put, vec![7; 9 * MIB]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(provider.count(), 1);
    let answer = gateway.data().send(Method::PUT, put, vec![7; 11 * MIB]).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (413, "payload-too-large"));
    assert_eq!(provider.count(), 1, "nothing was sent");
}

#[tokio::test]
async fn a_signer_works_through_the_proxy_and_replaces_the_callers_authorization() {
    let provider = Provider::new(|_| reply(200, &[], "content")).await;
    let gateway = Gateway::start(&[("storage", &aws(&provider.url(), "s3"))]).await;
    let client = gateway.data().header("authorization", "Basic b3RoZXI6b3RoZXI=");
    let answer = client.get("/proxy/storage/bucket/key?list-type=2").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "content"));
    let seen = provider.last();
    assert_eq!(seen.target, "/bucket/key?list-type=2");
    assert_eq!(seen.headers.get_all("authorization").iter().count(), 1);
    assert!(seen.header("authorization").starts_with("AWS4-HMAC-SHA256 "));
}

#[tokio::test]
async fn a_signer_that_lacks_credentials_is_refused_when_the_configuration_is_loaded() {
    let text = aws("http://127.0.0.1:9", "s3").replace("access_key_id = \"AKIDEXAMPLE\", ", "");
    let Err(error) = Gateway::try_with(&Gateway::base(""), &[("storage", &text)], &[]).await else {
        panic!("this should be refused")
    };
    let bascule::app::StartError::Configuration(problems) = error else { panic!("{error}") };
    let text = problems.render_human(false);
    assert!(text.contains("`credentials` must have `access_key_id`"), "{text}");
}
