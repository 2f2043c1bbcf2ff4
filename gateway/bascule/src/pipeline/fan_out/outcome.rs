//! What a branch came to, and the documents that are made of it.

use super::{
    super::{
        LiveOperation,
        decode::{DecodeError, decode},
    },
    body::{Room, Share, embedded, held},
    is_partial, is_private,
};
use crate::model::{Answer, BodyError, Cause, Code, Problem, Source, TimeoutKind};
use bascule_resilience::Deadline;
use bytes::Bytes;
use http::{
    StatusCode,
    header::{CONTENT_TYPE, SET_COOKIE},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// A branch that answered with a status below 400.
pub(super) struct Success {
    status: StatusCode,
    pub(super) source: Source,
    /// As JSON.
    body: Vec<u8>,
    /// The room that the body takes.
    _share: Share,
    /// Whether it is no provider's whole answer: a rung's, or a fan-out's that lacks something itself.
    pub(super) partial: bool,
    /// Whether it was meant for one caller.
    pub(super) private: bool,
}

/// A branch that did not.
pub(super) struct Missed {
    status: StatusCode,
    code: String,
    detail: String,
    pub(super) cause: Option<Cause>,
    pub(super) retry_after: Option<Duration>,
}

impl Success {
    /// Holds the answer's body, which may fail yet.
    ///
    /// # Errors
    /// [`Missed`] when the body breaks off, is not there in time, or does not fit.
    pub(super) async fn hold(
        answer: Answer,
        operation: &LiveOperation,
        room: &Arc<Room>,
        deadline: Deadline,
    ) -> Result<Self, Missed> {
        let Answer { status, mut headers, body, source, .. } = answer;
        let mut share = room.share();
        let holding = held(body, &mut share);
        let octets = match deadline.instant() {
            None => holding.await,
            Some(at) => timeout_at(Instant::from_std(at), holding)
                .await
                .unwrap_or(Err(BodyError::TimedOut(TimeoutKind::Whole))),
        };
        let mut octets = octets.map_err(|error| Missed::broken(&error))?;
        let coded = octets.len();
        decode(&mut headers, &mut octets, room.size()).map_err(|error| Missed::coded(&error))?;
        // What has been decoded is held too.
        let grown = octets.len().saturating_sub(coded);
        if !share.take(grown as u64) {
            return Err(Missed::broken(&BodyError::TooLarge(room.size())));
        }
        let told = matches!(source, Source::Upstream | Source::Coalesced | Source::Cache | Source::Plugin);
        Ok(Self {
            status,
            body: embedded(headers.get(CONTENT_TYPE), &octets),
            _share: share,
            partial: !told || is_partial(operation, &headers),
            private: headers.contains_key(SET_COOKIE) || is_private(operation, &headers),
            source,
        })
    }
}

impl Missed {
    /// A problem of the gateway's, or of a plugin.
    pub(super) fn refused(problem: &Problem, cause: Option<Cause>) -> Self {
        Self {
            status: problem.status,
            code: problem.name().to_owned(),
            detail: problem.detail.clone(),
            cause,
            retry_after: problem.retry_after,
        }
    }

    /// An answer from 400 on.
    pub(super) fn answered(status: StatusCode, failure: Option<&'static str>, cause: Option<Cause>) -> Self {
        let class = if status.is_server_error() { "upstream-5xx" } else { "upstream-4xx" };
        Self {
            status,
            code: failure.unwrap_or(class).to_owned(),
            detail: format!("answered {status}"),
            cause,
            retry_after: None,
        }
    }

    /// The time was over.
    pub(super) fn timed_out(kind: TimeoutKind) -> Self {
        let problem = Problem::new(Code::UpstreamTimeout, format!("the {kind} timeout passed"));
        Self::refused(&problem, Some(Cause::Timeout))
    }

    /// A bug, which the log tells more about.
    pub(super) fn internal() -> Self {
        let detail = "an internal error; the gateway's log has the details";
        Self::refused(&Problem::new(Code::Internal, detail), None)
    }

    fn broken(error: &BodyError) -> Self {
        let (detail, cause) = match error {
            BodyError::TimedOut(kind) => return Self::timed_out(*kind),
            BodyError::TooLarge(limit) => {
                (format!("the branches' bodies together are larger than {limit} octets"), None)
            }
            BodyError::Broken(_) => {
                ("the provider's answer was malformed or broke off".to_owned(), Some(Cause::Protocol))
            }
        };
        Self::refused(&Problem::new(Code::UpstreamProtocol, detail), cause)
    }

    fn coded(error: &DecodeError) -> Self {
        let cause = matches!(error, DecodeError::Broken(_)).then_some(Cause::Protocol);
        Self::refused(&Problem::new(Code::UpstreamProtocol, error.to_string()), cause)
    }
}

/// `{"results": […], "failures": […]}`. Bodies that are JSON stand there octet for octet.
pub(super) fn results(succeeded: &[(Arc<str>, Success)], missed: &[(Arc<str>, Missed)]) -> Bytes {
    let bodies: usize = succeeded.iter().map(|(_, success)| success.body.len()).sum();
    let mut out = Vec::with_capacity(bodies + 256 * (succeeded.len() + missed.len()));
    out.extend_from_slice(b"{\"results\":[");
    for (index, (name, success)) in succeeded.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let (name, source) = (Value::from(&**name), Value::from(success.source.to_string()));
        let status = success.status.as_u16();
        let head = format!("{{\"operation\":{name},\"status\":{status},\"source\":{source},\"body\":");
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&success.body);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"failures\":");
    out.extend_from_slice(failures(missed).to_string().as_bytes());
    out.push(b'}');
    out.into()
}

/// The list of failures, in the answer and in the problem alike.
pub(super) fn failures(missed: &[(Arc<str>, Missed)]) -> Value {
    let one = |(name, miss): &(Arc<str>, Missed)| json!({ "operation": &**name, "status": miss.status.as_u16(), "code": miss.code, "detail": miss.detail });
    missed.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn success(body: &str, source: Source) -> Success {
        Success {
            status: StatusCode::OK,
            source,
            body: body.into(),
            _share: Room::new(0).share(),
            partial: false,
            private: false,
        }
    }

    #[test]
    fn the_document_has_results_and_failures_in_their_order() {
        let succeeded = [
            ("a.x".into(), success("{\"n\":1.50}", Source::Upstream)),
            ("b.y".into(), success("null", Source::Stale)),
        ];
        let missed = [("c.z".into(), Missed::timed_out(TimeoutKind::Whole))];
        assert_eq!(
            results(&succeeded, &missed),
            r#"{"results":[{"operation":"a.x","status":200,"source":"upstream","body":{"n":1.50}},{"operation":"b.y","status":200,"source":"stale","body":null}],"failures":[{"operation":"c.z","status":504,"code":"upstream-timeout","detail":"the whole timeout passed"}]}"#
        );
        assert_eq!(results(&[], &[]), r#"{"results":[],"failures":[]}"#);
    }

    #[test]
    fn an_answer_without_a_failures_name_goes_by_its_class() {
        assert_eq!(Missed::answered(StatusCode::NOT_FOUND, None, None).code, "upstream-4xx");
        assert_eq!(Missed::answered(StatusCode::BAD_GATEWAY, None, None).code, "upstream-5xx");
        assert_eq!(
            Missed::answered(StatusCode::TOO_MANY_REQUESTS, Some("upstream-429"), None).code,
            "upstream-429"
        );
    }
}
