//! `guarded_client` against a scripted HTTP server, in real time: its waits are tenths of a second.

use bascule_resilience::{Health, Registry, State};

use crate::examples::guarded_client::{AppError, PriceClient};
use crate::support::{Answer, Provider};

#[tokio::test]
async fn the_last_price_serves_while_the_service_is_away_and_the_health_map_tells() {
    let (provider, circuits) = (Provider::start().await, Registry::default());
    let prices = PriceClient::new(provider.url(), &circuits);
    provider.on("/prices/apple", Answer::text(200, "1.20"));
    assert_eq!(prices.price("apple").await.unwrap(), "1.20");
    assert_eq!(circuits.health()["prices"].status, Health::Healthy);

    provider.set_down(true);
    for _ in 0..5 {
        assert_eq!(prices.price("apple").await.unwrap(), "1.20");
    }
    assert!(matches!(prices.price("pear").await, Err(AppError::Unknown(error)) if error.is_circuit_open()));
    let health = circuits.health();
    assert_eq!((health["prices"].status, health["prices"].state), (Health::Unhealthy, State::Open));
    assert!(health["prices"].success_rate < 0.5);
}

#[tokio::test]
async fn what_fails_once_is_tried_again_and_what_is_refused_is_not() {
    let (provider, circuits) = (Provider::start().await, Registry::default());
    let prices = PriceClient::new(provider.url(), &circuits);
    assert!(matches!(prices.price("pear").await, Err(AppError::Status(status)) if status == 404));
    assert_eq!(provider.requests().len(), 1);

    provider.on("/prices/apple", Answer::text(503, "busy"));
    assert!(prices.price("apple").await.is_err());
    assert_eq!(provider.requests().len(), 1 + 3);
    assert!(circuits.get("prices").is_closed().await, "one call failed, whatever its attempts");
}
