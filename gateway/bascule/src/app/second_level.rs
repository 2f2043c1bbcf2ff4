//! The cache's second level, on the server that several gateways share.
//!
//! It has a connection of its own: entries are large, and what is small and urgent (budgets, circuits) must not wait behind
//! them.

use crate::{config::Config, model::Secret, pipeline::Services, upstream::Tls};
use bascule_cache_shared::{Level, Options};
use bascule_shared::Shared;
use rustls::ClientConfig;
use std::{sync::Arc, time::SystemTime};
use uuid::Uuid;

/// Begins to connect, if the configuration names a server. It is not waited for. Must be called within a tokio runtime.
pub(super) fn start_second_level(services: &Services, tls: &Tls, config: &Config) {
    let Some(settings) = &config.cache.shared else { return };
    let random = Arc::clone(&services.random);
    let mut server = bascule_shared::Options::new(move || random.unit());
    server.timeout = settings.timeout;
    server.prefix.clone_from(&settings.prefix);
    let mut tls = ClientConfig::clone(tls.config());
    // Offered protocols are those of HTTP.
    tls.alpn_protocols.clear();
    server.tls = Some(Arc::new(tls));
    let options = Options {
        secret: settings.key.as_ref().map_or_else(Vec::new, |key: &Secret| key.expose().as_bytes().to_vec()),
        timeout: settings.timeout,
        name: Uuid::now_v7().simple().to_string(),
    };
    let clock = Arc::clone(&services.clock);
    let clock = Box::new(move || (clock.now(), SystemTime::now()));
    let shared = Shared::start(settings.server.clone(), server);
    let level = Level::start(shared, Arc::clone(&services.cache), clock, options);
    // A start is made once.
    let _ = services.cache_shared.set(level);
}
