//! The provider of an exchange, for the side requests that a plugin sends by itself: its recorded answers, in order.
//!
//! What was asked joins what the step answered, secrets put in, so that an exchange holds the requests too. When the
//! answers are used up, there is no connection.

use std::collections::VecDeque;
use std::future::ready;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use super::answers;
use super::exchange::Response;
use super::octets::Octets;
use crate::side::{SideError, SideFuture, SideRequest, SideRequests, SideResponse};

/// One recorded answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recorded {
    response: Response,
    #[serde(default)]
    body: Octets,
}

/// Answers side requests, and remembers them.
pub(super) struct Provider(Mutex<Left>);

struct Left {
    answers: VecDeque<Recorded>,
    requests: Vec<Value>,
}

impl Provider {
    pub(super) fn new(answers: &[Recorded]) -> Self {
        let answers = answers.iter().cloned().collect();
        Self(Mutex::new(Left { answers, requests: Vec::new() }))
    }

    /// What was asked since the last time that this was.
    pub(super) fn take_requests(&self) -> Vec<Value> {
        std::mem::take(&mut self.0.lock().requests)
    }
}

impl SideRequests for Provider {
    fn send(&self, request: SideRequest) -> SideFuture<'_> {
        let mut left = self.0.lock();
        left.requests.push(answers::side_request(&request));
        let answer = left.answers.pop_front().ok_or(SideError::Connect);
        let answer = answer.and_then(|Recorded { response, body }| {
            let fits = body.0.len() as u64 <= request.response_bytes_max;
            let answer = SideResponse { head: response.head(), body: body.0.into() };
            fits.then_some(answer).ok_or(SideError::TooLarge)
        });
        Box::pin(ready(answer))
    }
}
