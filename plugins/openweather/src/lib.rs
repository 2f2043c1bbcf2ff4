//! Current weather from OpenWeather in one small, stable shape.
//!
//! ```toml
//! base_url = "https://api.openweathermap.org/data/2.5"
//! [auth]
//! type = "api_key"
//! in = "query"
//! name = "appid"
//! key = "${OPENWEATHER_API_KEY}"
//! [[plugins]]
//! source = "builtin:openweather"
//! [operations.get_current]
//! method = "GET"
//! path = "/weather"
//! query = { q = "{city}", units = "{units}" }
//! params.city = { type = "string", required = true }
//! params.units = { type = "string", default = "metric" }
//! ```
//!
//! Parameters, of which an operation declares those it wants: `city`, or `place`, which is the same;
//! `units` (`metric`, `imperial`, `standard`), or `unit` (`celsius`, `fahrenheit`, `kelvin`), which wins over
//! `units`. Other query entries, such as `lang` or `lat` and `lon`, stay as declared.
//!
//! The answer of operations whose path is `/weather`:
//!
//! ```json
//! { "place": "Berlin", "country": "DE", "temperature": 11.3, "feels_like": 10.6, "unit": "celsius",
//!   "humidity_percent": 71, "wind_speed": 14.8, "wind_unit": "km/h", "conditions": "broken clouds",
//!   "observed_at": "2015-08-30T12:36:00Z" }
//! ```
//!
//! | units | `unit` | `wind_unit` |
//! | --- | --- | --- |
//! | metric | celsius | km/h, converted from m/s |
//! | imperial | fahrenheit | mph |
//! | standard | kelvin | m/s |
//!
//! Numbers have at most one decimal. What OpenWeather leaves out is null. Other paths pass unchanged.
//!
//! # Faults
//! | code | kind | when |
//! | --- | --- | --- |
//! | `invalid-parameter` | invalid-input | a parameter is of another type, or a unit is unknown |
//! | `place-not-found` | not-found | 404 |
//! | `invalid-place` | invalid-input | 400 |
//! | `invalid-api-key` | unauthorized | 401 |
//! | `rate-limited` | rate-limited | 429 |
//! | `rejected`, `upstream-failed` | upstream-failed | another 4xx, 5xx |
//! | `unexpected-answer` | upstream-invalid | an answer that is not what OpenWeather documents |

mod answers;
mod errors;
mod requests;
mod units;

use bascule_plugin::{
    Body, Cause, ErrorMapper, Fault, MappedRequest, Mapping, Reply, RequestHead, RequestMapper, ResponseHead,
    ResponseMapper, export, parameters,
};

use units::Units;

struct OpenWeather;

impl RequestMapper for OpenWeather {
    fn map_request(mut draft: RequestHead, _: &Body) -> Result<Mapping, Fault> {
        if !requests::is_weather(&draft.path) {
            return Ok(MappedRequest::unchanged(draft).into());
        }
        let units = requests::complete(&mut draft, &parameters::all())?;
        // The answer does not say in which units it is.
        Ok(MappedRequest::unchanged(draft).with_carry(units.name()).into())
    }
}

impl ResponseMapper for OpenWeather {
    fn map_response(head: ResponseHead, body: &Body, carry: Vec<u8>) -> Result<Reply, Fault> {
        let mapped = match Units::named(&carry).filter(|_| head.status == 200) {
            Some(units) => Some(Body::new(answers::map(&body.read()?, units)?.as_bytes())),
            None => None,
        };
        Ok(Reply { status: head.status, headers: head.headers, body: mapped })
    }
}

impl ErrorMapper for OpenWeather {
    fn map_error(cause: Cause, head: Option<ResponseHead>, body: Option<&Body>, _: Vec<u8>) -> Fault {
        let Some(head) = head else { return Fault::without_response(cause) };
        // An error without a readable body still has its status.
        let body = body.and_then(|body| body.read().ok()).unwrap_or_default();
        errors::fault(&head, &body)
    }
}

export!(OpenWeather: request_mapper, response_mapper, error_mapper);
