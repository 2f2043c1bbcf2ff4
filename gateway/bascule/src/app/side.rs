//! Where an integration's plugins may send to by themselves, and the tokens that they obtain there.

use super::{
    integration::{Materials, new_breaker},
    plugins::Loaded,
};
use crate::{
    config::{Auth, Integration},
    pipeline::{DEFAULT_ENDPOINT, LiveIntegration, PluginTokens, SideEndpoint, SideEndpoints, TokenMaker},
    upstream::{Client, Endpoint},
};
use bascule_plugin_host::Phase;
use bascule_resilience::{HealthStats, RateLimiter};
use std::{collections::BTreeMap, sync::Arc};

/// The endpoints that some plugin is granted; none when no plugin is granted any. Their breakers stay over a reload
/// that leaves the settings of the integration's as they are.
pub(super) fn endpoints(
    materials: &Materials<'_>,
    settings: &Arc<Integration>,
    (client, default, named): (&Client, &Endpoint, &BTreeMap<String, Endpoint>),
    limiter: &Arc<RateLimiter>,
    plugins: &[Loaded<'_>],
    before: Option<&LiveIntegration>,
) -> Option<Arc<SideEndpoints>> {
    let before = before.and_then(|before| before.side.as_deref());
    let named = named.iter().map(|(name, endpoint)| (name.as_str(), endpoint));
    let granted = std::iter::once((DEFAULT_ENDPOINT, default))
        .chain(named)
        .filter(|(name, _)| plugins.iter().any(|plugin| plugin.sends_to(name)));
    let endpoints: BTreeMap<String, SideEndpoint> = granted
        .map(|(name, endpoint)| (name.to_owned(), one(materials, settings, (name, endpoint), before)))
        .collect();
    if endpoints.is_empty() {
        return None;
    }
    Some(Arc::new(SideEndpoints {
        settings: Arc::clone(settings),
        client: client.clone(),
        endpoints,
        limiter: Arc::clone(limiter),
        metrics: materials.telemetry.integration(settings.name.as_str()),
        telemetry: materials.telemetry.clone(),
        clock: Arc::clone(materials.clock),
        random: Arc::clone(materials.random),
    }))
}

fn one(
    materials: &Materials<'_>,
    settings: &Integration,
    (name, endpoint): (&str, &Endpoint),
    before: Option<&SideEndpoints>,
) -> SideEndpoint {
    let service = format!("endpoint:{}.{name}", settings.name);
    let breaker_metrics = materials.telemetry.integration(&service);
    let kept = before.and_then(|before| before.endpoints.get(name)).map(|before| &before.breaker);
    let kept = kept.filter(|kept| *kept.config() == settings.breaker);
    SideEndpoint {
        endpoint: endpoint.clone(),
        breaker: kept.map_or_else(|| new_breaker(&service, &settings.breaker, &breaker_metrics), Arc::clone),
        breaker_metrics,
        times: HealthStats::new(),
    }
}

/// Gives each token source a place for its tokens, one for each scope. None is fetched yet.
pub(super) fn hold_tokens(
    materials: &Materials<'_>,
    settings: &Integration,
    side: Option<&Arc<SideEndpoints>>,
    plugins: &mut [Loaded<'_>],
) {
    let Auth::Plugin { scopes } = &settings.auth else { return };
    for source in plugins.iter_mut().filter(|one| one.plugin.has(Phase::TokenSource)) {
        let maker = TokenMaker {
            plugin: Arc::clone(&source.plugin),
            integration: settings.name.shared(),
            side: side.cloned(),
            clock: Arc::clone(materials.clock),
        };
        source.tokens = Some(PluginTokens::new(maker, scopes));
    }
}
