//! `llm_fallback` and `several_providers` against scripted HTTP servers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bascule_resilience::{Clock, Health, State};
use serde_json::json;

use crate::examples::llm_fallback::{
    AnomalyAnalysis, AppError, ConnectionConfig, Credentials, ResilientSentinelClient,
};
use crate::examples::several_providers::{self, Config, Data, MultiLlmClient, ResilientClient, Sources};
use crate::support::{Answer, HandClock, Provider};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_rule_answers_while_the_model_is_unavailable() {
    let provider = Provider::start().await;
    let seen = AnomalyAnalysis {
        is_anomalous: true,
        confidence: 0.97,
        anomaly_type: "spike".to_owned(),
        details: None,
    };
    provider.on("/v1/analyze", Answer::json(serde_json::to_value(&seen).unwrap()));
    let clock = HandClock::new();
    let config = ConnectionConfig { endpoint: provider.url(), timeout: MINUTE };
    let credentials = Credentials { api_key: "key".to_owned() };
    let sentinel = ResilientSentinelClient::with_clock(config, credentials, clock.clone()).unwrap();
    let analyze = || sentinel.analyze_anomaly_with_fallback(json!({ "error_rate": 0.4 }));

    assert_eq!(analyze().await.unwrap(), seen);
    let request = provider.requests().remove(0);
    assert_eq!(request.authorization.as_deref(), Some("Bearer key"));
    assert_eq!(request.body, r#"{"data":{"error_rate":0.4}}"#);

    // The failures that open the circuit are told as they are.
    provider.set_down(true);
    for _ in 0..5 {
        assert!(matches!(analyze().await, Err(AppError::Model(_))));
    }
    let sent = provider.requests().len();
    let rule = AnomalyAnalysis {
        is_anomalous: false,
        confidence: 0.5,
        anomaly_type: "unknown".to_owned(),
        details: Some("Fallback analysis - LLM unavailable".to_owned()),
    };
    assert_eq!(analyze().await.unwrap(), rule);
    assert_eq!(provider.requests().len(), sent);

    // Two successes are enough for a model.
    provider.set_down(false);
    clock.advance(MINUTE);
    for _ in 0..2 {
        assert_eq!(analyze().await.unwrap(), seen);
    }
    assert!(sentinel.circuit_breaker().is_closed().await);
}

fn data(source: &str) -> Data {
    Data { source: source.to_owned(), text: "rain".to_owned() }
}

fn serve(provider: &Provider, source: &str) {
    provider.on("/weather", Answer::json(json!({ "source": source, "text": "rain" })));
}

#[tokio::test]
async fn one_model_that_is_down_is_the_only_one_that_the_health_map_blames() {
    let (good, bad) = (Provider::start().await, Provider::start().await);
    serve(&good, "good");
    bad.set_down(true);
    let clock = HandClock::new();
    let (sentinel, governance) = (good.url(), good.url());
    let config = Config { sentinel, shield: bad.url(), edge_agent: good.url(), governance };
    let models = MultiLlmClient::with_clock(&config, &(clock.clone() as Arc<dyn Clock>)).unwrap();

    for _ in 0..6 {
        assert_eq!(models.fetch_from_multiple_sources("weather").await.unwrap().len(), 3);
    }
    assert_eq!(bad.requests().len(), 5, "the sixth was not sent");
    let health = models.health_check().await;
    let names: Vec<&str> = health.keys().map(String::as_str).collect();
    assert_eq!(names, ["edge_agent", "governance", "sentinel", "shield"]);
    for (name, health) in &health {
        let (status, state) = if name == "shield" {
            (Health::Unhealthy, State::Open)
        } else {
            (Health::Healthy, State::Closed)
        };
        assert_eq!((&health.name, health.status, health.state), (name, status, state));
    }

    clock.advance(MINUTE);
    let shield = &models.health_check().await["shield"];
    assert_eq!((shield.status, shield.state), (Health::Degraded, State::HalfOpen));
    serve(&bad, "back");
    bad.set_down(false);
    for _ in 0..2 {
        assert_eq!(models.fetch_from_multiple_sources("weather").await.unwrap().len(), 4);
    }
    assert_eq!(models.health_check().await["shield"].status, Health::Healthy);
}

#[tokio::test]
async fn no_source_at_all_is_no_data_available() {
    let provider = Provider::start().await;
    provider.set_down(true);
    let [sentinel, shield, edge_agent, governance] = [(); 4].map(|()| provider.url());
    let models = MultiLlmClient::new(&Config { sentinel, shield, edge_agent, governance }).unwrap();
    for _ in 0..6 {
        let error = models.fetch_from_multiple_sources("weather").await.unwrap_err();
        assert!(matches!(error, several_providers::AppError::NoDataAvailable), "{error}");
    }
    assert_eq!(provider.requests().len(), 4 * 5);
}

#[tokio::test]
async fn the_chain_goes_from_primary_to_secondary_to_cache_and_back() {
    let (primary, secondary) = (Provider::start().await, Provider::start().await);
    serve(&primary, "primary");
    serve(&secondary, "secondary");
    let clock = HandClock::new();
    let sources = Sources {
        primary: ResilientClient::new("primary", &primary.url(), clock.clone()).unwrap(),
        secondary: ResilientClient::new("secondary", &secondary.url(), clock.clone()).unwrap(),
        cache: HashMap::from([("weather".to_owned(), data("cache"))]),
    };
    let fetch = || sources.fetch_with_fallbacks("weather");
    assert_eq!(fetch().await.unwrap(), data("primary"));

    // Only an open circuit leads on: the failures before it are told.
    primary.set_down(true);
    for _ in 0..5 {
        assert!(matches!(fetch().await, Err(several_providers::AppError::Provider(_))));
    }
    assert!(secondary.requests().is_empty());
    assert_eq!(fetch().await.unwrap(), data("secondary"));

    secondary.set_down(true);
    for _ in 0..5 {
        assert!(matches!(fetch().await, Err(several_providers::AppError::Provider(_))));
    }
    assert_eq!(fetch().await.unwrap(), data("cache"));
    let error = sources.fetch_with_fallbacks("unheard-of").await.unwrap_err();
    assert!(matches!(error, several_providers::AppError::NoDataAvailable), "{error}");

    primary.set_down(false);
    clock.advance(MINUTE);
    assert_eq!(fetch().await.unwrap(), data("primary"));
}
