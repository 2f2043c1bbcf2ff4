//! What the end of a delivery means for its entry. Plain functions of what happened: nothing here waits or writes.

use crate::{
    model::{Answer, Cause, Problem},
    pipeline::{Ended, retry_after},
};
use bascule_resilience::RetryPolicy;
use http::StatusCode;
use std::time::{Duration, SystemTime};

/// Wait after the first failure; it doubles from one to the next.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest wait of our own.
const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);
/// Longest wait that a provider may ask for.
const ASKED_MAX: Duration = Duration::from_secs(3600);
/// Wait after a refusal that does not say for how long.
const REFUSED: Duration = Duration::from_secs(1);

/// What becomes of the entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Its answer is final.
    Final,
    /// Trying again would do harm or no good.
    Dead(String),
    /// It failed for now; the provider may have said for how long.
    Later(String, Option<Duration>),
    /// It was not tried: a circuit or a limit refused it, for so long.
    NotTried(Duration),
}

/// Judges the end of a call that made so many attempts.
pub(super) fn judge(ended: &Ended, attempts: u32, now: SystemTime) -> Judged {
    match (&ended.result, ended.cause) {
        (Ok(_), None) => Judged::Final,
        (Ok(answer), Some(_)) => {
            Judged::Later(failed(answer), retry_after(&answer.headers, now).map(|span| span.min(ASKED_MAX)))
        }
        (Err(problem), Some(cause)) if attempts == 0 && refused(cause) => {
            Judged::NotTried(problem.retry_after.unwrap_or(REFUSED).min(BACKOFF_MAX))
        }
        (Err(problem), Some(_)) => later(problem),
        (Err(problem), None) if problem.member("committed").is_some() => Judged::Dead(said(problem)),
        // The provider refused it; what a mapping calls that changes nothing.
        (Err(problem), None) if problem.member("upstream_status").is_some() => Judged::Final,
        (Err(problem), None) if is_final(problem.status) => Judged::Final,
        (Err(problem), None) => later(problem),
    }
}

/// Endings without any exchange, which say nothing about the call.
fn refused(cause: Cause) -> bool {
    matches!(cause, Cause::CircuitOpen | Cause::Throttled | Cause::RateLimited | Cause::Overloaded)
}

/// A refusal of the call itself. The others of 4xx say "not now".
fn is_final(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

fn later(problem: &Problem) -> Judged {
    Judged::Later(said(problem), problem.retry_after.map(|span| span.min(ASKED_MAX)))
}

fn said(problem: &Problem) -> String {
    format!("{}: {}", problem.code.as_str(), problem.detail)
}

fn failed(answer: &Answer) -> String {
    format!("the provider answered {}", answer.status)
}

/// The wait after so many tries.
pub(super) fn backoff(tries: u32, unit: f64) -> Duration {
    let policy = RetryPolicy { base_delay: BACKOFF_MIN, max_delay: BACKOFF_MAX, ..RetryPolicy::default() };
    policy.delay(tries, unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Code, Payload, Source};
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    fn answered(status: u16, cause: Option<Cause>) -> Ended {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static("7200"))]),
            body: Payload::Full(Bytes::new()),
            source: Source::Upstream,
            cache: None,
            age: None,
        };
        Ended { result: Ok(answer), failure: None, cause, rung: None }
    }

    fn refused(problem: Problem, cause: Option<Cause>) -> Ended {
        Ended { result: Err(Box::new(problem)), failure: None, cause, rung: None }
    }

    fn judged(ended: &Ended, attempts: u32) -> Judged {
        judge(ended, attempts, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn successes_and_refusals_of_the_call_are_final() {
        assert_eq!(judged(&answered(201, None), 1), Judged::Final);
        assert_eq!(judged(&answered(404, None), 1), Judged::Final);
        let invalid = refused(Problem::new(Code::InvalidParameters, "x"), None);
        assert_eq!(judged(&invalid, 0), Judged::Final);
        let mapped = Problem::new(Code::PluginFailed, "x").with("upstream_status", 402);
        assert_eq!(judged(&refused(mapped, None), 1), Judged::Final, "whatever it was mapped to");
    }

    #[test]
    fn what_may_pass_is_tried_later_no_sooner_than_the_provider_says() {
        let said = "the provider answered 503 Service Unavailable".to_owned();
        let hour = Duration::from_secs(3600);
        assert_eq!(judged(&answered(503, Some(Cause::Transient)), 3), Judged::Later(said, Some(hour)));
        let timeout = refused(Problem::new(Code::UpstreamTimeout, "x"), Some(Cause::Timeout));
        assert_eq!(judged(&timeout, 1), Judged::Later("upstream-timeout: x".into(), None));
        let signing = refused(Problem::new(Code::SigningFailed, "x"), None);
        assert_eq!(judged(&signing, 0), Judged::Later("signing-failed: x".into(), None));
        let busy = Problem::new(Code::PluginRejected, "x").status(StatusCode::TOO_MANY_REQUESTS);
        assert!(matches!(judged(&refused(busy, None), 0), Judged::Later(..)));
    }

    #[test]
    fn what_was_not_tried_is_not_counted() {
        let open = || Problem::new(Code::CircuitOpen, "x").retry_after(Duration::from_secs(9));
        let ended = refused(open(), Some(Cause::CircuitOpen));
        assert_eq!(judged(&ended, 0), Judged::NotTried(Duration::from_secs(9)));
        assert!(matches!(judged(&ended, 1), Judged::Later(..)), "an attempt was made before it opened");
    }

    #[test]
    fn what_has_happened_is_not_done_again() {
        let mapped = Problem::new(Code::PluginFailed, "x").with("committed", true);
        assert_eq!(judged(&refused(mapped, None), 1), Judged::Dead("plugin-failed: x".into()));
    }

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        // 0.5 is the middle of the jitter.
        let waits: Vec<u64> = [1, 2, 3, 20].map(|tries| backoff(tries, 0.5).as_secs()).to_vec();
        assert_eq!(waits, [1, 2, 4, 900]);
        assert!(backoff(1, 0.0) < backoff(1, 0.99));
    }
}
