//! The cache's second level, on the server that several gateways share.
//!
//! The decision: it has a connection of its own. Entries are large, and what is small and urgent (budgets, circuits) must not
//! wait behind them.

use crate::{config::SharedSettings, pipeline::Services};
use bascule_cache_shared::{Level, Options};
use bascule_shared::Shared;
use std::{sync::Arc, time::SystemTime};
use uuid::Uuid;

/// Follows the cache from now on. Must be called within a tokio runtime.
pub(super) fn start_second_level(services: &Services, settings: &SharedSettings, server: Shared) {
    let options = Options {
        secret: settings.key.as_ref().map_or_else(Vec::new, |key| key.expose().as_bytes().to_vec()),
        timeout: settings.timeout,
        name: Uuid::now_v7().simple().to_string(),
    };
    let clock = Arc::clone(&services.clock);
    let clock = Box::new(move || (clock.now(), SystemTime::now()));
    let level = Level::start(server, Arc::clone(&services.cache), clock, options);
    // A start is made once.
    let _ = services.cache_shared.set(level);
}
