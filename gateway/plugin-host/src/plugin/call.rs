//! One visit to a guest: admission, a store of its own, limits, and what the outcome means.
//!
//! The order is breaker, plugin's permits, backends' permits, gateway's permits, engine slot; all of it is given back when
//! the visit is dropped, and the store goes first, so that a slot is free when its permit is. What time a
//! guest has is in `time.rs`, and which worker's in `turns.rs`.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::component::{InstancePre, Resource};
use wasmtime::{Engine, Store};

use super::breaker::{Breaker, Permit};
use super::load::{Loaded, PhaseIndices};
use super::time::TimeLimit;
use super::{Plugin, answer, diagnose};
use crate::bindings::bascule::plugin::types::Fault;
use crate::body::HostBody;
use crate::error::PluginError;
use crate::host::PluginHost;
use crate::host::ticker::Running;
use crate::limits::{HOSTCALL_EXTRA_BYTES, INSTANCE_WAIT};
use crate::phase::{Hook, Phase};
use crate::state::{CallContext, Shared, State, Stop};

/// A call that has been let in. Fields are dropped in this order.
pub(crate) struct Visit<'a> {
    store: Store<State>,
    limit: TimeLimit,
    plugin: &'a Plugin,
    loaded: &'a Loaded,
    _slot: SemaphorePermit<'a>,
    _permits: Permits<'a>,
    _running: Running<'a>,
    breaker: BreakerPass<'a>,
}

/// What a phase needs of a plugin on one engine.
pub(crate) struct Guest<'a, I> {
    pub(crate) pre: &'a InstancePre<State>,
    pub(crate) indices: &'a I,
}

impl Plugin {
    /// Lets a call in, or says why not. A phase that the plugin takes no part in is a mistake of the
    /// caller, whom [`Plugin::has`] would have told; it is refused like an answer of no use.
    pub(super) async fn enter(&self, phase: Phase, ctx: &CallContext) -> Result<Visit<'_>, PluginError> {
        if !self.has(phase) {
            return Err(PluginError::bad_answer("it takes no part in this phase"));
        }
        self.admit(Hook::Phase(phase), ctx).await
    }

    /// The same, whatever it is that the instance is for.
    pub(crate) async fn admit(&self, hook: Hook, ctx: &CallContext) -> Result<Visit<'_>, PluginError> {
        let breaker = BreakerPass::admit(&self.breaker)?;
        let part = matches!(hook, Hook::Backend).then_some(&self.host.backend_instances);
        let permits = permits(&self.instances, part, &self.host.instances).await?;
        let (index, slot) = self.host.engines.slot().ok_or(PluginError::Busy)?;
        let loaded = self.loaded.get(index).ok_or(PluginError::Busy)?;
        let running = self.host.ticker.running();
        let limit = TimeLimit::of_call(&self.shared, hook);
        let store = store(&self.host, loaded.pre.engine(), &self.shared, hook, ctx.clone(), limit);
        Ok(Visit {
            store,
            limit,
            plugin: self,
            loaded,
            _slot: slot,
            _permits: permits,
            _running: running,
            breaker,
        })
    }

    /// Tells the breaker that the call has shown that the plugin works, before its end.
    pub(crate) fn proven(&self, permit: &Permit) {
        self.breaker.lock().proven(permit);
    }
}

impl<'a> Visit<'a> {
    /// What to instantiate and load for a phase.
    ///
    /// # Errors
    /// [`PluginError::BadAnswer`] when the plugin does not take part in that phase: a caller's mistake,
    /// since [`Plugin::has`] says so beforehand.
    pub(crate) fn guest<I>(
        &self,
        of: impl FnOnce(&'a PhaseIndices) -> Option<&'a I>,
    ) -> Result<Guest<'a, I>, PluginError> {
        let indices = of(&self.loaded.phases)
            .ok_or_else(|| PluginError::bad_answer("it takes no part in this phase"))?;
        Ok(Guest { pre: &self.loaded.pre, indices })
    }

    /// What its breaker let it in with, until it is settled.
    pub(crate) fn permit(&self) -> Option<Permit> {
        self.breaker.permit.clone()
    }

    pub(crate) fn parts(&mut self) -> (&mut Store<State>, TimeLimit) {
        (&mut self.store, self.limit)
    }

    pub(crate) fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// The guest's answer, or what its failure means; tells the breaker.
    pub(crate) fn settle<R>(&mut self, result: wasmtime::Result<R>) -> Result<R, PluginError> {
        self.store.data_mut().report_dropped();
        match result {
            Ok(answer) => {
                self.count(true);
                Ok(answer)
            }
            Err(error) => {
                let (error, to_blame) = diagnose::diagnose(&error, self.store.data(), self.limit);
                if to_blame {
                    self.blame(&error);
                }
                Err(error)
            }
        }
    }

