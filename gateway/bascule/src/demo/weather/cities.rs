//! The places that the weather stand-in knows, and what the weather there looks like.

use serde_json::{Value, json};

/// A place with its weather in degrees Celsius and metres per second.
struct City {
    id: u32,
    name: &'static str,
    country: &'static str,
    latitude: f64,
    longitude: f64,
    celsius: f64,
    humidity: u32,
    wind: f64,
    sky: (u32, &'static str, &'static str, &'static str),
}

const CLEAR: (u32, &str, &str, &str) = (800, "Clear", "clear sky", "01d");
const CLOUDS: (u32, &str, &str, &str) = (803, "Clouds", "broken clouds", "04d");
const RAIN: (u32, &str, &str, &str) = (500, "Rain", "light rain", "10d");

const CITIES: [City; 10] = [
    city(2_950_159, "Berlin", "DE", (52.5244, 13.4105), 11.3, 71, 4.1, CLOUDS),
    city(2_988_507, "Paris", "FR", (48.8534, 2.3488), 13.8, 66, 3.2, CLOUDS),
    city(2_643_743, "London", "GB", (51.5085, -0.1257), 12.1, 82, 5.4, RAIN),
    city(3_169_070, "Rome", "IT", (41.8947, 12.4839), 19.6, 55, 2.1, CLEAR),
    city(3_117_735, "Madrid", "ES", (40.4165, -3.7026), 21.0, 38, 2.6, CLEAR),
    city(3_143_244, "Oslo", "NO", (59.9127, 10.7461), 4.2, 77, 1.9, RAIN),
    city(1_850_144, "Tokyo", "JP", (35.6895, 139.6917), 18.4, 60, 3.8, CLOUDS),
    city(5_128_581, "New York", "US", (40.7143, -74.006), 15.7, 58, 4.6, CLEAR),
    city(2_147_714, "Sydney", "AU", (-33.8679, 151.2073), 22.9, 63, 5.1, CLEAR),
    city(184_745, "Nairobi", "KE", (-1.2833, 36.8167), 20.3, 69, 3.0, RAIN),
];

#[expect(clippy::too_many_arguments, reason = "one row of the table above")]
const fn city(
    id: u32,
    name: &'static str,
    country: &'static str,
    (latitude, longitude): (f64, f64),
    celsius: f64,
    humidity: u32,
    wind: f64,
    sky: (u32, &'static str, &'static str, &'static str),
) -> City {
    City { id, name, country, latitude, longitude, celsius, humidity, wind, sky }
}

/// What temperatures and speeds are given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Units {
    /// Kelvin, m/s.
    Standard,
    /// Degrees Celsius, m/s.
    Metric,
    /// Degrees Fahrenheit, miles per hour.
    Imperial,
}

impl Units {
    /// By the name in the query; absent or unknown is `Standard`, as at OpenWeather.
    pub(super) fn named(name: Option<&str>) -> Self {
        match name {
            Some("metric") => Self::Metric,
            Some("imperial") => Self::Imperial,
            _ => Self::Standard,
        }
    }

    fn temperature(self, celsius: f64) -> f64 {
        round(match self {
            Self::Standard => celsius + 273.15,
            Self::Metric => celsius,
            Self::Imperial => celsius * 1.8 + 32.0,
        })
    }

    fn speed(self, metres_per_second: f64) -> f64 {
        round(if self == Self::Imperial { metres_per_second * 2.236_94 } else { metres_per_second })
    }
}

/// The weather at `place` (`Berlin`, or `Berlin,DE`); none when the place is unknown.
pub(super) fn current(place: &str, units: Units, now: u64) -> Option<Value> {
    let mut parts = place.split(',').map(str::trim);
    let name = parts.next()?;
    let country = parts.next_back();
    let city = CITIES.iter().find(|city| {
        city.name.eq_ignore_ascii_case(name)
            && country.is_none_or(|country| city.country.eq_ignore_ascii_case(country))
    })?;
    let (code, group, description, icon) = city.sky;
    Some(json!({
        "coord": { "lon": city.longitude, "lat": city.latitude },
        "weather": [{ "id": code, "main": group, "description": description, "icon": icon }],
        "base": "stations",
        "main": {
            "temp": units.temperature(city.celsius),
            "feels_like": units.temperature(city.celsius - 0.7),
            "temp_min": units.temperature(city.celsius - 1.4),
            "temp_max": units.temperature(city.celsius + 1.1),
            "pressure": 1016,
            "humidity": city.humidity,
        },
        "visibility": 10_000,
        "wind": { "speed": units.speed(city.wind), "deg": 240 },
        "clouds": { "all": 40 },
        "dt": now,
        "sys": { "country": city.country },
        "timezone": 0,
        "id": city.id,
        "name": city.name,
        "cod": 200,
    }))
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_convert_as_the_provider_does() {
        let temperature = |units| current("Rome", units, 0).unwrap()["main"]["temp"].as_f64().unwrap();
        assert_eq!(temperature(Units::Metric), 19.6);
        assert_eq!(temperature(Units::Standard), 292.75);
        assert_eq!(temperature(Units::Imperial), 67.28);
    }

    #[test]
    fn a_country_narrows_the_place() {
        assert!(current("berlin,de", Units::Metric, 0).is_some());
        assert!(current("Berlin,FR", Units::Metric, 0).is_none());
        assert!(current("Atlantis", Units::Metric, 0).is_none());
    }
}
