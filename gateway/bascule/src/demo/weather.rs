//! The stand-in of OpenWeather: `GET /data/2.5/weather?q=…&units=…&appid=…`, answered as its documentation shows.
//!
//! The weather is fixed, since the demo is about where an answer came from. `dt`, the time of observation, is now.
//! It has no switches beside `outage` and `fail_next`.

mod cities;

use super::{
    clock::Clock,
    standin::Provider,
    web::{self, Answer},
};
use cities::Units;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Behaves as `api.openweathermap.org`.
pub(crate) struct Weather {
    key: String,
    clock: Clock,
    served: AtomicU64,
}

impl Weather {
    /// An OpenWeather that accepts this key.
    pub(crate) fn new(key: &str, clock: Clock) -> Self {
        Self { key: key.to_owned(), clock, served: AtomicU64::new(0) }
    }
}

impl Provider for Weather {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let query = web::entries(request.uri().query().unwrap_or_default().as_bytes());
        if request.method() != Method::GET || request.uri().path() != "/data/2.5/weather" {
            return error(StatusCode::NOT_FOUND, &json!("404"), "Internal error");
        }
        if web::entry(&query, "appid") != Some(&self.key) {
            let message =
                "Invalid API key. Please see https://openweathermap.org/faq#error401 for more info.";
            return error(StatusCode::UNAUTHORIZED, &json!(401), message);
        }
        let Some(place) = web::entry(&query, "q").filter(|place| !place.is_empty()) else {
            return error(StatusCode::BAD_REQUEST, &json!("400"), "Nothing to geocode");
        };
        let units = Units::named(web::entry(&query, "units"));
        match cities::current(place, units, self.clock.epoch()) {
            Some(weather) => {
                self.served.fetch_add(1, Ordering::Relaxed);
                web::json_answer(StatusCode::OK, &weather)
            }
            None => error(StatusCode::NOT_FOUND, &json!("404"), "city not found"),
        }
    }

    fn trouble(&self, status: StatusCode) -> Answer {
        error(status, &json!(status.as_u16()), "Internal error")
    }

    fn switch(&self, _name: &str, _value: &Value) -> bool {
        false
    }

    fn count(&self, counters: &mut Map<String, Value>) {
        counters.insert("served".to_owned(), self.served.load(Ordering::Relaxed).into());
    }
}

/// `cod` is a number in some of the provider's errors and a text in others; each is kept as it is there.
fn error(status: StatusCode, cod: &Value, message: &str) -> Answer {
    web::json_answer(status, &json!({ "cod": cod, "message": message }))
}

#[cfg(test)]
mod tests;
