//! What a caller says about the trace that it is in: `traceparent`, `tracestate`, `baggage`.
//!
//! Strict where W3C Trace Context is strict: anything doubtful restarts the trace rather than
//! joining a wrong one. Versions to come are read by the rules of version 00, as the standard asks.
//! Baggage is passed on as it came and never looked into.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanId, TraceId};

use super::state;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(super) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Bit of the flags: the caller may have recorded the trace.
pub(super) const SAMPLED: u8 = 0x01;
/// Bit of the flags (level 2): the trace id is random.
const RANDOM: u8 = 0x02;

/// Most octets of baggage that are passed on; W3C Baggage asks for at least this many. More would let
/// a caller blow up every request to every provider, so longer baggage is left out as a whole.
const BAGGAGE_MAX: usize = 8192;

/// The trace that a caller is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub(super) parent: Option<Parent>,
    pub(super) state: Option<HeaderValue>,
    pub(super) baggage: Vec<HeaderValue>,
}

/// A valid `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// Only the bits that the standard defines.
    pub(super) flags: u8,
}

impl TraceContext {
    /// The context in a request's headers.
    ///
    /// None when there is neither a valid `traceparent` nor baggage. A missing, malformed or repeated
    /// `traceparent` starts a new trace; `tracestate` counts only beside a valid one.
    pub fn extract(headers: &HeaderMap) -> Option<Self> {
        let parent = only(headers, &TRACEPARENT).and_then(parse);
        let state = parent.and_then(|_| state::combine(headers.get_all(&TRACESTATE)));
        let baggage = baggage(headers);
        (parent.is_some() || !baggage.is_empty()).then_some(Self { parent, state, baggage })
    }
}

/// The one value of a header; none when it is missing, repeated or not text.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

fn parse(text: &str) -> Option<Parent> {
    let (version, rest) = hex(text.trim_matches([' ', '\t']), 2)?;
    let (trace_id, rest) = hex(rest.strip_prefix('-')?, 32)?;
    let (span_id, rest) = hex(rest.strip_prefix('-')?, 16)?;
    let (flags, rest) = hex(rest.strip_prefix('-')?, 2)?;
    let ends_well = match version {
        "ff" => false,
        "00" => rest.is_empty(),
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let trace_id = TraceId::from_hex(trace_id).ok().filter(|id| *id != TraceId::INVALID)?;
    let span_id = SpanId::from_hex(span_id).ok().filter(|id| *id != SpanId::INVALID)?;
    let flags = u8::from_str_radix(flags, 16).ok()? & (SAMPLED | RANDOM);
    ends_well.then_some(Parent { trace_id, span_id, flags })
}

/// The first `length` characters if they are small hex digits, and the rest.
fn hex(text: &str, length: usize) -> Option<(&str, &str)> {
    let (digits, rest) = text.split_at_checked(length)?;
    digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).then_some((digits, rest))
}

fn baggage(headers: &HeaderMap) -> Vec<HeaderValue> {
    let values: Vec<HeaderValue> =
        headers.get_all(&BAGGAGE).iter().filter(|value| !value.is_empty()).cloned().collect();
    let octets: usize = values.iter().map(HeaderValue::len).sum();
    if octets > BAGGAGE_MAX { Vec::new() } else { values }
}
