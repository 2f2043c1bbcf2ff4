//! What plugins may be granted: side requests, state, telemetry, revealed secrets, and their own cache keys.

use crate::support::{
    Gate, Gateway, Metrics, Provider, Request, command, config_folder, guest, reply, until,
};
use bascule::app::StartError;
use serde_json::{Value, json};

const GRANTS: &str = r#"["state", "telemetry", "http:default", "http:other", "reveal:shown"]"#;

/// An integration with the guest that uses everything; `more` stands before its plugin's other keys.
fn platform(url: &str, other: &str, top: &str, more: &str) -> String {
    format!(
        r#"
base_url = "{url}/base"
{top}
[retry]
max_attempts = 1
[endpoints.other]
base_url = "{other}"
[endpoints.unused]
base_url = "{other}"
[[plugins]]
source = "{}"
credentials = {{ shown = "may-be-seen", hidden = "never-seen" }}
{more}
[operations.get]
path = "/get"
params = {{ side = {{ type = "string" }}, times = {{ type = "integer" }}, city = {{ type = "string" }} }}
[operations.kept]
path = "/get"
query = {{ city = "{{city}}" }}
params = {{ city = {{ type = "string", required = true }}, private = {{ type = "boolean" }} }}
cache = "10m"
fallback = ["cache"]
"#,
        guest("platform")
    )
}

fn granted(url: &str, other: &str, top: &str) -> String {
    platform(url, other, top, &format!("grants = {GRANTS}"))
}

/// Answers with the target; paths below `/base` and `/side` may say which status they want.
fn by_target(request: &Request) -> http::Response<http_body_util::Full<bytes::Bytes>> {
    let status = request.target.rsplit_once("/status/").and_then(|(_, status)| status.parse().ok());
    reply(status.unwrap_or(200), &[], request.target.clone())
}

