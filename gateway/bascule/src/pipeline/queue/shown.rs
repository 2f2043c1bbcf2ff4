//! An entry as JSON, for the caller who queued it and for operators.

use super::status_url;
use crate::telemetry::rfc3339;
use bascule_outbox::{Answer, Entry, State};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

/// What became of a call so far. The provider's answer is for the caller alone: `answer` says whether it is shown.
/// Parameters, headers and body of the call never are.
pub fn show(entry: &Entry, answer: bool) -> Value {
    let waits = entry.state == State::Waiting;
    let mut shown = Map::new();
    shown.insert("id".into(), entry.id.to_string().into());
    shown.insert("status".into(), entry.state.as_str().into());
    shown.insert("integration".into(), entry.call.place.integration.as_str().into());
    shown.insert("operation".into(), entry.call.place.operation.as_str().into());
    shown.insert("created".into(), rfc3339(entry.created).into());
    shown.insert("tries".into(), entry.tries.into());
    shown.insert("next_try".into(), waits.then(|| rfc3339(entry.next_try)).into());
    shown.insert("finished".into(), entry.finished.map(rfc3339).into());
    shown.insert("last_error".into(), entry.last_error.clone().into());
    if answer {
        shown.insert("status_url".into(), status_url(entry.id).into());
        shown.insert("response".into(), entry.answer.as_ref().map(response).into());
    } else {
        shown.insert("caller".into(), entry.call.caller.clone().into());
        shown.insert("response_status".into(), entry.answer.as_ref().map(|answer| answer.status).into());
    }
    Value::Object(shown)
}

/// JSON as it is, text as a text, anything else in base64.
fn response(answer: &Answer) -> Value {
    let json = answer.content_type.as_deref().is_some_and(is_json) && !answer.cut;
    let parsed = json.then(|| serde_json::from_slice::<Value>(&answer.body).ok()).flatten();
    let (name, body) = match (parsed, std::str::from_utf8(&answer.body)) {
        (Some(value), _) => ("body", value),
        (None, Ok(text)) => ("body", Value::from(text)),
        (None, Err(_)) => ("body_base64", Value::from(BASE64.encode(&answer.body))),
    };
    json!({
        "status": answer.status, "content_type": answer.content_type, name: body, "truncated": answer.cut,
    })
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_shown_as_what_they_are() {
        let shown = |content_type: Option<&str>, body: &[u8], cut| {
            let content_type = content_type.map(str::to_owned);
            response(&Answer { status: 200, content_type, body: body.to_vec(), cut })
        };
        assert_eq!(
            shown(Some("application/json; charset=utf-8"), b"{\"a\":1}", false)["body"],
            json!({"a": 1})
        );
        assert_eq!(shown(Some("application/problem+json"), b"[1]", false)["body"], json!([1]));
        assert_eq!(shown(Some("application/json"), b"{\"a\":", true)["body"], json!("{\"a\":"));
        assert_eq!(shown(Some("text/plain"), b"1", false)["body"], json!("1"));
        assert_eq!(shown(None, &[0xff, 0x00], false)["body_base64"], json!("/wA="));
    }
}
