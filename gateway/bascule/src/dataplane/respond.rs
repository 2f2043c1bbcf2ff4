//! From what became of a call to a response.

use super::{body::Watched, completion::Completion};
use crate::{
    model::{Answer, Payload, Place, Problem},
    pipeline::{Ended, Progress},
    server::ServerBody,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response,
    header::{AGE, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full};
use std::fmt::Write;

const SOURCE: HeaderName = HeaderName::from_static("bascule-source");
const ATTEMPTS: HeaderName = HeaderName::from_static("bascule-attempts");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Makes the response and completes the record, at once or when the body has been handed over.
pub(super) fn respond(
    ended: Ended,
    mut completion: Completion,
    progress: &Progress,
    method: &Method,
    server_timing: bool,
) -> Response<ServerBody> {
    let totals = progress.totals();
    let mut response = match ended.result {
        Ok(answer) => {
            completion.ended(answer.status.as_u16(), Some(&answer), None, ended.failure, ended.rung);
            answered(answer, method)
        }
        Err(problem) => {
            completion.ended(problem.status.as_u16(), None, Some(&problem), ended.failure, ended.rung);
            let place = Place {
                integration: completion.integration().map(|integration| &integration.settings.name),
                operation: completion.operation().map(|operation| &operation.name),
                attempts: completion.operation().map(|_| totals.attempts),
                trace_id: Some(progress.trace_id()),
            };
            problem.response(place).map(Payload::Full)
        }
    };
    let headers = response.headers_mut();
    if completion.operation().is_some() {
        headers.insert(ATTEMPTS, totals.attempts.into());
    }
    headers.insert(TRACEPARENT, progress.traceparent());
    if server_timing {
        let mut timing = String::new();
        let parts =
            [("plugin", totals.plugin), ("upstream", totals.upstream), ("total", completion.elapsed())];
        for (index, (name, span)) in parts.into_iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let _ = write!(timing, "{comma}{name};dur={:.3}", span.as_secs_f64() * 1000.0);
        }
        if let Ok(value) = HeaderValue::from_str(&timing) {
            headers.insert(SERVER_TIMING, value);
        }
    }
    let (parts, payload) = response.into_parts();
    let body = match payload {
        Payload::Full(octets) => {
            completion.finish(octets.len() as u64);
            full(octets)
        }
        Payload::Stream(stream) => {
            completion.streams();
            Watched::new(stream, completion).boxed_unsync()
        }
    };
    Response::from_parts(parts, body)
}

fn answered(answer: Answer, method: &Method) -> Response<Payload> {
    let Answer { status, mut headers, body, source, cache, age } = answer;
    // What is ours is ours alone.
    let foreign: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("bascule-")).cloned().collect();
    for name in foreign {
        headers.remove(name);
    }
    // hyper writes the length of what is really sent; only an answer to HEAD may name another.
    if matches!(body, Payload::Full(_)) && *method != Method::HEAD {
        headers.remove(CONTENT_LENGTH);
    }
    set(&mut headers, SOURCE, &source.to_string());
    // After those of the caches before us (RFC 9211 §2).
    if let Some(cache) = cache
        && let Ok(value) = HeaderValue::from_str(&cache.to_string())
    {
        headers.append(CACHE_STATUS, value);
    }
    if let Some(age) = age {
        headers.insert(AGE, age.as_secs().into());
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn full(octets: Bytes) -> ServerBody {
    Full::new(octets).map_err(|never| match never {}).boxed_unsync()
}

/// A short text.
pub(super) fn plain(text: &'static str) -> Response<ServerBody> {
    let mut response = Response::new(full(Bytes::from_static(text.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A problem outside of any call.
pub(super) fn bare(problem: &Problem) -> Response<ServerBody> {
    problem.response(Place::default()).map(full)
}
