//! Servers that take connections and never say a word: the worst way to be down, since nothing fails by itself.
//!
//! Time is tokio's paused one, which jumps to the next timeout when all that is left to do is waiting for the server.

use std::time::Duration;

use bascule_resilience::CircuitBreaker;
use serde_json::json;

use crate::examples::http_client::{ApiResponse, HttpServiceClient};
use crate::examples::llm_fallback::{ConnectionConfig, Credentials, ResilientSentinelClient};
use crate::examples::migration::{self, NewServiceClient};
use crate::examples::{http_client, llm_fallback, postgresql, redis_cache};
use crate::support::Silent;

/// Makes a call at a time until the circuit opens; says how many it took.
async fn calls_to_open(circuit: &CircuitBreaker, call: impl AsyncFn()) -> u32 {
    let mut calls = 0;
    while circuit.is_closed().await && calls < 100 {
        call().await;
        calls += 1;
    }
    assert!(circuit.is_open().await);
    calls
}

#[tokio::test(start_paused = true)]
async fn a_silent_service_opens_the_circuit() {
    let server = Silent::start();
    let client = HttpServiceClient::new(format!("http://{}", server.address)).unwrap();
    let call = async || {
        let error = client.get::<ApiResponse>("data").await.unwrap_err();
        assert!(matches!(error, http_client::AppError::Network(error) if error.is_timeout()));
    };
    assert_eq!(calls_to_open(client.circuit_breaker(), call).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_silent_service_opens_the_circuit_of_the_migrated_client() {
    let server = Silent::start();
    let client = NewServiceClient::new(format!("http://{}", server.address));
    for _ in 0..5 {
        assert!(matches!(client.fetch_data().await, Err(migration::AppError::Network(_))));
    }
    assert!(matches!(client.fetch_data().await, Err(migration::AppError::CircuitOpen { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_silent_model_is_replaced_with_the_rule() {
    let server = Silent::start();
    let config =
        ConnectionConfig { endpoint: format!("http://{}", server.address), timeout: Duration::from_secs(30) };
    let credentials = Credentials { api_key: "key".to_owned() };
    let sentinel = ResilientSentinelClient::new(config, credentials).unwrap();
    let call = async || {
        let error = sentinel.analyze_anomaly_with_fallback(json!({})).await.unwrap_err();
        assert!(matches!(error, llm_fallback::AppError::Model(error) if error.is_timeout()));
    };
    assert_eq!(calls_to_open(sentinel.circuit_breaker(), call).await, 5);
    assert_eq!(sentinel.analyze_anomaly_with_fallback(json!({})).await.unwrap().anomaly_type, "unknown");
}

#[tokio::test(start_paused = true)]
async fn a_silent_database_opens_the_circuit() {
    let server = Silent::start();
    let url = format!("host={} port={} user=test", server.address.ip(), server.address.port());
    let database = postgresql::DatabaseClient::new(&url).unwrap();
    let call = async || {
        let error = database.get_incident("a").await.unwrap_err();
        assert!(matches!(error, postgresql::AppError::Timeout), "{error}");
    };
    assert_eq!(calls_to_open(database.circuit_breaker(), call).await, 10);
}

#[tokio::test(start_paused = true)]
async fn callers_that_wait_for_one_connection_are_held_no_longer_than_one() {
    let server = Silent::start();
    let url = format!("host={} port={} user=test", server.address.ip(), server.address.port());
    let database = postgresql::DatabaseClient::new(&url).unwrap();
    let begun = tokio::time::Instant::now();
    let (a, b, c) =
        tokio::join!(database.get_incident("a"), database.get_incident("b"), database.get_incident("c"));
    for result in [a, b, c] {
        assert!(matches!(result, Err(postgresql::AppError::Timeout)));
    }
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_silent_cache_opens_the_circuit() {
    let server = Silent::start();
    let cache = redis_cache::CacheClient::new(&format!("redis://{}/", server.address)).unwrap();
    let call = async || {
        let error = cache.get::<u32>("key").await.unwrap_err();
        assert!(matches!(error, redis_cache::AppError::Cache(error) if error.is_timeout()));
    };
    assert_eq!(calls_to_open(cache.circuit_breaker(), call).await, 3);
}
