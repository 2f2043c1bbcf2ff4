//! How things stand with every integration, for the gauges that are looked at when metrics are read.

use crate::{
    pipeline::{LiveIntegration, Services},
    telemetry::Levels,
};
use std::sync::{Arc, Weak};

/// Lets the gauges look at the integrations of the newest configuration, for as long as the services are there.
pub(super) fn observe(services: &Arc<Services>) {
    let seen: Weak<Services> = Arc::downgrade(services);
    services
        .telemetry
        .observe(Box::new(move || seen.upgrade().map(|services| levels(&services)).unwrap_or_default()));
}

fn levels(services: &Services) -> Vec<Levels> {
    let now = services.now();
    let generation = services.generation.load();
    let of = |integration: &Arc<LiveIntegration>| {
        let (limiter, bulkhead) = (&integration.limiter, &integration.bulkhead);
        Levels {
            service: integration.settings.name.to_string(),
            rate_limit_remaining: limiter.remaining(now),
            rate_limit_exhausted_in: limiter.forecast(now).and_then(|forecast| forecast.exhausted_in),
            concurrency_limit: bulkhead.limit(),
            in_flight: bulkhead.in_flight(),
            waiting: bulkhead.waiting(),
        }
    };
    generation.integrations.values().map(of).collect()
}
