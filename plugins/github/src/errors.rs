//! From GitHub's `{"message": …}` to faults with codes.

use bascule_plugin::{Fault, FaultKind, HeaderLines, ResponseHead};
use serde::Deserialize;
use serde_json::Value;

use crate::limits;

#[derive(Deserialize, Default)]
struct Problem {
    message: Option<String>,
    errors: Option<Value>,
}

/// The fault for an answer that was no success, at a time in seconds since 1970.
pub(crate) fn fault(operation: &str, head: &ResponseHead, body: &[u8], now: i64) -> Fault {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let (kind, code) = kind_and_code(operation, head, now);
    let message = problem.message.unwrap_or_else(|| format!("github answered {}", head.status));
    let mut fault = Fault::new(kind, code, message);
    if let Some(wait) = limits::throttle(head, now).and_then(|throttle| throttle.wait) {
        fault = fault.with_retry_after(wait);
    }
    match details(head, problem.errors) {
        Some(details) => fault.with_details(details),
        None => fault,
    }
}

fn kind_and_code(operation: &str, head: &ResponseHead, now: i64) -> (FaultKind, &'static str) {
    match head.status {
        _ if limits::throttle(head, now).is_some() => (FaultKind::RateLimited, "rate-limited"),
        400 => (FaultKind::InvalidInput, "bad-request"),
        401 => (FaultKind::Unauthorized, "bad-credentials"),
        403 | 451 => (FaultKind::Forbidden, "forbidden"),
        404 => match operation {
            "get_user" => (FaultKind::NotFound, "user-not-found"),
            "create_issue" => (FaultKind::NotFound, "repository-not-found"),
            _ => (FaultKind::NotFound, "not-found"),
        },
        409 => (FaultKind::Conflict, "conflict"),
        410 if operation == "create_issue" => (FaultKind::NotFound, "issues-disabled"),
        410 => (FaultKind::NotFound, "gone"),
        422 => (FaultKind::InvalidInput, "validation-failed"),
        status if (400..500).contains(&status) => (FaultKind::UpstreamFailed, "rejected"),
        _ => (FaultKind::UpstreamFailed, "upstream-failed"),
    }
}

/// What a caller, or GitHub's support, can make use of.
fn details(head: &ResponseHead, errors: Option<Value>) -> Option<String> {
    let mut details = serde_json::Map::new();
    if let Some(errors) = errors.filter(Value::is_array) {
        details.insert("errors".to_owned(), errors);
    }
    if let Some(id) = head.text("x-github-request-id") {
        details.insert("github_request_id".to_owned(), id.into());
    }
    if details.is_empty() { None } else { serde_json::to_string(&details).ok() }
}

#[cfg(test)]
mod tests {
    use bascule_plugin::Header;

    use super::*;

    fn mapped(operation: &str, status: u16, headers: Vec<Header>, body: &str) -> Fault {
        fault(operation, &ResponseHead { status, headers }, body.as_bytes(), 1_000)
    }

    #[test]
    fn what_was_not_found_depends_on_the_operation() {
        for (operation, code) in [
            ("get_user", "user-not-found"),
            ("create_issue", "repository-not-found"),
            ("list_repos", "not-found"),
        ] {
            let fault = mapped(operation, 404, vec![], r#"{"message":"Not Found"}"#);
            assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::NotFound, code));
            assert_eq!(fault.message, "Not Found");
        }
    }

    #[test]
    fn a_failed_validation_says_what_failed() {
        let body = r#"{"message":"Validation Failed","errors":[{"field":"title"}]}"#;
        let fault = mapped("create_issue", 422, vec![Header::new("x-github-request-id", "1:2")], body);
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::InvalidInput, "validation-failed"));
        let expected = r#"{"errors":[{"field":"title"}],"github_request_id":"1:2"}"#;
        assert_eq!(fault.details.as_deref(), Some(expected));
    }

    #[test]
    fn a_spent_quota_is_not_forbidden() {
        let headers =
            vec![Header::new("x-ratelimit-remaining", "0"), Header::new("x-ratelimit-reset", "1030")];
        let fault = mapped("get_user", 403, headers, r#"{"message":"API rate limit exceeded"}"#);
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::RateLimited, "rate-limited"));
        assert_eq!(fault.retry_after_ms, Some(30_000));
        assert_eq!(mapped("get_user", 403, vec![], "{}").code, "forbidden");
    }

    #[test]
    fn a_body_that_is_no_json_leaves_the_status_to_speak() {
        let fault = mapped("get_user", 502, vec![], "<html>");
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::UpstreamFailed, "upstream-failed"));
        assert_eq!(fault.message, "github answered 502");
    }
}
