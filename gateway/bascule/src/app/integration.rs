//! One integration from its settings, taking over from its predecessor what still fits.

use super::{
    breakers::Breakers,
    plugins::{Loaded, check_scopes, phases},
    side::{SideParts, hold_tokens, side_endpoints},
};
use crate::{
    config::{self, Auth, BaseUrl, CachePolicy, Diagnostic, Problems},
    model::{BreakerName, OperationName},
    pipeline::{LiveIntegration, LiveOperation, Peers, Phases, Policy, Services, Share, mechanisms},
    telemetry::{IntegrationMetrics, Telemetry},
    upstream::{Client, ClientSettings, EgressPolicy, Tls, TokenCell},
};
use bascule_cache::Store;
use bascule_resilience::{Breaker, BreakerConfig, Clock, HealthStats, Mode, Random, RetryBudget, State};
use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Instant};

/// What integrations are built with.
pub(super) struct Materials<'a> {
    pub(super) telemetry: &'a Telemetry,
    pub(super) cache: &'a Arc<Store>,
    pub(super) tls: &'a Tls,
    pub(super) breakers: &'a Breakers,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) random: &'a Arc<dyn Random>,
    pub(super) peers: &'a Arc<Peers>,
    pub(super) now: Instant,
}

impl<'a> Materials<'a> {
    pub(super) fn of(services: &'a Services, tls: &'a Tls, breakers: &'a Breakers) -> Self {
        Self {
            telemetry: &services.telemetry,
            cache: &services.cache,
            tls,
            breakers,
            clock: &services.clock,
            random: &services.random,
            peers: &services.peers,
            now: services.now(),
        }
    }
}

impl Materials<'_> {
    /// A shared breaker, and where its failures are counted. Names were checked when the configuration was loaded.
    fn shared(&self, name: Option<&BreakerName>) -> Option<(Arc<Breaker>, Arc<IntegrationMetrics>)> {
        let shared = self.breakers.get(name?)?;
        Some((Arc::clone(&shared.breaker), Arc::clone(&shared.metrics)))
    }
}

/// Puts an integration to work.
pub(super) fn integration(
    materials: &Materials<'_>,
    settings: &Arc<config::Integration>,
    mut plugins: Vec<Loaded<'_>>,
    before: Option<&LiveIntegration>,
    problems: &mut Problems,
) -> LiveIntegration {
    let name = settings.name.as_str();
    let metrics = materials.telemetry.integration(name);
    // Another version of a plugin is no reason to connect anew or to ask for another token.
    let same = before.filter(|before| before.settings.digest == settings.digest);
    let client = match same {
        Some(same) => same.client.clone(),
        None => Client::new(
            materials.tls.clone(),
            ClientSettings {
                egress: EgressPolicy { allow_private: settings.allow_private, allow_loopback: false },
                write: settings.timeouts.write,
            },
        ),
    };
    let own_breaker = || {
        let kept = before.filter(|before| before.settings.shared_breaker.is_none());
        let kept = kept.map(|before| &before.breaker).filter(|kept| *kept.config() == settings.breaker);
        kept.map_or_else(|| new_breaker(name, &settings.breaker, &metrics, materials.peers), Arc::clone)
    };
    let (breaker, breaker_metrics) = materials
        .shared(settings.shared_breaker.as_ref())
        .unwrap_or_else(|| (own_breaker(), Arc::clone(&metrics)));
    let (limiter, share) = match before {
        Some(before) if before.settings.rate_limit == settings.rate_limit => {
            (Arc::clone(&before.limiter), before.share.clone())
        }
        _ => {
            let limit = settings.rate_limit.as_ref();
            (mechanisms::limiter(limit, materials.now), Share::new(name, limit, materials.peers))
        }
    };
    let bulkhead = match before {
        Some(before) if before.settings.concurrency == settings.concurrency => Arc::clone(&before.bulkhead),
        _ => mechanisms::bulkhead(&settings.concurrency),
    };
    let (endpoint, endpoints) = match same {
        Some(same) => (same.endpoint.clone(), same.endpoints.clone()),
        None => {
            let declared = settings.endpoints.iter();
            let endpoints = declared.map(|(name, base)| (name.clone(), client.endpoint(base.clone())));
            (settings.base_url.as_ref().map(|base| client.endpoint(base.clone())), endpoints.collect())
        }
    };
    let side = match same {
        Some(same) => same.side.clone(),
        None => {
            let parts = SideParts {
                endpoint: endpoint.as_ref(),
                endpoints: &endpoints,
                client: &client,
                limiter: &limiter,
                share: share.as_ref(),
                metrics: &metrics,
            };
            side_endpoints(materials, settings, &plugins, &parts, before)
        }
    };
    hold_tokens(materials, settings, side.as_ref(), same.is_some(), &mut plugins);
    let plugins = &plugins;
    let operations: HashMap<OperationName, Arc<LiveOperation>> = settings
        .operations
        .values()
        .map(|declared| {
            let operation = declared_operation(
                materials,
                settings,
                declared,
                plugins,
                (&breaker, &breaker_metrics),
                before,
                problems,
            );
            (declared.name.clone(), Arc::new(operation))
        })
        .collect();
    let proxy = proxy_operation(materials, settings, plugins, (&breaker, &breaker_metrics), problems);
    let bound = operations.values().map(|operation| (&operation.name, &operation.phases));
    check_scopes(plugins, &settings.auth, bound.chain([(&proxy.name, &proxy.phases)]), problems);
    LiveIntegration {
        endpoint,
        endpoints,
        side,
        token: same.map_or_else(|| token(settings, &client), |same| same.token.clone()),
        client,
        breaker,
        limiter,
        share,
        quota_numbers: before.map_or_else(Arc::default, |before| Arc::clone(&before.quota_numbers)),
        bulkhead,
        budget: match before {
            Some(before) if before.settings.retry.budget == settings.retry.budget => {
                Arc::clone(&before.budget)
            }
            _ => Arc::new(RetryBudget::new(settings.retry.budget.clone())),
        },
        health: before.map_or_else(|| Arc::new(HealthStats::new()), |before| Arc::clone(&before.health)),
        attempt_times: before
            .map_or_else(|| Arc::new(HealthStats::new()), |before| Arc::clone(&before.attempt_times)),
        last_error: before.map_or_else(Arc::default, |before| Arc::clone(&before.last_error)),
        operations,
        plugins: plugins.iter().map(|loaded| loaded.live.clone()).collect(),
        proxy: Arc::new(proxy),
        metrics,
        settings: Arc::clone(settings),
    }
}

