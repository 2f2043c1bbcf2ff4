//! The guide's own unit tests, nearly verbatim: whoever comes with them finds them green.

use std::time::Duration;

use bascule_resilience::{CallError, CircuitBreaker, Registry};

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("network: {0}")]
    Network(String),
}

#[tokio::test(start_paused = true)]
async fn test_circuit_opens_on_failures() {
    let breaker = CircuitBreaker::new("test").failure_threshold(3).build();

    // Simulate failures
    for _ in 0..3 {
        let _ = breaker.call(|| async { Err::<(), AppError>(AppError::Network("test".to_string())) }).await;
    }

    // Circuit should be open
    assert!(breaker.is_open().await);
}

#[tokio::test(start_paused = true)]
async fn test_circuit_recovery() {
    let breaker = CircuitBreaker::new("test")
        .failure_threshold(2)
        .success_threshold(2)
        .timeout(Duration::from_millis(100))
        .build();

    // Open circuit
    for _ in 0..2 {
        let _ = breaker.call(|| async { Err::<(), AppError>(AppError::Network("test".to_string())) }).await;
    }

    // Wait for timeout
    tokio::time::sleep(Duration::from_millis(150)).await;

    // Should be half-open
    assert!(breaker.is_half_open().await);

    // Successful requests close circuit
    for _ in 0..2 {
        let _ = breaker.call(|| async { Ok::<(), AppError>(()) }).await;
    }

    assert!(breaker.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_and_a_refused_one_can_be_told_apart() {
    let breaker = CircuitBreaker::new("test").failure_threshold(1).timeout(Duration::from_secs(60)).build();
    let fail = || async { Err::<(), _>(AppError::Network("reset".to_owned())) };

    let failed = breaker.call(fail).await.unwrap_err();
    assert!(!failed.is_circuit_open());
    assert!(matches!(&failed, CallError::Failed(AppError::Network(text)) if text == "reset"));

    let refused = breaker.call(fail).await.unwrap_err();
    assert!(refused.is_circuit_open());
    assert_eq!(refused.to_string(), "circuit breaker is open");
    let CallError::CircuitOpen(refused) = refused else { panic!("refused by the circuit") };
    assert_eq!(refused.retry_after, Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn one_breaker_per_dependency_keeps_the_others_working() {
    let registry = Registry::default();
    for _ in 0..5 {
        let _ = registry.get("redis").call(|| async { Err::<(), _>("reset") }).await;
    }
    assert!(registry.get("redis").is_open().await);
    assert!(registry.get("postgresql").is_closed().await);
    let rows = registry.get("postgresql").call(|| async { Ok::<_, &str>(3) }).await;
    assert_eq!(rows.unwrap(), 3);
}
