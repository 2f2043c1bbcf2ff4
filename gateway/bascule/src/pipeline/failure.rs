//! Why a stage ended a call.

use super::{Reply, reply::SharedReply};
use crate::{
    model::{Cause, Code, ParameterError, Problem, Source, TimeoutKind},
    upstream::{SendError, SendErrorKind},
};
use bascule_plugin_host as plugin;
use bascule_resilience::{Limited, LimitedBy, Overloaded, Refused};
use std::time::Duration;

/// How long a caller should wait when a queue is full: about one typical call.
const OVERLOADED_RETRY: Duration = Duration::from_secs(1);

/// The end of a call without a success of the provider's.
#[derive(Debug)]
pub struct Failure<A = Reply> {
    /// What the caller gets when neither the ladder nor a mapping has anything better.
    pub problem: Problem,
    /// The ladder's word for it; none where no fallback applies.
    pub cause: Option<Cause>,
    /// What the error mapper is told.
    pub mapper_cause: plugin::Cause,
    /// The name in metrics: a bounded vocabulary.
    pub error_type: &'static str,
    /// The provider's answer, when there was one: it passes through unless something maps it.
    pub answer: Option<Box<A>>,
    /// What the request mapper handed on, for the error mapper.
    pub carry: Vec<u8>,
}

impl Failure {
    /// A failure that only concerns the caller or Bascule itself: no ladder, no mapper.
    pub fn plain(problem: Problem) -> Box<Self> {
        let error_type = problem.code.as_str();
        Box::new(Self {
            problem,
            cause: None,
            mapper_cause: plugin::Cause::Protocol,
            error_type,
            answer: None,
            carry: Vec::new(),
        })
    }

    /// Lets the ladder answer for it.
    pub(super) fn because(mut self: Box<Self>, cause: Cause) -> Box<Self> {
        self.cause = Some(cause);
        self
    }

    fn caused(problem: Problem, cause: Cause, mapper_cause: plugin::Cause) -> Box<Self> {
        let error_type = problem.code.as_str();
        Box::new(Self {
            problem,
            cause: Some(cause),
            mapper_cause,
            error_type,
            answer: None,
            carry: Vec::new(),
        })
    }

    pub(super) fn parameters(errors: &[ParameterError]) -> Box<Self> {
        Self::plain(Problem::invalid_parameters(errors))
    }

    pub(super) fn circuit_open(refused: &Refused) -> Box<Self> {
        let detail = "the provider has been failing; calls are refused until a probe succeeds";
        let problem = Problem::new(Code::CircuitOpen, detail).retry_after(refused.retry_after);
        Self::caused(problem, Cause::CircuitOpen, plugin::Cause::CircuitOpen)
    }

    pub(super) fn limited(limited: &Limited) -> Box<Self> {
        let (detail, cause) = match limited.by {
            LimitedBy::Budget => ("the integration's request budget is spent", Cause::RateLimited),
            LimitedBy::Hold | LimitedBy::Quota => {
                ("the provider's quota is spent; calls are held until it is renewed", Cause::Throttled)
            }
            LimitedBy::Never => {
                ("the call costs more than the request budget ever holds", Cause::RateLimited)
            }
        };
        let mut problem = Problem::new(Code::RateLimited, detail);
        if limited.by != LimitedBy::Never {
            problem = problem.retry_after(limited.retry_after);
        }
        Self::caused(problem, cause, plugin::Cause::RateLimited)
    }

    pub(super) fn overloaded(overloaded: &Overloaded) -> Box<Self> {
        let (detail, retry_after) = match overloaded {
            Overloaded::Full => {
                ("too many calls of this integration are in flight and waiting", OVERLOADED_RETRY)
            }
            Overloaded::Deadline => ("the call's time passed while it waited for a place", OVERLOADED_RETRY),
            Overloaded::Shed { expected_wait } => (
                "too many calls of this integration are in flight for this one to be answered in its time",
                OVERLOADED_RETRY.max(*expected_wait),
            ),
            Overloaded::Displaced => {
                ("a call of higher priority took this one's place among those waiting", OVERLOADED_RETRY)
            }
        };
        let problem = Problem::new(Code::Overloaded, detail).retry_after(retry_after);
        Self::caused(problem, Cause::Overloaded, plugin::Cause::Overloaded)
    }

    pub(super) fn no_token() -> Box<Self> {
        let detail = "no token could be had; nothing was sent to the provider";
        Self::no_credentials(Problem::new(Code::UpstreamAuth, detail))
    }

    /// The same with a word of the token source's own.
    pub(super) fn no_credentials(problem: Problem) -> Box<Self> {
        Self::caused(problem, Cause::Auth, plugin::Cause::Auth)
    }

