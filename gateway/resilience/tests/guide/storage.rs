//! `file_system` on a folder that goes away, and `message_queue` on its stand-in.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::examples::file_system::{self, ResilientStorage};
use crate::examples::message_queue::{self, Broker, QueueClient};
use crate::support::HandClock;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn storage_that_goes_away_opens_the_circuit_and_missing_objects_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let (bucket, unmounted) = (folder.path().join("bucket"), folder.path().join("unmounted"));
    fs::create_dir(&bucket).unwrap();
    let clock = HandClock::new();
    let storage = ResilientStorage::with_clock(bucket.clone(), clock.clone());
    storage.put_object("report", b"fine").await.unwrap();
    assert_eq!(storage.get_object("report").await.unwrap(), b"fine");
    for _ in 0..10 {
        let error = storage.get_object("missing").await.unwrap_err();
        assert!(matches!(error, file_system::AppError::NotFound { .. }), "{error}");
    }
    assert!(storage.circuit_breaker().is_closed().await);

    fs::rename(&bucket, &unmounted).unwrap();
    for _ in 0..3 {
        let error = storage.get_object("report").await.unwrap_err();
        assert!(matches!(error, file_system::AppError::Storage(_)), "{error}");
    }
    for _ in 0..2 {
        assert!(storage.put_object("report", b"better").await.is_err());
    }
    assert!(storage.circuit_breaker().is_open().await);

    fs::rename(&unmounted, &bucket).unwrap();
    let error = storage.get_object("report").await.unwrap_err();
    assert!(matches!(error, file_system::AppError::CircuitOpen { .. }), "{error}");
    clock.advance(MINUTE);
    for _ in 0..3 {
        assert_eq!(storage.get_object("report").await.unwrap(), b"fine");
    }
    assert!(storage.circuit_breaker().is_closed().await);
}

#[tokio::test]
async fn keys_that_lead_out_of_the_bucket_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let storage = ResilientStorage::new(folder.path().join("bucket"));
    for key in ["../secret", "a/b", "/etc/passwd", "..", ".", "", ".hidden"] {
        let error = storage.put_object(key, b"").await.unwrap_err();
        assert!(matches!(error, file_system::AppError::BadKey { .. }), "{key}: {error}");
    }
    assert_eq!(storage.circuit_breaker().stats().failures, 0);
}

#[tokio::test]
async fn a_broker_that_is_down_is_left_alone_until_its_time() {
    let broker = Arc::new(Broker::default());
    let clock = HandClock::new();
    let queue = QueueClient::with_clock(Arc::clone(&broker), clock.clone());
    let publish = || queue.publish("incidents", "high", b"disk full".to_vec());
    publish().await.unwrap();

    broker.set_down(true);
    for _ in 0..5 {
        assert!(matches!(publish().await, Err(message_queue::AppError::Queue(_))));
    }
    broker.set_down(false);
    assert!(matches!(publish().await, Err(message_queue::AppError::CircuitOpen { .. })));

    clock.advance(MINUTE / 2);
    for _ in 0..3 {
        publish().await.unwrap();
    }
    assert!(queue.circuit_breaker().is_closed().await);
    assert_eq!(broker.drain("incidents", "high").len(), 4);
}
