//! Tokens that are held and renewed, and OAuth 2 client credentials (RFC 6749 §4.4), by which an integration gets one.
//!
//! When a token is fetched, who waits and who shares a failure is [`Renewing`]'s work: it is renewed at 80 % of its
//! life in the background while callers go on with the old one, and after its real end it is never used again. Here
//! are the lives that are believed, and how a token is asked for by OAuth 2 and how the answer is read.

use super::{Client, Endpoint, RequestBody};
use crate::{
    config::{BaseUrl, OAuth2, Timeouts},
    model::Secret,
};
use bascule_resilience::{Fresh, RenewError, Renewing};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request,
    header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use std::{future::Future, sync::Arc, time::Duration};

/// Largest token answer, in octets: tokens are a few KiB at most.
const ANSWER_MAX: usize = 256 * 1024;
/// Life of a token whose answer does not tell (RFC 6749 §5.1 only recommends it).
const LIFE_DEFAULT: Duration = Duration::from_secs(3600);
/// Longest life that is believed.
const LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Shortest life that is believed: who answers with zero means that it does not say, and those who wait use it once.
const LIFE_MIN: Duration = Duration::from_secs(1);
/// Longest a fetch may take, whatever the call's own timeouts are.
pub(crate) const FETCH_LIMIT: Duration = Duration::from_secs(30);
/// How long a failed early renewal waits for the next try.
const RENEW_PAUSE: Duration = Duration::from_secs(5);

/// No token could be had. The text is for operators.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct TokenError(Arc<str>);

/// Holds a token; `E` says why one could not be had.
pub struct TokenCell<E = TokenError>(Renewing<Secret, E>);

/// Where a token is asked for, and with what.
struct Grant {
    client: Client,
    endpoint: Endpoint,
    path: String,
    form: Bytes,
    form_secret: Secret,
    timeouts: Timeouts,
}

impl<E: Clone + Send + Sync + 'static> TokenCell<E> {
    /// A cell without a token yet, which `fetch` gets; `told` hears of every fetch that failed.
    pub(crate) fn by<F>(
        fetch: impl Fn() -> F + Send + Sync + 'static,
        told: impl Fn(&RenewError<E>) + Send + Sync + 'static,
    ) -> Arc<Self>
    where
        F: Future<Output = Result<Fresh<Secret>, E>> + Send + 'static,
    {
        let token = Renewing::new(fetch).retry_pause(RENEW_PAUSE).fetch_timeout(FETCH_LIMIT).on_failure(told);
        Arc::new(Self(token.build()))
    }

    /// A token that is valid now. Cancel-safe: a fetch that was begun goes on for the others.
    ///
    /// # Errors
    /// [`RenewError`] when there is none and none could be fetched.
    pub async fn get(&self) -> Result<Secret, RenewError<E>> {
        self.0.get().await
    }

    /// Forgets a token that the provider no longer takes; a newer one stays.
    pub fn invalidate(&self, value: &Secret) {
        self.0.invalidate(value);
    }
}

/// A token with the life that is believed of it; `None`: its source does not say.
pub(crate) fn fresh(value: Secret, life: Option<Duration>) -> Fresh<Secret> {
    Fresh { value, life: life.unwrap_or(LIFE_DEFAULT).clamp(LIFE_MIN, LIFE_MAX) }
}

impl TokenCell {
    /// A cell without a token yet. `base` is the token endpoint's scheme and authority.
    pub fn new(client: Client, settings: &OAuth2, base: BaseUrl, timeouts: Timeouts) -> Arc<Self> {
        let host = base.host.clone();
        let grant = Arc::new(Grant::new(client, settings, base, timeouts));
        let fetch = move || {
            let grant = Arc::clone(&grant);
            async move { grant.ask().await }
        };
        Self::by(fetch, move |error| {
            let error = explained(error.clone());
            tracing::warn!(%host, %error, "no token could be fetched");
        })
    }
}

