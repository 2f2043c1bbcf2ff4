//! The stand-in of Stripe: charges, customers, refunds, and idempotency keys that are really kept.
//!
//! Requests are forms, answers JSON, errors `{"error": {type, code, message, param}}`, as its documentation shows.
//!
//! | switch | does |
//! | --- | --- |
//! | `lose_answers` | the next n new charges are made and kept, but the caller gets 500 |
//!
//! `lose_answers` plays the failure that idempotency keys are for: the effect took place and the answer did not
//! arrive. The recorded answer stays the good one, so the same key gets it on the next attempt.

mod idempotency;
mod ledger;

use super::{
    clock::Clock,
    standin::{Provider, number, take_one},
    web::{self, Answer},
};
use http::{Method, Request, StatusCode, request::Parts};
use hyper::body::Incoming;
use idempotency::{Keys, Verdict};
use ledger::{Ledger, Refusal};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Stripe refuses longer keys.
const KEY_MAX_BYTES: usize = 255;

/// Behaves as `api.stripe.com`.
pub(crate) struct Stripe {
    key: String,
    clock: Clock,
    books: Mutex<Books>,
    lose_answers: AtomicU32,
    replays: AtomicU64,
}

/// What one lock keeps together: an answer is recorded in the same moment as its effect.
#[derive(Default)]
struct Books {
    ledger: Ledger,
    keys: Keys,
}

impl Stripe {
    /// A Stripe that accepts this secret key.
    pub(crate) fn new(key: &str, clock: Clock) -> Self {
        Self {
            key: key.to_owned(),
            clock,
            books: Mutex::new(Books::default()),
            lose_answers: AtomicU32::new(0),
            replays: AtomicU64::new(0),
        }
    }

    /// Does what a POST asks for, unless its key says that it was done before.
    fn post(&self, head: &Parts, body: &[u8]) -> Answer {
        let key = head.headers.get("idempotency-key").and_then(|key| key.to_str().ok());
        if key.is_some_and(|key| key.len() > KEY_MAX_BYTES) {
            return refuse(&Refusal::request(
                "Keys for idempotent requests can be up to 255 characters long.",
            ));
        }
        let Some(key) = key else {
            let (status, answer) = self.perform(&mut self.books.lock().ledger, head, body);
            return self.finish(head, status, &answer);
        };
        let fingerprint = Keys::fingerprint(head.uri.path(), body);
        let mut books = self.books.lock();
        match books.keys.look_up(key, &fingerprint) {
            Verdict::Replay(status, answer) => {
                self.replays.fetch_add(1, Ordering::Relaxed);
                let mut answer = web::json_answer(status, &answer);
                web::set(&mut answer, "idempotent-replayed", "true");
                web::set(&mut answer, "idempotency-key", key);
                answer
            }
            Verdict::Different => refuse(&Refusal::idempotency(key)),
            Verdict::New => {
                let (status, answer) = self.perform(&mut books.ledger, head, body);
                // Requests that fail validation are not recorded, so that they can be corrected.
                if status.is_success() {
                    books.keys.record(key, fingerprint, status, answer.clone());
                }
                drop(books);
                self.finish(head, status, &answer)
            }
        }
    }

    fn perform(&self, ledger: &mut Ledger, head: &Parts, body: &[u8]) -> (StatusCode, Value) {
        let form = web::entries(body);
        let now = self.clock.epoch();
        let result = match head.uri.path() {
            "/v1/charges" => ledger.charge(&form, now),
            "/v1/customers" => ledger.customer(&form, now),
            "/v1/refunds" => ledger.refund(&form, now),
            path => Err(Refusal::unknown_url(&head.method, path)),
        };
        match result {
            Ok(answer) => (StatusCode::OK, answer),
            Err(refusal) => (refusal.status(), refusal.body()),
        }
    }

    /// The answer to something just done, or 500 when it is to get lost.
    fn finish(&self, head: &Parts, status: StatusCode, answer: &Value) -> Answer {
        if status.is_success() && head.uri.path() == "/v1/charges" && take_one(&self.lose_answers) {
            return self.trouble(StatusCode::INTERNAL_SERVER_ERROR);
        }
        web::json_answer(status, answer)
    }

    fn get(&self, head: &Parts) -> Answer {
        let segments = web::segments(head.uri.path());
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let query = web::entries(head.uri.query().unwrap_or_default().as_bytes());
        let books = self.books.lock();
        let found = match segments.as_slice() {
            ["v1", "charges"] => books.ledger.charges(&query),
            ["v1", "charges", id] => books.ledger.find_charge(id),
            ["v1", "customers", id] => books.ledger.find_customer(id),
            _ => Err(Refusal::unknown_url(&head.method, head.uri.path())),
        };
        match found {
            Ok(answer) => web::json_answer(StatusCode::OK, &answer),
            Err(refusal) => refuse(&refusal),
        }
    }
}

impl Provider for Stripe {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        match web::token(&head.headers) {
            Some(key) if key == self.key => {}
            Some(_) => return refuse(&Refusal::bad_key("Invalid API Key provided.")),
            None => return refuse(&Refusal::bad_key("You did not provide an API key.")),
        }
        match head.method {
            Method::GET => self.get(&head),
            Method::POST => match web::read(body).await {
                Ok(body) => self.post(&head, &body),
                Err(answer) => answer,
            },
            _ => refuse(&Refusal::unknown_url(&head.method, head.uri.path())),
        }
    }

    fn trouble(&self, status: StatusCode) -> Answer {
        let message = "An unknown error occurred";
        web::json_answer(status, &json!({ "error": { "type": "api_error", "message": message } }))
    }

    fn switch(&self, name: &str, value: &Value) -> bool {
        match (name, number(value)) {
            ("lose_answers", Some(times)) => {
                self.lose_answers.store(times, Ordering::Release);
                true
            }
            _ => false,
        }
    }

    fn count(&self, counters: &mut Map<String, Value>) {
        counters.insert("charges".to_owned(), self.books.lock().ledger.charges_made().into());
        counters.insert("replays".to_owned(), self.replays.load(Ordering::Relaxed).into());
        counters.insert("lose_answers".to_owned(), self.lose_answers.load(Ordering::Acquire).into());
    }
}

fn refuse(refusal: &Refusal) -> Answer {
    web::json_answer(refusal.status(), &refusal.body())
}

#[cfg(test)]
mod tests;
