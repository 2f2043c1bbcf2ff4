//! GitHub's quotas: what the headers say, and which refusals are only a matter of waiting.

use std::time::Duration;

use bascule_plugin::{Classification, HeaderLines, Quota, ResponseHead, Verdict};

/// What an answer means, at a time in seconds since 1970.
pub(crate) fn classify(head: &ResponseHead, now: i64) -> Classification {
    let mut classification = Classification::new(Verdict::by_status(head.status));
    if let Some(throttle) = throttle(head, now) {
        classification.verdict = Verdict::Throttled;
        if let Some(wait) = throttle.wait {
            classification = classification.with_retry_after(wait);
        }
    }
    match quota(head, now) {
        Some(quota) => classification.with_quota(quota),
        None => classification,
    }
}

/// A refusal that ends by waiting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Throttle {
    /// How long; `None` when GitHub does not say.
    pub(crate) wait: Option<Duration>,
}

/// Whether the answer refuses because of a quota. GitHub uses 403 and 429 for this, and 403 for much else.
pub(crate) fn throttle(head: &ResponseHead, now: i64) -> Option<Throttle> {
    if !matches!(head.status, 403 | 429) {
        return None;
    }
    let spent = head.number("x-ratelimit-remaining") == Some(0);
    let retry_after = head.number("retry-after").map(Duration::from_secs);
    let reset = if spent { reset_after(head, now) } else { None };
    if spent || retry_after.is_some() || head.status == 429 {
        // Both limits can hold at once; it takes the longer wait to satisfy them.
        return Some(Throttle { wait: retry_after.max(reset) });
    }
    None
}

/// The quota that calls share. Searches and the like have small quotas of their own, which must not hold the rest.
fn quota(head: &ResponseHead, now: i64) -> Option<Quota> {
    if head.text("x-ratelimit-resource").is_some_and(|resource| resource != "core") {
        return None;
    }
    let mut quota = Quota::new(head.number("x-ratelimit-remaining")?);
    if let Some(limit) = head.number("x-ratelimit-limit") {
        quota = quota.with_limit(limit);
    }
    if let Some(wait) = reset_after(head, now) {
        quota = quota.with_reset_after(wait);
    }
    Some(quota)
}

/// The time until the quota is renewed; nothing once that is past.
fn reset_after(head: &ResponseHead, now: i64) -> Option<Duration> {
    let reset = i64::try_from(head.number("x-ratelimit-reset")?).ok()?;
    Some(Duration::from_secs(u64::try_from(reset.saturating_sub(now)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use bascule_plugin::Header;

    use super::*;

    const NOW: i64 = 1_000_000;

    fn head(status: u16, headers: &[(&str, &str)]) -> ResponseHead {
        let headers = headers.iter().map(|(name, value)| Header::new(name, *value)).collect();
        ResponseHead { status, headers }
    }

    #[test]
    fn a_spent_quota_waits_for_its_reset() {
        for status in [403, 429] {
            let head = head(
                status,
                &[
                    ("x-ratelimit-limit", "60"),
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1000090"),
                ],
            );
            let classification = classify(&head, NOW);
            assert_eq!(classification.verdict, Verdict::Throttled);
            assert_eq!(classification.retry_after_ms, Some(90_000));
            let quota = Quota { limit: Some(60), remaining: 0, reset_after_ms: Some(90_000) };
            assert_eq!(classification.quota, Some(quota));
        }
    }

    #[test]
    fn a_secondary_limit_waits_as_long_as_it_says() {
        let head = head(403, &[("x-ratelimit-remaining", "4000"), ("retry-after", "60")]);
        let classification = classify(&head, NOW);
        assert_eq!(classification.verdict, Verdict::Throttled);
        assert_eq!(classification.retry_after_ms, Some(60_000));
    }

    #[test]
    fn a_real_403_is_a_rejection() {
        let head = head(403, &[("x-ratelimit-remaining", "4000"), ("x-ratelimit-reset", "1000090")]);
        assert_eq!(classify(&head, NOW).verdict, Verdict::Rejected);
        assert_eq!(throttle(&head, NOW), None);
    }

    #[test]
    fn a_bare_429_is_throttled_without_a_wait() {
        let classification = classify(&head(429, &[]), NOW);
        assert_eq!((classification.verdict, classification.retry_after_ms), (Verdict::Throttled, None));
    }

    #[test]
    fn a_reset_in_the_past_needs_no_wait() {
        let head = head(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "999999")]);
        assert_eq!(classify(&head, NOW).retry_after_ms, Some(0));
    }

    #[test]
    fn other_answers_go_by_status_and_still_tell_the_quota() {
        let ok = classify(&head(200, &[("x-ratelimit-remaining", "59")]), NOW);
        assert_eq!((ok.verdict, ok.quota), (Verdict::Success, Some(Quota::new(59))));
        assert_eq!(classify(&head(503, &[("retry-after", "1")]), NOW).verdict, Verdict::Transient);
        assert_eq!(classify(&head(404, &[]), NOW).verdict, Verdict::Rejected);
    }

    #[test]
    fn the_quota_of_searches_is_not_everyones() {
        let head = head(200, &[("x-ratelimit-resource", "search"), ("x-ratelimit-remaining", "0")]);
        assert_eq!(classify(&head, NOW).quota, None);
    }
}
