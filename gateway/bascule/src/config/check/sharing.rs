//! Budgets and circuits that are to be shared with other gateways need a server to share them through.

use super::{All, Diagnostic, Gateway, Places, placed};
use crate::config::{
    settings::{Integration, RateLimit},
    sources::Found,
};

/// Looks at every `shared = true`.
pub(crate) fn sharing(gateway: &Gateway, all: &All, found: &Found, places: &Places) -> Vec<Diagnostic> {
    if gateway.has_shared || gateway.breakers.unread {
        return Vec::new();
    }
    let integrations = all.values().filter_map(|known| known.integration.as_ref());
    let theirs = integrations
        .flat_map(|integration| keys(integration).into_iter().map(|key| (integration.file.clone(), key)));
    let declared = found.gateway.iter().flat_map(|source| {
        gateway.breakers.announced.iter().map(|name| (source.path.clone(), format!("breakers.{name}.shared")))
    });
    theirs
        .chain(declared)
        .map(|(file, key)| {
            let message = "there is no server to share it through".to_owned();
            let help =
                "add this line to [cache] of bascule.toml: `shared = \"redis://host:6379\"`".to_owned();
            placed(&file, key, places, message, help)
        })
        .collect()
}

/// The keys of an integration that ask for it. What an operation has from its integration is not said twice.
fn keys(integration: &Integration) -> Vec<String> {
    let shared = |limit: &Option<RateLimit>| limit.as_ref().is_some_and(|limit| limit.shared);
    let mut keys = Vec::new();
    if shared(&integration.rate_limit) {
        keys.push("rate_limit.shared".to_owned());
    }
    if integration.breaker_announced {
        keys.push("circuit_breaker.shared".to_owned());
    }
    for operation in integration.operations.values() {
        if shared(&operation.rate_limit) {
            keys.push(format!("operations.{}.rate_limit.shared", operation.name));
        }
        if operation.breaker_announced && !integration.breaker_announced {
            keys.push(format!("operations.{}.circuit_breaker.shared", operation.name));
        }
    }
    keys
}
