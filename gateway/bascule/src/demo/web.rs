//! The few HTTP words that all stand-ins share: answers, bounded bodies, tokens, query entries.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Full, Limited, combinators::BoxBody};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::convert::Infallible;

/// The body of a stand-in's answer.
pub(crate) type Body = BoxBody<Bytes, Infallible>;
/// A stand-in's answer.
pub(crate) type Answer = Response<Body>;

/// Largest JSON or form body that a stand-in reads; the imitated calls need a few hundred octets.
const BODY_MAX_BYTES: usize = 1024 * 1024;

/// An answer with a body of the given type.
pub(crate) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// An answer with a JSON body.
pub(crate) fn json_answer(status: StatusCode, body: &Value) -> Answer {
    typed(status, "application/json; charset=utf-8", body.to_string())
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(http_body_util::Empty::new().boxed());
    *answer.status_mut() = status;
    answer
}

/// Sets a header whose value is made of numbers or plain ASCII; anything else is left out.
pub(crate) fn set(answer: &mut Answer, name: &'static str, value: impl ToString) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        answer.headers_mut().insert(name, value);
    }
}

/// The whole body.
///
/// # Errors
/// The answer to give when it is longer than 1 MiB or breaks off.
pub(crate) async fn read(body: Incoming) -> Result<Bytes, Answer> {
    match Limited::new(body, BODY_MAX_BYTES).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) => {
            Err(json_answer(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "message": error.to_string() })))
        }
    }
}

/// The token of `Authorization: Bearer …` (GitHub's older `token …` too).
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token")).then_some(token.trim())
}

/// Entries of a query or of a form, decoded.
pub(crate) fn entries(encoded: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(encoded).into_owned().collect()
}

/// The first entry of that name.
pub(crate) fn entry<'a>(entries: &'a [(String, String)], name: &str) -> Option<&'a str> {
    entries.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The segments of a path, decoded; a trailing slash adds none.
pub(crate) fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect()
}
