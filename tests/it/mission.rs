//! Promises of the mission that no other test holds by itself. `docs/mission.md` says which test holds
//! which promise.

use crate::support::{Gateway, Provider, Request, Served, config_folder, reply};
use http::Method;
use serde_json::{Value, json};

fn last_json(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// One operation per method, with headers at each level.
fn client(url: &str) -> String {
    format!(
        r#"
type = "rest"
description = "A client of everything"
base_url = "{url}/api"
headers = {{ accept = "application/vnd.github.v3+json", x-level = "integration", x-kept = "integration" }}
forward_headers = ["x-call"]
[retry]
max_attempts = 1
[operations.get]
method = "GET"
path = "/things/{{id}}"
query = {{ page = "{{page}}" }}
params.page = {{ type = "integer", default = 1 }}
[operations.create]
method = "POST"
path = "/things"
params.name = {{ type = "string", required = true }}
[operations.replace]
method = "PUT"
path = "/things/{{id}}"
headers = {{ x-level = "operation", stripe-version = "2024-06-20" }}
params.name = {{ type = "string" }}
[operations.change]
method = "PATCH"
path = "/things/{{id}}"
params.name = {{ type = "string" }}
[operations.remove]
method = "DELETE"
path = "/things/{{id}}"
body = "none"
"#
    )
}

#[tokio::test]
async fn all_methods_substitute_their_path_and_send_a_json_body_where_they_have_one() {
    let provider = Provider::new(|_| reply(200, &[("content-type", "application/json")], "{}")).await;
    let gateway = Gateway::start(&[("things", &client(&provider.url()))]).await;
    for (operation, params, method, target, body) in [
        ("get", json!({"id": "7", "page": 2}), "GET", "/api/things/7?page=2", None),
        ("create", json!({"name": "a"}), "POST", "/api/things", Some(json!({"name": "a"}))),
        ("replace", json!({"id": "7", "name": "b"}), "PUT", "/api/things/7", Some(json!({"name": "b"}))),
        ("change", json!({"id": "7", "name": "c"}), "PATCH", "/api/things/7", Some(json!({"name": "c"}))),
        ("remove", json!({"id": "7"}), "DELETE", "/api/things/7", None),
    ] {
        let answer = gateway.call("things", operation, params).await;
        assert_eq!(answer.status, 200, "{operation}: {}", answer.text());
        let seen = provider.last();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, target));
        match body {
            Some(body) => {
                assert_eq!(last_json(&seen), body, "{operation}");
                assert_eq!(seen.header("content-type"), "application/json", "{operation}");
            }
            None => assert_eq!((&*seen.body, seen.header("content-type")), (&b""[..], ""), "{operation}"),
        }
    }
}