    /// The end of a backend whose answer cannot be one; tells the breaker.
    pub(crate) fn refuse(&mut self, error: PluginError) -> Result<(), PluginError> {
        self.store.data_mut().report_dropped();
        self.blame(&error);
        Err(error)
    }

    /// Counts a failure, unless it is the caller's.
    fn blame(&mut self, error: &PluginError) {
        if !self.store.data().excuses(error) {
            self.count(false);
        }
    }

    /// Counts the outcome, and tells the observer when that opened the breaker.
    fn count(&mut self, success: bool) {
        if self.breaker.settle(success) {
            let plugin = self.plugin;
            plugin.shared.observer.out_of_service(plugin.name(), plugin.id);
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) -> PluginError {
        PluginError::Fault(answer::fault(fault, self.state()))
    }
}

/// The plugin's, that of a backend among backends, and the gateway's.
type Permits<'a> = (SemaphorePermit<'a>, Option<SemaphorePermit<'a>>, SemaphorePermit<'a>);

/// All permits, at once when they are free, otherwise within the waiting time.
async fn permits<'a>(
    plugin: &'a Semaphore,
    part: Option<&'a Semaphore>,
    gateway: &'a Semaphore,
) -> Result<Permits<'a>, PluginError> {
    if let Ok(own) = plugin.try_acquire()
        && let Ok(part) = part.map(Semaphore::try_acquire).transpose()
        && let Ok(all) = gateway.try_acquire()
    {
        return Ok((own, part, all));
    }
    let waiting = async {
        let own = plugin.acquire().await.ok()?;
        // Before the gateway's: who queues behind backends keeps nothing from others.
        let part = match part {
            Some(part) => Some(part.acquire().await.ok()?),
            None => None,
        };
        Some((own, part, gateway.acquire().await.ok()?))
    };
    tokio::time::timeout(INSTANCE_WAIT, waiting).await.ok().flatten().ok_or(PluginError::Busy)
}

/// A store with all limits set.
fn store(
    host: &PluginHost,
    engine: &Engine,
    shared: &Arc<Shared>,
    hook: Hook,
    call: CallContext,
    limit: TimeLimit,
) -> Store<State> {
    let memory = if matches!(hook, Hook::Backend) { &host.backend_memory } else { &host.memory };
    let state = State::new(Arc::clone(shared), hook, call, Arc::clone(memory));
    let hostcall_fuel = shared.limits.body.saturating_add(HOSTCALL_EXTRA_BYTES);
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(usize::try_from(hostcall_fuel).unwrap_or(usize::MAX));
    store.set_max_component_handles(shared.limits.handles);
    limit.arm(&mut store);
    store
}

/// A store for a trial run at load time, which never waits.
pub(super) fn trial_store(host: &PluginHost, engine: &Engine, shared: &Arc<Shared>) -> Store<State> {
    let limit = TimeLimit::of_lifecycle(shared);
    store(host, engine, shared, Hook::Lifecycle, CallContext::of_no_call(), limit)
}

/// Runs a future that never waits to its end.
pub(super) fn run_at_once<R>(future: impl Future<Output = wasmtime::Result<R>>) -> wasmtime::Result<R> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Stop::Misuse("waited where nothing can be waited for").into()),
    }
}

/// Puts a body of the host into the guest's table and lends it out.
pub(super) fn lend(store: &mut Store<State>, body: HostBody) -> wasmtime::Result<Resource<HostBody>> {
    let own = store.data_mut().table.push(body)?;
    Ok(Resource::new_borrow(own.rep()))
}

/// A pass of the plugin's breaker; given back unsettled when the call is dropped.
struct BreakerPass<'a> {
    breaker: &'a Mutex<Breaker>,
    permit: Option<Permit>,
}

impl<'a> BreakerPass<'a> {
    fn admit(breaker: &'a Mutex<Breaker>) -> Result<Self, PluginError> {
        match breaker.lock().admit(Instant::now()) {
            Ok(permit) => Ok(Self { breaker, permit: Some(permit) }),
            Err(retry_after) => Err(PluginError::Unavailable { retry_after }),
        }
    }

    /// Says whether the outcome opened the breaker.
    fn settle(&mut self, success: bool) -> bool {
        let Some(permit) = self.permit.take() else { return false };
        self.breaker.lock().settle(permit, success, Instant::now())
    }
}

impl Drop for BreakerPass<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.breaker.lock().give_back(permit);
        }
    }
}
