//! The shared breakers of a generation: kept from the one before where their settings are the same, and shown to
//! whoever uses them now.

use crate::{
    config::{Config, Integration},
    model::BreakerName,
    pipeline::{Generation, LiveIntegration, Peers, Services, SharedBreaker},
    telemetry::{IntegrationMetrics, Telemetry},
};
use std::{collections::BTreeMap, sync::Arc};

/// Shared breakers by name.
pub(super) type Breakers = BTreeMap<BreakerName, Arc<SharedBreaker>>;

/// The breakers that a configuration declares.
pub(super) fn breakers(
    before: &Generation,
    config: &Config,
    telemetry: &Telemetry,
    peers: &Arc<Peers>,
) -> Breakers {
    let one = |(name, settings): (&BreakerName, _)| {
        let kept = before.breakers.get(name).filter(|kept| kept.breaker.config() == settings);
        let breaker = kept.map_or_else(
            || {
                let metrics = telemetry.integration(&SharedBreaker::service(name));
                SharedBreaker::new(name, settings, metrics, peers)
            },
            Arc::clone,
        );
        (name.clone(), breaker)
    };
    config.breakers.iter().map(one).collect()
}

/// Whether all breakers that an integration shares are still the ones that it was built with.
pub(super) fn same_breakers(settings: &Integration, before: &Breakers, now: &Breakers) -> bool {
    let operations = settings.operations.values().filter_map(|operation| operation.shared_breaker.as_ref());
    operations.chain(&settings.shared_breaker).all(|name| match (before.get(name), now.get(name)) {
        (Some(before), Some(now)) => Arc::ptr_eq(before, now),
        _ => false,
    })
}

/// Tells every breaker who uses it, those that are gone that nobody does, and the peers what is shared with them.
pub(super) fn show(services: &Services, next: &Generation) {
    services.peers.know(next);
    let before = services.generation.load();
    for (name, old) in &before.breakers {
        if !next.breakers.get(name).is_some_and(|new| Arc::ptr_eq(old, new)) {
            old.retire();
        }
    }
    for (name, breaker) in &next.breakers {
        let users =
            next.integrations.values().flat_map(|live| users(&services.telemetry, live, name)).collect();
        breaker.show_to(users, services.now());
    }
}

/// The series of an integration that show the state of this breaker.
fn users(telemetry: &Telemetry, live: &LiveIntegration, name: &BreakerName) -> Vec<Arc<IntegrationMetrics>> {
    let itself = live.settings.shared_breaker.as_ref().filter(|shared| *shared == name);
    let operations = live.operations.values().filter(|operation| {
        let declared = operation.declared.as_ref();
        declared.is_some_and(|declared| declared.shared_breaker.as_ref() == Some(name))
    });
    let operations = operations.map(|operation| telemetry.integration(&operation.full_name));
    operations.chain(itself.map(|_| Arc::clone(&live.metrics))).collect()
}