#[tokio::test]
async fn headers_of_the_operation_win_over_the_integrations_and_the_callers_join() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = Gateway::start(&[("things", &client(&provider.url()))]).await;
    let caller = gateway.data().header("x-call", "call").header("x-stray", "1");
    let answer = caller.post("/v1/things/replace", &json!({"id": "7", "name": "b"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = provider.last();
    assert_eq!(seen.header("accept"), "application/vnd.github.v3+json", "version headers");
    assert_eq!((seen.header("x-level"), seen.header("x-kept")), ("operation", "integration"));
    assert_eq!(seen.header("stripe-version"), "2024-06-20");
    assert_eq!(
        (seen.header("x-call"), seen.header("x-stray")),
        ("call", ""),
        "only what is declared is forwarded"
    );
    assert!(seen.header("user-agent").to_lowercase().starts_with("bascule"), "{}", seen.header("user-agent"));
}

#[tokio::test]
async fn json_is_asked_for_unless_the_configuration_says_otherwise() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let text = format!("base_url = \"{}\"\n[operations.get]\npath = \"/x\"\n", provider.url());
    let gateway = Gateway::start(&[("plain", &text)]).await;
    assert_eq!(gateway.call("plain", "get", json!({})).await.status, 200);
    assert_eq!(provider.last().header("accept"), "application/json");
}

#[tokio::test]
async fn failures_of_the_provider_carry_its_status_and_body() {
    let provider = Provider::new(|request| {
        let status: u16 =
            request.target.trim_start_matches("/api/things/").split('?').next().unwrap().parse().unwrap();
        reply(status, &[("content-type", "application/json")], format!(r#"{{"said":{status}}}"#))
    })
    .await;
    let text = client(&provider.url()).replace("[retry]", "circuit_breaker = { mode = \"off\" }\n[retry]");
    let gateway = Gateway::start(&[("things", &text)]).await;
    for status in [400, 401, 402, 403, 404, 409, 410, 418, 422, 500, 501, 502, 503] {
        let answer = gateway.call("things", "get", json!({"id": status.to_string()})).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (status, json!({"said": status})));
        assert_eq!(answer.header("bascule-source"), "upstream");
    }
}

/// §1.20: what each failure is told as, declared per status.
#[tokio::test]
async fn statuses_are_mapped_to_the_operations_own_codes() {
    let provider = Provider::new(|request| {
        let status: u16 = request.target.trim_start_matches("/charges/").parse().unwrap();
        reply(status, &[], r#"{"error":"of the provider"}"#)
    })
    .await;
    let text = format!(
        r#"
base_url = "{}"
circuit_breaker = {{ mode = "off" }}
errors."401" = {{ status = 502, code = "invalid-api-key", detail = "the key of the shop is not valid" }}
errors."402" = {{ status = 402, code = "payment-required" }}
errors."403" = {{ status = 403, code = "forbidden-here" }}
[retry]
max_attempts = 1
[operations.get]
path = "/charges/{{id}}"
errors."404" = {{ status = 404, code = "charge-not-found" }}
errors."422" = {{ status = 422, code = "charge-invalid" }}
[operations.other]
path = "/charges/{{id}}"
"#,
        provider.url()
    );
    let gateway = Gateway::start(&[("pay", &text)]).await;
    for (upstream, status, code) in [(404, 404, "charge-not-found"), (422, 422, "charge-invalid")] {
        let answer = gateway.call("pay", "get", json!({"id": upstream.to_string()})).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (status, code));
        assert_eq!(
            (&answer.json()["code"], &answer.json()["upstream_status"]),
            (&json!(code), &json!(upstream))
        );
    }
    for (upstream, status, code) in
        [(401, 502, "invalid-api-key"), (402, 402, "payment-required"), (403, 403, "forbidden-here")]
    {
        let answer = gateway.call("pay", "other", json!({"id": upstream.to_string()})).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (status, code));
    }
    assert_eq!(
        gateway.call("pay", "other", json!({"id": "401"})).await.json()["detail"],
        "the key of the shop is not valid"
    );
    assert_eq!(
        gateway.call("pay", "other", json!({"id": "404"})).await.json(),
        json!({"error": "of the provider"})
    );
}

/// §1.19: the log has method, status, duration, attempts, delays and transitions.
#[tokio::test]
async fn the_log_tells_what_happened_to_a_call() {
    let provider = Provider::new(|_| reply(503, &[], "")).await;
    let text = format!(
        "base_url = \"{}\"\n[retry]\nmax_attempts = 2\nbase_delay = \"1ms\"\n[circuit_breaker]\nfailures = 1\n[operations.get]\npath = \"/x\"\n",
        provider.url()
    );
    let base = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    let folder = config_folder(base, &[("shop", &text)]);
    let served = Served::start(folder.path(), &[], &[("RUST_LOG", "debug")]).await;
    let answer = served.data().send(Method::POST, "/v1/shop/get", "{}").await;
    assert_eq!(answer.status, 503);
    served.signal("TERM").await;
    let (_, printed) = served.ended().await;
    let lines: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let find = |message: &str| {
        lines.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("{message}: {printed}"))
    };
    let record = find("call completed");
    for (field, value) in [
        ("integration", json!("shop")),
        ("operation", json!("get")),
        ("method", json!("POST")),
        ("status", json!(503)),
        ("attempts", json!(2)),
        ("source", json!("upstream")),
    ] {
        assert_eq!(record[field], value, "{field}: {record}");
    }
    assert!(
        record["duration_ms"].as_f64().unwrap() >= 0.0 && record["trace_id"].as_str().unwrap().len() == 32
    );
    let retry = find("retrying");
    assert_eq!((&retry["attempt"], &retry["status"]), (&json!(1), &json!(503)));
    assert!(retry["delay_ms"].is_number(), "{retry}");
    let opened = find("the circuit opened");
    assert_eq!((&opened["from"], &opened["to"]), (&json!("closed"), &json!("open")), "{opened}");
}

