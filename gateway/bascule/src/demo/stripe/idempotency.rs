//! Idempotency keys: the first request of a key is done, the same request again gets its answer, another one 400.
//!
//! Bounded: the oldest keys are forgotten first (Stripe keeps them for a day).

use aws_lc_rs::digest::{Context, SHA256};
use http::StatusCode;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};

/// Keys that are kept.
const KEYS_MAX: usize = 10_000;

/// SHA-256 over path and body.
pub(super) type Fingerprint = Vec<u8>;

/// What is known of a key.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    New,
    /// The same request was answered so.
    Replay(StatusCode, Value),
    /// It was used for another request.
    Different,
}

/// The keys seen.
#[derive(Default)]
pub(super) struct Keys {
    answers: HashMap<String, (Fingerprint, StatusCode, Value)>,
    oldest_first: VecDeque<String>,
}

impl Keys {
    /// What makes two requests the same.
    pub(super) fn fingerprint(path: &str, body: &[u8]) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        context.update(path.as_bytes());
        // A path holds no NUL, so path and body cannot flow into each other.
        context.update(&[0]);
        context.update(body);
        context.finish().as_ref().to_vec()
    }

    /// What is known of this key, for this request.
    pub(super) fn look_up(&self, key: &str, fingerprint: &Fingerprint) -> Verdict {
        match self.answers.get(key) {
            None => Verdict::New,
            Some((known, status, answer)) if known == fingerprint => Verdict::Replay(*status, answer.clone()),
            Some(_) => Verdict::Different,
        }
    }

    /// Keeps the answer to the first request of a key.
    pub(super) fn record(&mut self, key: &str, fingerprint: Fingerprint, status: StatusCode, answer: Value) {
        if self.oldest_first.len() >= KEYS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.oldest_first.push_back(key.to_owned());
        self.answers.insert(key.to_owned(), (fingerprint, status, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_belongs_to_one_request() {
        let mut keys = Keys::default();
        let first = Keys::fingerprint("/v1/charges", b"amount=1");
        assert_eq!(keys.look_up("k", &first), Verdict::New);
        keys.record("k", first.clone(), StatusCode::OK, json!({ "id": "ch_1" }));
        assert_eq!(keys.look_up("k", &first), Verdict::Replay(StatusCode::OK, json!({ "id": "ch_1" })));
        assert_eq!(keys.look_up("k", &Keys::fingerprint("/v1/charges", b"amount=2")), Verdict::Different);
        assert_eq!(keys.look_up("k", &Keys::fingerprint("/v1/refunds", b"amount=1")), Verdict::Different);
    }

    #[test]
    fn the_oldest_keys_are_forgotten_first() {
        let mut keys = Keys::default();
        let fingerprint = Keys::fingerprint("/", b"");
        for number in 0..=KEYS_MAX {
            keys.record(&number.to_string(), fingerprint.clone(), StatusCode::OK, Value::Null);
        }
        assert_eq!(keys.answers.len(), KEYS_MAX);
        assert_eq!(keys.look_up("0", &fingerprint), Verdict::New);
        assert_ne!(keys.look_up("1", &fingerprint), Verdict::New);
    }
}