async fn side(gateway: &Gateway, provider: &Provider, side: &str, times: u32) -> String {
    let answer = gateway.call("shop", "get", json!({"side": side, "times": times})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    provider
        .seen()
        .iter()
        .rev()
        .find(|seen| seen.target.starts_with("/base/get"))
        .unwrap()
        .header("x-side")
        .to_owned()
}

#[tokio::test]
async fn side_requests_go_to_granted_endpoints_and_to_no_other() {
    let (provider, other) = (Provider::new(by_target).await, Provider::new(by_target).await);
    let gateway = Gateway::start(&[("shop", &granted(&provider.url(), &other.url(), ""))]).await;
    assert_eq!(side(&gateway, &provider, "default /x", 1).await, "200 /base/x", "below the base path");
    assert_eq!(side(&gateway, &provider, "other /y/status/404", 1).await, "404 /y/status/404");
    let seen = other.last();
    assert_eq!((seen.header("x-plain"), seen.header("x-key")), ("1", "Key never-seen"), "put in by the host");
    assert_eq!(side(&gateway, &provider, "unused /y", 1).await, "denied");
    assert_eq!(side(&gateway, &provider, "nowhere /y", 1).await, "denied");
    assert_eq!(other.count(), 1);
    let came = side(&gateway, &provider, "other /y", 6).await;
    assert_eq!(came, "200 /y, 200 /y, 200 /y, 200 /y, budget, budget");
    let metrics = Metrics::of(&gateway.admin()).await;
    let labels = [("plugin", "platform"), ("service", "shop"), ("target", "other"), ("result", "answered")];
    assert_eq!(metrics.value("plugin_side_requests_total", &labels), 5.0);
    assert_eq!(metrics.sum("plugin_side_requests_total", &[]), 6.0, "what was not granted was not sent");
}

#[tokio::test]
async fn an_endpoint_that_fails_opens_its_own_circuit_and_not_the_operations() {
    let (provider, other) = (Provider::new(by_target).await, Provider::new(by_target).await);
    let top = "circuit_breaker = { failures = 2, reset_after = \"1h\" }";
    let gateway = Gateway::start(&[("shop", &granted(&provider.url(), &other.url(), top))]).await;
    let came = side(&gateway, &provider, "other /status/500", 4).await;
    assert_eq!(came, "500 /status/500, 500 /status/500, breaker-open, breaker-open");
    assert_eq!(other.count(), 2);
    // Nor is another endpoint concerned, even if it is the operations' own.
    assert_eq!(side(&gateway, &provider, "default /status/500", 3).await.matches("500").count(), 4);
    assert_eq!(side(&gateway, &provider, "default /x", 1).await, "breaker-open");
    assert_eq!(gateway.health("shop").await["circuit_state"], "closed");
    let metrics = Metrics::of(&gateway.admin()).await;
    for (service, state, failures) in
        [("shop", 0.0, 0.0), ("endpoint:shop.other", 1.0, 2.0), ("endpoint:shop.default", 1.0, 2.0)]
    {
        assert_eq!(metrics.value("circuit_breaker_state", &[("service", service)]), state, "{service}");
        let labels = [("service", service)];
        assert_eq!(metrics.value("circuit_breaker_failures_total", &labels), failures, "{service}");
    }
    assert_eq!(metrics.sum("circuit_breaker_state", &[("service", "endpoint:shop.unused")]), 0.0);
}

#[tokio::test]
async fn side_requests_take_from_the_integrations_rate_limit_and_may_not_outlast_the_call() {
    let gate = Gate::closed();
    let held = gate.clone();
    let other = Provider::slow(move |request| {
        let gate = held.clone();
        async move {
            if request.target == "/slow" {
                gate.pass().await;
            }
            reply(200, &[], "")
        }
    })
    .await;
    let provider = Provider::new(by_target).await;
    let top = "rate_limit = { requests = 3, window = \"1h\", burst = 3 }";
    let gateway = Gateway::start(&[("shop", &granted(&provider.url(), &other.url(), top))]).await;
    assert_eq!(side(&gateway, &provider, "other /y", 2).await, "200 , 200");
    let answer = gateway.call("shop", "get", json!({"side": "other /y"})).await;
    assert_eq!(answer.code(), (429, "rate-limited".to_owned()), "two side requests and one call were three");
    let gateway =
        Gateway::start(&[("shop", &granted(&provider.url(), &other.url(), "timeout = \"300ms\""))]).await;
    let answer = gateway.call("shop", "get", json!({"side": "other /slow"})).await;
    assert_eq!(answer.code(), (504, "upstream-timeout".to_owned()));
    assert_eq!(gateway.metric("plugin_side_requests_total", &[("result", "deadline")]).await, 1.0);
    gate.open();
}

#[tokio::test]
async fn a_throttle_of_the_integrations_own_endpoint_holds_its_calls_and_anothers_does_not() {
    let throttling = async || {
        Provider::new(|request| match request.target.as_str() {
            "/base/side" | "/side" => reply(429, &[("retry-after", "50")], ""),
            _ => by_target(request),
        })
        .await
    };
    let (provider, other) = (throttling().await, throttling().await);
    let gateway = Gateway::start(&[("shop", &granted(&provider.url(), &other.url(), ""))]).await;
    assert_eq!(side(&gateway, &provider, "other /side", 1).await, "429");
    let answer = gateway.call("shop", "get", json!({"side": "default /side"})).await;
    assert_eq!(answer.code(), (429, "rate-limited".to_owned()));
    assert_eq!(provider.last().target, "/base/side", "the call itself was held");
}

#[tokio::test]
async fn the_breaker_of_an_endpoint_stays_open_over_a_reload() {
    let (provider, other) = (Provider::new(by_target).await, Provider::new(by_target).await);
    let text =
        granted(&provider.url(), &other.url(), "circuit_breaker = { failures = 1, reset_after = \"1h\" }");
    let gateway = Gateway::start(&[("shop", &text)]).await;
    assert_eq!(side(&gateway, &provider, "other /status/500", 1).await, "500 /status/500");
    gateway.rewrite("shop", &text.replacen("/get\"", "/get/2\"", 1));
    assert_eq!(gateway.admin().send(http::Method::POST, "/config/reload", "").await.status, 200);
    assert_eq!(side(&gateway, &provider, "other /y", 1).await, "breaker-open");
    assert_eq!((provider.last().target.as_str(), other.count()), ("/base/get/2", 1));
}

#[tokio::test]
async fn side_requests_obey_the_egress_rules() {
    // A private address that no configuration here allows; nobody is asked.
    let provider = Provider::new(by_target).await;
    let gateway = Gateway::start(&[("shop", &granted(&provider.url(), "http://10.0.0.1:9", ""))]).await;
    assert_eq!(side(&gateway, &provider, "other /y", 1).await, "denied");
    assert_eq!(gateway.metric("plugin_side_requests_total", &[("result", "denied")]).await, 1.0);
}

#[tokio::test]
async fn state_lasts_from_call_to_call_and_over_a_reload() {
    let provider = Provider::new(by_target).await;
    let text = granted(&provider.url(), &provider.url(), "");
    let gateway = Gateway::start(&[("shop", &text)]).await;
    for count in 1..=3 {
        assert_eq!(gateway.call("shop", "get", json!({})).await.status, 200);
        assert_eq!(provider.last().header("x-count"), count.to_string());
    }
    gateway.rewrite("shop", &text.replacen("/get\"", "/got\"", 1));
    assert_eq!(gateway.admin().send(http::Method::POST, "/config/reload", "").await.status, 200);
    assert_eq!(gateway.call("shop", "get", json!({})).await.status, 200);
    let seen = provider.last();
    assert_eq!((seen.target.as_str(), seen.header("x-count")), ("/base/got", "4"));
}

#[tokio::test]
async fn measurements_and_attributes_of_a_plugin_are_shown_under_its_name() {
    let collector = Provider::new(|_| reply(200, &[], "")).await;
    let provider = Provider::new(by_target).await;
    let more = format!("otlp_endpoint = \"{}\"\n", collector.url());
    let text = granted(&provider.url(), &provider.url(), "");
    let gateway = Gateway::with(&Gateway::base(&more), &[("shop", &text)], &[]).await;
    let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let path = "/v1/shop/get?city=Berlin&side=default%20/x";
    assert_eq!(gateway.data().header("traceparent", sent).get(path).await.status, 200);
    let metrics = Metrics::of(&gateway.admin()).await;
    let labels = [("plugin", "platform"), ("service", "shop"), ("operation", "get")];
    assert_eq!(metrics.value("plugin_custom_calls_total", &labels), 1.0, "{}", metrics.text());
    assert_eq!(metrics.kind("plugin_custom_input_size"), "histogram");
    assert_eq!(metrics.value("plugin_custom_input_size_count", &labels), 1.0);
    // The side request goes on with the call's trace, as a span of its own.
    let seen = provider.seen();
    let ids: Vec<&str> = seen.iter().map(|request| request.header("traceparent")).collect();
    assert!(ids.iter().all(|id| id.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
    let contains = |text: &str| {
        let bodies = collector.seen();
        bodies.iter().any(|sent| sent.body.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    until("the span is exported", || contains("plugin.city").then_some(())).await;
    assert!(contains("Berlin") && contains("plugin request-mapper") && contains("/base/x"));
}

#[tokio::test]
async fn a_revealed_secret_is_warned_about_and_the_line_to_add_is_whole() {
    let provider = Provider::new(by_target).await;
    let text = granted(&provider.url(), &provider.url(), "");
    let gateway = Gateway::start(&[("shop", &text)]).await;
    assert_eq!(gateway.call("shop", "get", json!({})).await.status, 200);
    assert_eq!(provider.last().header("x-revealed"), "may-be-seen");
    let check = async |text: &str| {
        let folder = config_folder("[server]\nlisten = \"127.0.0.1:0\"\n", &[("shop", text)]);
        let output =
            command(&["check", "--config", folder.path().to_str().unwrap()], &[]).output().await.unwrap();
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), printed)
    };
    let (code, printed) = check(&text).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("the plugin may read the secret `shown`") && !printed.contains("may-be-seen"));
    let (code, printed) =
        check(&platform(&provider.url(), &provider.url(), "", "grants = [\"state\"]")).await;
    assert_eq!(code, Some(1), "{printed}");
    let line = r#"grants = ["state", "telemetry", "http:default", "reveal:NAME"]"#;
    assert!(printed.contains(line), "{printed}");
}

#[tokio::test]
async fn a_cache_policy_says_which_inputs_are_the_same_and_which_are_not_kept() {
    let provider = Provider::new(by_target).await;
    let gateway = Gateway::start(&[("shop", &granted(&provider.url(), &provider.url(), ""))]).await;
    let kept = async |params: Value| {
        let answer = gateway.call("shop", "kept", params).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.header("bascule-source").to_owned(), answer.header("cache-status").to_owned(), answer.text())
    };
    let first = kept(json!({"city": "Berlin"})).await;
    assert_eq!((first.0.as_str(), first.2.as_str()), ("upstream", "/base/get?city=Berlin"));
    let same = kept(json!({"city": "BERLIN"})).await;
    assert_eq!((same.0.as_str(), same.2.as_str()), ("cache", "/base/get?city=Berlin"));
    assert_eq!(kept(json!({"city": "Rome"})).await.0, "upstream", "another key");
    for _ in 0..2 {
        let private = kept(json!({"city": "berlin", "private": true})).await;
        assert_eq!((private.0.as_str(), private.1.as_str()), ("upstream", "bascule; fwd=bypass"));
    }
    assert_eq!(provider.count(), 4);
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_its_own_failure_and_not_the_plugins() {
    let gate = Gate::closed();
    let held = gate.clone();
    let other = Provider::slow(move |_| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            reply(200, &[], "")
        }
    })
    .await;
    let provider = Provider::new(by_target).await;
    let plugin = format!("grants = {GRANTS}\nlimits = {{ wall = \"2s\" }}");
    let gateway = Gateway::start(&[("shop", &platform(&provider.url(), &other.url(), "", &plugin))]).await;
    assert_eq!(side(&gateway, &provider, "other /y", 1).await, "deadline", "the plugin hears of it");
    let failures = [("service", "endpoint:shop.other")];
    assert_eq!(gateway.metric("circuit_breaker_failures_total", &failures).await, 1.0);
    assert_eq!(Metrics::of(&gateway.admin()).await.sum("plugin_failures_total", &[]), 0.0);
    gate.open();
}

