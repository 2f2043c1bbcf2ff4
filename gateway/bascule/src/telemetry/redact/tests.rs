//! Canaries: none may come out, in whatever place or shape it goes in.

use super::*;
use serde_json::json;

const CANARY: &str = "s3cr3t/c4n4ry+\"x\" y";

fn redactor() -> Redactor {
    let names: Vec<String> =
        ["password", "api_key", "token", "secret", "authorization"].map(str::to_owned).to_vec();
    Redactor::new(
        &names,
        &[Secret::new(CANARY), Secret::new("c4n4ry+\"x\" y-and-more")],
        &["appid".to_owned()],
    )
}

#[test]
fn known_secrets_vanish_from_texts_in_every_encoding() {
    let redactor = redactor();
    let texts = [
        CANARY.to_owned(),
        format!("{CANARY:?}"),
        json!({ "message": CANARY }).to_string(),
        "s3cr3t%2Fc4n4ry%2B%22x%22%20y".to_owned(),
        "s3cr3t%2fc4n4ry%2b%22x%22%20y".to_owned(),
        "s3cr3t%2Fc4n4ry%2B%22x%22+y".to_owned(),
        "czNjcjN0L2M0bjRyeSsieCIgeQ==".to_owned(),
    ];
    for text in texts {
        assert_eq!(
            redactor.text(&text).replace(['"', '\\'], "").replace("{message:", "").replace('}', ""),
            REDACTED
        );
    }
    let basic = "Basic YmlsbGluZzpzM2NyM3QvYzRuNHJ5KyJ4IiB5";
    let shown = redactor.text(basic);
    assert!(shown.starts_with("Basic YmlsbGluZz") && shown.contains(REDACTED), "{shown}");
    assert!(!shown.contains("M2NyM3Q"), "{shown}");
}

#[test]
fn overlapping_secrets_leave_no_rest() {
    let shown = redactor().text("<s3cr3t/c4n4ry+\"x\" y-and-more>").into_owned();
    assert_eq!(shown, "<[redacted]>");
}

#[test]
fn other_texts_are_not_copied() {
    assert!(matches!(redactor().text("nothing to hide"), Cow::Borrowed("nothing to hide")));
}

#[test]
fn headers_are_hidden_by_name_and_by_value() {
    let redactor = redactor();
    let show = |name: &'static str, value: &'static str| {
        redactor.header(&HeaderName::from_static(name), &HeaderValue::from_static(value)).into_owned()
    };
    for name in ["authorization", "cookie", "x-api-key", "x-auth-token", "x-amz-security-token"] {
        assert_eq!(show(name, "v"), REDACTED, "{name}");
    }
    assert_eq!(show("x-note", "key czNjcjN0L2M0bjRyeSsieCIgeQ== end"), "key [redacted] end");
    assert_eq!(show("accept", "text/plain"), "text/plain");
    let mut marked = HeaderValue::from_static("v");
    marked.set_sensitive(true);
    assert_eq!(redactor.header(&HeaderName::from_static("x-any"), &marked), REDACTED);
}

#[test]
fn urls_lose_users_and_sensitive_parameters() {
    let redactor = redactor();
    for (url, shown) in [
        ("https://a.example/w?q=Oslo&appid=k&units=m", "https://a.example/w?q=Oslo&appid=[redacted]&units=m"),
        ("https://a.example/?access%5Ftoken=k", "https://a.example/?access%5Ftoken=[redacted]"),
        ("https://u:p@ss@a.example:8443/x@y", "https://[redacted]@a.example:8443/x@y"),
        ("/path?API-KEY=k#token=t", "/path?API-KEY=[redacted]#token=[redacted]"),
        ("https://a.example/s3cr3t%2Fc4n4ry%2B%22x%22%20y/z", "https://a.example/[redacted]/z"),
        (
            "https://b.example/k?X-Amz-Signature=f00&X-Amz-Date=1",
            "https://b.example/k?X-Amz-Signature=[redacted]&X-Amz-Date=1",
        ),
        ("https://a.example/?flag&b=", "https://a.example/?flag&b="),
    ] {
        assert_eq!(redactor.url(url), shown);
    }
}

#[test]
fn json_is_hidden_by_name_and_by_value_at_any_depth() {
    let mut value = json!({
        "user": "ada", "password": { "old": 1 }, "max_tokens": 5,
        "list": [{ "clientSecret": "x" }, format!("has {CANARY}"), 7, null]
    });
    redactor().json(&mut value);
    let expected = json!({
        "user": "ada", "password": REDACTED, "max_tokens": 5,
        "list": [{ "clientSecret": REDACTED }, "has [redacted]", 7, null]
    });
    assert_eq!(value, expected);
}

#[test]
fn a_reload_reaches_every_clone_and_the_former_secrets_stay_hidden_once() {
    let with = |secret: &str| Redactor::new(&["pin".to_owned()], &[Secret::new(secret)], &[]);
    let redactor = Redactor::default();
    let clone = redactor.clone();
    assert_eq!(clone.text("first-secret"), "first-secret");
    redactor.replace(&with("first-secret"));
    assert_eq!(clone.text("first-secret"), REDACTED);
    assert_eq!(clone.url("/?pin=1"), "/?pin=[redacted]");
    let second = with("second-secret");
    redactor.replace(&second);
    redactor.replace(&second);
    assert_eq!(clone.text("first-secret second-secret"), "[redacted] [redacted]");
    redactor.replace(&with("third-secret"));
    assert_eq!(clone.text("first-secret second-secret third-secret"), "first-secret [redacted] [redacted]");
}
