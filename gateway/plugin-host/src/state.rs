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

use crate::backend::{Caller, OutboundRequests, Present, Role, Serving};
use crate::body::{HostBody, Provenance};
use crate::crypto::tree::KeyTree;
use crate::error::PluginError;
use crate::grants::Grants;
use crate::hostcalls::telemetry::Measured;
use crate::lasting::Lasting;
use crate::lasting::space::Space;
use crate::limits::Limits;
use crate::observer::Observer;
use crate::phase::Hook;
use crate::random::RandomSource;
use crate::secret::Vault;
use crate::secret::insert::Secrets;
use crate::side::SideRequests;
use crate::token::Tokens;
use crate::wasi::Wasi;
use limiter::{Limiter, MemoryBudget};
use log_budget::LogBudget;

/// What a plugin may ask about the call in progress, and what the call lends it. Cheap to clone.
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
    /// The tokens that secret inserts may name as `token:<scope>`.
    pub tokens: Tokens,
    /// Who sends side requests; `None` = there are none, and `http.send` is denied.
    pub side: Option<Arc<dyn SideRequests>>,
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
            tokens: Tokens::default(),
            side: None,
        }
    }
}

/// What all instances of one loaded plugin share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) config: serde_json::Value,
    /// The same as JSON text, for plugins that take it whole.
    pub(crate) config_text: String,
    pub(crate) vault: Vault,
    pub(crate) grants: Grants,
    pub(crate) role: Role,
    /// What a backend finds as environment variables.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) limits: Limits,
    pub(crate) keys: KeyTree,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) random: Arc<dyn RandomSource>,
    pub(crate) lasting: Arc<Lasting>,
}

/// The data of one store.
pub(crate) struct State {
    pub(crate) shared: Arc<Shared>,
    pub(crate) hook: Hook,
    pub(crate) call: CallContext,
    pub(crate) table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) log: LogBudget,
    pub(crate) measured: Measured,
    /// The state of the call's integration, once it was asked for.
    pub(crate) space: Option<Arc<Space>>,
    /// Side requests sent.
    pub(crate) sent: usize,
    pub(crate) keys_opened: usize,
    /// Made when the guest first asks for something of WASI: the others pay nothing.
    pub(crate) wasi: Option<Box<Wasi>>,
    /// What it takes to serve a request; only backends have it.
    pub(crate) serving: Option<Box<Serving>>,
}

/// A host call that ends the guest at once. Each variant is told from a panic by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("CPU time is used up")]
    Cpu,
    #[error("wall time is used up")]
    Wall,
    /// So is this, but in the queue for a worker: too many guests compute at the same time.
    #[error("wall time went by while waiting for a worker")]
    Queued,
    /// `all`: the sum over all instances, for which this plugin is not to blame.
    #[error("memory is used up at {limit} octets")]
    Memory { limit: u64, all: bool },
    #[error("{0}")]
    Misuse(&'static str),
}

impl State {
    pub(crate) fn new(shared: Arc<Shared>, hook: Hook, call: CallContext, budget: Arc<MemoryBudget>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(shared.limits.handles);
        let limiter = Limiter::new(budget, shared.limits.memory);
        let serving = matches!(shared.role, Role::Backend { .. }).then(|| Box::new(Serving::new(&shared)));
        let log = LogBudget::new(shared.limits.log_lines, shared.limits.log_bytes);
        Self {
            shared,
            hook,
            call,
            table,
            limiter,
            log,
            measured: Measured::default(),
            space: None,
            sent: 0,
            keys_opened: 0,
            wasi: None,
            serving,
        }
    }

    /// For whom a backend serves, and who sends its own requests.
    pub(crate) fn serve(&mut self, caller: Caller, outbound: Option<Arc<dyn OutboundRequests>>) {
        if let Some(serving) = &mut self.serving {
            serving.begin(caller, outbound);
        }
    }

    /// Whether a backend ended so because of its caller, for whom it is not to blame.
    pub(crate) fn excuses(&self, error: &PluginError) -> bool {
        self.serving.as_ref().is_some_and(|serving| serving.excuses(error))
    }

    /// Tells the bodies of a backend's requests when the instance is gone.
    pub(crate) fn present(&self) -> Option<Present> {
        self.serving.as_ref().map(|serving| serving.present())
    }

    /// The secrets that this call may have put in.
    pub(crate) fn secrets(&self) -> Secrets<'_> {
        Secrets { vault: &self.shared.vault, tokens: &self.call.tokens }
    }

    /// Whether the guest may read the octets of that body in this phase.
    pub(crate) fn may_read(&self, body: &HostBody) -> bool {
        match (body.provenance(), self.hook) {
            (Provenance::Sealed, _) => false,
            (Provenance::Plugin, _) => true,
            (Provenance::Host, Hook::Lifecycle | Hook::Backend) => false,
            (Provenance::Host, Hook::Phase(phase)) => {
                phase.reads_bodies_by_nature() || self.shared.grants.body_read
            }
        }
    }
}
