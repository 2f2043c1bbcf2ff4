//! How things stand with every integration, for the gauges that are looked at when metrics are read.

use crate::{
    pipeline::{LiveIntegration, Services},
    telemetry::{Concurrency, Held, Levels, SharedLevels, attributes::metric},
};
use bascule_cache_shared::Level;
use bascule_resilience::RateLimiter;
use std::sync::{Arc, Weak};

/// Lets the gauges look at the integrations of the newest configuration, for as long as the services are there.
pub(super) fn observe(services: &Arc<Services>) {
    let seen: Weak<Services> = Arc::downgrade(services);
    services
        .telemetry
        .observe(Box::new(move || seen.upgrade().map(|services| levels(&services)).unwrap_or_default()));
    let seen = Arc::downgrade(services);
    services
        .telemetry
        .observe_kept(Box::new(move || seen.upgrade().map(|services| kept(&services)).unwrap_or_default()));
    let seen = Arc::downgrade(services);
    services.telemetry.observe_shared(Box::new(move || shared(&*seen.upgrade()?)));
}

/// The server that is shared with other gateways.
fn shared(services: &Services) -> Option<SharedLevels> {
    let health = services.peers.server()?.health();
    Some(SharedLevels {
        connected: health.connected,
        latency: health.latency,
        calls: [
            ("answered", health.answered),
            ("timed-out", health.timed_out),
            ("lost", health.lost),
            ("turned-away", health.turned_away),
        ],
    })
}

fn levels(services: &Services) -> Vec<Levels> {
    let now = services.now();
    let generation = services.generation.load();
    let limits = |service: String, limiter: &RateLimiter, concurrency, cache| Levels {
        service,
        rate_limit_remaining: limiter.remaining(now),
        rate_limit_exhausted_in: limiter.forecast(now).and_then(|forecast| forecast.exhausted_in),
        concurrency,
        cache,
        outbox: Vec::new(),
    };
    let of = |integration: &Arc<LiveIntegration>| {
        let bulkhead = &integration.bulkhead;
        let concurrency = Concurrency {
            limit: bulkhead.limit(),
            in_flight: bulkhead.in_flight(),
            waiting: bulkhead.waiting(),
        };
        let own = integration.operations.values().filter_map(|operation| {
            let (limiter, _) = operation.limiter.as_ref()?;
            Some(limits(operation.full_name.to_string(), limiter, None, None))
        });
        let name = integration.settings.name.to_string();
        let stored = services.cache.stats_of(&name);
        let cache = Held { bytes: stored.bytes, entries: stored.entries, evictions: stored.evictions };
        let whole = limits(name, &integration.limiter, Some(concurrency), Some(cache));
        own.chain([whole]).collect::<Vec<_>>()
    };
    generation.integrations.values().flat_map(of).chain(outbox(services)).collect()
}

/// How things stand with the cache's file and the shared server.
fn kept(services: &Services) -> Vec<(&'static str, u64)> {
    let mut figures = Vec::new();
    if let Some(disk) = services.cache_disk.get().map(|disk| disk.stats()) {
        figures.extend([
            (metric::CACHE_DISK_BYTES, disk.bytes),
            (metric::CACHE_DISK_ENTRIES, disk.entries),
            (metric::CACHE_DISK_SKIPPED, disk.skipped),
        ]);
    }
    if let Some(level) = services.cache_shared.get().map(Level::stats) {
        figures.extend([
            (metric::CACHE_SHARED_HITS, level.hits),
            (metric::CACHE_SHARED_MISSES, level.misses),
            (metric::CACHE_SHARED_REFUSED, level.refused),
            (metric::CACHE_SHARED_UNANSWERED, level.unanswered),
            (metric::CACHE_SHARED_SENT, level.sent),
            (metric::CACHE_SHARED_SKIPPED, level.skipped),
            (metric::CACHE_SHARED_PURGES_WAITING, level.purges_waiting),
        ]);
    }
    figures
}

/// What the outbox holds, also of integrations that are gone.
fn outbox(services: &Services) -> Vec<Levels> {
    let found = services.outbox.get().map(|queue| queue.levels()).unwrap_or_default();
    found
        .into_iter()
        .map(|level| Levels {
            service: level.integration,
            rate_limit_remaining: None,
            rate_limit_exhausted_in: None,
            concurrency: None,
            cache: None,
            outbox: vec![(level.state.as_str(), level.entries)],
        })
        .collect()
}
