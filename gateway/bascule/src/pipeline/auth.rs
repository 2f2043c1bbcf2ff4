//! Built-in authentication: the step right before the wire, once per attempt.

use super::{
    call::Fetch,
    failure::Failure,
    request::{Wire, bug},
};
use crate::{
    config::{ApiKeyPlace, Auth},
    model::Secret,
};
use data_encoding::BASE64;
use http::{HeaderValue, header::AUTHORIZATION};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Puts credentials on. The token that was used is returned, so that it can be invalidated when the
/// provider no longer takes it.
pub(super) async fn authenticate(fetch: &Fetch, wire: &mut Wire) -> Result<Option<Secret>, Box<Failure>> {
    match &fetch.integration.settings.auth {
        Auth::None | Auth::Plugin => Ok(None),
        Auth::Bearer { token } => {
            bearer(wire, token)?;
            Ok(None)
        }
        Auth::Basic { username, password } => {
            let pair = BASE64.encode(format!("{username}:{}", password.expose()).as_bytes());
            wire.headers.insert(AUTHORIZATION, sensitive(&format!("Basic {pair}"))?);
            Ok(None)
        }
        Auth::ApiKey { place: ApiKeyPlace::Header(name), key } => {
            wire.headers.insert(name.clone(), sensitive(key.expose())?);
            Ok(None)
        }
        Auth::ApiKey { place: ApiKeyPlace::Query(name), key } => {
            let query = wire.query.get_or_insert_default();
            if !query.is_empty() {
                query.push('&');
            }
            query.extend(utf8_percent_encode(name, NON_ALPHANUMERIC));
            query.push('=');
            query.extend(utf8_percent_encode(key.expose(), NON_ALPHANUMERIC));
            Ok(None)
        }
        Auth::OAuth2(_) => {
            let Some(cell) = &fetch.integration.token else { return Err(bug("oauth2 without a token cell")) };
            let token = cell.get().await.map_err(|_| Failure::no_token())?;
            bearer(wire, &token)?;
            Ok(Some(token))
        }
    }
}

fn bearer(wire: &mut Wire, token: &Secret) -> Result<(), Box<Failure>> {
    wire.headers.insert(AUTHORIZATION, sensitive(&format!("Bearer {}", token.expose()))?);
    Ok(())
}

fn sensitive(text: &str) -> Result<HeaderValue, Box<Failure>> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Failure::no_token())?;
    value.set_sensitive(true);
    Ok(value)
}