/// A breaker that tells metrics, the log and other gateways about its transitions.
pub(super) fn new_breaker(
    name: &str,
    config: &BreakerConfig,
    metrics: &Arc<IntegrationMetrics>,
    peers: &Arc<Peers>,
) -> Arc<Breaker> {
    let (metrics, peers) = (Arc::clone(metrics), Arc::downgrade(peers));
    metrics.breaker_state(i64::from(config.mode == Mode::ForcedOpen));
    let name = name.to_owned();
    Breaker::new(config.clone(), move |transition| {
        metrics.breaker_state(match transition.to {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        });
        if let Some(peers) = peers.upgrade() {
            peers.circuit_changed(&name, transition);
        }
        let (from, to) = (transition.from.to_string(), transition.to.to_string());
        metrics.breaker_change(&from, &to);
        let reason = transition.reason.to_string();
        if transition.to == State::Open {
            tracing::warn!(integration = %name, from, to, reason, "the circuit opened");
        } else {
            tracing::info!(integration = %name, from, to, reason, "the circuit changed");
        }
    })
}

fn token(settings: &config::Integration, client: &Client) -> Option<Arc<TokenCell>> {
    let Auth::OAuth2(oauth2) = &settings.auth else { return None };
    let base = BaseUrl::of(&oauth2.token_url);
    Some(TokenCell::new(client.clone(), oauth2, base, settings.timeouts))
}

