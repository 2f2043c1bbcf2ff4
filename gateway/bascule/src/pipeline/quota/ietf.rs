//! The IETF draft "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers), in its forms so far.
//!
//! From version 08 on the fields are structured (RFC 9651): lists of named policies with parameters. Version 07 had a
//! dictionary. Both are read leniently: what is not understood is skipped, item by item.

use super::{Report, when};
use http::HeaderMap;

/// What `RateLimit` and `RateLimit-Policy` say.
pub(super) fn reports(headers: &HeaderMap) -> Vec<Report> {
    let Some(text) = headers.get("ratelimit").and_then(|value| value.to_str().ok()) else {
        return Vec::new();
    };
    if let Some(report) = dictionary(text) {
        return vec![report];
    }
    let policies = headers.get("ratelimit-policy").and_then(|value| value.to_str().ok()).unwrap_or_default();
    items(text)
        .filter_map(|(name, parameters)| {
            let policy =
                items(policies).find(|(policy, _)| *policy == name).map(|(_, parameters)| parameters);
            let policy = policy.unwrap_or_default();
            Some(Report {
                name: name.to_owned(),
                remaining: parameter(parameters, "r")?.parse().ok()?,
                limit: parameter(policy, "q").and_then(|limit| limit.parse().ok()),
                window: parameter(policy, "w").and_then(|span| span.parse().ok()).map(when::span),
                reset: parameter(parameters, "t").and_then(|span| span.parse().ok()).map(when::span),
            })
        })
        .collect()
}

/// `limit=100, remaining=50, reset=30`.
fn dictionary(text: &str) -> Option<Report> {
    let entry = |name: &str| {
        let entries = text.split(',').filter_map(|entry| entry.trim().split_once('='));
        entries.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    };
    Some(Report {
        name: String::new(),
        remaining: entry("remaining")?.parse().ok()?,
        limit: entry("limit").and_then(first_number),
        window: entry("limit").and_then(window),
        reset: entry("reset").and_then(|span| span.parse().ok()).map(when::span),
    })
}

/// The items of a list: the name without its quotes, and the parameters.
fn items(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').map(|item| {
        let (name, parameters) = item.trim().split_once(';').unwrap_or((item.trim(), ""));
        (name.trim().trim_matches('"'), parameters)
    })
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let mut entries = parameters.split(';').filter_map(|entry| entry.trim().split_once('='));
    entries.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// `100, 100;w=60` begins with the limit that is in force.
pub(super) fn first_number(text: &str) -> Option<u64> {
    text.split([',', ';']).next()?.trim().parse().ok()
}

/// The window of the limit that is in force: `100, 100;w=60`.
pub(super) fn window(text: &str) -> Option<std::time::Duration> {
    let limit = first_number(text)?.to_string();
    let (_, parameters) =
        items(text).find(|(value, parameters)| *value == limit && !parameters.is_empty())?;
    parameter(parameters, "w")?.parse().ok().map(when::span)
}