impl Grant {
    fn new(client: Client, settings: &OAuth2, base: BaseUrl, timeouts: Timeouts) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        form.append_pair("client_id", &settings.client_id);
        form.append_pair("client_secret", settings.client_secret.expose());
        if !settings.scopes.is_empty() {
            form.append_pair("scope", &settings.scopes.join(" "));
        }
        if let Some(audience) = &settings.audience {
            form.append_pair("audience", audience);
        }
        let mut path = settings.token_url.path().to_owned();
        if let Some(query) = settings.token_url.query() {
            path.push('?');
            path.push_str(query);
        }
        Self {
            endpoint: client.endpoint(base),
            client,
            path,
            form: Bytes::from(form.finish()),
            form_secret: settings.client_secret.clone(),
            timeouts,
        }
    }

    async fn ask(&self) -> Result<Fresh<Secret>, TokenError> {
        let failed = |message: String| TokenError(message.into());
        let mut request = Request::new(RequestBody::full(self.form.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse().map_err(|_| failed("the token URL is unusable".into()))?;
        let headers = request.headers_mut();
        let authority = HeaderValue::from_str(&self.endpoint.base().authority);
        headers.insert(HOST, authority.map_err(|_| failed("the token URL's host is unusable".into()))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(crate::model::USER_AGENT));
        let (head, body) = self
            .client
            .send(&self.endpoint, request, &self.timeouts, None)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let received = Limited::new(body, ANSWER_MAX)
            .collect()
            .await
            .map_err(|_| failed("the token answer broke off or is too large".into()))?
            .to_bytes();
        if !head.status.is_success() {
            return Err(failed(format!(
                "the token endpoint answered {}{}",
                head.status,
                self.reason(&received)
            )));
        }
        read_token(&received).ok_or_else(|| failed("the token answer holds no `access_token`".into()))
    }

    /// The `error` code of a refusal (RFC 6749 §5.2): a fixed vocabulary, so it is safe to show.
    fn reason(&self, answer: &[u8]) -> String {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        match serde_json::from_slice::<Refusal>(answer) {
            Ok(refusal)
                if is_error_code(&refusal.error) && !refusal.error.contains(self.form_secret.expose()) =>
            {
                format!(" ({})", refusal.error)
            }
            _ => String::new(),
        }
    }
}

fn explained(error: RenewError<TokenError>) -> TokenError {
    match error {
        RenewError::Failed(error) => error,
        RenewError::TimedOut => TokenError("the token endpoint took too long".into()),
        RenewError::Panicked | RenewError::Dropped => TokenError("the token fetch was aborted".into()),
        RenewError::Ended => TokenError("the token ended as soon as it was fetched".into()),
    }
}

fn is_error_code(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_')
}

fn read_token(answer: &[u8]) -> Option<Fresh<Secret>> {
    #[derive(Deserialize)]
    struct Granted {
        access_token: String,
        expires_in: Option<serde_json::Value>,
    }
    let granted: Granted = serde_json::from_slice(answer).ok()?;
    // Some providers send the number as a text.
    let seconds = match granted.expires_in {
        Some(serde_json::Value::Number(number)) => number.as_f64(),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let life = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
    if granted.access_token.is_empty() {
        return None;
    }
    Some(fresh(Secret::new(granted.access_token), life))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, life: Option<u64>) {
        let token = read_token(answer.as_bytes());
        assert_eq!(token.map(|token| token.life.as_secs()), life, "{answer}");
    }

    #[test]
    fn the_life_of_a_token_is_read_in_all_its_forms_and_within_bounds() {
        check(r#"{"access_token":"t","expires_in":60}"#, Some(60));
        check(r#"{"access_token":"t","expires_in":"60"}"#, Some(60));
        check(r#"{"access_token":"t"}"#, Some(3600));
        check(r#"{"access_token":"t","expires_in":null}"#, Some(3600));
        check(r#"{"access_token":"t","expires_in":-1}"#, Some(3600));
        check(r#"{"access_token":"t","expires_in":"soon"}"#, Some(3600));
        check(r#"{"access_token":"t","expires_in":0}"#, Some(1));
        check(r#"{"access_token":"t","expires_in":1e300}"#, Some(3600));
        check(r#"{"access_token":"t","expires_in":99999999999}"#, Some(365 * 24 * 3600));
    }

    #[test]
    fn an_answer_without_a_token_is_none() {
        check(r#"{"access_token":"","expires_in":60}"#, None);
        check(r#"{"expires_in":60}"#, None);
        check("no json", None);
    }
}
