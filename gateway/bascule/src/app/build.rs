//! A generation from a configuration: every integration, or every problem.

use super::{
    breakers::{breakers, same_breakers},
    integration::{Materials, integration},
    plugins::{check_auth, check_scopes, load, phases, unchanged},
    sources::PluginSources,
};
use crate::{
    config::{Config, Problems},
    model::{IntegrationName, OperationName},
    pipeline::{Generation, Services},
    upstream::Tls,
};
use bascule_plugin_host::PluginHost;
use std::{collections::HashMap, sync::Arc, time::Instant};

/// A refused configuration's problems, joined by what is wrong with the plugins of its sound integrations.
pub(super) fn with_plugin_problems(
    host: &Arc<PluginHost>,
    sources: &PluginSources,
    now: Instant,
    mut problems: Problems,
) -> Problems {
    let sound = problems.sound().clone();
    let contents = sources.obtain(&sound.rules, &sound.integrations, &mut problems);
    for settings in &sound.integrations {
        let mut found = problems.about_the_same_files();
        let plugins = load(host, &contents, settings, None, now, &mut found);
        check_auth(&plugins, settings, &mut found);
        // Plugins work in a fan-out's branches, not in itself.
        let declared = settings.operations.values().filter(|declared| declared.fan_out.is_none());
        let names = declared.map(|declared| declared.name.clone()).chain([OperationName::proxy()]);
        let bound: Vec<_> = names
            .map(|name| {
                let phases = phases(&plugins, &name, &mut found);
                (name, phases)
            })
            .collect();
        let bound = bound.iter().map(|(name, phases)| (name, phases));
        check_scopes(&plugins, &settings.auth, bound, &mut found);
        problems.extend(found);
    }
    problems.sort();
    problems
}

/// What outlives generations.
#[derive(Clone)]
pub struct Parts {
    /// Runs plugins.
    pub host: Arc<PluginHost>,
    /// Where plugins come from.
    pub sources: PluginSources,
    /// TLS towards upstreams.
    pub tls: Tls,
}

/// Builds the next generation. Compiles plugins, so it belongs on a thread that may block.
///
/// `problems` is empty and knows the files' texts, so that what is found here is shown in its place.
/// Integrations that did not change are taken over whole, unless a breaker that they share did; of those that
/// changed, breaker, limits, health and the last error stay where their settings are the same. Where nothing but a
/// plugin's file changed, connections and tokens stay too.
///
/// # Errors
/// All problems that loading the plugins brought up; nothing has changed then.
pub fn build(
    parts: &Parts,
    services: &Services,
    config: Arc<Config>,
    mut problems: Problems,
) -> Result<(Generation, Vec<IntegrationName>), Problems> {
    let before = services.generation.load_full();
    let breakers = breakers(&before, &config, &services.telemetry, &services.peers);
    let materials = Materials::of(services, &parts.tls, &breakers);
    let contents = parts.sources.obtain(&config.source_rules, config.integrations.values(), &mut problems);
    let mut changed = Vec::new();
    let mut integrations = HashMap::with_capacity(config.integrations.len());
    for (name, settings) in &config.integrations {
        let old = before.integrations.get(name);
        if let Some(old) = old
            && old.settings.digest == settings.digest
            && unchanged(&contents, settings, &old.plugins)
            && same_breakers(settings, &before.breakers, &breakers)
        {
            integrations.insert(name.clone(), Arc::clone(old));
            continue;
        }
        let old = old.map(|old| &**old);
        let plugins = load(&parts.host, &contents, settings, old, materials.now, &mut problems);
        check_auth(&plugins, settings, &mut problems);
        let live = integration(&materials, settings, plugins, old, &mut problems);
        integrations.insert(name.clone(), Arc::new(live));
        changed.push(name.clone());
    }
    changed.extend(before.integrations.keys().filter(|name| !integrations.contains_key(*name)).cloned());
    changed.sort();
    if problems.is_empty() {
        Ok((Generation { number: before.number + 1, config, integrations, breakers }, changed))
    } else {
        Err(problems)
    }
}
