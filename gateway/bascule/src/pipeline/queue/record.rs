//! Between a call and what the outbox keeps of it: parameters with their defaults filled in, the headers that went
//! along, a raw body. No credentials of the integration's: a delivery is signed anew.

use crate::{
    config::{BodyKind, SkipSet},
    pipeline::{
        Call, Generation, Input, InputBody, LiveIntegration, LiveOperation, Origin, Progress, Services,
    },
};
use bascule_outbox::{self as outbox, Place};
use bascule_resilience::Deadline;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What is kept of a call. None without a key, or with one that is no text, and for what comes through `/proxy`.
pub(super) fn of(call: &Call) -> Option<outbox::Call> {
    let Input::Declared { params, body, .. } = &call.input else { return None };
    let caller = match &call.origin {
        Origin::Caller => call.caller.as_deref().map(str::to_owned),
        Origin::Within | Origin::Outbox | Origin::WarmUp => return None,
    };
    Some(outbox::Call {
        place: Place {
            integration: call.integration.settings.name.to_string(),
            operation: call.operation.name.to_string(),
        },
        key: call.idempotency_key.as_ref()?.to_str().ok()?.to_owned(),
        caller,
        params: serde_json::to_string(params).ok()?,
        headers: headers_to_text(&call.forwarded),
        body: match body {
            Some(InputBody::Held(octets)) => Some(octets.to_vec()),
            Some(InputBody::Stream { .. }) | None => None,
        },
    })
}

/// Whether all of the call is at hand: a raw body that was streamed is gone.
pub(super) fn is_whole(call: &Call) -> bool {
    let raw = call.operation.declared.as_ref().is_some_and(|declared| declared.body == BodyKind::Raw);
    let held = matches!(&call.input, Input::Declared { body: Some(InputBody::Held(_)), .. });
    !raw || held
}

/// The call of an entry, on behalf of the outbox: the same key, no ladder, behind the calls of those who wait.
///
/// # Errors
/// What keeps it from being made, for people: the operation is gone, say.
pub fn restore(
    services: &Arc<Services>,
    generation: &Arc<Generation>,
    entry: &outbox::Call,
    progress: &Arc<Progress>,
) -> Result<Call, String> {
    let (integration, operation) = placed(generation, &entry.place).ok_or_else(|| gone(&entry.place))?;
    let params: Map<String, Value> = serde_json::from_str(&entry.params).map_err(|_| unreadable())?;
    let forwarded = headers_from_text(&entry.headers).map_err(|_| unreadable())?;
    let key = HeaderValue::from_str(&entry.key).map_err(|_| "its key is no header value".to_owned())?;
    Ok(Call {
        services: Arc::clone(services),
        generation: Arc::clone(generation),
        integration: Arc::clone(integration),
        operation: Arc::clone(operation),
        input: Input::Declared {
            params,
            texts: false,
            body: entry.body.clone().map(|octets| InputBody::Held(octets.into())),
        },
        forwarded,
        asked: HeaderMap::new(),
        caller: entry.caller.as_deref().map(Into::into),
        idempotency_key: Some(key),
        cap: Deadline::none(),
        skip: SkipSet::default(),
        priority: None,
        progress: Arc::clone(progress),
        depth: 0,
        room: None,
        origin: Origin::Outbox,
    })
}

/// The operation that an entry calls, if the configuration still has it.
pub fn placed<'a>(
    generation: &'a Generation,
    place: &Place,
) -> Option<(&'a Arc<LiveIntegration>, &'a Arc<LiveOperation>)> {
    let integration = generation.integrations.get(place.integration.as_str())?;
    Some((integration, integration.operations.get(place.operation.as_str())?))
}

/// What is said of an entry whose operation the configuration has no more.
pub fn gone(place: &Place) -> String {
    format!("there is no operation {}.{} any more", place.integration, place.operation)
}

fn unreadable() -> String {
    "the entry cannot be read".to_owned()
}

/// `[["name", "value"], …]`. A value's octets are the characters of the same number, so that none is lost.
fn headers_to_text(headers: &HeaderMap) -> String {
    let pairs = headers.iter().map(|(name, value)| {
        let value: String = value.as_bytes().iter().copied().map(char::from).collect();
        Value::from(vec![name.as_str().to_owned(), value])
    });
    Value::from_iter(pairs).to_string()
}

fn headers_from_text(text: &str) -> Result<HeaderMap, Box<dyn std::error::Error>> {
    let pairs: Vec<(String, String)> = serde_json::from_str(text)?;
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let octets = value.chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>()?;
        headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(&octets)?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_octet_for_octet() {
        let mut headers = HeaderMap::new();
        headers.append("x-one", HeaderValue::from_static("a, b"));
        headers.append("x-one", HeaderValue::from_bytes(&[b'"', 0x80, 0xff]).unwrap());
        headers.append("content-type", HeaderValue::from_static("text/plain"));
        assert_eq!(headers_from_text(&headers_to_text(&headers)).unwrap(), headers);
        assert!(headers_from_text("[[\"x\", \"ሴ\"]]").is_err());
    }
}
