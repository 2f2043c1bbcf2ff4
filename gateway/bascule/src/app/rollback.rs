//! Giving a plugin's place back to the version before, when the new one keeps failing.
//!
//! The host tells when a plugin's breaker opens. If that plugin came by a swap of the last ten minutes and its
//! predecessor is still there and not failing itself, a generation is built in which the predecessor is back; of the
//! running one, only that integration is built anew. The failed version stays out until its file or its table
//! changes. It is the process that remembers: a restart loads what is on the disk.

use super::{
    breakers::show,
    build::Parts,
    integration::{Materials, integration},
    plugins::{Loaded, check_auth},
};
use crate::{
    config::Problems,
    pipeline::{Generation, LiveIntegration, LiveOperation, LivePlugin, Phases, Services, Swapped},
};
use bascule_plugin_host::PluginId;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long after a swap a failure is put down to it.
const TRIAL: Duration = Duration::from_secs(600);

/// Openings that wait to be looked at. What does not fit is told again when the next probe fails.
pub(super) const OPENINGS_MAX: usize = 64;

/// Puts the predecessor of a plugin that opened its breaker back, if there is one to go back to. One at a time, and not
/// beside a reload.
pub(super) fn roll_back(parts: &Parts, services: &Services, id: PluginId) {
    let before = services.generation.load_full();
    let found = before.integrations.iter().find_map(|(name, live)| {
        let failed = live.plugins.iter().find(|plugin| plugin.bound.plugin.id() == id)?;
        Some((name, live, failed))
    });
    // It may have been swapped again meanwhile, or come back itself.
    let Some((name, live, failed)) = found else { return };
    let now = services.now();
    let Some(restored) = restored(failed, now) else { return };
    let loaded: Vec<Loaded<'_>> = live
        .settings
        .plugins
        .iter()
        .zip(&live.plugins)
        .map(|(settings, plugin)| {
            let live = if plugin.bound.plugin.id() == id { restored.clone() } else { plugin.clone() };
            Loaded { settings, live }
        })
        .collect();
    let materials = Materials::of(services, &parts.tls, &before.breakers);
    let mut problems = Problems::new();
    check_auth(&loaded, &live.settings, &mut problems);
    let rebuilt = integration(&materials, &live.settings, loaded, Some(live), &mut problems);
    let plugin = failed.bound.plugin.name();
    if !problems.is_empty() || authenticates_less(live, &rebuilt) {
        // The versions export different phases: what the new one left free another plugin has taken, or nobody would
        // sign what the new one signs.
        tracing::error!(integration = %name, plugin, %problems, "the version before cannot come back");
        return;
    }
    let mut integrations = before.integrations.clone();
    integrations.insert(name.clone(), Arc::new(rebuilt));
    let generation = Generation {
        number: before.number + 1,
        config: Arc::clone(&before.config),
        integrations,
        breakers: before.breakers.clone(),
    };
    show(services, &generation);
    let number = generation.number;
    services.generation.store(Arc::new(generation));
    services.telemetry.plugin_rolled_back(plugin);
    tracing::warn!(
        integration = %name,
        plugin,
        from = failed.bound.plugin.digest(),
        to = restored.bound.plugin.digest(),
        generation = number,
        "the new version of the plugin keeps failing; the one before is back until the file changes"
    );
}

/// Whether a call that was signed, or went with a token, would go without.
fn authenticates_less(live: &LiveIntegration, rebuilt: &LiveIntegration) -> bool {
    let authenticates = |phases: &Phases| phases.signer.is_some() || phases.token_source.is_some();
    let lost = |now: &LiveOperation, then: &LiveOperation| {
        authenticates(&now.phases) && !authenticates(&then.phases)
    };
    let declared = live
        .operations
        .iter()
        .any(|(name, now)| rebuilt.operations.get(name).is_some_and(|then| lost(now, then)));
    declared || lost(&live.proxy, &rebuilt.proxy)
}

/// The predecessor in its place, if the failure came soon after the swap.
fn restored(failed: &LivePlugin, now: Instant) -> Option<LivePlugin> {
    let swapped = failed.swapped.as_ref()?;
    if now.saturating_duration_since(swapped.at) > TRIAL {
        return None;
    }
    let previous = swapped.previous.as_ref().filter(|previous| previous.out_of_service().is_none())?;
    let mut bound = failed.bound.clone();
    bound.plugin = Arc::clone(previous);
    // The version that failed may have fetched them.
    bound.tokens = None;
    Some(LivePlugin {
        bound,
        swapped: Some(Swapped { at: now, previous: None }),
        rolled_back_from: Some(failed.bound.plugin.digest().into()),
    })
}