/// §1.14 and §1.15: values of `auth` come from the environment.
#[tokio::test]
async fn every_kind_of_auth_takes_its_values_from_the_environment() {
    let provider = Provider::new(|request| match &*request.target {
        "/token" => reply(200, &[], r#"{"access_token":"granted","token_type":"bearer","expires_in":3600}"#),
        _ => reply(200, &[], "{}"),
    })
    .await;
    let text =
        |auth: &str| format!("base_url = \"{}\"\n{auth}\n[operations.get]\npath = \"/x\"\n", provider.url());
    let oauth = format!(
        "[auth]\ntype = \"oauth2\"\ntoken_url = \"{}/token\"\nclient_id = \"${{ID}}\"\nclient_secret = \"${{SECRET}}\"\nscopes = [\"read\", \"write\"]",
        provider.url()
    );
    let cases = [
        ("none", "", "authorization", ""),
        ("bearer", "[auth]\ntype = \"bearer\"\ntoken = \"${SECRET}\"", "authorization", "Bearer s3cret"),
        ("key", "[auth]\ntype = \"api_key\"\nkey = \"${SECRET}\"", "x-api-key", "s3cret"),
        ("named", "[auth]\ntype = \"api_key\"\nname = \"X-Token\"\nkey = \"${SECRET}\"", "x-token", "s3cret"),
        (
            "basic",
            "[auth]\ntype = \"basic\"\nusername = \"${ID}\"\npassword = \"${SECRET}\"",
            "authorization",
            "Basic bWU6czNjcmV0",
        ),
        ("oauth2", oauth.as_str(), "authorization", "Bearer granted"),
    ];
    let files: Vec<(&str, String)> = cases.iter().map(|(name, auth, ..)| (*name, text(auth))).collect();
    let listed: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let gateway = Gateway::with(&Gateway::base(""), &listed, &[("ID", "me"), ("SECRET", "s3cret")]).await;
    for (name, _, header, value) in cases {
        assert_eq!(gateway.call(name, "get", json!({})).await.status, 200, "{name}");
        assert_eq!(provider.last().header(header), value, "{name}");
    }
    let token = provider.seen().into_iter().find(|request| request.target == "/token").unwrap();
    assert_eq!(token.method, Method::POST);
    let form = String::from_utf8(token.body.to_vec()).unwrap();
    for part in ["grant_type=client_credentials", "scope=read+write"] {
        assert!(form.contains(part), "{form}");
    }
    let query = text("[auth]\ntype = \"api_key\"\nin = \"query\"\nname = \"appid\"\nkey = \"${SECRET}\"");
    let gateway = Gateway::with(&Gateway::base(""), &[("query", &query)], &[("SECRET", "s3cret")]).await;
    assert_eq!(gateway.call("query", "get", json!({})).await.status, 200);
    assert_eq!(provider.last().target, "/x?appid=s3cret");
}

/// §1.11: objects go in and come out, signed, behind a breaker.
#[tokio::test]
async fn objects_are_stored_and_fetched_behind_a_breaker() {
    let provider = Provider::new(|request| match (request.method.as_str(), request.number) {
        ("PUT", _) => reply(200, &[("etag", "\"1\"")], ""),
        (_, 2) => reply(200, &[("content-type", "text/plain"), ("etag", "\"1\"")], "hello"),
        _ => reply(500, &[], "<Error/>"),
    })
    .await;
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/integrations/StorageService.toml"
    ))
    .unwrap()
    .replace("max_attempts = 3", "max_attempts = 1");
    let url = provider.url();
    let env = [
        ("S3_ENDPOINT_URL", url.as_str()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-example"),
        ("AWS_REGION", "eu-central-1"),
    ];
    let gateway = Gateway::with(&Gateway::base(""), &[("StorageService", &text)], &env).await;
    let put = "/v1/StorageService/put_object?bucket=b&key=k.txt";
    assert_eq!(
        gateway.data().header("content-type", "text/plain").send(Method::PUT, put, "hello").await.status,
        200
    );
    assert_eq!(provider.last().header("content-type"), "text/plain");
    let object = json!({"bucket": "b", "key": "k.txt"});
    let answer = gateway.call("StorageService", "get_object", object.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "hello"));
    assert_eq!((answer.header("etag"), answer.header("content-type")), ("\"1\"", "text/plain"));
    for request in provider.seen() {
        assert!(request.header("authorization").contains("/eu-central-1/s3/aws4_request"));
    }
    for _ in 0..5 {
        assert_eq!(gateway.call("StorageService", "get_object", object.clone()).await.status, 500);
    }
    assert_eq!(gateway.call("StorageService", "get_object", object).await.problem(), "circuit-open");
}
