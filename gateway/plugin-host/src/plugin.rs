//! A loaded plugin: what it is and how it fares. Its phases are in `phases.rs`.

pub(crate) mod answer;
pub(crate) mod breaker;
pub(crate) mod call;
pub(crate) mod diagnose;
pub(crate) mod load;
mod phases;
mod time;
pub(crate) mod turns;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::bindings::exports::bascule::plugin::lifecycle::Description;
use crate::host::PluginHost;
use crate::phase::Phase;
use crate::state::Shared;
use breaker::Breaker;
use load::Loaded;
use turns::Turns;

/// Tells a loaded plugin from all others of its host, also from the same file loaded once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PluginId(pub(crate) u64);

/// A plugin that is loaded, checked and ready to be called.
pub struct Plugin {
    pub(crate) host: Arc<PluginHost>,
    pub(crate) shared: Arc<Shared>,
    id: PluginId,
    digest: String,
    description: Option<Description>,
    warnings: Vec<String>,
    /// All that it exports.
    exported: Vec<Phase>,
    phases: Vec<Phase>,
    /// One for each engine of the host, in its order.
    loaded: Arc<[Loaded]>,
    /// Calls of this plugin at the same time.
    instances: Semaphore,
    pub(crate) turns: Turns,
    breaker: Mutex<Breaker>,
}

impl Plugin {
    /// The name it was loaded under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Which one it is, among all that its host has loaded.
    #[must_use]
    pub fn id(&self) -> PluginId {
        self.id
    }

    /// sha256 of its file, in hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether it takes part in that phase: exported, and not filtered out.
    #[must_use]
    pub fn has(&self, phase: Phase) -> bool {
        self.phases.contains(&phase)
    }

    /// The phases it takes part in, in the order of a call.
    #[must_use]
    pub fn phases(&self) -> Vec<Phase> {
        self.phases.clone()
    }

    /// What it says about itself, if it exports `lifecycle`.
    #[must_use]
    pub fn description(&self) -> Option<Description> {
        self.description.clone()
    }

    /// What the operator should know about running it: secrets that it may read, avoidable costs.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Wall time that one call of a phase may take.
    #[must_use]
    pub fn wall_time(&self) -> Duration {
        self.shared.limits.wall_with(&self.shared.grants)
    }

    /// Time until the next probe while the plugin's breaker is open, `None` otherwise. For status pages:
    /// a call finds out by itself.
    #[must_use]
    pub fn out_of_service(&self) -> Option<Duration> {
        self.breaker.lock().open_for(Instant::now())
    }

    /// The same code, with all the phases that it exports, under other surroundings.
    pub(crate) fn with(&self, shared: Shared) -> Self {
        Self {
            host: Arc::clone(&self.host),
            instances: Semaphore::new(instances(&shared)),
            turns: Turns::new(&self.host.places),
            id: self.id,
            digest: self.digest.clone(),
            description: self.description.clone(),
            warnings: self.warnings.clone(),
            exported: self.exported.clone(),
            phases: self.exported.clone(),
            loaded: Arc::clone(&self.loaded),
            breaker: Mutex::new(Breaker::new(shared.limits.breaker)),
            shared: Arc::new(shared),
        }
    }
}

/// Calls of the plugin at the same time, as a semaphore can count them.
fn instances(shared: &Shared) -> usize {
    shared.limits.instances.min(Semaphore::MAX_PERMITS)
}
