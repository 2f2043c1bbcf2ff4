//! `http_client` and `migration` against a scripted HTTP server.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::examples::http_client::{
    AdvancedHttpClient, ApiResponse, AppError, CreateRequest, CreateResponse, HttpServiceClient,
};
use crate::examples::migration::{self, Data, NewServiceClient, OldServiceClient};
use crate::support::{Answer, HandClock, Provider};

const MINUTE: Duration = Duration::from_secs(60);

// The guide's integration test, on to the recovery.
#[tokio::test]
async fn test_service_with_circuit_breaker() {
    let provider = Provider::start().await;
    let clock = HandClock::new();
    let client = HttpServiceClient::with_clock(provider.url(), clock.clone()).unwrap();

    // Test successful request
    provider.on("/data", Answer::json(json!({ "status": "ok" })));
    let result: ApiResponse = client.get("data").await.unwrap();
    assert_eq!(result.status, "ok");

    // Test circuit opens on failures
    provider.on("/failing", Answer::text(500, "broken"));
    for _ in 0..5 {
        let error = client.get::<ApiResponse>("failing").await.unwrap_err();
        assert!(matches!(error, AppError::HttpError { status, .. } if status == 500));
    }

    // Circuit should be open
    assert!(client.circuit_breaker().is_open().await);

    // Next request should fail fast
    let sent = provider.requests().len();
    let error = client.get::<ApiResponse>("any-path").await.unwrap_err();
    assert!(matches!(error, AppError::CircuitOpen { retry_after } if retry_after == MINUTE), "{error}");
    assert_eq!(provider.requests().len(), sent);

    // After its time it probes, and three successes close it
    clock.advance(MINUTE);
    assert!(client.circuit_breaker().is_half_open().await);
    for _ in 0..3 {
        client.get::<ApiResponse>("data").await.unwrap();
    }
    assert!(client.circuit_breaker().is_closed().await);
}

#[tokio::test]
async fn a_server_that_hangs_up_opens_the_circuit_and_a_failed_probe_opens_it_again() {
    let provider = Provider::start().await;
    provider.on("/data", Answer::json(json!({ "status": "ok" })));
    let clock = HandClock::new();
    let client = HttpServiceClient::with_clock(provider.url(), clock.clone()).unwrap();

    provider.set_down(true);
    for _ in 0..5 {
        let error = client.get::<ApiResponse>("data").await.unwrap_err();
        assert!(matches!(error, AppError::Network(_)), "{error}");
    }
    assert!(client.circuit_breaker().is_open().await);

    clock.advance(MINUTE);
    assert!(matches!(client.get::<ApiResponse>("data").await, Err(AppError::Network(_))));
    assert!(matches!(client.get::<ApiResponse>("data").await, Err(AppError::CircuitOpen { .. })));

    provider.set_down(false);
    clock.advance(MINUTE);
    for _ in 0..3 {
        client.get::<ApiResponse>("data").await.unwrap();
    }
    assert!(client.circuit_breaker().is_closed().await);
    assert_eq!(provider.requests().len(), 5 + 1 + 3);
}

#[tokio::test]
async fn the_callers_own_errors_open_no_circuit() {
    let provider = Provider::start().await;
    provider.on("/throttled", Answer::text(429, "slow down"));
    let client = HttpServiceClient::new(provider.url()).unwrap();
    for path in ["missing", "throttled"].repeat(10) {
        let error = client.get::<ApiResponse>(path).await.unwrap_err();
        assert!(matches!(error, AppError::HttpError { .. }), "{error}");
    }
    assert!(client.circuit_breaker().is_closed().await);
    assert_eq!(client.circuit_breaker().stats().failures, 0);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_counts_as_a_failure() {
    let provider = Provider::start().await;
    provider.on("/data", Answer::text(200, "<html>maintenance</html>"));
    let client = HttpServiceClient::new(provider.url()).unwrap();
    for _ in 0..5 {
        let error = client.get::<ApiResponse>("data").await.unwrap_err();
        assert!(matches!(error, AppError::Serialization(_)), "{error}");
    }
    assert!(client.circuit_breaker().is_open().await);
}

#[tokio::test]
async fn a_post_sends_its_body_through_the_circuit() {
    let provider = Provider::start().await;
    provider.on("/create", Answer::json(json!({ "id": 7 })));
    let client = HttpServiceClient::new(provider.url()).unwrap();
    let created: CreateResponse =
        client.post("create", &CreateRequest { name: "test".to_owned() }).await.unwrap();
    assert_eq!(created.id, 7);
    let [request] = &provider.requests()[..] else { panic!("one request") };
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/create"));
    assert_eq!(request.body, r#"{"name":"test"}"#);
}

#[tokio::test]
async fn endpoints_have_circuits_of_their_own_and_an_unknown_one_is_an_error_of_configuration() {
    let provider = Provider::start().await;
    provider.on("/pay", Answer::text(503, "later"));
    provider.on("/list", Answer::json(json!({ "status": "ok" })));
    let clock = HandClock::new();
    let client = AdvancedHttpClient::with_clock(provider.url(), clock.clone()).unwrap();

    // The critical one opens after three failures, for half a minute.
    for _ in 0..3 {
        let error = client.get_with_breaker::<ApiResponse>("pay", "critical").await.unwrap_err();
        assert!(matches!(error, AppError::HttpError { .. }), "{error}");
    }
    let error = client.get_with_breaker::<ApiResponse>("pay", "critical").await.unwrap_err();
    assert!(matches!(error, AppError::CircuitOpen { retry_after } if retry_after == MINUTE / 2), "{error}");
    client.get_with_breaker::<ApiResponse>("list", "standard").await.unwrap();

    provider.on("/pay", Answer::json(json!({ "status": "paid" })));
    clock.advance(MINUTE / 2);
    let paid: ApiResponse = client.get_with_breaker("pay", "critical").await.unwrap();
    assert_eq!(paid.status, "paid");

    let sent = provider.requests().len();
    let error = client.get_with_breaker::<ApiResponse>("list", "bulk").await.unwrap_err();
    assert_eq!(error.to_string(), "circuit breaker 'bulk' not found");
    assert_eq!(provider.requests().len(), sent);
}

#[tokio::test]
async fn the_migrated_client_answers_alike_and_spares_a_service_that_is_down() {
    let provider = Provider::start().await;
    provider.on("/data", Answer::json(json!({ "value": 42 })));
    let before = OldServiceClient::new(provider.url());
    let after = Arc::new(NewServiceClient::new(provider.url()));
    assert_eq!(before.fetch_data().await.unwrap(), Data { value: 42 });
    assert_eq!(after.fetch_data().await.unwrap(), Data { value: 42 });

    provider.set_down(true);
    let sent = provider.requests().len();
    for _ in 0..20 {
        assert!(before.fetch_data().await.is_err());
    }
    assert_eq!(provider.requests().len(), sent + 20);
    for _ in 0..5 {
        assert!(matches!(after.fetch_data().await, Err(migration::AppError::Network(_))));
    }
    for _ in 0..15 {
        assert!(matches!(after.fetch_data().await, Err(migration::AppError::CircuitOpen { .. })));
    }
    assert_eq!(provider.requests().len(), sent + 20 + 5);
}
