//! One engine with its own pool for each worker thread.
//!
//! All engines have an equal configuration, so that code compiled by one loads into all. A call takes
//! the engine of the thread it starts on; if that pool is used up it takes another, so that the limit
//! over all engines can be used whole. Where the pool cannot be had (it reserves 4 GiB of address space
//! per slot), instances are made on demand, with small reservations: slower, and said so.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::hostcalls;
use crate::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use crate::state::State;

/// Stack that a guest may use. Enough for deep recursion in JSON parsers; overflow is a trap.
const WASM_STACK_BYTES: usize = 512 << 10;

/// The fiber under it, host calls included.
const FIBER_STACK_BYTES: usize = 1 << 20;

/// Memory of a slot that is kept for the next instance instead of being given back.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;

/// The same of a table: without it, every call gives every table back to the system.
const KEEP_RESIDENT_TABLE_BYTES: usize = 32 << 10;

/// Slots for trial runs at load time, beside those for calls.
const TRIAL_SLOTS: usize = 1;

/// Rounds over the engines in search of a free slot. Slots are as many as permits, so one is free;
/// it can only be missed while others move at the same time.
const SEARCH_ROUNDS: usize = 8;

/// The engine of one worker, with the host functions linked and its slots counted.
pub(crate) struct Worker {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    slots: Semaphore,
}

/// The engines of all workers.
pub(crate) struct Engines {
    workers: Vec<Worker>,
    pooled: bool,
}

impl Engines {
    pub(crate) fn new(count: NonZeroUsize, instances: usize) -> wasmtime::Result<Self> {
        let slots = instances.div_ceil(count.get());
        match Self::with_config(count, slots, pooling(slots)) {
            Ok(workers) => Ok(Self { workers, pooled: true }),
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the instance pool cannot be set up; plugin calls are slower without it"
                );
                let workers = Self::with_config(count, slots, on_demand())?;
                Ok(Self { workers, pooled: false })
            }
        }
    }

    fn with_config(
        count: NonZeroUsize,
        slots: usize,
        config: wasmtime::Result<Config>,
    ) -> wasmtime::Result<Vec<Worker>> {
        let config = config?;
        let worker = |_| {
            let engine = Engine::new(&config)?;
            let mut linker = Linker::new(&engine);
            hostcalls::add_to_linker(&mut linker)?;
            Ok(Worker { engine, linker, slots: Semaphore::new(slots.min(Semaphore::MAX_PERMITS)) })
        };
        (0..count.get()).map(worker).collect()
    }

    pub(crate) fn pooled(&self) -> bool {
        self.pooled
    }

    pub(crate) fn workers(&self) -> &[Worker] {
        &self.workers
    }

    pub(crate) fn all(&self) -> Vec<Engine> {
        self.workers.iter().map(|worker| worker.engine.clone()).collect()
    }

    /// A free slot: the index of its engine and the permit that keeps it. To be asked only by a holder
    /// of a permit over all engines. Prefers the engine of this thread.
    pub(crate) fn slot(&self) -> Option<(usize, SemaphorePermit<'_>)> {
        let own = thread_index() % self.workers.len().max(1);
        let from_own = || self.workers.iter().enumerate().cycle().skip(own);
        from_own()
            .take(SEARCH_ROUNDS * self.workers.len())
            .find_map(|(index, worker)| Some((index, worker.slots.try_acquire().ok()?)))
    }
}

/// The number of this thread among those that have called plugins: the worker index.
fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: Cell<Option<usize>> = const { Cell::new(None) };
    }
    INDEX.with(|index| {
        index.get().unwrap_or_else(|| {
            let new = NEXT.fetch_add(1, Ordering::Relaxed);
            index.set(Some(new));
            new
        })
    })
}

fn base() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .wasm_memory64(false)
        .wasm_component_model(true)
        // Component-model concurrency costs 1 to 2.4 µs per call, and no plugin can use it here.
        .concurrency_support(false);
    config
}

fn pooling(slots: usize) -> wasmtime::Result<Config> {
    let slots = slots.saturating_add(TRIAL_SLOTS);
    let times = |each: u32| u32::try_from(slots.saturating_mul(each as usize)).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(times(1))
        .total_core_instances(times(CORE_INSTANCES_MAX))
        .total_memories(times(MEMORIES_MAX))
        .total_tables(times(TABLES_MAX))
        .total_stacks(times(1))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_TABLE_BYTES)
        .pagemap_scan(Enabled::Auto);
    let mut config = base();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(config)
}

/// Without reservations worth the name: where the pool fails, address space is what is short.
fn on_demand() -> wasmtime::Result<Config> {
    let mut config = base();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(0)
        .memory_reservation_for_growth(1 << 20)
        .memory_guard_size(64 << 10);
    Ok(config)
}
