//! Declared operations: parameters in, mapped requests out, answers and problems back.

use crate::support::{Gateway, Provider, reply};
use http::Method;
use serde_json::json;

fn weather(url: &str) -> String {
    format!(
        r#"
base_url = "{url}/data"
headers = {{ accept = "application/json", x-version = "2" }}
[retry]
max_attempts = 1
[operations.current]
path = "/weather/{{place}}"
query = {{ q = "{{city}}", units = "{{units}}", days = "{{days}}" }}
params.city = {{ type = "string", required = true }}
params.units = {{ type = "string", default = "metric", enum = ["metric", "imperial"] }}
params.days = {{ type = "integer", minimum = 1, maximum = 10 }}
[operations.report]
method = "POST"
path = "/reports"
params.title = {{ type = "string", required = true }}
params.tags = {{ type = "array" }}
[operations.pay]
method = "POST"
path = "/pay"
body = "form"
params.amount = {{ type = "integer", required = true }}
params.metadata = {{ type = "object" }}
"#
    )
}

#[tokio::test]
async fn parameters_become_path_query_and_headers() {
    let provider = Provider::new(|_| reply(200, &[("content-type", "application/json")], r#"{"t":1}"#)).await;
    let gateway = Gateway::start(&[("weather", &weather(&provider.url()))]).await;
    let answer =
        gateway.call("weather", "current", json!({"place": "a/b c", "city": "Köln & co", "days": 3})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"t": 1}));
    assert_eq!(answer.header("bascule-source"), "upstream");
    assert_eq!(answer.header("bascule-attempts"), "1");
    let seen = provider.last();
    assert_eq!(seen.method, Method::GET);
    assert_eq!(seen.target, "/data/weather/a%2Fb%20c?q=K%C3%B6ln%20%26%20co&units=metric&days=3");
    assert_eq!(seen.header("x-version"), "2");
    assert_eq!(seen.header("host"), provider.url().trim_start_matches("http://"));
    assert!(seen.header("traceparent").starts_with("00-"));
}

#[tokio::test]
async fn get_reads_texts_as_the_declared_types() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = Gateway::start(&[("weather", &weather(&provider.url()))]).await;
    let answer = gateway.data().get("/v1/weather/current?place=x&city=Bonn&days=7").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(provider.last().target, "/data/weather/x?q=Bonn&units=metric&days=7");
}

#[tokio::test]
async fn every_bad_parameter_is_named_at_once() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = Gateway::start(&[("weather", &weather(&provider.url()))]).await;
    let answer =
        gateway.call("weather", "current", json!({"days": 11, "units": "kelvin", "colour": 1})).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (422, "invalid-parameters"));
    let document = answer.json();
    let mut pointers: Vec<&str> = document["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/city", "/colour", "/days", "/place", "/units"]);
    assert_eq!(document["integration"], "weather");
    assert_eq!(document["operation"], "current");
    assert_eq!(provider.count(), 0);
}

#[tokio::test]
async fn what_is_used_nowhere_else_forms_the_body() {
    let provider = Provider::new(|_| reply(201, &[], "{}")).await;
    let gateway = Gateway::start(&[("weather", &weather(&provider.url()))]).await;
    let answer = gateway.call("weather", "report", json!({"title": "t", "tags": ["a", "b"]})).await;
    assert_eq!(answer.status, 201);
    let seen = provider.last();
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&seen.body).unwrap(),
        json!({"title": "t", "tags": ["a", "b"]})
    );
    assert_eq!(seen.header("content-type"), "application/json");
    let answer = gateway.call("weather", "pay", json!({"amount": 5, "metadata": {"order id": "7"}})).await;
    assert_eq!(answer.status, 201);
    let seen = provider.last();
    assert_eq!(seen.body, "amount=5&metadata%5Border+id%5D=7");
    assert_eq!(seen.header("content-type"), "application/x-www-form-urlencoded");
}

#[tokio::test]
async fn unknown_names_and_methods_are_told_apart() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = Gateway::start(&[("weather", &weather(&provider.url()))]).await;
    let problem = async |method: Method, path: &str| {
        let answer = gateway.data().send(method, path, "").await;
        (answer.status.as_u16(), answer.problem(), answer.header("allow").to_owned())
    };
    let none = String::new;
    assert_eq!(problem(Method::POST, "/v1/nope/x").await, (404, "unknown-integration".into(), none()));
    assert_eq!(problem(Method::POST, "/v1/weather/nope").await, (404, "unknown-operation".into(), none()));
    assert_eq!(problem(Method::GET, "/nope").await, (404, "not-found".into(), none()));
    assert_eq!(
        problem(Method::GET, "/v1/weather/report").await,
        (405, "method-not-allowed".into(), "POST".into())
    );
    assert_eq!(
        problem(Method::DELETE, "/v1/weather/current").await,
        (405, "method-not-allowed".into(), "GET, HEAD, POST".into())
    );
}

#[tokio::test]
async fn a_header_that_connection_names_goes_no_further() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let text = format!("forward_headers = [\"x-tenant\", \"x-hop\"]\n{}", weather(&provider.url()))
        + "[operations.put]\nmethod = \"PUT\"\npath = \"/put\"\nbody = \"raw\"\n";
    let gateway = Gateway::start(&[("weather", &text)]).await;
    let client = gateway.data().header("x-tenant", "t").header("x-hop", "h").header("content-language", "de");
    let named = gateway.data().header("x-tenant", "t").header("x-hop", "h").header("content-language", "de");
    let named = named.header("connection", "keep-alive, X-Hop, content-language");
    let seen = || {
        let last = provider.last();
        ["x-tenant", "x-hop", "content-language"].map(|name| last.header(name).to_owned())
    };
    let get = "/v1/weather/current?place=x&city=y";
    assert_eq!(client.get(get).await.status, 200);
    assert_eq!(seen(), ["t", "h", ""]);
    assert_eq!(named.get(get).await.status, 200);
    assert_eq!(seen(), ["t", "", ""]);
    assert_eq!(client.send(Method::PUT, "/v1/weather/put", "x").await.status, 200);
    assert_eq!(seen(), ["t", "h", "de"]);
    assert_eq!(named.send(Method::PUT, "/v1/weather/put", "x").await.status, 200);
    assert_eq!(seen(), ["t", "", ""]);
}
