//! Built-in authentication: the step right before the wire, once per attempt.

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

/// Puts credentials on. The token that was used is returned, so that it can be invalidated when the
/// provider no longer takes it.
pub(super) async fn authenticate(
    fetch: &Fetch,
    outbound: &Outbound,
    wire: &mut Wire,
) -> Result<Option<Secret>, Box<Failure>> {
    if let Some(query) = &outbound.secret_query {
        push_query(wire, query);
    }
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
            // The caller's own entry of that name, which many SDKs insist on sending, gives way.
            if let Some(query) = &mut wire.query {
                *query = without(query, name);
            }
            let name = utf8_percent_encode(name, QUERY);
            let value = utf8_percent_encode(key.expose(), QUERY);
            push_query(wire, &format!("{name}={value}"));
            Ok(None)
        }
        Auth::OAuth2(_) => {
            let Some(cell) = &fetch.integration.token else { return Err(bug("oauth2 without a token cell")) };
            let before = fetch.progress.enter(CallPhase::Token, fetch.services.now());
            let token = cell.get().await;
            fetch.progress.back(before, fetch.services.now());
            let token = token.map_err(|_| Failure::no_token())?;
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
