//! The host itself: engines, limits over all plugins, and the way from a file to a plugin.
//!
//! One host serves a whole gateway. It has an engine with a pool for each worker thread, because two
//! threads on one engine slow each other down; a plugin is loaded into all of them. Dropping the last
//! reference stops the epoch thread. What happens to one call is in `plugin/`.

pub(crate) mod engines;
pub(crate) mod ticker;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::artifact::cache::CodeCache;
use crate::artifact::compile::Compiler;
use crate::artifact::{self, Artifact};
use crate::error::{HostError, LoadError};
use crate::inspect::Inspection;
use crate::lasting::{Registry, StateLimits};
use crate::observer::{Observer, TracingObserver};
use crate::plugin::load::PluginSpec;
use crate::plugin::turns::Places;
use crate::plugin::{Plugin, PluginId, load};
use crate::random::{RandomSource, SystemRandom};
use crate::state::limiter::MemoryBudget;
use engines::Engines;
use ticker::Ticker;

/// What a host is made of. [`Default`] gives the documented defaults.
#[derive(Clone)]
pub struct HostConfig {
    /// Engines, one per worker thread of the runtime. Default: the number of CPUs.
    pub engines: NonZeroUsize,
    /// Calls of all plugins at the same time; backends have half of them at most. Default 256.
    pub instances: usize,
    /// Memory of all instances together, in octets; those of backends have half of it at most. Default 1 GiB.
    pub memory_total: u64,
    /// What one plugin may keep for one integration.
    pub state: StateLimits,
    /// Where compiled code is kept between runs; `None` = a private folder that goes with the host.
    pub cache_dir: Option<PathBuf>,
    /// Time for compiling one plugin. Default 120 s.
    pub compile_time: Duration,
    /// What `random.bytes` draws from. Default: the operating system's generator.
    pub random: Arc<dyn RandomSource>,
    /// Who is told about log lines and durations. Default: [`TracingObserver`].
    pub observer: Arc<dyn Observer>,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            engines: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            instances: 256,
            memory_total: 1 << 30,
            state: StateLimits::default(),
            cache_dir: None,
            compile_time: Duration::from_secs(120),
            random: Arc::new(SystemRandom),
            observer: Arc::new(TracingObserver),
        }
    }
}

/// Loads plugins and carries what they share.
pub struct PluginHost {
    pub(crate) engines: Engines,
    pub(crate) ticker: Ticker,
    pub(crate) places: Arc<Places>,
    pub(crate) memory: Arc<MemoryBudget>,
    /// What backends may use of it together: they may hold it for as long as 30 s.
    pub(crate) backend_memory: Arc<MemoryBudget>,
    /// What outlives the versions of plugins.
    pub(crate) lasting: Registry,
    /// Calls of all plugins at the same time.
    pub(crate) instances: Semaphore,
    /// Those of backends among them.
    pub(crate) backend_instances: Semaphore,
    /// Held while a plugin is tried out: load-time instances have slots of their own, one at a time.
    pub(crate) trial: Mutex<()>,
    pub(crate) code: CodeCache,
    pub(crate) random: Arc<dyn RandomSource>,
    pub(crate) observer: Arc<dyn Observer>,
    ids: AtomicU64,
}

impl PluginHost {
    /// A host with its engines set up and its epoch thread running.
    ///
    /// # Errors
    /// [`HostError::Engine`] when no engine can be had even without the pool, [`HostError::CacheDir`]
    /// when the folder for compiled code cannot be made private, [`HostError::Ticker`] when no thread
    /// can be started.
    pub fn new(config: HostConfig) -> Result<Arc<Self>, HostError> {
        let instances = config.instances.clamp(1, Semaphore::MAX_PERMITS);
        let engines = Engines::new(config.engines, instances).map_err(HostError::Engine)?;
        let ticker = Ticker::start(engines.all()).map_err(HostError::Ticker)?;
        let memory = Arc::new(MemoryBudget::new(config.memory_total));
        Ok(Arc::new(Self {
            code: CodeCache::open(config.cache_dir, Compiler::new(config.compile_time))?,
            engines,
            ticker,
            places: Places::new(config.engines),
            backend_memory: Arc::new(MemoryBudget::half_of(&memory)),
            memory,
            lasting: Registry::new(config.state),
            instances: Semaphore::new(instances),
            backend_instances: Semaphore::new((instances / 2).max(1)),
            trial: Mutex::new(()),
            random: config.random,
            observer: config.observer,
            ids: AtomicU64::new(0),
        }))
    }

    /// Whether instances come from the pool; `false` = it could not be had, and calls are slower.
    #[must_use]
    pub fn pooled(&self) -> bool {
        self.engines.pooled()
    }

    /// What a file exports, imports and says about itself, whether or not this host would load it.
    ///
    /// Compiles and starts the plugin to ask for its description where that is possible; blocks
    /// meanwhile.
    ///
    /// # Errors
    /// [`LoadError::NotWasm`], [`LoadError::NotBindings`], [`LoadError::Malformed`] and
    /// [`LoadError::TooLarge`] for files that are no plugin at all.
    pub fn inspect(self: &Arc<Self>, bytes: &[u8]) -> Result<Inspection, LoadError> {
        let artifact = Artifact::read(bytes, crate::limits::ARTIFACT_BYTES_CAP)?;
        let mut inspection = Inspection::of(&artifact)?;
        match load::describe(self, &artifact, &inspection) {
            Ok(description) => inspection.description = description,
            Err(error) => inspection.warnings.push(format!("cannot be loaded: {error}")),
        }
        Ok(inspection)
    }

    /// A plugin that is compiled, checked against its grants and tried out.
    ///
    /// Compiles unless the code is in the cache: blocks for as long as that takes.
    ///
    /// # Errors
    /// [`LoadError`], one variant per reason. Nothing of a plugin that is refused stays behind but its
    /// compiled code.
    pub fn load(self: &Arc<Self>, spec: PluginSpec) -> Result<Arc<Plugin>, LoadError> {
        load::load(self, spec)
    }

    /// A plugin as its file has it: everything granted, nothing configured, and no configuration checked.
    /// For rehearsals, which bring their own; calls have no use for it.
    ///
    /// Blocks like [`PluginHost::load`].
    ///
    /// # Errors
    /// [`LoadError`], but none that is about a configuration.
    pub fn load_unconfigured(self: &Arc<Self>, name: &str, bytes: Vec<u8>) -> Result<Arc<Plugin>, LoadError> {
        load::load_unconfigured(self, name, bytes)
    }

    /// An id that no plugin of this host has had.
    pub(crate) fn next_id(&self) -> PluginId {
        PluginId(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// The sha256 of a file in hex, as `sha256` pins it and [`Plugin::digest`] names it.
    #[must_use]
    pub fn digest_of(bytes: &[u8]) -> String {
        artifact::hex(&crate::crypto::hash::sha256(bytes))
    }
}
