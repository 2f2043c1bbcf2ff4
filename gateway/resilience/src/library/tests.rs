//! The facade end to end, under tokio's paused time.

use std::convert::Infallible;
use std::error::Error as _;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::breaker::{BreakerConfig, Reason};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, thiserror::Error)]
enum DbError {
    #[error("connection lost")]
    Lost,
    #[error("no such row")]
    NoRow,
}

async fn fail(circuit: &CircuitBreaker) -> CallError<DbError> {
    circuit.call(|| async { Err::<Infallible, _>(DbError::Lost) }).await.unwrap_err()
}

async fn succeed(circuit: &CircuitBreaker) -> Result<u8, CallError<DbError>> {
    circuit.call(|| async { Ok(7) }).await
}

#[tokio::test(start_paused = true)]
async fn the_circuit_opens_refuses_probes_and_closes() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let circuit = CircuitBreaker::new("db")
        .failure_threshold(5)
        .success_threshold(2)
        .timeout(30 * SECOND)
        .on_state_change({
            let told = Arc::clone(&told);
            move |change| told.lock().push(change.reason)
        })
        .build();
    assert!(circuit.is_closed().await);
    for _ in 0..5 {
        assert_eq!(fail(&circuit).await.into_failure(), Some(DbError::Lost));
    }
    assert!(circuit.is_open().await);
    let refused = succeed(&circuit).await.unwrap_err();
    assert!(refused.is_circuit_open());
    assert_eq!(refused.to_string(), "circuit breaker is open");

    tokio::time::advance(30 * SECOND).await;
    assert!(circuit.is_half_open().await, "the next call is a probe");
    assert_eq!(succeed(&circuit).await.unwrap(), 7);
    assert!(circuit.is_half_open().await);
    assert_eq!(succeed(&circuit).await.unwrap(), 7);
    assert!(circuit.is_closed().await);
    assert_eq!(*told.lock(), [Reason::Tripped, Reason::ProbeDue, Reason::Recovered]);
}

#[tokio::test(start_paused = true)]
async fn errors_that_are_not_the_dependencys_fault_do_not_trip() {
    let circuit = CircuitBreaker::new("db").failure_threshold(1).build();
    let is_failure = |error: &DbError| *error == DbError::Lost;
    for _ in 0..10 {
        let call = || async { Err::<Infallible, _>(DbError::NoRow) };
        let error = circuit.call_judged(is_failure, call).await.unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "no such row");
    }
    assert!(circuit.is_closed().await);
    assert_eq!(circuit.stats().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_probe_does_not_stall_the_recovery() {
    let circuit = CircuitBreaker::new("db").failure_threshold(1).success_threshold(1).timeout(SECOND).build();
    fail(&circuit).await;
    tokio::time::advance(SECOND).await;
    let endless = circuit.call(std::future::pending::<Result<(), DbError>>);
    assert!(tokio::time::timeout(SECOND, endless).await.is_err());
    assert!(circuit.is_half_open().await);
    assert!(succeed(&circuit).await.is_ok());
    assert!(circuit.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_threshold_of_zero_means_one() {
    let circuit = CircuitBreaker::new("db").failure_threshold(0).success_threshold(0).timeout(SECOND).build();
    fail(&circuit).await;
    assert!(circuit.is_open().await);
    tokio::time::advance(SECOND).await;
    assert!(succeed(&circuit).await.is_ok());
    assert!(circuit.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn the_registry_makes_one_circuit_per_name_and_reports_all() {
    let registry = Registry::default();
    for _ in 0..5 {
        fail(&registry.get("redis")).await;
    }
    let strict = BreakerConfig { reset_after: SECOND, ..BreakerConfig::default() };
    registry.register("payment", strict.clone());
    assert_eq!(registry.get("payment").breaker().config(), &strict);

    let stats = registry.stats();
    let seen: Vec<(&str, State)> = stats.iter().map(|stats| (stats.name.as_str(), stats.state)).collect();
    assert_eq!(seen, [("payment", State::Closed), ("redis", State::Open)]);
    assert!(stats[1].last_failure.is_some() && stats[1].last_success.is_none());

    let health = registry.health();
    let seen: Vec<(&str, Health)> =
        health.iter().map(|(name, health)| (name.as_str(), health.status)).collect();
    assert_eq!(seen, [("payment", Health::Healthy), ("redis", Health::Unhealthy)]);

    assert!(registry.reset("redis"));
    assert!(!registry.reset("unknown"));
    assert!(registry.get("redis").is_closed().await);
    fail(&registry.get("redis")).await;
    assert_eq!(registry.get("redis").stats().failures, 1);
    registry.reset_all();
    assert_eq!(registry.get("redis").stats().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn the_health_check_tells_how_the_calls_of_the_last_minute_fared() {
    let circuit = CircuitBreaker::new("db").failure_threshold(2).success_threshold(1).build();
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(40)).await;
        Ok::<_, DbError>(7)
    };
    for _ in 0..9 {
        circuit.call(slow).await.unwrap();
    }
    fail(&circuit).await;
    let health = circuit.health_check().await;
    assert_eq!((health.name.as_str(), health.status, health.state), ("db", Health::Healthy, State::Closed));
    assert_eq!((health.failures, health.next_probe_in), (1, None));
    assert!((health.success_rate - 0.9).abs() < 1e-9, "a tenth is not more than a tenth");
    assert!(health.latency_p99.unwrap() >= Duration::from_millis(37));
    assert!(health.last_failure.is_some());

    fail(&circuit).await;
    tokio::time::advance(10 * SECOND).await;
    let health = circuit.health_check().await;
    assert_eq!((health.status, health.state), (Health::Unhealthy, State::Open));
    assert_eq!(health.next_probe_in, Some(20 * SECOND));
    assert_eq!(health.status.to_string(), "unhealthy");

    tokio::time::advance(20 * SECOND).await;
    let health = circuit.health_check().await;
    assert_eq!((health.status, health.state), (Health::Degraded, State::HalfOpen));
    assert_eq!(health.next_probe_in, Some(Duration::ZERO));

    succeed(&circuit).await.unwrap();
    assert_eq!(circuit.health().status, Health::Degraded, "closed, but too many have failed of late");
    tokio::time::advance(61 * SECOND).await;
    assert_eq!(circuit.health().status, Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_for_ever_does_not_keep_the_circuit_half_open() {
    let circuit = CircuitBreaker::new("db").failure_threshold(1).success_threshold(1).timeout(SECOND).build();
    fail(&circuit).await;
    tokio::time::advance(SECOND).await;
    let hanging = tokio::spawn({
        let circuit = circuit.clone();
        async move { circuit.call(std::future::pending::<Result<(), DbError>>).await }
    });
    tokio::task::yield_now().await;
    assert!(succeed(&circuit).await.unwrap_err().is_circuit_open(), "the only probe is out");
    tokio::time::advance(601 * SECOND).await;
    assert!(succeed(&circuit).await.is_ok());
    assert!(circuit.is_closed().await);
    hanging.abort();
}
