//! A whole operation in a component: `/report?city=NAME` asks the integrations `weather` and `air`, and makes one answer of
//! theirs. The example of `docs/components.md`.

use std::io::{Read, Write};

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam,
    Scheme,
};

/// The handler. Public, since only wasm has the export that uses it.
pub struct Report;

#[cfg(target_arch = "wasm32")]
wasip2::http::proxy::export!(Report);

impl wasip2::exports::http::incoming_handler::Guest for Report {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let query = target.split_once('?').map_or("", |(_, query)| query);
        // An error in place of an answer is a failure like a provider's: it is repeated, counted, and starts the ladder.
        match report(query) {
            Ok(report) => answer(out, 200, report.as_bytes()),
            Err(error) => ResponseOutparam::set(out, Err(error)),
        }
    }
}

fn report(query: &str) -> Result<String, ErrorCode> {
    let weather = get("weather.internal", &format!("/current?{query}"))?;
    let air = get("air.internal", &format!("/index?{query}"))?;
    Ok(format!(r#"{{"weather":{weather},"air":{air}}}"#))
}

/// The body of an integration's answer. Credentials, limits, retries and cache are the gateway's.
fn get(integration: &str, path: &str) -> Result<String, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(integration));
    let _ = request.set_path_with_query(Some(path));
    let coming = outgoing_handler::handle(request, None)?;
    coming.subscribe().block();
    let failed = || ErrorCode::InternalError(None);
    let response = coming.get().ok_or_else(failed)?.map_err(|()| failed())??;
    if response.status() != 200 {
        return Err(ErrorCode::DestinationUnavailable);
    }
    let body = response.consume().map_err(|()| failed())?;
    let mut stream = body.stream().map_err(|()| failed())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|_| ErrorCode::HttpResponseIncomplete)?;
    Ok(text)
}

fn answer(out: ResponseOutparam, status: u16, octets: &[u8]) {
    let fields = Fields::new();
    let _ = fields.append("content-type", b"application/json");
    let response = OutgoingResponse::new(fields);
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(mut stream) = body.write() {
        let _ = stream.write_all(octets);
        let _ = stream.flush();
    }
    let _ = OutgoingBody::finish(body, None);
}
