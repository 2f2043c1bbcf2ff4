//! The stand-in of GitHub's REST API: users, repositories, issues, and a quota that is really counted.
//!
//! Answers have the members that GitHub's documentation shows (the ones that clients use), errors its
//! `{"message", "documentation_url"}`. `GET /rate_limit` costs nothing, as at GitHub.
//!
//! | switch | does |
//! | --- | --- |
//! | `remaining` | sets what is left of the quota until it is renewed |

mod data;
mod quota;

use super::{
    clock::Clock,
    standin::{Provider, number},
    web::{self, Answer},
};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use parking_lot::Mutex;
use quota::Quota;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Behaves as `api.github.com`.
pub(crate) struct GitHub {
    token: String,
    clock: Clock,
    quota: Mutex<Quota>,
    issues: AtomicU64,
}

impl GitHub {
    /// A GitHub that accepts this token and has a full quota of 5000 requests an hour.
    pub(crate) fn new(token: &str, clock: Clock) -> Self {
        let quota = Mutex::new(Quota::full(clock.epoch()));
        Self { token: token.to_owned(), clock, quota, issues: AtomicU64::new(0) }
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let segments = web::segments(head.uri.path());
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (&head.method, segments.as_slice()) {
            (&Method::GET, ["users", name]) => match data::user(name) {
                Some(user) => web::json_answer(StatusCode::OK, &user),
                None => error(StatusCode::NOT_FOUND, "Not Found"),
            },
            (&Method::GET, ["user", "repos"]) => web::json_answer(StatusCode::OK, &data::repositories()),
            (&Method::POST, ["repos", owner, repo, "issues"]) => {
                if !data::has_repository(owner, repo) {
                    return error(StatusCode::NOT_FOUND, "Not Found");
                }
                match web::read(body).await {
                    Ok(body) => self.open_issue(owner, repo, &body),
                    Err(answer) => answer,
                }
            }
            _ => error(StatusCode::NOT_FOUND, "Not Found"),
        }
    }

    fn open_issue(&self, owner: &str, repo: &str, body: &[u8]) -> Answer {
        let Ok(issue) = serde_json::from_slice::<Map<String, Value>>(body) else {
            return error(StatusCode::BAD_REQUEST, "Problems parsing JSON");
        };
        match issue.get("title").and_then(Value::as_str) {
            Some(title) if !title.trim().is_empty() => {
                let number = self.issues.fetch_add(1, Ordering::Relaxed) + 1;
                web::json_answer(StatusCode::CREATED, &data::issue(owner, repo, number, title, &issue))
            }
            _ => web::json_answer(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({
                    "message": "Validation Failed",
                    "errors": [{ "resource": "Issue", "code": "missing_field", "field": "title" }],
                    "documentation_url": "https://docs.github.com/rest/issues/issues#create-an-issue",
                }),
            ),
        }
    }
}

impl Provider for GitHub {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if web::token(request.headers()) != Some(&self.token) {
            return error(StatusCode::UNAUTHORIZED, "Bad credentials");
        }
        let now = self.clock.epoch();
        if request.method() == Method::GET && request.uri().path() == "/rate_limit" {
            let mut quota = self.quota.lock();
            quota.renew(now);
            return quota.stamp(web::json_answer(StatusCode::OK, &quota.report()));
        }
        let (allowed, seen) = {
            let mut quota = self.quota.lock();
            quota.renew(now);
            (quota.spend(), quota.clone())
        };
        let answer = if allowed {
            self.route(request).await
        } else {
            error(StatusCode::FORBIDDEN, "API rate limit exceeded for user ID 1.")
        };
        seen.stamp(answer)
    }

    fn trouble(&self, status: StatusCode) -> Answer {
        error(status, "Server Error")
    }

    fn switch(&self, name: &str, value: &Value) -> bool {
        match (name, number(value)) {
            ("remaining", Some(remaining)) => {
                self.quota.lock().set_remaining(remaining);
                true
            }
            _ => false,
        }
    }

    fn count(&self, counters: &mut Map<String, Value>) {
        counters.insert("remaining".to_owned(), self.quota.lock().remaining().into());
        counters.insert("issues".to_owned(), self.issues.load(Ordering::Relaxed).into());
    }
}

fn error(status: StatusCode, message: &str) -> Answer {
    let body = json!({
        "message": message,
        "documentation_url": "https://docs.github.com/rest",
        "status": status.as_u16().to_string(),
    });
    web::json_answer(status, &body)
}

#[cfg(test)]
mod tests;
