//! From parameters to the query of OpenWeather.

use bascule_plugin::encode::{component, percent_decode};
use bascule_plugin::{Fault, RequestHead};
use serde::Deserialize;

use crate::units::Units;

#[derive(Deserialize)]
struct Parameters {
    city: Option<String>,
    place: Option<String>,
    units: Option<String>,
    unit: Option<String>,
}

/// Whether the path is that of the current weather.
pub(crate) fn is_weather(path: &str) -> bool {
    path.trim_end_matches('/').ends_with("/weather")
}

/// Puts place and units into the query and leaves the rest of it; says in which units the answer will be.
pub(crate) fn complete(head: &mut RequestHead, parameters: &str) -> Result<Units, Fault> {
    let parameters: Parameters = serde_json::from_str(parameters)
        .map_err(|error| Fault::invalid_input("invalid-parameter", error.to_string()))?;
    let asked = asked_units(&parameters)?;
    let mut query = Query(head.query.take().unwrap_or_default());
    if let Some(place) = parameters.place.or(parameters.city) {
        query.set("q", &place);
    }
    let declared = query.get("units").and_then(|units| Units::named(&units));
    let units = asked.or(declared).unwrap_or(Units::Standard);
    query.set("units", units.name());
    head.query = Some(query.0);
    Ok(units)
}

fn asked_units(parameters: &Parameters) -> Result<Option<Units>, Fault> {
    if let Some(unit) = &parameters.unit {
        return known("unit", unit, Units::of_temperature(unit), "celsius, fahrenheit or kelvin");
    }
    match &parameters.units {
        Some(units) => known("units", units, Units::named(units.as_bytes()), "metric, imperial or standard"),
        None => Ok(None),
    }
}

fn known(parameter: &str, value: &str, units: Option<Units>, expected: &str) -> Result<Option<Units>, Fault> {
    if units.is_none() {
        let message = format!("`{parameter}` must be {expected}, not \"{value}\"");
        return Err(Fault::invalid_input("invalid-parameter", message));
    }
    Ok(units)
}

/// A raw query.
struct Query(String);

impl Query {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let (_, value) = pairs(&self.0).find(|(known, _)| *known == name)?;
        Some(percent_decode(value))
    }

    /// Replaces the entry of that name in its place, or appends it.
    fn set(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={}", component(value));
        let mut entries: Vec<String> = Vec::new();
        let mut placed = false;
        for (known, value) in pairs(&self.0) {
            match (known == name, placed) {
                (false, _) => entries.push(format!("{known}={value}")),
                (true, false) => {
                    entries.push(entry.clone());
                    placed = true;
                }
                (true, true) => {}
            }
        }
        if !placed {
            entries.push(entry);
        }
        self.0 = entries.join("&");
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(query: &str, parameters: &str) -> Result<(String, Units), Fault> {
        let mut head = RequestHead::new("GET", "/weather");
        head.query = Some(query.to_owned());
        let units = complete(&mut head, parameters)?;
        Ok((head.query.unwrap(), units))
    }

    #[test]
    fn the_declared_query_is_kept_where_it_is_right() {
        let parameters = r#"{"city":"Berlin,DE","units":"metric"}"#;
        let (query, units) = completed("q=Berlin%2CDE&units=metric&lang=de", parameters).unwrap();
        assert_eq!(query, "q=Berlin%2CDE&units=metric&lang=de");
        assert_eq!(units, Units::Metric);
    }

    #[test]
    fn friendly_names_become_openweathers() {
        let (query, units) = completed("", r#"{"place":"São Paulo","unit":"fahrenheit"}"#).unwrap();
        assert_eq!(query, "q=S%C3%A3o%20Paulo&units=imperial");
        assert_eq!(units, Units::Imperial);
    }

    #[test]
    fn the_friendly_unit_wins_over_a_default() {
        let (query, units) = completed("q=x&units=metric", r#"{"units":"metric","unit":"kelvin"}"#).unwrap();
        assert_eq!((query.as_str(), units), ("q=x&units=standard", Units::Standard));
    }

    #[test]
    fn without_parameters_the_declared_units_hold() {
        assert_eq!(completed("lat=1&lon=2&units=imperial", "{}").unwrap().1, Units::Imperial);
        assert_eq!(completed("lat=1&lon=2", "{}").unwrap().0, "lat=1&lon=2&units=standard");
    }

    #[test]
    fn unknown_units_are_the_callers_fault() {
        let fault = completed("", r#"{"city":"x","unit":"rankine"}"#).unwrap_err();
        assert_eq!(fault.message, "`unit` must be celsius, fahrenheit or kelvin, not \"rankine\"");
        assert_eq!(completed("", r#"{"units":"si"}"#).unwrap_err().code, "invalid-parameter");
        assert_eq!(completed("", r#"{"city":1}"#).unwrap_err().code, "invalid-parameter");
    }

    #[test]
    fn only_the_current_weather_is_mapped() {
        assert!(is_weather("/weather") && is_weather("/data/2.5/weather/"));
        assert!(!is_weather("/forecast") && !is_weather("/weathermap"));
    }
}
