//! `Cache-Control` of requests and of responses, and the fields that stand in for it.
//!
//! Decisions where RFC 9111 leaves a choice:
//!
//! | case | here |
//! | --- | --- |
//! | a number twice (§4.2.1) | the first one counts |
//! | a lifetime that is no number, or has space around its `=` (§4.2.1) | zero: the answer is stale |
//! | a number in quotes (§5.2) | read like one without |
//! | `no-cache=""`, or fields that are no names (§5.2.2.4) | the whole answer |
//! | `Pragma: no-cache` of a request without `Cache-Control` (§5.4) | `no-cache`, for the sake of HTTP/1.0 clients |
//! | `Pragma` of a response | nothing; it never had a meaning |
//!
//! It does not say what follows from a directive; that is told where it matters.

use std::time::Duration;

use http::{
    HeaderMap, HeaderName,
    header::{CACHE_CONTROL, PRAGMA},
};

use super::{
    list::{directive, members, seconds, split, unquoted},
    targeted,
};

/// What a caller asks of the cache (RFC 9111 §5.2.1). The default asks for nothing, which is also what to pass where
/// callers are not to have a say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Answer with nothing that was not validated for this call.
    pub no_cache: bool,
    /// Store neither this request nor its answer.
    pub no_store: bool,
    /// Answer from the cache, or with 504 (§5.2.1.7).
    pub only_if_cached: bool,
    /// The age up to which an answer will do.
    pub max_age: Option<Duration>,
    /// How long an answer must stay fresh from now on.
    pub min_fresh: Option<Duration>,
    /// How long an answer may have been stale. Without a value any time will do, which is `Duration::MAX`.
    pub max_stale: Option<Duration>,
    /// How long an answer may have been stale if the call fails (RFC 5861 §4).
    pub stale_if_error: Option<Duration>,
}

/// What the origin demands of a shared cache (RFC 9111 §5.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// Never to be stored.
    pub no_store: bool,
    /// Never to be used without validation. Not set by the form that names fields.
    pub no_cache: bool,
    /// The fields of `no-cache="…"`: the answer may be used without them.
    pub no_cache_fields: Vec<HeaderName>,
    /// Not for a shared cache. Not set by the form that names fields.
    pub private: bool,
    /// The fields of `private="…"`: the answer may be stored without them.
    pub private_fields: Vec<HeaderName>,
    /// May be stored even where it otherwise could not be.
    pub public: bool,
    /// Never to be used stale.
    pub must_revalidate: bool,
    /// Never to be used stale by a shared cache, which this is.
    pub proxy_revalidate: bool,
    /// Only to be stored by who knows its status code, and then in spite of `no-store` (§5.2.2.3).
    pub must_understand: bool,
    /// The lifetime, for everybody.
    pub max_age: Option<Duration>,
    /// The lifetime for shared caches.
    pub s_maxage: Option<Duration>,
    /// How long after its lifetime it may be used while it is refreshed (RFC 5861 §3).
    pub stale_while_revalidate: Option<Duration>,
    /// How long after its lifetime it may be used in place of an error (RFC 5861 §4).
    pub stale_if_error: Option<Duration>,
    /// They came in a field for caches like this one, so `Expires` does not count (RFC 9213 §2.2).
    pub targeted: bool,
}

impl RequestDirectives {
    /// Those of a request.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut asked = Self::default();
        for member in members(headers, &CACHE_CONTROL) {
            let (name, value) = directive(member);
            let span = || value.map(unquoted).and_then(seconds);
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("no-cache") {
                asked.no_cache = true;
            } else if is("no-store") {
                asked.no_store = true;
            } else if is("only-if-cached") {
                asked.only_if_cached = true;
            } else if is("max-age") {
                asked.max_age = asked.max_age.or_else(span);
            } else if is("min-fresh") {
                asked.min_fresh = asked.min_fresh.or_else(span);
            } else if is("max-stale") {
                let any = value.is_none().then_some(Duration::MAX);
                asked.max_stale = asked.max_stale.or(any).or_else(span);
            } else if is("stale-if-error") {
                asked.stale_if_error = asked.stale_if_error.or_else(span);
            }
        }
        if !headers.contains_key(CACHE_CONTROL) {
            asked.no_cache = members(headers, &PRAGMA).any(|member| member.eq_ignore_ascii_case(b"no-cache"));
        }
        asked
    }
}

impl ResponseDirectives {
    /// Those of a response: from `CDN-Cache-Control` where there is a valid one, else from `Cache-Control`.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        targeted::directives(headers).unwrap_or_else(|| Self::cache_control(headers))
    }

    fn cache_control(headers: &HeaderMap) -> Self {
        let mut demanded = Self::default();
        for member in members(headers, &CACHE_CONTROL) {
            let (name, value) = directive(member);
            demanded.add(name, value.map(unquoted));
        }
        demanded
    }

    /// One directive, its value without quotes. What is not known is ignored.
    pub(super) fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let lifetime = || value.and_then(seconds).unwrap_or_default();
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            name_fields(value, &mut self.no_cache, &mut self.no_cache_fields);
        } else if is("private") {
            name_fields(value, &mut self.private, &mut self.private_fields);
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("max-age") {
            self.max_age.get_or_insert_with(lifetime);
        } else if is("s-maxage") {
            self.s_maxage.get_or_insert_with(lifetime);
        } else if is("stale-while-revalidate") {
            self.stale_while_revalidate.get_or_insert_with(lifetime);
        } else if is("stale-if-error") {
            self.stale_if_error.get_or_insert_with(lifetime);
        }
    }

    /// Whether the origin forbids every use of a stale answer (§4.2.4). `s-maxage` implies `proxy-revalidate`
    /// (§5.2.2.10); a targeted field speaks to shared caches alone, but its `max-age` implies nothing.
    pub(super) fn never_stale(&self) -> bool {
        self.no_cache || self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }

    /// Whether the origin says that the answer is for shared caches, whoever asked for it (§3.5).
    pub(super) fn for_shared_caches(&self) -> bool {
        self.public || self.s_maxage.is_some() || self.must_revalidate
    }
}

fn name_fields(value: Option<&[u8]>, whole: &mut bool, fields: &mut Vec<HeaderName>) {
    let names: Option<Vec<_>> =
        value.and_then(|value| split(value).map(|name| HeaderName::from_bytes(name).ok()).collect());
    match names {
        Some(names) if !names.is_empty() => fields.extend(names),
        _ => *whole = true,
    }
}

#[cfg(test)]
mod tests;