    pub(super) fn timeout(kind: TimeoutKind) -> Box<Self> {
        let problem = Problem::new(Code::UpstreamTimeout, format!("the {kind} timeout passed"));
        Self::caused(problem, Cause::Timeout, plugin::Cause::Timeout)
    }

    /// A fan-out without any success; `cause` is one of its branches'.
    pub(super) fn no_data(problem: Problem, cause: Option<Cause>) -> Box<Self> {
        let mut failure = Self::plain(problem);
        failure.cause = cause;
        failure
    }

    /// A failed exchange. What the caller reads names no address; the log has the details.
    pub(super) fn send(error: &SendError) -> Box<Self> {
        let (code, detail, mapper_cause) = match error.kind {
            SendErrorKind::Timeout(kind) => return Self::timeout(kind),
            SendErrorKind::Dns => {
                (Code::UpstreamUnreachable, "the provider's name did not resolve", plugin::Cause::Dns)
            }
            SendErrorKind::Connect => {
                (Code::UpstreamUnreachable, "no connection to the provider", plugin::Cause::Connect)
            }
            SendErrorKind::Tls => {
                (Code::UpstreamUnreachable, "no TLS session with the provider", plugin::Cause::Tls)
            }
            SendErrorKind::Reset => (
                Code::UpstreamUnreachable,
                "the provider closed the connection before it answered",
                plugin::Cause::Reset,
            ),
            SendErrorKind::Protocol => (
                Code::UpstreamProtocol,
                "the provider's answer was malformed or broke off",
                plugin::Cause::Protocol,
            ),
            SendErrorKind::Egress => {
                let detail = "the provider's name leads to an address that is not allowed; \
                              `allow_private = true` permits private networks";
                return Self::plain(Problem::new(Code::EgressDenied, detail));
            }
            SendErrorKind::CallerBody => {
                return Self::plain(Problem::new(Code::InvalidRequest, "the request body broke off"));
            }
            SendErrorKind::CallerStalled => {
                return Self::plain(Problem::new(Code::RequestTimeout, "the request body stalled"));
            }
        };
        let problem = Problem::new(code, detail);
        match error.kind.cause() {
            Some(cause) => Self::caused(problem, cause, mapper_cause),
            None => Self::plain(problem),
        }
    }

    /// An answer of the provider's that is no success.
    pub(super) fn answered(answer: Reply, cause: Option<Cause>) -> Box<Self> {
        let detail = format!("the provider answered {}", answer.status);
        let error_type = match cause {
            Some(Cause::Throttled) => "upstream-429",
            Some(Cause::Auth) => "upstream-401",
            _ if answer.status.is_server_error() => "upstream-5xx",
            _ => "upstream-4xx",
        };
        // Never shown as it stands: the answer itself passes through, or something maps it.
        let problem = Problem::new(Code::UpstreamProtocol, detail).status(answer.status);
        Box::new(Self {
            problem,
            cause,
            mapper_cause: plugin::Cause::Response,
            error_type,
            answer: Some(Box::new(answer)),
            carry: Vec::new(),
        })
    }

    /// The failure for everybody who waits for the same fetch; back again when the answer's body can
    /// be had only once.
    pub(super) fn into_shared(mut self: Box<Self>) -> Result<Failure<SharedReply>, Box<Self>> {
        let answer = match self.answer.take().map(|answer| answer.into_shared(false)) {
            None => None,
            Some(Ok(shared)) => Some(Box::new(shared)),
            Some(Err(answer)) => {
                self.answer = Some(answer);
                return Err(self);
            }
        };
        let Failure { problem, cause, mapper_cause, error_type, carry, .. } = *self;
        Ok(Failure { problem, cause, mapper_cause, error_type, answer, carry })
    }
}

impl Failure<SharedReply> {
    /// One waiter's copy.
    pub(super) fn copy(&self, source: &Source) -> Box<Failure> {
        Box::new(Failure {
            problem: self.problem.clone(),
            cause: self.cause,
            mapper_cause: self.mapper_cause,
            error_type: self.error_type,
            answer: self.answer.as_ref().map(|answer| Box::new(answer.copy(source))),
            carry: self.carry.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_overload_is_a_503_that_the_ladder_may_answer() {
        let shed = Overloaded::Shed { expected_wait: Duration::from_secs(7) };
        for (overloaded, seconds) in
            [(Overloaded::Full, 1), (Overloaded::Deadline, 1), (shed, 7), (Overloaded::Displaced, 1)]
        {
            let failure = Failure::<Reply>::overloaded(&overloaded);
            assert_eq!(failure.cause, Some(Cause::Overloaded));
            assert_eq!(failure.problem.code, Code::Overloaded);
            assert_eq!(failure.problem.retry_after, Some(Duration::from_secs(seconds)), "{overloaded}");
        }
    }
}
