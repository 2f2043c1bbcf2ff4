//! Who calls, and what they may call.

use crate::{
    config::{ApiKey, ServerSettings},
    model::{Code, Problem},
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use bascule_resilience::{Priority, RateWindow};
use http::{HeaderMap, HeaderName, header::AUTHORIZATION};
use std::sync::Arc;

/// `X-API-Key`, the other way to send a key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A caller that was let in.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    /// Its name; none where anyone may call.
    pub name: Option<Arc<str>>,
    /// The headers that carried a key: they are Bascule's, so they do not go upstream.
    pub consumed: Vec<HeaderName>,
    /// How much its calls matter; none: what the operation says.
    pub priority: Option<Priority>,
    /// How many calls it may make; none: any number.
    pub limit: Option<RateWindow>,
    pub(super) allow: Arc<[String]>,
}

/// Lets a caller in.
///
/// # Errors
/// `unauthenticated`, the same for a missing, an unknown and a wrong key.
pub(super) fn authenticate(server: &ServerSettings, headers: &HeaderMap) -> Result<Caller, Problem> {
    if server.api_keys.is_empty() {
        return Ok(Caller::default());
    }
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| (AUTHORIZATION, key.trim()));
    let plain = headers.get(&API_KEY).and_then(|value| value.to_str().ok()).map(|key| (API_KEY, key));
    let mut caller: Option<Caller> = None;
    for (header, key) in [plain, bearer].into_iter().flatten() {
        if let Some(known) = find(&server.api_keys, key) {
            let caller = caller.get_or_insert_with(|| Caller {
                name: Some(known.name.as_str().into()),
                consumed: Vec::new(),
                priority: known.priority,
                limit: known.rate_limit,
                allow: known.allow.clone().into(),
            });
            caller.consumed.push(header);
        }
    }
    if let Some(caller) = caller {
        return Ok(caller);
    }
    let detail = "send a known key as `Authorization: Bearer KEY` or `X-API-Key: KEY`";
    Err(Problem::new(Code::Unauthenticated, detail))
}

/// Compares against every key, by digest and in constant time, so that nothing is told by how long it takes.
fn find<'a>(keys: &'a [ApiKey], given: &str) -> Option<&'a ApiKey> {
    let given = digest(&SHA256, given.as_bytes());
    let mut found = None;
    for known in keys {
        let wanted = digest(&SHA256, known.key.expose().as_bytes());
        if verify_slices_are_equal(given.as_ref(), wanted.as_ref()).is_ok() {
            found = Some(known);
        }
    }
    found
}

impl Caller {
    /// Whether the caller may call the operation.
    ///
    /// # Errors
    /// `forbidden` when none of its patterns matches.
    pub(super) fn authorize(&self, integration: &str, operation: &str) -> Result<(), Problem> {
        if self.allow.is_empty() || self.allow.iter().any(|pattern| matches(pattern, integration, operation))
        {
            return Ok(());
        }
        let detail = format!("this key may not call {integration}.{operation}");
        Err(Problem::new(Code::Forbidden, detail))
    }
}

/// `stripe.*`, `*.get_*`, `stripe` (all of it), `*`.
fn matches(pattern: &str, integration: &str, operation: &str) -> bool {
    match pattern.split_once('.') {
        None => glob(pattern, integration),
        Some((left, right)) => glob(left, integration) && glob(right, operation),
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return text.is_empty() };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            let middle: &str = middle;
            let Some(at) = rest.find(middle) else { return false };
            rest = rest.get(at + middle.len()..).unwrap_or_default();
        }
    }
    match last {
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn patterns_match_integration_and_operation() {
        for (pattern, yes, no) in [
            ("stripe.*", ("stripe", "charge"), ("github", "charge")),
            ("*.get_*", ("github", "get_user"), ("github", "list_users")),
            ("stripe", ("stripe", "proxy"), ("stripes", "x")),
            ("stripe.charge", ("stripe", "charge"), ("stripe", "charges")),
            ("*.a*b*c", ("x", "a1b2c"), ("x", "acb")),
        ] {
            assert!(matches(pattern, yes.0, yes.1), "{pattern} {yes:?}");
            assert!(!matches(pattern, no.0, no.1), "{pattern} {no:?}");
        }
        assert!(matches("*", "anything", "at_all"));
    }

    #[test]
    fn the_key_is_found_among_many() {
        let key = |name: &str| ApiKey {
            name: name.into(),
            key: Secret::new(format!("key-{name}")),
            allow: vec![],
            priority: None,
            rate_limit: None,
        };
        let keys = [key("a"), key("b")];
        assert_eq!(find(&keys, "key-b").map(|key| key.name.as_str()), Some("b"));
        assert!(find(&keys, "key-c").is_none());
        assert!(find(&keys, "").is_none());
    }
}
