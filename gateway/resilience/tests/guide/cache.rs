//! `redis_cache` against a Redis server that is stopped and started under it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::examples::redis_cache::{AppError, CacheClient};
use crate::support::{HandClock, Redis};

const RESET_AFTER: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Session {
    user: String,
    visits: u32,
}

fn session() -> Session {
    Session { user: "ada".to_owned(), visits: 3 }
}

#[tokio::test]
async fn values_are_kept_as_json_for_their_time_and_bad_ones_open_no_circuit() {
    let server = Redis::start().await;
    let cache = CacheClient::new(&server.url()).unwrap();
    assert_eq!(cache.get::<Session>("session").await.unwrap(), None);
    cache.set("session", &session(), HOUR).await.unwrap();
    assert_eq!(cache.get("session").await.unwrap(), Some(session()));

    let mut redis = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let millis: u64 = redis::cmd("PTTL").arg("session").query(&mut redis).unwrap();
    assert!((1..=3_600_000).contains(&millis), "{millis} ms left");

    // The server's own clock, so wait for what it says.
    cache.set("brief", &1, Duration::ZERO).await.unwrap();
    let gone = async { while cache.get::<u32>("brief").await.unwrap().is_some() {} };
    tokio::time::timeout(HOUR, gone).await.unwrap();

    for _ in 0..10 {
        let error = cache.get::<u32>("session").await.unwrap_err();
        assert!(matches!(error, AppError::Serialization(_)), "{error}");
    }
    let () = redis::cmd("RPUSH").arg("list").arg("x").query(&mut redis).unwrap();
    for _ in 0..10 {
        let error = cache.get::<u32>("list").await.unwrap_err();
        assert!(matches!(error, AppError::Cache(_)), "of the wrong type: {error}");
    }
    assert!(cache.circuit_breaker().is_closed().await);
}

#[tokio::test]
async fn the_circuit_opens_when_the_server_stops_and_closes_when_it_is_back() {
    let mut server = Redis::start().await;
    let clock = HandClock::new();
    let cache = CacheClient::with_clock(&server.url(), clock.clone()).unwrap();
    cache.set("session", &session(), HOUR).await.unwrap();

    server.stop();
    for _ in 0..3 {
        let error = cache.get::<Session>("session").await.unwrap_err();
        assert!(matches!(error, AppError::Cache(_)), "{error}");
    }
    assert!(cache.circuit_breaker().is_open().await);

    // Back, but not asked before its time.
    server.restart().await;
    let error = cache.get::<Session>("session").await.unwrap_err();
    assert!(matches!(error, AppError::CircuitOpen { retry_after } if retry_after == RESET_AFTER), "{error}");

    clock.advance(RESET_AFTER);
    assert!(cache.circuit_breaker().is_half_open().await);
    cache.set("session", &session(), HOUR).await.unwrap();
    for _ in 0..2 {
        assert_eq!(cache.get("session").await.unwrap(), Some(session()));
    }
    assert!(cache.circuit_breaker().is_closed().await);
}
