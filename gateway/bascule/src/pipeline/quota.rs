//! What a provider says about its quota, in the header forms that are in use.
//!
//! `Retry-After` (RFC 9110 §10.2.3: seconds or a date), `X-RateLimit-Remaining`/`-Reset` and their
//! unprefixed kin, and the IETF draft's `RateLimit` field (`r=` remaining, `t=` seconds to reset).

use http::{HeaderMap, HeaderName, header::RETRY_AFTER};
use std::time::{Duration, SystemTime};

/// A reset value above this is a point in time, below it a span (`contract.md` §6).
const EPOCH_FROM: f64 = 1e9;

/// What is left, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) remaining: u64,
    pub(super) reset: Option<Duration>,
}

/// The provider's quota, as far as the headers tell. `named` is the configured header for what is left.
pub(super) fn quota(headers: &HeaderMap, named: Option<&HeaderName>, now: SystemTime) -> Option<Quota> {
    if let Some(quota) = ietf(headers) {
        return Some(quota);
    }
    let remaining = named
        .and_then(|name| number(headers, name.as_str()))
        .or_else(|| number(headers, "x-ratelimit-remaining"))
        .or_else(|| number(headers, "ratelimit-remaining"))?;
    let reset = reset_header(headers, named)
        .map(|value| if value > EPOCH_FROM { until_epoch(value, now) } else { span(value) });
    Some(Quota { remaining: remaining.max(0.0) as u64, reset })
}

/// `Retry-After`, not clamped.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(if seconds > EPOCH_FROM { until_epoch(seconds, now) } else { span(seconds) });
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// `X-RateLimit-Reset` beside the default names; beside `X-Foo-Remaining` its sibling `X-Foo-Reset`.
fn reset_header(headers: &HeaderMap, named: Option<&HeaderName>) -> Option<f64> {
    if let Some(stem) = named.and_then(|name| name.as_str().strip_suffix("remaining"))
        && let Some(value) = number(headers, &format!("{stem}reset"))
    {
        return Some(value);
    }
    number(headers, "x-ratelimit-reset").or_else(|| number(headers, "ratelimit-reset"))
}

/// `RateLimit: "default";r=50;t=30`; of several policies the one with least left counts.
fn ietf(headers: &HeaderMap) -> Option<Quota> {
    let text = headers.get("ratelimit")?.to_str().ok()?;
    text.split(',').filter_map(ietf_item).min_by_key(|quota| quota.remaining)
}

fn ietf_item(item: &str) -> Option<Quota> {
    let mut remaining = None;
    let mut reset = None;
    for part in item.split(';') {
        // An earlier draft wrote `limit=100, remaining=50, reset=30`; only `r`/`t` are the current form.
        match part.trim().split_once('=') {
            Some(("r", value)) => remaining = value.parse().ok(),
            Some(("t", value)) => reset = value.parse().ok().map(span),
            _ => {}
        }
    }
    Some(Quota { remaining: remaining?, reset })
}

fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    let value: f64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    value.is_finite().then_some(value)
}

fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

fn until_epoch(epoch: f64, now: SystemTime) -> Duration {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    span(epoch - since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const NOW: u64 = 1_800_000_000;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |value| retry_after(&headers(&[("retry-after", value)]), now());
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        let date = httpdate::fmt_http_date(now() + Duration::from_secs(30));
        assert_eq!(after(&date), Some(Duration::from_secs(30)));
        assert_eq!(after("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
        assert_eq!(after("-5"), Some(Duration::ZERO));
    }

    #[test]
    fn a_reset_above_a_billion_is_an_epoch() {
        let reset = |value: &str| {
            let lines = [("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", value)];
            quota(&headers(&lines), None, now()).unwrap().reset
        };
        assert_eq!(reset("60"), Some(Duration::from_secs(60)));
        assert_eq!(reset(&(NOW + 90).to_string()), Some(Duration::from_secs(90)));
        assert_eq!(reset("nan"), None);
    }

    #[test]
    fn a_configured_header_brings_its_sibling() {
        let name = HeaderName::from_static("x-quota-remaining");
        let lines = [("x-quota-remaining", "7"), ("x-quota-reset", "5")];
        let found = quota(&headers(&lines), Some(&name), now());
        assert_eq!(found, Some(Quota { remaining: 7, reset: Some(Duration::from_secs(5)) }));
    }

    #[test]
    fn the_ietf_field_counts_its_tightest_policy() {
        let found = quota(&headers(&[("ratelimit", "\"burst\";r=9;t=1, \"day\";r=2;t=3600")]), None, now());
        assert_eq!(found, Some(Quota { remaining: 2, reset: Some(Duration::from_secs(3600)) }));
        assert_eq!(quota(&headers(&[("ratelimit", "garbage")]), None, now()), None);
    }
}
