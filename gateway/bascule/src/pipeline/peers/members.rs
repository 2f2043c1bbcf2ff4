//! Which circuits and limits a configuration shares with other gateways.
//!
//! Names are what gateways have in common: the integration's, `integration.operation`, and for shared breakers the service
//! under which they are counted, which no integration can have.

use crate::pipeline::{Generation, SharedBreaker, mechanisms};
use bascule_resilience::{Breaker, RateLimiter};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// What of the newest configuration is shared, by its name.
#[derive(Default)]
pub(super) struct Members {
    pub(super) circuits: HashMap<String, Arc<Breaker>>,
    pub(super) limits: HashMap<String, Limit>,
}

pub(super) struct Limit {
    pub(super) limiter: Arc<RateLimiter>,
    /// Longest hold that is believed.
    pub(super) longest: Duration,
}

impl Members {
    pub(super) fn of(generation: &Generation) -> Self {
        let mut members = Self::default();
        for (name, breaker) in &generation.breakers {
            if generation.config.announced_breakers.contains(name) {
                members.circuits.insert(SharedBreaker::service(name), Arc::clone(&breaker.breaker));
            }
        }
        for live in generation.integrations.values() {
            let settings = &live.settings;
            if settings.breaker_announced && settings.shared_breaker.is_none() {
                members.circuits.insert(settings.name.to_string(), Arc::clone(&live.breaker));
            }
            if let Some(limit) = settings.rate_limit.as_ref().filter(|limit| limit.shared) {
                let longest = mechanisms::quota_reset_max(Some(limit));
                let limiter = Arc::clone(&live.limiter);
                members.limits.insert(settings.name.to_string(), Limit { limiter, longest });
            }
            for operation in live.operations.values() {
                let own = operation.declared.as_ref().is_some_and(|declared| {
                    declared.breaker_announced
                        && declared.breaker.is_some()
                        && declared.shared_breaker.is_none()
                });
                if own {
                    members.circuits.insert(operation.full_name.to_string(), Arc::clone(&operation.breaker));
                }
            }
        }
        members
    }
}
