//! Built-in authentication: the token that an attempt needs, and the step right before the wire.
//!
//! A token may have to be fetched, so it is had once per attempt and before its exchanges: what waits for the token
//! endpoint says nothing about the provider, and must not be hedged.
//!
//! Tokens of a plugin's token source are put on here too, unless a signer says where they go.

use super::{
    call::Fetch,
    failure::Failure,
    phases::token_failure,
    request::{Outbound, QUERY, Wire, bug},
    tokens::PluginTokens,
};
use crate::{
    config::{ApiKeyPlace, Auth},
    model::{CallPhase, Secret},
    upstream::TokenCell,
};
use bascule_plugin_host::Tokens;
use data_encoding::BASE64;
use http::{HeaderValue, header::AUTHORIZATION};
use percent_encoding::utf8_percent_encode;
use std::sync::Arc;

/// The tokens that an attempt is made with.
pub(super) enum Used {
    /// None that could be renewed.
    None,
    /// The integration's own.
    OAuth2(Arc<TokenCell>, Secret),
    /// Those of a token source, in the order of its scopes.
    Plugin(Arc<PluginTokens>, Vec<Secret>),
}

impl Used {
    /// Forgets tokens that the provider no longer takes.
    pub(super) fn invalidate(&self) {
        match self {
            Self::None => {}
            Self::OAuth2(cell, token) => cell.invalidate(token),
            Self::Plugin(source, tokens) => source.invalidate(tokens),
        }
    }

    /// What a signer may have put in.
    pub(super) fn tokens(&self) -> Tokens {
        match self {
            Self::None | Self::OAuth2(..) => Tokens::default(),
            Self::Plugin(source, tokens) => source.named(tokens),
        }
    }
}

/// The tokens that the attempt's exchanges show; none where nothing has to be fetched. Cancel-safe: a fetch that was begun
/// goes on for others.
pub(super) async fn tokens(fetch: &Fetch) -> Result<Used, Box<Failure>> {
    match &fetch.integration.settings.auth {
        Auth::OAuth2(_) => {
            let Some(cell) = &fetch.integration.token else { return Err(bug("oauth2 without a token cell")) };
            fetch.progress.switch(CallPhase::Token, fetch.services.now());
            let token = cell.get().await.map_err(|_| Failure::no_token())?;
            Ok(Used::OAuth2(Arc::clone(cell), token))
        }
        Auth::Plugin { .. } => {
            let source = fetch.operation.phases.token_source.as_ref();
            let Some(source) = source.and_then(|bound| bound.tokens.as_ref()) else { return Ok(Used::None) };
            fetch.progress.switch(CallPhase::Token, fetch.services.now());
            let tokens = source.get().await.map_err(|error| token_failure(&error))?;
            Ok(Used::Plugin(Arc::clone(source), tokens))
        }
        Auth::None | Auth::Bearer { .. } | Auth::Basic { .. } | Auth::ApiKey { .. } => Ok(Used::None),
    }
}

/// Puts credentials on: the tokens, or what the settings hold.
pub(super) fn authenticate(
    fetch: &Fetch,
    outbound: &Outbound,
    wire: &mut Wire,
    used: &Used,
) -> Result<(), Box<Failure>> {
    if let Some(query) = &outbound.secret_query {
        push_query(wire, query);
    }
    match &fetch.integration.settings.auth {
        // Which tokens there are, `used` says.
        Auth::None | Auth::Plugin { .. } | Auth::OAuth2(_) => {}
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
    }
    match used {
        Used::OAuth2(_, token) => bearer(wire, token),
        Used::Plugin(_, tokens) if fetch.operation.phases.signer.is_none() => {
            tokens.first().map_or(Ok(()), |token| bearer(wire, token))
        }
        Used::Plugin(..) | Used::None => Ok(()),
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
