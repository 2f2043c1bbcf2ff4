//! `[auth]`.

use super::{base_url::plain_url, headers::header_name};
use crate::config::{
    reader::{Field, Reader},
    settings::{ApiKeyPlace, Auth, OAuth2},
};
use http::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The header of API keys when no other is named.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Tokens that one integration may hold: each is renewed by itself, and every signer is offered all of them.
const TOKEN_SCOPES_MAX: usize = 16;

/// Reads `[auth]`. None when it has problems.
pub(crate) fn auth(table: Reader<'_, '_>, has_plugins: bool) -> Option<Auth> {
    let help = "write type = \"bearer\", \"api_key\", \"basic\", \"oauth2\", \"plugin\" or \"none\"";
    let kind = table.required("type", help)?.choice()?;
    let auth = match kind {
        "bearer" => bearer(&table),
        "api_key" => api_key(&table),
        "basic" => basic(&table),
        "oauth2" => oauth2(&table),
        "plugin" => {
            if !has_plugins {
                table.problem(
                    "type",
                    "no plugin is declared that could authenticate",
                    "add a [[plugins]] table, e.g. with source = \"builtin:aws-sigv4\"",
                );
            }
            Some(Auth::Plugin { scopes: token_scopes(&table) })
        }
        _ => Some(Auth::None),
    };
    table.finish_for(&format!("to auth type `{kind}`"));
    auth
}

fn bearer(table: &Reader<'_, '_>) -> Option<Auth> {
    let field = table.required("token", "write token = \"${…}\"")?;
    let token = field.secret()?;
    fits_header(&field, token.expose())?;
    Some(Auth::Bearer { token })
}

fn api_key(table: &Reader<'_, '_>) -> Option<Auth> {
    let field = table.required("key", "write key = \"${…}\"");
    let in_query = table.field("in").and_then(|field| field.choice()) == Some("query");
    let name = table.field("name");
    let place = if in_query {
        if name.is_none() {
            let help = "write name = \"…\", the parameter that the provider expects";
            table.ctx.missing(&table.key("name"), "name", &table.span, help);
        }
        ApiKeyPlace::Query(name?.filled()?)
    } else {
        ApiKeyPlace::Header(match name {
            Some(name) => header_name(&name)?,
            None => API_KEY,
        })
    };
    let field = field?;
    let key = field.secret()?;
    if in_query {
        // In a URL the key stands encoded.
        field.ctx.secret(&utf8_percent_encode(key.expose(), NON_ALPHANUMERIC).to_string());
    } else {
        fits_header(&field, key.expose())?;
    }
    Some(Auth::ApiKey { place, key })
}

fn basic(table: &Reader<'_, '_>) -> Option<Auth> {
    let username = table.required("username", "write username = \"…\"");
    let password = table.required("password", "write password = \"${…}\"");
    let field = username?;
    let username = field.string()?;
    if username.contains(':') {
        field.problem(
            "a user name holds no `:` (RFC 7617)",
            "what stands after the colon may belong in `password`",
        );
        return None;
    }
    Some(Auth::Basic { username, password: password?.secret_or_empty()? })
}

fn oauth2(table: &Reader<'_, '_>) -> Option<Auth> {
    let token_url =
        table.required("token_url", "write token_url = \"https://…\"").and_then(|field| plain_url(&field));
    let client_id = table.required("client_id", "write client_id = \"…\"").and_then(|field| field.filled());
    let client_secret =
        table.required("client_secret", "write client_secret = \"${…}\"").and_then(|field| field.secret());
    let scopes = table.field("scopes").and_then(|field| field.strings()).unwrap_or_default();
    let audience = table.field("audience").and_then(|field| field.filled());
    Some(Auth::OAuth2(Box::new(OAuth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scopes,
        audience,
    })))
}

/// What a token source is asked for: one token for each scope.
fn token_scopes(table: &Reader<'_, '_>) -> Vec<String> {
    let mut scopes = table.field("scopes").and_then(|field| field.strings()).unwrap_or_default();
    scopes.sort();
    scopes.dedup();
    if scopes.len() > TOKEN_SCOPES_MAX {
        let help = "a token with several scopes is one entry, written as the plugin wants it";
        table.problem("scopes", format!("more than {TOKEN_SCOPES_MAX} tokens"), help);
    }
    if scopes.is_empty() { vec![String::new()] } else { scopes }
}

/// A key that no header can carry would only fail on the first call.
fn fits_header(field: &Field<'_, '_>, secret: &str) -> Option<()> {
    if HeaderValue::from_str(secret).is_ok() {
        return Some(());
    }
    field.problem(
        "holds a character that no header may carry",
        "look for a line end or a stray octet in the secret",
    );
    None
}
