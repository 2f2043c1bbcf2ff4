//! What plugins answer, as JSON: one form for expectations, differences and `--bless`.
//!
//! What is absent has no member, so that expectations stay short. Secrets are put in already: the credentials of an
//! exchange are test values, and what is signed with them is just what a rehearsal is to compare.

use serde_json::{Map, Value, json};

use super::octets::{written, written_body};
use crate::bindings::bascule::plugin::types::{Fault, FaultKind, Header};
use crate::bindings::exports::bascule::plugin::classifier::{Classification, Verdict};
use crate::plugin::answer::{AuthPatch, MappedRequest, Mapping, OutgoingBody, Reply};
use crate::secret::SecretValue;
use crate::side::SideRequest;
use crate::token::Token;

/// What a request mapper handed over, if it made a request.
pub(super) fn carry(mapping: &Mapping) -> Option<&[u8]> {
    match mapping {
        Mapping::Send(request) => Some(&request.carry),
        Mapping::Answer(_) => None,
    }
}

/// `{ "send": … }` or `{ "answer": … }`; bodies in the form in which they are expected.
pub(super) fn mapping(mapping: &Mapping, expect: Option<&Value>) -> Value {
    let expected = |name: &str| expect.and_then(|expect| expect.get(name));
    match mapping {
        Mapping::Send(request) => json!({ "send": request_json(request, expected("send")) }),
        Mapping::Answer(answer) => json!({ "answer": reply(answer, expected("answer")) }),
    }
}

fn request_json(request: &MappedRequest, expected: Option<&Value>) -> Value {
    let head = &request.head;
    let body = match &request.body {
        OutgoingBody::Unchanged => "unchanged".into(),
        OutgoingBody::Empty => "empty".into(),
        OutgoingBody::Replace(body) => {
            let expected = expected.and_then(|expected| expected.pointer("/body/replace"));
            json!({ "replace": written_body(&body.bytes, expected) })
        }
    };
    let carry = Some(written(&request.carry)).filter(|_| !request.carry.is_empty());
    object([
        ("method", Some(head.method.as_str().into())),
        ("endpoint", head.endpoint.as_deref().map(Value::from)),
        ("path", Some(head.path.as_str().into())),
        ("query", head.query.as_deref().map(Value::from)),
        ("headers", lines(&head.headers)),
        ("body", Some(body)),
        ("carry", carry),
    ])
}

/// A reply without its name, since it stands under more than one.
pub(super) fn reply(reply: &Reply, expected: Option<&Value>) -> Value {
    let expected = expected.and_then(|expected| expected.get("body"));
    object([
        ("status", Some(reply.status.into())),
        ("headers", lines(&reply.headers)),
        ("body", reply.body.as_deref().map(|body| written_body(body, expected))),
    ])
}

/// `{ "patch": … }`, secrets put in.
pub(super) fn patch(patch: &AuthPatch) -> Value {
    json!({ "patch": object([("headers", fields(&patch.headers)), ("query", fields(&patch.query))]) })
}

/// A side request, secrets put in.
pub(super) fn side_request(request: &SideRequest) -> Value {
    let head = &request.head;
    object([
        ("endpoint", Some(request.endpoint.as_str().into())),
        ("method", Some(head.method.as_str().into())),
        ("path", Some(head.path.as_str().into())),
        ("query", head.query.as_deref().map(Value::from)),
        ("headers", lines(&head.headers)),
        ("auth", fields(&request.auth)),
        ("body", request.body.as_ref().map(|body| written_body(&body.bytes, None))),
    ])
}

/// `{ "key": … }`, or null where nothing is to be cached.
pub(super) fn key_material(material: Option<&[u8]>) -> Value {
    json!({ "key": material.map(written) })
}

/// `{ "token": … }`.
pub(super) fn token(token: &Token) -> Value {
    let lifetime = token.expires_in.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    json!({ "token": object([
        ("value", Some(written(token.value.expose()))),
        ("expires_in_ms", lifetime.map(Value::from)),
    ]) })
}

/// `{ "classification": … }`.
pub(super) fn classification(classification: &Classification) -> Value {
    let verdict = match classification.verdict {
        Verdict::Success => "success",
        Verdict::Transient => "transient",
        Verdict::Throttled => "throttled",
        Verdict::AuthExpired => "auth-expired",
        Verdict::Rejected => "rejected",
    };
    let quota = classification.quota.map(|quota| {
        object([
            ("limit", quota.limit.map(Value::from)),
            ("remaining", Some(quota.remaining.into())),
            ("reset_after_ms", quota.reset_after_ms.map(Value::from)),
        ])
    });
    json!({ "classification": object([
        ("verdict", Some(verdict.into())),
        ("retry_after_ms", classification.retry_after_ms.map(Value::from)),
        ("breaker_failure", classification.breaker_failure.map(Value::from)),
        ("quota", quota),
    ]) })
}

/// A fault without its name; details as the object that they are.
pub(super) fn fault(fault: &Fault) -> Value {
    let kind = match fault.kind {
        FaultKind::InvalidInput => "invalid-input",
        FaultKind::Unauthorized => "unauthorized",
        FaultKind::PaymentRequired => "payment-required",
        FaultKind::Forbidden => "forbidden",
        FaultKind::NotFound => "not-found",
        FaultKind::Conflict => "conflict",
        FaultKind::RateLimited => "rate-limited",
        FaultKind::UpstreamInvalid => "upstream-invalid",
        FaultKind::UpstreamFailed => "upstream-failed",
        FaultKind::Unsupported => "unsupported",
        FaultKind::Internal => "internal",
    };
    let details =
        fault.details.as_deref().map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.into()));
    object([
        ("kind", Some(kind.into())),
        ("code", Some(fault.code.as_str().into())),
        ("message", Some(fault.message.as_str().into())),
        ("details", details),
        ("retry_after_ms", fault.retry_after_ms.map(Value::from)),
    ])
}

fn fields(fields: &[(String, SecretValue)]) -> Option<Value> {
    let field = |(name, value): &(String, SecretValue)| json!([name, written(&value.bytes)]);
    Some(Value::Array(fields.iter().map(field).collect())).filter(|_| !fields.is_empty())
}

fn lines(headers: &[Header]) -> Option<Value> {
    let line = |header: &Header| json!([header.name, written(&header.value)]);
    Some(Value::Array(headers.iter().map(line).collect())).filter(|_| !headers.is_empty())
}

/// An object of the members that are there.
fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let there = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(Map::from_iter(there))
}
