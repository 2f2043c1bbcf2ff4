//! The weather stand-in over HTTP.

use super::*;
use crate::demo::{
    client::{self, Reply},
    standin::{CONTROL_PATH, StandIn},
};

async fn start() -> StandIn {
    StandIn::start(Weather::new("k", Clock::fixed(1_000_000))).await.unwrap()
}

async fn get(weather: &StandIn, query: &str) -> Reply {
    client::get(weather.address(), &format!("/data/2.5/weather?{query}"), None).await.unwrap()
}

#[tokio::test]
async fn a_city_is_answered_in_the_units_asked_for() {
    let weather = start().await;
    let reply = get(&weather, "q=New%20York&units=imperial&appid=k").await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    assert_eq!((&body["name"], &body["sys"]["country"]), (&json!("New York"), &json!("US")));
    assert_eq!(
        (&body["main"]["temp"], &body["dt"], &body["cod"]),
        (&json!(60.26), &json!(1_000_000), &json!(200))
    );
}

#[tokio::test]
async fn errors_are_the_provider_s() {
    let weather = start().await;
    for (query, status, cod) in [
        ("q=Berlin", 401, json!(401)),
        ("q=Berlin&appid=other", 401, json!(401)),
        ("appid=k", 400, json!("400")),
        ("q=Atlantis&appid=k", 404, json!("404")),
    ] {
        let reply = get(&weather, query).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["cod"]), (status, &cod), "{query}");
    }
}

#[tokio::test]
async fn an_outage_lasts_until_it_is_switched_off() {
    let weather = start().await;
    let outage = async |on: bool| {
        client::post(weather.address(), CONTROL_PATH, &json!({ "outage": on })).await.unwrap().json()
    };
    outage(true).await;
    for _ in 0..3 {
        assert_eq!(get(&weather, "q=Berlin&appid=k").await.status, 503);
    }
    let counters = outage(false).await;
    assert_eq!((&counters["hits"], &counters["served"]), (&json!(3), &json!(0)));
    assert_eq!(get(&weather, "q=Berlin&appid=k").await.status, 200);
}
