//! `postgresql` against a PostgreSQL server that is stopped and started under it.

use std::time::{Duration, SystemTime};

use crate::examples::postgresql::{AppError, DatabaseClient, Incident, IncidentFilter};
use crate::support::{HandClock, Postgres};

const RESET_AFTER: Duration = Duration::from_secs(30);

fn incident(id: &str, seconds: u64) -> Incident {
    Incident {
        id: id.to_owned(),
        title: "disk full".to_owned(),
        severity: "high".to_owned(),
        created_at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
    }
}

#[tokio::test]
async fn queries_pass_and_refused_statements_open_no_circuit() {
    let server = Postgres::start().await;
    let database = DatabaseClient::new(&server.url()).unwrap();
    database.create_table().await.unwrap();
    for (id, seconds) in [("c", 3), ("a", 1), ("b", 2)] {
        database.insert_incident(&incident(id, seconds)).await.unwrap();
    }
    assert_eq!(database.get_incident("b").await.unwrap(), incident("b", 2));
    let start_time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let filter = IncidentFilter { severity: "high".to_owned(), start_time };
    assert_eq!(database.query_incidents(&filter).await.unwrap(), [incident("b", 2), incident("c", 3)]);

    for _ in 0..15 {
        let error = database.insert_incident(&incident("a", 1)).await.unwrap_err();
        assert!(matches!(error, AppError::Database(_)), "a duplicate key: {error}");
        let error = database.get_incident("z").await.unwrap_err();
        assert!(matches!(error, AppError::NotFound { .. }), "{error}");
    }
    assert!(database.circuit_breaker().is_closed().await);
    assert_eq!(database.circuit_breaker().stats().failures, 0);
}

#[tokio::test]
async fn the_circuit_opens_when_the_server_stops_and_closes_when_it_is_back() {
    let mut server = Postgres::start().await;
    let clock = HandClock::new();
    let database = DatabaseClient::with_clock(&server.url(), clock.clone()).unwrap();
    database.create_table().await.unwrap();
    database.insert_incident(&incident("a", 1)).await.unwrap();

    server.stop();
    for _ in 0..10 {
        let error = database.get_incident("a").await.unwrap_err();
        assert!(matches!(error, AppError::Database(_)), "{error}");
    }
    assert!(database.circuit_breaker().is_open().await);

    // Back, but not asked before its time.
    server.restart().await;
    let error = database.get_incident("a").await.unwrap_err();
    assert!(matches!(error, AppError::CircuitOpen { retry_after } if retry_after == RESET_AFTER), "{error}");

    clock.advance(RESET_AFTER);
    assert!(database.circuit_breaker().is_half_open().await);
    for _ in 0..3 {
        assert_eq!(database.get_incident("a").await.unwrap(), incident("a", 1));
    }
    assert!(database.circuit_breaker().is_closed().await);
}
