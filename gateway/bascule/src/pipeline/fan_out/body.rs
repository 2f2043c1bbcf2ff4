//! Branches' bodies: held within one bound for all of them, and written as JSON.
//!
//! Fan-outs within a fan-out share its bound: what a branch holds of the room is free again when its fan-out's answer has
//! been made, and then the answer as a whole takes its place as the body of a branch of the outer one.

use crate::{
    model::{BodyError, Payload},
    pipeline::held::{Held, hold_while},
};
use bytes::Bytes;
use data_encoding::BASE64;
use http::HeaderValue;
use serde::de::IgnoredAny;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How many octets all branches together may hold, those of fan-outs among them included.
pub struct Room {
    size: u64,
    left: AtomicU64,
}

/// What one branch has taken of it; given back when it is dropped.
pub(super) struct Share {
    room: Arc<Room>,
    taken: u64,
}

impl Room {
    pub(super) fn new(size: u64) -> Arc<Self> {
        Arc::new(Self { size, left: AtomicU64::new(size) })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { room: Arc::clone(self), taken: 0 }
    }
}

impl Share {
    /// Takes so many octets more; false when they are not there, and nothing is taken.
    pub(super) fn take(&mut self, octets: u64) -> bool {
        let less = |left: u64| left.checked_sub(octets);
        let there = self.room.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        if there {
            self.taken += octets;
        }
        there
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.taken, Ordering::Relaxed);
    }
}

/// Reads a body to its end.
///
/// # Errors
/// [`BodyError`] when it breaks off, or [`BodyError::TooLarge`] when the room does not suffice.
pub(super) async fn held(body: Payload, share: &mut Share) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge(share.room.size);
    match body {
        Payload::Full(octets) if share.take(octets.len() as u64) => Ok(octets),
        Payload::Full(_) => Err(too_large),
        Payload::Stream(stream) => {
            match hold_while(stream, share.room.size, |octets| share.take(octets)).await? {
                Held::Whole(octets) => Ok(octets),
                Held::Larger(_) => Err(too_large),
            }
        }
    }
}

/// A body as a JSON value: JSON as it is, text as a string, anything else as `{"base64": "…"}`, none as `null`.
pub(super) fn embedded(media_type: Option<&HeaderValue>, octets: &[u8]) -> Vec<u8> {
    if octets.is_empty() {
        return b"null".to_vec();
    }
    let essence = media_type.map(|value| {
        let text = value.to_str().unwrap_or("?").split(';').next().unwrap_or_default();
        text.trim().to_ascii_lowercase()
    });
    let text = std::str::from_utf8(octets).ok();
    if let (Some(text), true) = (text, essence.as_deref().is_none_or(is_json))
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
    {
        return text.trim().as_bytes().to_vec();
    }
    match text.filter(|text| essence.as_deref().is_none_or(is_text) && is_printable(text)) {
        Some(text) => serde_json::Value::from(text).to_string().into_bytes(),
        None => format!("{{\"base64\":\"{}\"}}", BASE64.encode(octets)).into_bytes(),
    }
}

fn is_json(essence: &str) -> bool {
    matches!(essence, "application/json" | "text/json") || essence.ends_with("+json")
}

/// What says that it is JSON and is not may still be read as text.
fn is_text(essence: &str) -> bool {
    let known = [
        "application/xml",
        "application/yaml",
        "application/javascript",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
    ];
    essence.starts_with("text/") || essence.ends_with("+xml") || known.contains(&essence) || is_json(essence)
}

/// Control characters make a text six times as long in JSON, and are no text.
fn is_printable(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(media_type: &'static str, octets: &[u8]) -> String {
        let value = (!media_type.is_empty()).then(|| HeaderValue::from_static(media_type));
        String::from_utf8(embedded(value.as_ref(), octets)).unwrap()
    }

    #[test]
    fn json_stands_as_it_is() {
        assert_eq!(
            shown("application/json; charset=utf-8", b" {\"b\": 1.50, \"a\": 12345678901234567890123}\n"),
            "{\"b\": 1.50, \"a\": 12345678901234567890123}"
        );
        assert_eq!(shown("application/problem+json", b"[]"), "[]");
        assert_eq!(shown("", b"{\"untyped\": true}"), "{\"untyped\": true}");
    }

    #[test]
    fn text_is_a_string_and_so_is_json_that_is_none() {
        assert_eq!(shown("text/plain", b"say \"hi\"\n"), "\"say \\\"hi\\\"\\n\"");
        assert_eq!(shown("text/plain", b"{}"), "\"{}\"");
        assert_eq!(shown("application/json", b"{oops"), "\"{oops\"");
        assert_eq!(shown("", b"good"), "\"good\"");
        assert_eq!(shown("image/svg+xml", b"<svg/>"), "\"<svg/>\"");
    }

    #[test]
    fn anything_else_is_base64_and_nothing_is_null() {
        assert_eq!(shown("image/png", b"\x89PNG"), "{\"base64\":\"iVBORw==\"}");
        assert_eq!(shown("application/octet-stream", b"abc"), "{\"base64\":\"YWJj\"}");
        assert_eq!(shown("text/plain", b"\xff"), "{\"base64\":\"/w==\"}");
        assert_eq!(shown("text/plain", b"\x00"), "{\"base64\":\"AA==\"}");
        assert_eq!(shown("application/json", b""), "null");
    }

    #[test]
    fn what_a_branch_held_is_there_for_the_others_when_it_is_done() {
        let room = Room::new(10);
        let mut holding = room.share();
        assert!(holding.take(4));
        let mut failed = room.share();
        assert!(failed.take(6) && !failed.take(1));
        drop(failed);
        assert!(!room.share().take(7) && room.share().take(6));
        drop(holding);
        assert!(room.share().take(10));
    }
}
