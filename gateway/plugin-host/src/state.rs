//! What one instance carries: the data of its store.
//!
//! Everything a host function may look at is here, and nothing of another call. The parts that all
//! instances of a plugin share sit behind one `Arc` in [`Shared`].

pub(crate) mod limiter;
pub(crate) mod log_budget;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wasmtime::component::ResourceTable;

use crate::body::{HostBody, Provenance};
use crate::crypto::tree::KeyTree;
use crate::grants::Grants;
use crate::limits::{HANDLES_MAX, Limits};
use crate::observer::Observer;
use crate::phase::Hook;
use crate::random::RandomSource;
use crate::secret::Vault;
use crate::wasi::Wasi;
use limiter::{Limiter, MemoryBudget};
use log_budget::LogBudget;

/// Facts about the call in progress that a plugin may ask for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Name of the integration.
    pub integration: Arc<str>,
    /// Name of the operation.
    pub operation: Arc<str>,
    /// Unique per call, the same for all its attempts.
    pub call_id: Arc<str>,
    /// Name of the credential profile in use.
    pub credential: Arc<str>,
    /// 1 for the first attempt; 0 outside the attempt loop.
    pub attempt: u32,
    /// Time left until the call's deadline.
    pub remaining: Duration,
    /// Stable over attempts, when the operation asks for one.
    pub idempotency_key: Option<Arc<str>>,
    /// The call's validated parameters: the text of a JSON object.
    pub parameters: Arc<str>,
    /// What `clock.now` answers during the phase.
    pub now: SystemTime,
}

impl CallContext {
    /// The context in which a plugin is checked at load time: no call is in progress.
    pub(crate) fn of_no_call() -> Self {
        let empty: Arc<str> = "".into();
        Self {
            integration: Arc::clone(&empty),
            operation: Arc::clone(&empty),
            call_id: Arc::clone(&empty),
            credential: empty,
            attempt: 0,
            remaining: Duration::ZERO,
            idempotency_key: None,
            parameters: "{}".into(),
            now: SystemTime::now(),
        }
    }
}

/// What all instances of one loaded plugin share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) config: serde_json::Value,
    pub(crate) vault: Vault,
    pub(crate) grants: Grants,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) limits: Limits,
    pub(crate) keys: KeyTree,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) random: Arc<dyn RandomSource>,
}

/// The data of one store.
pub(crate) struct State {
    pub(crate) shared: Arc<Shared>,
    pub(crate) hook: Hook,
    pub(crate) call: CallContext,
    pub(crate) table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) log: LogBudget,
    /// Made when the guest first asks for something of WASI: the others pay nothing.
    pub(crate) wasi: Option<Box<Wasi>>,
}

/// A host call that ends the guest at once. Each variant is told from a panic by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("CPU time is used up")]
    Cpu,
    #[error("wall time is used up")]
    Wall,
    /// `all`: the sum over all instances, for which this plugin is not to blame.
    #[error("memory is used up at {limit} octets")]
    Memory { limit: u64, all: bool },
    #[error("{0}")]
    Misuse(&'static str),
}

impl State {
    pub(crate) fn new(shared: Arc<Shared>, hook: Hook, call: CallContext, budget: Arc<MemoryBudget>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let limiter = Limiter::new(budget, shared.limits.memory);
        Self { shared, hook, call, table, limiter, log: LogBudget::default(), wasi: None }
    }

    /// Whether the guest may read the octets of that body in this phase.
    pub(crate) fn may_read(&self, body: &HostBody) -> bool {
        match (body.provenance(), self.hook) {
            (Provenance::Sealed, _) => false,
            (Provenance::Plugin, _) => true,
            (Provenance::Host, Hook::Lifecycle) => false,
            (Provenance::Host, Hook::Phase(phase)) => {
                phase.reads_bodies_by_nature() || self.shared.grants.body_read
            }
        }
    }
}
