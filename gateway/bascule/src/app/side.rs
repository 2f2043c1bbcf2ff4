//! Where an integration's plugins may send to by themselves: the endpoints that they are granted, each with a breaker of
//! its own; and the places of the tokens that they fetch there.

use super::{
    integration::{Materials, new_breaker},
    plugins::Loaded,
};
use crate::{
    config::{self, Auth},
    pipeline::{
        DEFAULT_ENDPOINT, LiveIntegration, PluginTokens, Share, SideEndpoint, SideEndpoints, TokenMaker,
    },
    telemetry::IntegrationMetrics,
    upstream::{Client, Endpoint},
};
use bascule_plugin_host::Phase;
use bascule_resilience::{HealthStats, RateLimiter};
use std::{collections::BTreeMap, sync::Arc};

/// What of the integration side requests share with calls.
pub(super) struct SideParts<'a> {
    pub(super) endpoint: Option<&'a Endpoint>,
    pub(super) endpoints: &'a BTreeMap<String, Endpoint>,
    pub(super) client: &'a Client,
    pub(super) limiter: &'a Arc<RateLimiter>,
    pub(super) share: Option<&'a Arc<Share>>,
    pub(super) metrics: &'a Arc<IntegrationMetrics>,
}

/// The endpoints of side requests; none when no plugin is granted one.
pub(super) fn side_endpoints(
    materials: &Materials<'_>,
    settings: &Arc<config::Integration>,
    plugins: &[Loaded<'_>],
    parts: &SideParts<'_>,
    before: Option<&LiveIntegration>,
) -> Option<Arc<SideEndpoints>> {
    let before = before.and_then(|before| before.side.as_deref());
    let default = parts.endpoint.map(|endpoint| (DEFAULT_ENDPOINT, endpoint));
    let named = parts.endpoints.iter().map(|(name, endpoint)| (name.as_str(), endpoint));
    let granted =
        default.into_iter().chain(named).filter(|(name, _)| plugins.iter().any(|one| one.sends_to(name)));
    let endpoints: BTreeMap<_, _> = granted
        .map(|(name, endpoint)| {
            (name.to_owned(), side_endpoint(materials, settings, (name, endpoint), before))
        })
        .collect();
    (!endpoints.is_empty()).then(|| {
        Arc::new(SideEndpoints {
            settings: Arc::clone(settings),
            client: parts.client.clone(),
            endpoints,
            limiter: Arc::clone(parts.limiter),
            share: parts.share.cloned(),
            metrics: Arc::clone(parts.metrics),
            telemetry: materials.telemetry.clone(),
            clock: Arc::clone(materials.clock),
            random: Arc::clone(materials.random),
        })
    })
}

/// An endpoint for side requests, with a breaker of its own that a reload keeps.
fn side_endpoint(
    materials: &Materials<'_>,
    settings: &config::Integration,
    (name, endpoint): (&str, &Endpoint),
    before: Option<&SideEndpoints>,
) -> SideEndpoint {
    let service = format!("endpoint:{}.{name}", settings.name);
    let breaker_metrics = materials.telemetry.integration(&service);
    let kept = before.and_then(|before| before.endpoints.get(name)).map(|before| &before.breaker);
    let kept = kept.filter(|kept| *kept.config() == settings.breaker);
    SideEndpoint {
        endpoint: endpoint.clone(),
        breaker: kept.map_or_else(
            || new_breaker(&service, &settings.breaker, &breaker_metrics, materials.peers),
            Arc::clone,
        ),
        breaker_metrics,
        times: HealthStats::new(),
    }
}

/// Gives each token source a place for its tokens, one for each scope; none is fetched yet. Where the settings are the
/// `same` as before, a plugin that goes on keeps those that it has.
pub(super) fn hold_tokens(
    materials: &Materials<'_>,
    settings: &config::Integration,
    side: Option<&Arc<SideEndpoints>>,
    same: bool,
    plugins: &mut [Loaded<'_>],
) {
    let Auth::Plugin { scopes } = &settings.auth else { return };
    for one in plugins.iter_mut().filter(|one| one.has(Phase::TokenSource)) {
        let bound = &mut one.live.bound;
        if same && bound.tokens.is_some() {
            continue;
        }
        let maker = TokenMaker {
            plugin: Arc::clone(&bound.plugin),
            integration: settings.name.shared(),
            side: side.cloned(),
            clock: Arc::clone(materials.clock),
        };
        bound.tokens = Some(PluginTokens::new(maker, scopes));
    }
}
