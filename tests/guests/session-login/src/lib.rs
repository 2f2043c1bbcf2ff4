//! A provider with a login of its own, which answers oddly: tokens by `token-source` and `http`.
//!
//! `POST /session` at the endpoint `login` takes a form with the secret `password`, which this plugin cannot
//! read, and always answers 200: `{"ok":true,"data":{"sid":"…","valid_minutes":"30"}}`, a life time as a text and
//! in minutes, or `{"ok":false,"why":"…"}`. Calls carry the session in `X-Session`, which the signer names and the
//! gateway puts in.

use std::time::Duration;

use bascule_plugin::http::Request;
use bascule_plugin::{
    AuthPatch, Body, Fault, FaultKind, RequestHead, Signer, Token, TokenSource, export, json, plain, secret,
    token,
};

/// The longest life that is believed.
const MINUTES_MAX: u64 = 24 * 60;

struct SessionLogin;

impl TokenSource for SessionLogin {
    fn fetch_token(scope: &str) -> Result<Token, Fault> {
        let form = Body::from_parts(&[
            plain(format!("scope={scope}&pass=")),
            secret("password").percent_encoded().into(),
        ]);
        let request = Request::post("/session").to("login").body(&form);
        let answer = request.header("content-type", "application/x-www-form-urlencoded").send()?;
        read(answer.head.status, &String::from_utf8_lossy(&answer.body.read()?))
    }
}

impl Signer for SessionLogin {
    fn sign(_: RequestHead, _: &str, _: Option<&Body>) -> Result<AuthPatch, Fault> {
        Ok(AuthPatch::new().header("x-session", token("")))
    }
}

fn read(status: u16, text: &str) -> Result<Token, Fault> {
    if json::member(text, "ok") != Some("true") {
        let why = json::member(text, "why").and_then(json::string);
        let why = why.unwrap_or_else(|| format!("the login answered {status}"));
        return Err(Fault::new(FaultKind::Unauthorized, "login-refused", why));
    }
    let data = json::member(text, "data").unwrap_or_default();
    let session = json::member(data, "sid").and_then(json::string).filter(|session| !session.is_empty());
    let session =
        session.ok_or_else(|| Fault::upstream_invalid("no-session", "the answer holds no session"))?;
    let minutes =
        json::member(data, "valid_minutes").and_then(json::string).and_then(|text| text.parse().ok());
    Ok(match minutes {
        Some(minutes) => Token::new(session).expires_in(Duration::from_secs(60 * MINUTES_MAX.min(minutes))),
        None => Token::new(session),
    })
}

export!(SessionLogin: token_source, signer);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_as_a_text_are_understood() {
        let token = read(200, r#"{"ok":true,"data":{"sid":"s1","valid_minutes":"30"}}"#);
        assert!(matches!(token, Ok(Token { value, expires_in_ms: Some(1_800_000) }) if value == "s1"));
    }

    #[test]
    fn a_refusal_with_status_200_is_one() {
        let fault = read(200, r#"{"ok":false,"why":"wrong password"}"#).err();
        assert!(
            fault.is_some_and(|fault| fault.code == "login-refused" && fault.message == "wrong password")
        );
    }

    #[test]
    fn an_answer_without_a_session_is_invalid() {
        assert!(read(200, r#"{"ok":true,"data":{}}"#).is_err_and(|fault| fault.code == "no-session"));
    }
}
