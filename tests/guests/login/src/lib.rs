//! A guest that logs in by itself, with every import that takes a grant but `random` and `secrets`.
//!
//! | phase | does |
//! | --- | --- |
//! | token-source | posts the secret `client_secret` to the endpoint `login`, and reads the odd answer `{"data":{"accessToken":"…","ttl":3600}}` |
//! | signer | sends the token of the scope `read` |
//! | cache-policy | the parameter `q` alone is the key; without one the call is not cached |
//!
//! It counts its logins in the state `logins` and in the measurement `logins`, by status.

use std::time::Duration;

use bascule_plugin::http::Request;
use bascule_plugin::{
    AuthPatch, Body, CachePolicy, Fault, RequestHead, Signer, Token, TokenSource, export, json, parameters,
    plain, secret, state, telemetry, token,
};

struct Login;

impl TokenSource for Login {
    fn fetch_token(scope: &str) -> Result<Token, Fault> {
        let form = Body::from_parts(&[
            plain(format!("grant=service&scope={scope}&secret=")),
            secret("client_secret").percent_encoded().into(),
        ]);
        let answer = Request::post("/session")
            .to("login")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(&form)
            .send()?;
        state::add("logins", 1, None)?;
        telemetry::count("logins", 1, &[("status", &answer.head.status.to_string())]);
        if answer.head.status != 200 {
            return Err(Fault::upstream_invalid("login-refused", "the provider refused to log us in"));
        }
        let document = String::from_utf8(answer.body.read()?).unwrap_or_default();
        token_in(&document)
            .ok_or_else(|| Fault::upstream_invalid("no-token", "there is no token in the answer"))
    }
}

/// The token of the provider's own kind of answer.
fn token_in(document: &str) -> Option<Token> {
    let data = json::member(document, "data")?;
    let token = Token::new(json::string(json::member(data, "accessToken")?)?);
    match json::member(data, "ttl").and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => Some(token.expires_in(Duration::from_secs(seconds))),
        None => Some(token),
    }
}

impl Signer for Login {
    fn sign(_: RequestHead, _: &str, _: Option<&Body>) -> Result<AuthPatch, Fault> {
        Ok(AuthPatch::new().header("authorization", token("read").with_lead("Bearer ")))
    }
}

impl CachePolicy for Login {
    fn key_material(_: &Body) -> Option<Vec<u8>> {
        parameters::get::<String>("q").ok().flatten().map(String::into_bytes)
    }
}

export!(Login: token_source, signer, cache_policy);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_where_this_provider_puts_it() {
        let token = token_in(r#"{"data":{"accessToken":"abc","ttl":3600}}"#).unwrap();
        assert_eq!((token.value.as_str(), token.expires_in_ms), ("abc", Some(3_600_000)));
        assert_eq!(token_in(r#"{"data":{"accessToken":"abc"}}"#).unwrap().expires_in_ms, None);
        assert!(token_in(r#"{"error":"no"}"#).is_none());
    }
}
