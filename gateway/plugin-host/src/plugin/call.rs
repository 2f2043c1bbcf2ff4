//! One visit to a guest: admission, a store of its own, limits, and what the outcome means.
//!
//! The order is breaker, plugin's permits, gateway's permits, engine slot; all of it is given back when
//! the visit is dropped, and the store goes first, so that a slot is free when its permit is. CPU time
//! is counted by the epoch callback, which also looks at the clock: a timer alone does not fire while
//! guests keep all workers busy. The timer around the call is for guests that wait.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::component::{InstancePre, Resource};
use wasmtime::{Engine, Store, UpdateDeadline};

use super::breaker::{Breaker, Permit};
use super::load::{Loaded, PhaseIndices};
use super::{Plugin, answer, diagnose};
use crate::bindings::bascule::plugin::types::Fault;
use crate::body::HostBody;
use crate::error::PluginError;
use crate::host::PluginHost;
use crate::host::ticker::Running;
use crate::limits::{HOSTCALL_EXTRA_BYTES, INSTANCE_WAIT, TICK};
use crate::phase::{Hook, Phase};
use crate::state::{CallContext, Shared, State, Stop};

/// A call that has been let in. Fields are dropped in this order.
pub(crate) struct Visit<'a> {
    store: Store<State>,
    limit: TimeLimit,
    plugin: &'a Plugin,
    loaded: &'a Loaded,
    _slot: SemaphorePermit<'a>,
    _permits: (SemaphorePermit<'a>, SemaphorePermit<'a>),
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
        let permits = permits(&self.instances, &self.host.instances).await?;
        let (index, slot) = self.host.engines.slot().ok_or(PluginError::Busy)?;
        let loaded = self.loaded.get(index).ok_or(PluginError::Busy)?;
        let running = self.host.ticker.running();
        let limit = TimeLimit::of(&self.shared, hook, Waiting::Yields);
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
                    self.count(false);
                }
                Err(error)
            }
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

/// Both permits, at once when they are free, otherwise within the waiting time.
async fn permits<'a>(
    plugin: &'a Semaphore,
    gateway: &'a Semaphore,
) -> Result<(SemaphorePermit<'a>, SemaphorePermit<'a>), PluginError> {
    if let Ok(own) = plugin.try_acquire()
        && let Ok(all) = gateway.try_acquire()
    {
        return Ok((own, all));
    }
    let both = async { Some((plugin.acquire().await.ok()?, gateway.acquire().await.ok()?)) };
    tokio::time::timeout(INSTANCE_WAIT, both).await.ok().flatten().ok_or(PluginError::Busy)
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
    let state = State::new(Arc::clone(shared), hook, call, Arc::clone(&host.memory));
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

/// What a guest does when its tick is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Lets others run on the worker.
    Yields,
    /// Goes on: nobody polls it again.
    Never,
}

/// CPU and wall time of one visit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimit {
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
    waiting: Waiting,
}

impl TimeLimit {
    fn of(shared: &Shared, hook: Hook, waiting: Waiting) -> Self {
        let limits = &shared.limits;
        Self { cpu: limits.cpu_of_hook(hook), wall: limits.wall_of_hook(hook, &shared.grants), waiting }
    }

    /// The limits of a trial run at load time.
    pub(super) fn of_lifecycle(shared: &Shared) -> Self {
        Self::of(shared, Hook::Lifecycle, Waiting::Never)
    }

    /// Sets the callback that counts ticks, looks at the clock and yields.
    fn arm(self, store: &mut Store<State>) {
        // The first tick may come at once, so "at least the limit" takes one more.
        let ticks_max = self.cpu.as_nanos().div_ceil(TICK.as_nanos()).saturating_add(1);
        let started = Instant::now();
        let mut ticks = 0;
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |store| {
            ticks += 1;
            let used_up = match &store.data().serving {
                None => ticks >= ticks_max + u128::from(store.data().pauses),
                Some(serving) => serving.meter.used() >= self.cpu,
            };
            if used_up {
                return Err(Stop::Cpu.into());
            }
            if started.elapsed() >= self.wall {
                return Err(Stop::Wall.into());
            }
            Ok(match self.waiting {
                Waiting::Yields => UpdateDeadline::Yield(1),
                Waiting::Never => UpdateDeadline::Continue(1),
            })
        });
    }

    /// The result of the guest, or [`Stop::Wall`] when it is not there in time.
    pub(crate) async fn hold<R>(
        self,
        guest: impl Future<Output = wasmtime::Result<R>>,
    ) -> wasmtime::Result<R> {
        let mut guest = pin!(guest);
        // Most guests are through at the first poll: no timer for those.
        let first = poll_fn(|context| Poll::Ready(guest.as_mut().poll(context))).await;
        match first {
            Poll::Ready(result) => result,
            Poll::Pending => {
                tokio::time::timeout(self.wall, guest).await.unwrap_or_else(|_elapsed| Err(Stop::Wall.into()))
            }
        }
    }
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
