//! From OpenWeather's answer to the small one.

use bascule_plugin::Fault;
use bascule_plugin::time::Utc;
use serde::{Deserialize, Serialize};

use crate::units::Units;

#[derive(Deserialize)]
struct Weather {
    name: Option<String>,
    sys: Option<Country>,
    main: Main,
    wind: Option<Wind>,
    #[serde(default)]
    weather: Vec<Condition>,
    dt: Option<i64>,
}

#[derive(Deserialize)]
struct Country {
    country: Option<String>,
}

#[derive(Deserialize)]
struct Main {
    temp: f64,
    feels_like: Option<f64>,
    humidity: Option<f64>,
}

#[derive(Deserialize)]
struct Wind {
    speed: Option<f64>,
}

#[derive(Deserialize)]
struct Condition {
    description: Option<String>,
    main: Option<String>,
}

#[derive(Serialize)]
struct Report {
    place: Option<String>,
    country: Option<String>,
    temperature: f64,
    feels_like: Option<f64>,
    unit: &'static str,
    humidity_percent: Option<u64>,
    wind_speed: Option<f64>,
    wind_unit: &'static str,
    conditions: Option<String>,
    observed_at: Option<String>,
}

/// The small answer, as JSON.
pub(crate) fn map(body: &[u8], units: Units) -> Result<String, Fault> {
    let weather: Weather = serde_json::from_slice(body).map_err(unexpected)?;
    serde_json::to_string(&report(weather, units)).map_err(unexpected)
}

fn report(weather: Weather, units: Units) -> Report {
    let conditions = weather.weather.into_iter().next();
    Report {
        // A point in the sea has an empty name.
        place: weather.name.filter(|name| !name.is_empty()),
        country: weather.sys.and_then(|sys| sys.country),
        temperature: rounded(weather.main.temp),
        feels_like: weather.main.feels_like.map(rounded),
        unit: units.temperature(),
        // A cast to an integer saturates; a share of water in the air is between 0 and 100.
        humidity_percent: weather.main.humidity.map(|percent| percent.round() as u64),
        wind_speed: weather.wind.and_then(|wind| wind.speed).map(|speed| rounded(units.wind_speed(speed))),
        wind_unit: units.wind(),
        conditions: conditions.and_then(|condition| condition.description.or(condition.main)),
        observed_at: weather.dt.map(|seconds| Utc::from_epoch(seconds).to_string()),
    }
}

/// One decimal: the stations measure no finer, and conversions should not pretend so.
fn rounded(number: f64) -> f64 {
    // Adding zero turns a negative zero into a plain one.
    (number * 10.0).round() / 10.0 + 0.0
}

fn unexpected(error: serde_json::Error) -> Fault {
    Fault::upstream_invalid(
        "unexpected-answer",
        format!("openweather's answer is not as documented: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const BODY: &[u8] = br#"{"coord":{"lon":13.4,"lat":52.5},
        "weather":[{"id":803,"main":"Clouds","description":"broken clouds"},{"id":500,"main":"Rain"}],
        "main":{"temp":11.28,"feels_like":10.6,"pressure":1015,"humidity":71},
        "wind":{"speed":4.1,"deg":80},"dt":1440938160,"sys":{"country":"DE"},"name":"Berlin","cod":200}"#;

    fn mapped(body: &[u8], units: Units) -> Value {
        serde_json::from_str(&map(body, units).unwrap()).unwrap()
    }

    #[test]
    fn metric_answers_are_in_celsius_and_kilometres_per_hour() {
        let expected = json!({
            "place": "Berlin", "country": "DE", "temperature": 11.3, "feels_like": 10.6, "unit": "celsius",
            "humidity_percent": 71, "wind_speed": 14.8, "wind_unit": "km/h", "conditions": "broken clouds",
            "observed_at": "2015-08-30T12:36:00Z",
        });
        assert_eq!(mapped(BODY, Units::Metric), expected);
    }

    #[test]
    fn other_units_keep_their_wind() {
        let imperial = mapped(BODY, Units::Imperial);
        assert_eq!((&imperial["wind_speed"], &imperial["wind_unit"]), (&json!(4.1), &json!("mph")));
        assert_eq!(mapped(BODY, Units::Standard)["unit"], "kelvin");
    }

    #[test]
    fn what_is_missing_is_null() {
        let report = mapped(br#"{"name":"","main":{"temp":-0.04}}"#, Units::Metric);
        for member in
            ["place", "country", "feels_like", "humidity_percent", "wind_speed", "conditions", "observed_at"]
        {
            assert!(report[member].is_null(), "{member}");
        }
        assert_eq!(report["temperature"].to_string(), "0.0");
    }

    #[test]
    fn an_answer_without_a_temperature_is_the_upstreams_fault() {
        for body in [&b"{}"[..], b"", b"<html>"] {
            assert_eq!(map(body, Units::Metric).unwrap_err().code, "unexpected-answer");
        }
    }
}
