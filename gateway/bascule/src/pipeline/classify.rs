//! One classifier makes one [`Outcome`] of every attempt; retry, breaker, limiter, cache, health and
//! metrics read nothing else (`semantics.md` §2).

use super::{
    call::Fetch,
    phases::{self, response_head},
    quota::{self, Quotas, Report},
};
use crate::{
    model::{Outcome, TimeoutKind},
    upstream::{SendError, SendErrorKind},
};
use bascule_plugin_host::{HostBody, Phase, Verdict};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::time::{Duration, SystemTime};

/// What an answer was found to mean.
pub(super) struct Judgement {
    pub(super) outcome: Outcome,
    pub(super) quotas: Quotas,
    /// A classifier's own word on whether the breaker counts a failure.
    pub(super) breaker_failure: Option<bool>,
    /// Whether a plugin said so.
    pub(super) by_plugin: bool,
}

/// Judges an answer: by the plugin where there is one and it works, else by status and headers.
pub(super) async fn judge(
    fetch: &Fetch,
    attempt: u32,
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<&Bytes>,
    renewable: bool,
) -> Judgement {
    let now = SystemTime::now();
    let limit = fetch.integration.settings.rate_limit.as_ref();
    let quotas = quota::quotas(headers, limit.and_then(|limit| limit.header.as_ref()), now);
    let retry_after = quota::retry_after(headers, now);
    let by_status = |quotas| Judgement {
        outcome: by_status(status, retry_after, &quotas, renewable),
        quotas,
        breaker_failure: None,
        by_plugin: false,
    };
    let Some(classifier) = &fetch.operation.phases.classifier else { return by_status(quotas) };
    let context = phases::context(fetch, classifier, attempt, fetch.idempotency_key.as_ref());
    let readable = body.filter(|_| classifier.reads_bodies).cloned().map(HostBody::bytes);
    let work = classifier.plugin.classify(&context, response_head(status, headers), readable);
    let classification = match phases::timed(
        &fetch.services,
        &fetch.progress,
        Phase::Classifier,
        classifier,
        work,
    )
    .await
    {
        Ok(classification) => classification,
        Err(error) => {
            tracing::warn!(operation = %fetch.operation.full_name, %error, "the classifier failed; judged by status");
            return by_status(quotas);
        }
    };
    let asked = classification.retry_after_ms.map(|ms| Duration::from_millis(u64::from(ms))).or(retry_after);
    let quotas = classification.quota.map_or(quotas, |told| {
        let reset = told.reset_after_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        Quotas::of(Report { remaining: told.remaining, limit: told.limit, reset, ..Report::default() })
    });
    let outcome = match classification.verdict {
        Verdict::Success => Outcome::Success,
        Verdict::Transient => Outcome::Transient { retry_after: asked },
        Verdict::Throttled => Outcome::Throttled { retry_after: asked },
        Verdict::AuthExpired if renewable => Outcome::AuthExpired,
        Verdict::AuthExpired | Verdict::Rejected => Outcome::Rejected,
    };
    Judgement { outcome, quotas, breaker_failure: classification.breaker_failure, by_plugin: true }
}

pub(super) fn by_status(
    status: StatusCode,
    retry_after: Option<Duration>,
    quotas: &Quotas,
    renewable: bool,
) -> Outcome {
    let throttled = || Outcome::Throttled { retry_after: retry_after.or_else(|| quotas.renewed_in()) };
    match status.as_u16() {
        100..=399 => Outcome::Success,
        429 => throttled(),
        403 | 503 if quotas.is_spent() => throttled(),
        401 if renewable => Outcome::AuthExpired,
        408 => Outcome::Transient { retry_after },
        501 | 505 => Outcome::Rejected,
        500..=599 => Outcome::Transient { retry_after },
        _ => Outcome::Rejected,
    }
}

/// Judges an exchange that brought no answer.
pub(super) fn judge_error(error: &SendError) -> Outcome {
    match error.kind {
        SendErrorKind::Dns
        | SendErrorKind::Connect
        | SendErrorKind::Tls
        | SendErrorKind::Reset
        | SendErrorKind::Timeout(_) => Outcome::Transient { retry_after: None },
        SendErrorKind::Protocol => Outcome::ContractBroken,
        // The provider has nothing to do with these.
        SendErrorKind::CallerBody | SendErrorKind::CallerStalled | SendErrorKind::Egress => {
            Outcome::Cancelled
        }
    }
}

/// The kind of timeout, for its counter.
pub(super) fn timeout_kind(error: &SendError) -> Option<TimeoutKind> {
    match error.kind {
        SendErrorKind::Timeout(kind) => Some(kind),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, quotas: &Quotas, renewable: bool) -> Outcome {
        by_status(StatusCode::from_u16(status).unwrap(), None, quotas, renewable)
    }

    fn quota(remaining: u64) -> Quotas {
        let reset = Some(Duration::from_secs(9));
        Quotas::of(Report { remaining, reset, ..Report::default() })
    }

    #[test]
    fn statuses_are_judged_as_the_table_says() {
        let transient = Outcome::Transient { retry_after: None };
        for (status, outcome) in [
            (200, Outcome::Success),
            (302, Outcome::Success),
            (400, Outcome::Rejected),
            (401, Outcome::Rejected),
            (403, Outcome::Rejected),
            (404, Outcome::Rejected),
            (408, transient),
            (422, Outcome::Rejected),
            (429, Outcome::Throttled { retry_after: None }),
            (500, transient),
            (501, Outcome::Rejected),
            (502, transient),
            (505, Outcome::Rejected),
            (507, transient),
        ] {
            assert_eq!(judged(status, &Quotas::default(), false), outcome, "{status}");
        }
        assert_eq!(judged(401, &Quotas::default(), true), Outcome::AuthExpired);
    }

    #[test]
    fn a_403_or_503_is_throttled_only_with_a_spent_quota() {
        let held = Outcome::Throttled { retry_after: Some(Duration::from_secs(9)) };
        assert_eq!(judged(403, &quota(0), false), held);
        assert_eq!(judged(503, &quota(0), false), held);
        assert_eq!(judged(403, &quota(1), false), Outcome::Rejected);
        assert_eq!(judged(503, &quota(1), false), Outcome::Transient { retry_after: None });
    }
}
