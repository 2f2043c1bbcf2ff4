//! OAuth 2 client credentials (RFC 6749 §4.4): one token per integration, fetched by one caller at a time.
//!
//! A token is renewed at 80 % of its life in the background while callers go on with the old one; after
//! its real end it is never used again, whatever became of the renewal. Callers who wait while somebody
//! else's fetch fails share that failure instead of queueing up to fail one after the other.

use super::{Client, Endpoint, RequestBody};
use crate::{
    config::{BaseUrl, OAuth2, Timeouts},
    model::Secret,
};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request,
    header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// Largest token answer, in octets: tokens are a few KiB at most.
const ANSWER_MAX: usize = 256 * 1024;
/// Life of a token whose answer does not tell (RFC 6749 §5.1 only recommends it).
const LIFE_DEFAULT: Duration = Duration::from_secs(3600);
/// Longest life that is believed.
const LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longest a fetch may take, whatever the call's own timeouts are.
const FETCH_LIMIT: Duration = Duration::from_secs(30);
/// How long a failed early renewal waits for the next try.
const RENEW_PAUSE: Duration = Duration::from_secs(5);

/// No token could be had. The text is for operators.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct TokenError(Arc<str>);

#[derive(Clone)]
struct Token {
    value: Secret,
    expires: Instant,
    renew: Instant,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Counts finished fetches, so that a waiter can tell whether one ended while it waited.
    fetches: u64,
    last_failure: Option<(u64, TokenError)>,
}

/// Holds an integration's token.
pub struct TokenCell {
    client: Client,
    endpoint: Endpoint,
    path: String,
    form: Bytes,
    form_secret: Secret,
    timeouts: Timeouts,
    state: Mutex<State>,
    /// Held by whoever fetches.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

impl TokenCell {
    /// A cell without a token yet. `base` is the token endpoint's scheme and authority.
    pub fn new(client: Client, settings: &OAuth2, base: BaseUrl, timeouts: Timeouts) -> Arc<Self> {
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
        Arc::new(Self {
            endpoint: client.endpoint(base),
            client,
            path,
            form: Bytes::from(form.finish()),
            form_secret: settings.client_secret.clone(),
            timeouts,
            state: Mutex::default(),
            fetching: Arc::default(),
        })
    }

    /// A token that is valid now. Cancel-safe: a fetch that was begun goes on for the others.
    ///
    /// # Errors
    /// [`TokenError`] when there is none and none could be fetched.
    pub async fn get(self: &Arc<Self>) -> Result<Secret, TokenError> {
        let seen = {
            let state = self.state.lock();
            let now = Instant::now();
            match &state.token {
                Some(token) if now < token.renew => return Ok(token.value.clone()),
                Some(token) if now < token.expires => {
                    let value = token.value.clone();
                    drop(state);
                    self.renew_early();
                    return Ok(value);
                }
                _ => state.fetches,
            }
        };
        let guard = Arc::clone(&self.fetching).lock_owned().await;
        if let Some(settled) = self.settled_since(seen) {
            return settled;
        }
        // A task of its own: the caller may leave, the others still want the token.
        let cell = Arc::clone(self);
        let fetch = tokio::spawn(async move {
            let fetched = cell.fetch().await;
            drop(guard);
            fetched
        });
        fetch.await.unwrap_or_else(|_| Err(TokenError("the token fetch was aborted".into())))
    }

    /// Forgets a token that the provider no longer takes; a newer one stays.
    pub fn invalidate(&self, value: &Secret) {
        let mut state = self.state.lock();
        if state.token.as_ref().is_some_and(|token| token.value == *value) {
            state.token = None;
        }
    }

    /// What a fetch that ended after `seen` came to.
    fn settled_since(&self, seen: u64) -> Option<Result<Secret, TokenError>> {
        let state = self.state.lock();
        if let Some(token) = state.token.as_ref().filter(|token| Instant::now() < token.expires) {
            return Some(Ok(token.value.clone()));
        }
        match &state.last_failure {
            Some((fetch, failure)) if *fetch > seen => Some(Err(failure.clone())),
            _ => None,
        }
    }

    fn renew_early(self: &Arc<Self>) {
        let Ok(guard) = Arc::clone(&self.fetching).try_lock_owned() else { return };
        let cell = Arc::clone(self);
        tokio::spawn(async move {
            if cell.fetch().await.is_err()
                && let Some(token) = &mut cell.state.lock().token
            {
                token.renew = Instant::now() + RENEW_PAUSE;
            }
            drop(guard);
        });
    }

    async fn fetch(&self) -> Result<Secret, TokenError> {
        let fetched = match timeout(FETCH_LIMIT, self.ask()).await {
            Ok(answered) => answered,
            Err(_) => Err(TokenError("the token endpoint took too long".into())),
        };
        let mut state = self.state.lock();
        state.fetches += 1;
        match fetched {
            Ok(token) => {
                let value = token.value.clone();
                state.token = Some(token);
                state.last_failure = None;
                Ok(value)
            }
            Err(error) => {
                tracing::warn!(host = %self.endpoint.base().host, %error, "no token could be fetched");
                state.last_failure = Some((state.fetches, error.clone()));
                Err(error)
            }
        }
    }

    async fn ask(&self) -> Result<Token, TokenError> {
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

fn is_error_code(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_')
}

fn read_token(answer: &[u8]) -> Option<Token> {
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
    let life =
        seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).unwrap_or(LIFE_DEFAULT).min(LIFE_MAX);
    let now = Instant::now();
    if granted.access_token.is_empty() {
        return None;
    }
    Some(Token {
        value: Secret::new(granted.access_token),
        expires: now + life,
        renew: now + life.mul_f64(0.8),
    })
}
