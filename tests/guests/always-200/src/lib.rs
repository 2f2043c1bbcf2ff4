//! A provider that answers every request with status 200 and says in the document whether it worked.
//!
//! `{"status":"ok",…}` is a success; `{"status":"error","code":"busy","retry_in":2}` is not, whatever the head
//! says. The classifier reads the document (grant `body-read`) so that retries, breaker and cache go by it; the
//! error mapper gives callers the provider's own code.
//!
//! | code | verdict |
//! | --- | --- |
//! | `busy`, `down` | transient |
//! | `slow_down` | throttled, for `retry_in` seconds |
//! | `session_expired` | auth-expired |
//! | anything else | rejected |

use std::time::Duration;

use bascule_plugin::{
    Body, Cause, Classification, Classifier, ErrorMapper, Fault, FaultKind, ResponseHead, Verdict, export,
    json,
};

struct Always200;

impl Classifier for Always200 {
    fn classify(head: ResponseHead, body: Option<&Body>) -> Classification {
        // A proxy in between may answer for the provider.
        if head.status != 200 {
            return Classification::new(Verdict::by_status(head.status));
        }
        // Too large to be read is not an error document.
        let text = body.and_then(|body| body.read().ok()).unwrap_or_default();
        judge(&String::from_utf8_lossy(&text))
    }
}

impl ErrorMapper for Always200 {
    fn map_error(cause: Cause, _: Option<ResponseHead>, body: Option<&Body>, _: Vec<u8>) -> Fault {
        let text = body.and_then(|body| body.read().ok());
        match text.and_then(|text| fault(&String::from_utf8_lossy(&text))) {
            Some(fault) => fault,
            None => Fault::without_response(cause),
        }
    }
}

/// The code of an error document.
fn code(text: &str) -> Option<String> {
    let status = json::member(text, "status").and_then(json::string)?;
    (status == "error").then(|| json::member(text, "code").and_then(json::string).unwrap_or_default())
}

fn judge(text: &str) -> Classification {
    let Some(code) = code(text) else { return Classification::new(Verdict::Success) };
    let verdict = match code.as_str() {
        "busy" | "down" => Verdict::Transient,
        "slow_down" => Verdict::Throttled,
        "session_expired" => Verdict::AuthExpired,
        _ => Verdict::Rejected,
    };
    let classification = Classification::new(verdict);
    match json::member(text, "retry_in").and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => classification.with_retry_after(Duration::from_secs(seconds)),
        None => classification,
    }
}

fn fault(text: &str) -> Option<Fault> {
    let code = code(text)?;
    let kind = match code.as_str() {
        "no_such_item" => FaultKind::NotFound,
        "bad_input" => FaultKind::InvalidInput,
        "slow_down" => FaultKind::RateLimited,
        _ => FaultKind::UpstreamFailed,
    };
    let message = json::member(text, "message").and_then(json::string).unwrap_or_default();
    Some(Fault::new(kind, code, message))
}

export!(Always200: classifier, error_mapper);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_decides() {
        let verdict = |text| judge(text).verdict;
        assert_eq!(verdict(r#"{"status":"ok","items":[]}"#), Verdict::Success);
        assert_eq!(verdict("no json"), Verdict::Success);
        assert_eq!(verdict(r#"{"status":"error","code":"busy"}"#), Verdict::Transient);
        assert_eq!(verdict(r#"{"status":"error","code":"no_such_item"}"#), Verdict::Rejected);
        let held = judge(r#"{"status":"error","code":"slow_down","retry_in":2}"#);
        assert_eq!((held.verdict, held.retry_after_ms), (Verdict::Throttled, Some(2000)));
    }

    #[test]
    fn callers_read_the_providers_own_code() {
        let fault = fault(r#"{"status":"error","code":"no_such_item","message":"none"}"#);
        assert!(fault.is_some_and(|fault| fault.kind == FaultKind::NotFound && fault.code == "no_such_item"));
    }
}