#[tokio::test]
async fn where_https_rules_decide_a_cache_policy_is_refused() {
    let text = granted("http://127.0.0.1:9", "http://127.0.0.1:9", "")
        .replace("cache = \"10m\"", "cache = \"http\"");
    match Gateway::try_with(&Gateway::base(""), &[("shop", &text)], &[]).await {
        Err(StartError::Configuration(problems)) => {
            let found: Vec<&str> = problems.iter().map(|found| &*found.message).collect();
            assert_eq!(
                found,
                ["a `cache-policy` is not asked where HTTP's rules decide, as they do for `kept`"]
            );
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it should be refused"),
    }
}

#[tokio::test]
async fn a_cache_policy_gives_no_caller_the_answer_of_another() {
    let provider = Provider::new(|request| reply(200, &[], request.number.to_string())).await;
    let text = granted(&provider.url(), &provider.url(), "");
    let text = text.replace("cache = \"10m\"", "cache = { ttl = \"10m\", vary_by = [\"caller\"] }");
    let keys =
        "auth.api_keys = [{ name = \"a\", key = \"key-of-a\" }, { name = \"b\", key = \"key-of-b\" }]\n";
    let base = Gateway::base("").replace("[admin]", &format!("{keys}[admin]"));
    let gateway = Gateway::with(&base, &[("shop", &text)], &[]).await;
    let of = async |key: &str| {
        gateway.data().header("x-api-key", key).get("/v1/shop/kept?city=Berlin").await.text()
    };
    assert_eq!((of("key-of-a").await, of("key-of-b").await), ("1".into(), "2".into()));
    assert_eq!((of("key-of-a").await, of("key-of-b").await), ("1".into(), "2".into()));
}

#[tokio::test]
async fn a_cache_policy_that_fails_leaves_the_key_to_the_gateway() {
    let provider = Provider::new(by_target).await;
    let gateway = Gateway::start(&[("shop", &granted(&provider.url(), &provider.url(), ""))]).await;
    for source in ["upstream", "cache"] {
        let answer = gateway.call("shop", "kept", json!({"city": "trap"})).await;
        assert_eq!((answer.status.as_u16(), answer.header("bascule-source")), (200, source));
    }
    let labels = [("plugin", "platform"), ("hook", "cache-policy"), ("kind", "trap")];
    assert_eq!(gateway.metric("plugin_failures_total", &labels).await, 2.0);
    assert_eq!(gateway.health("shop").await["circuit_state"], "closed");
}

#[tokio::test]
async fn the_ladder_finds_what_was_kept_under_the_policys_key() {
    let provider = Provider::new(|request| match request.number {
        1 => reply(200, &[], "\"good\""),
        _ => reply(503, &[], ""),
    })
    .await;
    let text = granted(&provider.url(), &provider.url(), "").replace("\"10m\"", "\"1ms\"");
    let gateway = Gateway::start(&[("shop", &text)]).await;
    assert_eq!(
        gateway.call("shop", "kept", json!({"city": "Berlin"})).await.header("bascule-source"),
        "upstream"
    );
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let answer = gateway.call("shop", "kept", json!({"city": "berlin"})).await;
    assert_eq!((answer.status.as_u16(), answer.header("bascule-source")), (200, "stale"));
    assert_eq!(answer.text(), "\"good\"");
}
