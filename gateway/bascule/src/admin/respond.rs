//! Answers of the admin plane.

use crate::{
    model::{Code, PROBLEM_JSON, Place, Problem},
    server::ServerBody,
};
use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

pub(super) fn json(value: &Value) -> Response<ServerBody> {
    typed(Bytes::from(value.to_string()), "application/json")
}

pub(super) fn metrics(text: String) -> Response<ServerBody> {
    typed(Bytes::from(text), "text/plain; version=0.0.4; charset=utf-8")
}

pub(super) fn no_content() -> Response<ServerBody> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn problem(problem: &Problem) -> Response<ServerBody> {
    let mut response = typed(problem.to_json(Place::default()), PROBLEM_JSON);
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    if problem.code == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let allow = problem.member("allow").and_then(Value::as_str);
    if let Some(Ok(allow)) = allow.map(HeaderValue::from_str) {
        headers.insert(ALLOW, allow);
    }
    response
}

fn typed(octets: Bytes, media_type: &'static str) -> Response<ServerBody> {
    let mut response = Response::new(full(octets));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    // State of the moment: nothing in between may keep it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn full(octets: Bytes) -> ServerBody {
    Full::new(octets).map_err(|never| match never {}).boxed_unsync()
}
