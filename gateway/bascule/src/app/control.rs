//! What operators may do to a running gateway: reload its configuration.

use super::{
    breakers::show,
    build::{Parts, build, with_plugin_problems},
    rollback::roll_back,
    running::{journal_problem, open_outbox},
};
use crate::{
    admin::{Control, Reloaded},
    config::{Diagnostic, Problems, Sources, load},
    pipeline::Services,
};
use bascule_plugin_host::PluginId;
use std::{future::Future, pin::Pin, sync::Arc};
use tokio::sync::{Mutex, Notify};

/// Reloads from the sources of the start.
pub(super) struct Reloader {
    pub(super) sources: Sources,
    pub(super) parts: Parts,
    pub(super) services: Arc<Services>,
    /// One reload at a time.
    pub(super) turn: Arc<Mutex<()>>,
    /// Told of every new generation.
    pub(super) changed: Arc<Notify>,
}

impl Control for Reloader {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, Problems>> + Send>> {
        let (sources, parts) = (self.sources.clone(), self.parts.clone());
        let (services, turn) = (Arc::clone(&self.services), Arc::clone(&self.turn));
        let changed = Arc::clone(&self.changed);
        Box::pin(async move {
            let turn = turn.lock_owned().await;
            // Reading files and compiling plugins block; the worker threads have calls to serve. The turn
            // goes along, so that a reload whose caller left still ends before the next one begins.
            let work = move || {
                let reloaded = reload(&sources, &parts, &services);
                changed.notify_one();
                drop(turn);
                reloaded
            };
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(broke_off()))
        })
    }
}

impl Reloader {
    /// Gives the place of a plugin whose breaker opened back to the version before, if there is one. Takes turns with
    /// reloads. Once its turn has come, it ends even if nobody waits for it any more.
    pub(super) async fn roll_back(&self, id: PluginId) {
        let (parts, services) = (self.parts.clone(), Arc::clone(&self.services));
        let (turn, changed) = (Arc::clone(&self.turn).lock_owned().await, Arc::clone(&self.changed));
        // It builds an integration: not on a worker thread.
        let work = move || {
            roll_back(&parts, &services, id);
            changed.notify_one();
            drop(turn);
        };
        if tokio::task::spawn_blocking(work).await.is_err() {
            tracing::error!("taking a plugin's version back broke off");
        }
    }
}

fn broke_off() -> Problems {
    let mut problems = Problems::new();
    problems.push(Diagnostic::new("", "", "the reload broke off; the old configuration stays", ""));
    problems
}

/// All or nothing: a configuration with any problem changes nothing.
fn reload(sources: &Sources, parts: &Parts, services: &Services) -> Result<Reloaded, Problems> {
    let loaded = load(sources)
        .map_err(|problems| with_plugin_problems(&parts.host, &parts.sources, services.now(), problems))?;
    let config = Arc::new(loaded.config);
    let problems = loaded.warnings.about_the_same_files();
    let (generation, changed) = build(parts, services, Arc::clone(&config), problems.clone())?;
    // A file that is open without a configuration that uses it does no harm.
    open_outbox(services, &config, problems.clone())?;
    // The last thing that can fail: with it, everything has changed.
    services
        .telemetry
        .keep_journal(config.journal.as_ref())
        .map_err(|error| journal_problem(&config, &error, problems))?;
    show(services, &generation);
    let number = generation.number;
    let old = services.generation.load_full();
    for (what, differs) in [
        (
            "server.listen",
            old.config.server.listen != config.server.listen && config.server.listen.port() != 0,
        ),
        ("server.tls", old.config.server.tls != config.server.tls),
        ("admin.listen", old.config.admin.listen != config.admin.listen && config.admin.listen.port() != 0),
        ("telemetry.otlp_endpoint", old.config.telemetry.otlp_endpoint != config.telemetry.otlp_endpoint),
        ("telemetry.service_name", old.config.telemetry.service_name != config.telemetry.service_name),
        ("server.drain_timeout", old.config.server.drain_timeout != config.server.drain_timeout),
        (
            "outbox.path",
            services.outbox.get().is_some_and(|queue| {
                config.outbox.as_ref().is_none_or(|settings| settings.path != queue.path())
            }),
        ),
        ("cache.disk", old.config.cache.disk != config.cache.disk),
        ("cache.max_entry", old.config.cache.max_entry != config.cache.max_entry),
        ("cache.shared", old.config.cache.shared != config.cache.shared),
        ("cache.max_size", old.config.cache.max_size != config.cache.max_size),
    ] {
        if differs {
            tracing::warn!(what, "changed in the configuration; it takes effect with the next start");
        }
    }
    services.telemetry.set_redactor(super::running::redactor(&config));
    services.telemetry.reload(&config.telemetry);
    for (name, live) in &generation.integrations {
        for kept in live.plugins.iter().filter(|plugin| plugin.rolled_back_from.is_some()) {
            let (plugin, runs) = (kept.bound.plugin.name(), kept.bound.plugin.digest());
            let text = "the file is still the version that failed; the one before stays";
            tracing::warn!(integration = %name, plugin, runs, "{text}");
        }
    }
    services.generation.store(Arc::new(generation));
    let changed: Vec<String> = changed.iter().map(ToString::to_string).collect();
    tracing::info!(generation = number, ?changed, "the configuration was reloaded");
    Ok(Reloaded { generation: number, changed })
}