fn declared_operation(
    materials: &Materials<'_>,
    settings: &config::Integration,
    declared: &Arc<config::Operation>,
    plugins: &[Loaded<'_>],
    (breaker, metrics): (&Arc<Breaker>, &Arc<IntegrationMetrics>),
    before: Option<&LiveIntegration>,
    problems: &mut Problems,
) -> LiveOperation {
    let integration = settings.name.as_str();
    let full_name: Arc<str> = format!("{integration}.{}", declared.name).into();
    let before = before.and_then(|before| before.operations.get(&declared.name));
    let shared = materials.shared(declared.shared_breaker.as_ref());
    let (breaker, breaker_metrics) = match (shared, &declared.breaker) {
        (Some(shared), _) => shared,
        (None, None) => (Arc::clone(breaker), Arc::clone(metrics)),
        (None, Some(config)) => {
            let metrics = materials.telemetry.integration(&full_name);
            let had_its_own =
                |old: &Arc<config::Operation>| old.breaker.is_some() && old.shared_breaker.is_none();
            let kept = before.filter(|before| before.declared.as_ref().is_some_and(had_its_own));
            let kept = kept.map(|before| &before.breaker).filter(|kept| kept.config() == config);
            let made = || new_breaker(&full_name, config, &metrics, materials.peers);
            (kept.map_or_else(made, Arc::clone), metrics)
        }
    };
    // A fan-out meets no provider; plugins run in its branches.
    let phases = match &declared.fan_out {
        Some(_) => Phases::default(),
        None => phases(plugins, &declared.name, problems),
    };
    if let (Some(policy), Some(CachePolicy::Http(_))) = (&phases.cache_policy, &declared.cache)
        && let Some(one) = plugins.iter().find(|one| Arc::ptr_eq(&one.live.bound.plugin, &policy.plugin))
    {
        problems.push(Diagnostic::at(
            &one.settings.origin,
            format!(
                "a `cache-policy` is not asked where HTTP's rules decide, as they do for `{}`",
                declared.name
            ),
            "cache the operation by rule, or name the plugin's other phases in `phases`",
        ));
    }
    let limit = declared.rate_limit.as_ref();
    let kept = before.filter(|before| {
        before.declared.as_ref().is_some_and(|old| limit.is_some() && old.rate_limit.as_ref() == limit)
    });
    let (limiter, share) = match kept {
        Some(kept) => (kept.limiter.clone(), kept.share.clone()),
        None => (
            limit.map(|limit| (mechanisms::limiter(Some(limit), materials.now), limit.max_wait)),
            Share::new(&full_name, limit, materials.peers),
        ),
    };
    LiveOperation {
        name: declared.name.clone(),
        policy: Policy {
            timeouts: declared.timeouts,
            retry: declared.retry.clone(),
            retry_safe: declared.retry_safe,
            safe_by_key: declared.safe_by_key,
            cache: declared.cache,
            vary_by: declared.vary_by.clone(),
            purges: declared.purges.clone(),
            fallback: Arc::clone(&declared.fallback),
            fallback_on: declared.fallback_on,
            idempotency: declared.idempotency.clone(),
            cost: declared.cost,
            priority: declared.priority,
            hedge: declared.hedge.clone(),
            errors: Arc::clone(&declared.errors),
            headers: declared.headers.clone(),
            forward_headers: declared.forward_headers.clone(),
        },
        breaker,
        breaker_metrics,
        times: declared.hedge.as_ref().map(|_| {
            let kept = before.and_then(|before| before.times.as_ref());
            kept.map_or_else(Arc::default, Arc::clone)
        }),
        limiter,
        share,
        phases,
        scope: materials.cache.scope(integration, declared.name.as_str()),
        metrics: materials.telemetry.operation(integration, declared.name.as_str()),
        declared: Some(Arc::clone(declared)),
        full_name,
    }
}

fn proxy_operation(
    materials: &Materials<'_>,
    settings: &config::Integration,
    plugins: &[Loaded<'_>],
    (breaker, metrics): (&Arc<Breaker>, &Arc<IntegrationMetrics>),
    problems: &mut Problems,
) -> LiveOperation {
    let integration = settings.name.as_str();
    let name = OperationName::proxy();
    LiveOperation {
        full_name: format!("{integration}.{name}").into(),
        declared: None,
        policy: Policy {
            timeouts: settings.timeouts,
            retry: settings.retry.clone(),
            retry_safe: false,
            safe_by_key: false,
            cache: settings.proxy_cache,
            vary_by: config::VaryBy::default(),
            purges: Vec::new(),
            fallback: Arc::clone(&settings.fallback),
            fallback_on: settings.fallback_on,
            idempotency: settings.idempotency.clone(),
            cost: NonZeroU32::MIN,
            priority: settings.priority,
            hedge: settings.hedge.clone(),
            errors: Arc::clone(&settings.errors),
            headers: settings.headers.clone(),
            forward_headers: Vec::new(),
        },
        breaker: Arc::clone(breaker),
        breaker_metrics: Arc::clone(metrics),
        times: settings.hedge.as_ref().map(|_| Arc::default()),
        limiter: None,
        share: None,
        phases: phases(plugins, &name, problems),
        scope: materials.cache.scope(integration, name.as_str()),
        metrics: materials.telemetry.operation(integration, name.as_str()),
        name,
    }
}
