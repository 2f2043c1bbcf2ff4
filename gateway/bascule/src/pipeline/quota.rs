//! What a provider says about its quotas, in the header forms that are in use.
//!
//! | form                                        | fields                                                                |
//! |---------------------------------------------|-----------------------------------------------------------------------|
//! | RFC 9110 §10.2.3                            | `Retry-After`                                                         |
//! | IETF draft "RateLimit header fields", -08 on | `RateLimit: "name";r=…;t=…`, `RateLimit-Policy: "name";q=…;w=…`      |
//! | the same, -07                               | `RateLimit: limit=…, remaining=…, reset=…`                            |
//! | the same, up to -06, and its forerunners    | `[X-]RateLimit-{Limit,Remaining,Reset}`, also `X-Rate-Limit-…`        |
//! | several at once                             | the same with a suffix: `X-RateLimit-Remaining-Requests`, `…-Minute`  |
//! | a provider's own                            | the configured header, with its siblings `…Limit…` and `…Reset…`      |
//!
//! Nothing here is clamped or judged; points in time are `when`'s.

mod ietf;
mod numbers;
mod when;

pub use numbers::QuotaNumbers;

use http::{HeaderMap, HeaderName, header::RETRY_AFTER};
use std::time::{Duration, SystemTime};

/// Most quotas that one answer may speak of; a provider has two or three.
const REPORTS_MAX: usize = 8;

/// One quota, as an answer tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// The policy's name or the header's suffix; empty for the usual one.
    pub(super) name: String,
    /// What is left.
    pub(super) remaining: u64,
    /// What there is in a window.
    pub(super) limit: Option<u64>,
    /// The window's length.
    pub(super) window: Option<Duration>,
    /// How long until it is renewed.
    pub(super) reset: Option<Duration>,
}

impl Report {
    /// How long until it is renewed: at the latest when its window has passed.
    pub(super) fn renewed_in(&self) -> Option<Duration> {
        self.reset.or(self.window)
    }
}

/// All quotas that an answer tells of. Most tell of none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Quotas(Vec<Report>);

impl Quotas {
    /// Just this one.
    pub(super) fn of(report: Report) -> Self {
        Self(vec![report])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Report> {
        self.0.iter()
    }

    /// Whether one of them is used up.
    pub(super) fn is_spent(&self) -> bool {
        self.spent().next().is_some()
    }

    /// How long until all that are used up are renewed, as far as that is known.
    pub(super) fn renewed_in(&self) -> Option<Duration> {
        self.spent().filter_map(Report::renewed_in).max()
    }

    fn spent(&self) -> impl Iterator<Item = &Report> {
        self.0.iter().filter(|report| report.remaining == 0)
    }
}

/// The provider's quotas, as far as the headers tell. `named` is the configured header for what is left.
pub(super) fn quotas(headers: &HeaderMap, named: Option<&HeaderName>, now: SystemTime) -> Quotas {
    let configured = named.and_then(|name| family(headers, name.as_str(), now));
    let told = configured.is_some();
    let mut reports: Vec<Report> =
        configured.map(|report| Report { name: String::new(), ..report }).into_iter().collect();
    for report in ietf::reports(headers) {
        add(&mut reports, report, told);
    }
    for name in headers.keys().filter(|name| is_remaining(name.as_str())) {
        if let Some(report) = family(headers, name.as_str(), now) {
            add(&mut reports, report, told);
        }
    }
    reports.truncate(REPORTS_MAX);
    Quotas(reports)
}

/// Providers that send two families of headers speak of one quota twice: the lower word counts, and the configured
/// header's, which is the unnamed one, whatever the others say.
fn add(reports: &mut Vec<Report>, new: Report, configured: bool) {
    match reports.iter_mut().find(|known| known.name == new.name) {
        None => reports.push(new),
        Some(known) if !(configured && new.name.is_empty()) && new.remaining < known.remaining => {
            *known = new
        }
        Some(_) => {}
    }
}

/// `Retry-After`, or the millisecond forms that some providers send beside it; not clamped.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let millis = ["retry-after-ms", "x-ms-retry-after-ms"].into_iter().find_map(|name| number(headers, name));
    if let Some(millis) = millis {
        return Some(when::span(millis / 1000.0));
    }
    when::until(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// `ratelimit-remaining`, `x-ratelimit-remaining`, `x-rate-limit-remaining`, with or without a suffix.
fn is_remaining(name: &str) -> bool {
    let name = name.strip_prefix("x-").unwrap_or(name);
    let rest = name.strip_prefix("ratelimit-remaining").or_else(|| name.strip_prefix("rate-limit-remaining"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// A header for what is left, and its siblings: `X-Foo-Remaining` has `X-Foo-Limit` and `X-Foo-Reset`.
fn family(headers: &HeaderMap, name: &str, now: SystemTime) -> Option<Report> {
    let remaining = number(headers, name)?;
    let sibling = |word: &str| name.contains("remaining").then(|| name.replacen("remaining", word, 1));
    let suffix = name.split_once("remaining").map_or("", |(_, rest)| rest.trim_start_matches('-'));
    let reset = |name: &str| when::until(headers.get(name)?.to_str().ok()?, now);
    let limit = sibling("limit").and_then(|name| headers.get(name)?.to_str().ok());
    Some(Report {
        name: suffix.to_owned(),
        remaining: remaining.max(0.0) as u64,
        limit: limit.and_then(ietf::first_number),
        window: limit.and_then(ietf::window).or_else(|| named_window(suffix)),
        reset: sibling("reset")
            .and_then(|name| reset(&name).or_else(|| reset(&format!("{name}-after"))))
            .or_else(|| reset("x-ratelimit-reset"))
            .or_else(|| reset("ratelimit-reset")),
    })
}

/// Suffixes that say how long the window is.
fn named_window(suffix: &str) -> Option<Duration> {
    let seconds = match suffix {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 24 * 3600,
        _ => return None,
    };
    Some(Duration::from_secs(seconds))
}

fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    let value: f64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests;
