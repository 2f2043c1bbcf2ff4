//! What an unsafe request makes invalid (RFC 9111 §4.4), whatever operation, or `/proxy`, it was asked for by.
//!
//! The decision: an address is the key of what `/proxy` stores, so that is purged exactly. What a declared operation stores
//! has its parameters for a key, and carries the address as a tag.

use super::super::{
    call::Fetch,
    lookup,
    request::{Outbound, shown_url},
};
use crate::config::CachePolicy;
use bascule_cache::{Key, rfc9111::invalidated};
use http::{HeaderMap, StatusCode, Uri};
use url::Url;

/// Drops what an exchange has made invalid.
pub(in super::super) fn invalidate(
    fetch: &Fetch,
    outbound: &Outbound,
    status: StatusCode,
    headers: &HeaderMap,
) {
    if outbound.method.is_safe() {
        return;
    }
    let integration = &fetch.integration;
    let mut operations = integration.operations.values().chain([&integration.proxy]);
    if !operations.any(|operation| matches!(operation.policy.cache, Some(CachePolicy::Http(_)))) {
        return;
    }
    let Ok(target) = Uri::try_from(shown_url(outbound)) else { return };
    for uri in invalidated(&outbound.method, status, &target, headers) {
        if let Some(tag) = tag(&uri.to_string()) {
            fetch.services.cache.purge_address(integration.settings.name.as_str(), &tag);
        }
        if let Some(key) = proxied(fetch, outbound, &uri) {
            fetch.services.cache.purge_key(&key);
        }
    }
}

/// One text for all ways to write an address.
pub(super) fn tag(uri: &str) -> Option<String> {
    let mut url = Url::parse(uri).ok()?;
    url.set_fragment(None);
    Some(url.into())
}

/// The key under which `/proxy` stores the answers of an address; none if it stores none.
fn proxied(fetch: &Fetch, outbound: &Outbound, uri: &Uri) -> Option<Key> {
    let integration = &fetch.integration;
    let by_http = matches!(integration.proxy.policy.cache, Some(CachePolicy::Http(_)));
    // `/proxy` reaches the integration's own address and no other endpoint.
    let own = integration.endpoint.as_ref().is_some_and(|own| {
        own.base().authority == outbound.endpoint.base().authority
            && own.base().https == outbound.endpoint.base().https
    });
    if !by_http || !own {
        return None;
    }
    let path = uri.path().strip_prefix(integration.endpoint.as_ref()?.base().path.as_str())?;
    let key = lookup::base_key(integration, &integration.proxy);
    Some(lookup::with_target(key, path, uri.query()).finish())
}
