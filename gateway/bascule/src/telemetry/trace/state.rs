//! `tracestate`: a list of vendors' entries that is combined, checked and passed on unchanged.
//!
//! One malformed entry makes the whole list unusable (the standard's own rule), so the result is
//! either a list that every reader accepts or nothing. We add no entry of our own.

use std::collections::HashSet;

use http::{HeaderValue, header::GetAll};

/// Most entries; the standard's limit.
const MEMBERS_MAX: usize = 32;
/// Longest key and longest value, in octets; the standard's limits.
const KEY_MAX: usize = 256;
const VALUE_MAX: usize = 256;
/// Most octets passed on. The standard asks for 512; entries beyond this are cut from the end, the
/// oldest first, so that a caller cannot blow up every request to a provider.
const TOTAL_MAX: usize = 8192;

/// All header lines as one value; none when they are empty or anything in them is malformed.
pub(super) fn combine(lines: GetAll<'_, HeaderValue>) -> Option<HeaderValue> {
    let mut keys = HashSet::new();
    let mut count = 0_usize;
    let mut combined = String::new();
    for line in lines {
        for member in line.to_str().ok()?.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            count += 1;
            let (key, value) = member.split_once('=')?;
            if count > MEMBERS_MAX || !key_is_valid(key) || !value_is_valid(value) {
                return None;
            }
            if keys.insert(key) && combined.len() + member.len() < TOTAL_MAX {
                if !combined.is_empty() {
                    combined.push(',');
                }
                combined.push_str(member);
            }
        }
    }
    if combined.is_empty() { None } else { HeaderValue::try_from(combined).ok() }
}

/// Level 2's grammar: a small letter or digit, then those and `_-*/@`.
fn key_is_valid(key: &str) -> bool {
    let first = key.bytes().next().is_some_and(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit());
    let all = key
        .bytes()
        .all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'));
    first && all && key.len() <= KEY_MAX
}

/// Printable ASCII without `,` and `=`; the blanks at its ends are gone already.
fn value_is_valid(value: &str) -> bool {
    let all = value.bytes().all(|octet| matches!(octet, b' '..=b'~') && octet != b',' && octet != b'=');
    !value.is_empty() && all && value.len() <= VALUE_MAX
}
