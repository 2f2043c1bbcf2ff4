//! Keeps secrets out of everything that is printed, traced or answered.
//!
//! Two nets: by *name* (headers, query parameters, JSON members whose name tells) and by *value*
//! (every secret of the configuration, also percent-encoded, base64 or escaped). The rules are
//! swapped as a whole on reload; every clone of a [`Redactor`] sees the new ones. It knows nothing
//! of where a text comes from, and it does not look for secrets that nobody declared.

mod encodings;
mod names;
mod scrub;

use std::{borrow::Cow, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::model::Secret;
use names::Names;
use scrub::Scrub;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Headers whose value is never shown, whatever the configuration says.
const ALWAYS_HEADERS: &[&str] =
    &["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-amz-security-token"];

/// Query parameters that are credentials by themselves: whoever has a presigned URL may use it.
const ALWAYS_QUERY: &[&str] = &["access_token", "x-amz-signature", "x-amz-security-token"];

/// Removes secrets from texts. Clones share their rules.
#[derive(Clone)]
pub struct Redactor {
    rules: Arc<ArcSwap<Rules>>,
}

struct Rules {
    names: Arc<Names>,
    query: Arc<Names>,
    scrub: Arc<Scrub>,
    /// The values before the last reload: calls in flight still use them, and their owner may, too.
    before: Option<Arc<Scrub>>,
}

impl Default for Redactor {
    /// No declared names or secrets: only credentials headers and parameters are hidden.
    fn default() -> Self {
        Self::new(&[], &[], &[])
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Rules from the configuration.
    ///
    /// `names` are words that tell a sensitive header, parameter or JSON member (`api_key` also covers
    /// `X-Api-Key` and `apiKey`, `token` covers `access_token` but not `max_tokens`). `secrets` are
    /// values, hidden wherever they occur; those under four octets are left out, since they would
    /// blot out ordinary text. `query_names` are further query parameters, matched exactly but for case.
    pub fn new(names: &[String], secrets: &[Secret], query_names: &[String]) -> Self {
        let exact = query_names.iter().map(String::as_str).chain(ALWAYS_QUERY.iter().copied());
        let rules = Rules {
            names: Arc::new(Names::new(names, std::iter::empty())),
            query: Arc::new(Names::new(names, exact)),
            scrub: Arc::new(Scrub::new(secrets)),
            before: None,
        };
        Self { rules: Arc::new(ArcSwap::from_pointee(rules)) }
    }

    /// Takes over another redactor's rules, for this one and all its clones. The values known so far
    /// stay hidden until the next time, since calls in flight still use them.
    pub fn replace(&self, other: &Self) {
        let other = other.rules.load();
        self.rules.rcu(|rules| {
            let same = Arc::ptr_eq(&rules.scrub, &other.scrub);
            Rules {
                names: Arc::clone(&other.names),
                query: Arc::clone(&other.query),
                scrub: Arc::clone(&other.scrub),
                before: if same { rules.before.clone() } else { Some(Arc::clone(&rules.scrub)) },
            }
        });
    }

    /// `text` without known secrets.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.rules.load().text(text)
    }

    /// A header's value for people: hidden if its name tells, otherwise without known secrets.
    pub fn header<'a>(&self, name: &HeaderName, value: &'a HeaderValue) -> Cow<'a, str> {
        let rules = self.rules.load();
        if value.is_sensitive()
            || ALWAYS_HEADERS.contains(&name.as_str())
            || rules.names.covers(name.as_str())
        {
            return Cow::Borrowed(REDACTED);
        }
        match value.to_str() {
            Ok(text) => rules.text(text),
            Err(_) => Cow::Owned(rules.text(&String::from_utf8_lossy(value.as_bytes())).into_owned()),
        }
    }

    /// A URL without user information, sensitive parameters (query and fragment) and known secrets.
    ///
    /// It need not be well-formed, and may be a path with a query.
    pub fn url(&self, url: &str) -> String {
        let rules = self.rules.load();
        let (rest, fragment) = split(url, '#');
        let (place, query) = split(rest, '?');
        let mut shown = without_user(place);
        for (mark, parameters) in [('?', query), ('#', fragment)] {
            if let Some(parameters) = parameters {
                shown.push(mark);
                push_parameters(&mut shown, parameters, &rules.query);
            }
        }
        match rules.text(&shown) {
            Cow::Borrowed(_) => shown,
            Cow::Owned(scrubbed) => scrubbed,
        }
    }

    /// Hides members whose name tells, whatever their type, and known secrets in all other texts.
    pub fn json(&self, value: &mut Value) {
        self.rules.load().json(value);
    }
}

impl Rules {
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let shown = self.scrub.apply(text);
        let Some(before) = &self.before else { return shown };
        match before.apply(&shown) {
            Cow::Borrowed(_) => shown,
            Cow::Owned(scrubbed) => Cow::Owned(scrubbed),
        }
    }

    fn json(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, member) in members.iter_mut() {
                    if self.names.covers(name) {
                        *member = Value::String(REDACTED.to_owned());
                    } else {
                        self.json(member);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::String(text) => {
                if let Cow::Owned(scrubbed) = self.text(text) {
                    *text = scrubbed;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// The text before the first `mark`, and what follows it.
fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Scheme, authority and path with `user:password@` hidden.
fn without_user(place: &str) -> String {
    let Some((scheme, rest)) = place.split_once("//") else { return place.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}//{REDACTED}@{host}{path}"),
        None => place.to_owned(),
    }
}

fn push_parameters(shown: &mut String, parameters: &str, names: &Names) {
    for (at, parameter) in parameters.split('&').enumerate() {
        if at > 0 {
            shown.push('&');
        }
        match parameter.split_once('=') {
            Some((name, _)) if names.covers(&percent_decode_str(name).decode_utf8_lossy()) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(REDACTED);
            }
            _ => shown.push_str(parameter),
        }
    }
}

#[cfg(test)]
mod tests;
