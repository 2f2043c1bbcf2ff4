//! Logging in at a registry: what a 401 asks for, basic credentials or a token.
//!
//! The token server is the one that the registry names, with TLS unless it is this machine, and through
//! the same egress rule. Credentials go to no other. What a token may do is our own wish, never the
//! challenge's.

use data_encoding::BASE64;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use url::Url;

use super::Registry;
use crate::error::FetchError;
use crate::fetcher::Credentials;
use crate::http::{Answer, Ask, Redirects};

/// Largest answer of a token server.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry<'_> {
    /// The value of `Authorization` that a 401 asks for.
    pub(super) async fn log_in(&self, answer: &Answer) -> Result<HeaderValue, FetchError> {
        let failed = |reason| FetchError::Login { registry: self.registry(), reason };
        let challenges: Vec<&str> =
            answer.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
        if let Some(bearer) = challenges.iter().find_map(|challenge| of_scheme(challenge, "bearer")) {
            return self.token(bearer).await;
        }
        if challenges.iter().any(|challenge| of_scheme(challenge, "basic").is_some()) {
            let credentials = self.credentials.ok_or_else(|| failed("it wants credentials, none are set"))?;
            return basic(credentials).ok_or_else(|| failed("the credentials make no header"));
        }
        Err(failed("it names no way to log in that is known here"))
    }

    async fn token(&self, challenge: &str) -> Result<HeaderValue, FetchError> {
        let failed = |reason| FetchError::Login { registry: self.registry(), reason };
        let realm = parameter(challenge, "realm").and_then(|realm| Url::parse(realm).ok());
        let mut realm = realm.ok_or_else(|| failed("it names no token server"))?;
        if !matches!(realm.scheme(), "http" | "https") {
            return Err(failed("its token server is not one of HTTP"));
        }
        let scope = format!("repository:{}:{}", self.reference.repository(), self.actions);
        let service = parameter(challenge, "service");
        realm
            .query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &scope);
        let mut ask = Ask::get(realm, TOKEN_BYTES_MAX);
        if let Some(credentials) = self.credentials {
            let value = basic(credentials).ok_or_else(|| failed("the credentials make no header"))?;
            ask.headers.insert(AUTHORIZATION, value);
        }
        let answer = self.http.follow(ask, Redirects::SameOrigin).await?.expect(StatusCode::OK)?;
        let token: Token =
            serde_json::from_slice(&answer.body).map_err(|_| failed("its token server sent no JSON"))?;
        let token =
            token.token.or(token.access_token).ok_or_else(|| failed("its token server sent no token"))?;
        secret_header(format!("Bearer {token}")).ok_or_else(|| failed("the token makes no header"))
    }
}

fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let pair = zeroize::Zeroizing::new(format!("{}:{}", credentials.username, *credentials.password));
    secret_header(format!("Basic {}", BASE64.encode(pair.as_bytes())))
}

fn secret_header(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What stands behind the scheme of a challenge, if it is that one.
fn of_scheme<'a>(challenge: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
    found.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// The value of `name="value"` in a list of such, separated by commas.
fn parameter<'a>(mut list: &'a str, name: &str) -> Option<&'a str> {
    while let Some((key, rest)) = list.split_once("=\"") {
        let (value, rest) = rest.split_once('"')?;
        if key.trim_matches([' ', ',']).eq_ignore_ascii_case(name) {
            return Some(value);
        }
        list = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_challenge_are_found_by_name() {
        let challenge = r#"Bearer realm="https://auth/token",service="reg, istry" , scope="a:b:pull,push""#;
        let list = of_scheme(challenge, "bearer").unwrap();
        assert_eq!(parameter(list, "realm"), Some("https://auth/token"));
        assert_eq!(parameter(list, "Service"), Some("reg, istry"));
        assert_eq!(parameter(list, "scope"), Some("a:b:pull,push"));
        assert_eq!(parameter(list, "error"), None);
        assert_eq!(parameter("realm=\"unended", "realm"), None);
        assert_eq!((of_scheme("Basic", "basic"), of_scheme("Digest x", "basic")), (Some(""), None));
    }
}
