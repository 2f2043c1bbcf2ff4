//! A caller's own conditions and ranges, answered from a complete stored answer (RFC 9110 §13.2.2, §14.2).
//!
//! ```text
//! If-None-Match ─► 304        If-Range, Range ─► 206 or 416
//!   absent: If-Modified-Since ─► 304
//! ```
//!
//! Decisions: a request for several ranges is answered whole, which §14.2 allows and which no client cannot read; a range
//! that cannot be parsed is ignored. Only GET knows ranges.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE,
        ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
    },
};

use super::{
    dates::{date, span},
    validators::{none_match_names, strongly_equal},
};

/// What describes a body that a 304 does not have (RFC 9110 §15.4.5).
const OF_THE_BODY: [HeaderName; 6] =
    [ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE];

/// Which part of a stored answer a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it.
    Whole,
    /// 304: the caller has it.
    NotModified,
    /// 206: these bytes of the body.
    Part(Range<usize>),
    /// 416: the body ends before the range begins.
    NotSatisfiable,
}

impl Answer {
    /// Which part of an answer with this status code, these fields and a body of `length` bytes a request gets.
    #[must_use]
    pub fn to(
        method: &Method,
        request: &HeaderMap,
        status: StatusCode,
        headers: &HeaderMap,
        length: usize,
    ) -> Self {
        if !status.is_success() {
            return Self::Whole;
        }
        if is_not_modified(request, headers) {
            return Self::NotModified;
        }
        if method != Method::GET || status != StatusCode::OK || !range_applies(request, headers) {
            return Self::Whole;
        }
        request.get(RANGE).map_or(Self::Whole, |range| parse_range(range.as_bytes(), length))
    }

    /// Its status code, given the stored one.
    #[must_use]
    pub fn status(&self, stored: StatusCode) -> StatusCode {
        match self {
            Self::Whole => stored,
            Self::NotModified => StatusCode::NOT_MODIFIED,
            Self::Part(_) => StatusCode::PARTIAL_CONTENT,
            Self::NotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// Its fields, given the stored ones and the length of the stored body. `Age` and `Cache-Status` are to be added.
    #[must_use]
    pub fn headers(&self, stored: &HeaderMap, length: usize) -> HeaderMap {
        let mut headers = stored.clone();
        match self {
            Self::Whole => {}
            Self::NotModified => {
                for name in &OF_THE_BODY {
                    headers.remove(name);
                }
            }
            Self::Part(part) => {
                let last = part.end.saturating_sub(1);
                headers.insert(CONTENT_LENGTH, HeaderValue::from(part.len()));
                put_text(&mut headers, CONTENT_RANGE, &format!("bytes {}-{last}/{length}", part.start));
            }
            Self::NotSatisfiable => {
                for name in &OF_THE_BODY {
                    headers.remove(name);
                }
                headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
                put_text(&mut headers, CONTENT_RANGE, &format!("bytes */{length}"));
            }
        }
        headers
    }

    /// Its body, given the stored one: the same memory.
    #[must_use]
    pub fn body(&self, stored: &Bytes) -> Bytes {
        match self {
            Self::Whole => stored.clone(),
            Self::Part(part) if part.end <= stored.len() => stored.slice(part.clone()),
            Self::NotModified | Self::NotSatisfiable | Self::Part(_) => Bytes::new(),
        }
    }
}

fn put_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// `If-None-Match` decides alone where it is there (RFC 9110 §13.1.3). An answer without `Last-Modified` was last
/// modified when it was made, at the latest (RFC 9111 §4.3.2).
fn is_not_modified(request: &HeaderMap, headers: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return none_match_names(request, headers);
    }
    let modified = || date(headers, &LAST_MODIFIED).or_else(|| date(headers, &DATE));
    date(request, &IF_MODIFIED_SINCE)
        .is_some_and(|since| modified().is_some_and(|modified| modified <= since))
}

/// Whether the caller's part is of this very representation (RFC 9110 §13.1.5). A date is a strong enough validator only
/// if the answer was made at least a second after it (§8.8.2.2).
fn range_applies(request: &HeaderMap, headers: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else { return true };
    if let Some(since) = date(request, &IF_RANGE) {
        let strong = |modified| {
            date(headers, &DATE).is_some_and(|made_on| span(modified, made_on) >= Duration::from_secs(1))
        };
        return date(headers, &LAST_MODIFIED).is_some_and(|modified| modified == since && strong(modified));
    }
    headers.get(ETAG).is_some_and(|etag| strongly_equal(condition.as_bytes(), etag.as_bytes()))
}

/// One range of bytes (RFC 9110 §14.1.2); whatever else is there is ignored.
fn parse_range(field: &[u8], length: usize) -> Answer {
    let ranges = std::str::from_utf8(field).ok().and_then(|text| text.split_once('='));
    let Some((unit, range)) = ranges else { return Answer::Whole };
    let Some((first, last)) = range.trim().split_once('-') else { return Answer::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || length == 0 {
        return Answer::Whole;
    }
    match (position(first), position(last)) {
        (Some(None), Some(Some(suffix))) => {
            if suffix == 0 {
                return Answer::NotSatisfiable;
            }
            Answer::Part(length.saturating_sub(suffix)..length)
        }
        (Some(Some(first)), Some(last)) => {
            if last.is_some_and(|last| last < first) {
                return Answer::Whole;
            }
            if first >= length {
                return Answer::NotSatisfiable;
            }
            Answer::Part(first..last.map_or(length, |last| last.saturating_add(1).min(length)))
        }
        _ => Answer::Whole,
    }
}

/// A position, or that there is none; the outer None for what is neither. What no body can be as long as is just as far
/// beyond its end.
fn position(text: &str) -> Option<Option<usize>> {
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests;
