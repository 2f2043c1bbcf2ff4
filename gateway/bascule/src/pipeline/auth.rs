//! Built-in authentication: the token that an attempt needs, and the step right before the wire.
//!
//! A token may have to be fetched, so it is had once per attempt and before its exchanges: what waits for the token
//! endpoint says nothing about the provider, and must not be hedged.

use super::{
    call::Fetch,
    failure::Failure,
    request::{Outbound, QUERY, Wire, bug},
};
use crate::{
    config::{ApiKeyPlace, Auth},
    model::{CallPhase, Secret},
};
use data_encoding::BASE64;
use http::{HeaderValue, header::AUTHORIZATION};
use percent_encoding::utf8_percent_encode;

/// The token that the attempt's exchanges show; none where nothing has to be fetched. Cancel-safe: a fetch that was begun
/// goes on for others.
pub(super) async fn token(fetch: &Fetch) -> Result<Option<Secret>, Box<Failure>> {
    if !matches!(fetch.integration.settings.auth, Auth::OAuth2(_)) {
        return Ok(None);
    }
    let Some(cell) = &fetch.integration.token else { return Err(bug("oauth2 without a token cell")) };
    fetch.progress.switch(CallPhase::Token, fetch.services.now());
    cell.get().await.map(Some).map_err(|_| Failure::no_token())
}

/// Puts credentials on: `token`, or what the settings hold.
pub(super) fn authenticate(
    fetch: &Fetch,
    outbound: &Outbound,
    wire: &mut Wire,
    token: Option<&Secret>,
) -> Result<(), Box<Failure>> {
    if let Some(query) = &outbound.secret_query {
        push_query(wire, query);
    }
    match &fetch.integration.settings.auth {
        Auth::None | Auth::Plugin => {}
        Auth::Bearer { token } => bearer(wire, token)?,
        Auth::Basic { username, password } => {
            let pair = BASE64.encode(format!("{username}:{}", password.expose()).as_bytes());
            wire.headers.insert(AUTHORIZATION, sensitive(&format!("Basic {pair}"))?);
        }
        Auth::ApiKey { place: ApiKeyPlace::Header(name), key } => {
            wire.headers.insert(name.clone(), sensitive(key.expose())?);
        }
        Auth::ApiKey { place: ApiKeyPlace::Query(name), key } => {
            // The caller's own entry of that name, which many SDKs insist on sending, gives way.
            if let Some(query) = &mut wire.query {
                *query = without(query, name);
            }
            let name = utf8_percent_encode(name, QUERY);
            let value = utf8_percent_encode(key.expose(), QUERY);
            push_query(wire, &format!("{name}={value}"));
        }
        Auth::OAuth2(_) => bearer(wire, token.ok_or_else(|| bug("oauth2 without a token"))?)?,
    }
    Ok(())
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

fn push_query(wire: &mut Wire, entries: &str) {
    let query = wire.query.get_or_insert_default();
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(entries);
}

/// The query without the entries of that name; the others stay as they were written.
fn without(query: &str, name: &str) -> String {
    let others: Vec<&str> = query
        .split('&')
        .filter(|entry| url::form_urlencoded::parse(entry.as_bytes()).all(|(own, _)| own != name))
        .collect();
    others.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_name_are_dropped_and_others_stay_verbatim() {
        assert_eq!(without("a=%2f&appid=x&b=+&app%69d=y", "appid"), "a=%2f&b=+");
        assert_eq!(without("appid=x", "appid"), "");
    }
}
