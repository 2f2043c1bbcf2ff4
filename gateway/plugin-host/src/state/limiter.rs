//! Memory limits: of one instance, and of all instances together.
//!
//! A growth beyond a limit ends the call with an error of our own type, since a mere refusal would
//! come back as an `unreachable` that cannot be told from a panic. Bodies that a plugin makes count as
//! its memory, although they live in the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use super::Stop;
use crate::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};

/// The memory of all instances of a host, or of a part of them, which counts for the whole as well.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    limit: u64,
    used: AtomicU64,
    whole: Option<Arc<MemoryBudget>>,
}

impl MemoryBudget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0), whole: None }
    }

    /// A budget within that one, of half of it.
    pub(crate) fn half_of(whole: &Arc<Self>) -> Self {
        Self { whole: Some(Arc::clone(whole)), ..Self::new(whole.limit / 2) }
    }

    /// Counts octets in; gives the limit that forbids it if one does, and counts nothing then.
    fn take(&self, octets: u64) -> Result<(), u64> {
        let within = |used: u64| used.checked_add(octets).filter(|sum| *sum <= self.limit);
        self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, within).map_err(|_used| self.limit)?;
        let whole = self.whole.as_ref().map_or(Ok(()), |whole| whole.take(octets));
        whole.inspect_err(|_limit| {
            self.used.fetch_sub(octets, Ordering::Relaxed);
        })
    }

    fn give_back(&self, octets: u64) {
        self.used.fetch_sub(octets, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(octets);
        }
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// The memory of one instance; gives all of it back when it is dropped.
pub(crate) struct Limiter {
    budget: Arc<MemoryBudget>,
    limit: u64,
    used: u64,
    /// What the last growth took, in case the pool refuses it afterwards.
    last: u64,
    /// The pool or the module's own maximum refused a growth: a trap after that is for want of memory.
    refused: bool,
}

impl Limiter {
    pub(crate) fn new(budget: Arc<MemoryBudget>, limit: u64) -> Self {
        Self { budget, limit, used: 0, last: 0, refused: false }
    }

    /// Counts octets in.
    ///
    /// # Errors
    /// [`Stop::Memory`] when a limit would be passed; nothing is counted then.
    pub(crate) fn take(&mut self, octets: u64) -> Result<(), Stop> {
        let sum = self.used.saturating_add(octets);
        if sum > self.limit {
            return Err(Stop::Memory { limit: self.limit, all: false });
        }
        self.budget.take(octets).map_err(|limit| Stop::Memory { limit, all: true })?;
        self.used = sum;
        Ok(())
    }

    pub(crate) fn refused(&self) -> bool {
        self.refused
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.budget.give_back(self.used);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.last = desired.saturating_sub(current) as u64;
        self.take(self.last)?;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        let back = std::mem::take(&mut self.last).min(self.used);
        self.used -= back;
        self.budget.give_back(back);
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_instance_took_comes_back_with_it() {
        let budget = Arc::new(MemoryBudget::new(100));
        let mut one = Limiter::new(Arc::clone(&budget), 80);
        one.memory_growing(0, 60, None).unwrap();
        one.memory_growing(60, 70, None).unwrap();
        one.memory_grow_failed(wasmtime::Error::msg("the pool says no")).unwrap();
        assert_eq!((budget.used(), one.refused()), (60, true));
        drop(one);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn its_own_limit_and_the_sum_of_all_are_told_apart() {
        let budget = Arc::new(MemoryBudget::new(100));
        let mut one = Limiter::new(Arc::clone(&budget), 80);
        let mut two = Limiter::new(Arc::clone(&budget), 80);
        assert_eq!(one.take(81), Err(Stop::Memory { limit: 80, all: false }));
        one.take(80).unwrap();
        assert_eq!(two.take(21), Err(Stop::Memory { limit: 100, all: true }));
        two.take(20).unwrap();
        assert_eq!(budget.used(), 100);
    }

    #[test]
    fn a_half_counts_for_the_whole_and_leaves_the_rest_alone() {
        let whole = Arc::new(MemoryBudget::new(100));
        let half = Arc::new(MemoryBudget::half_of(&whole));
        let mut within = Limiter::new(Arc::clone(&half), 80);
        assert_eq!(within.take(51), Err(Stop::Memory { limit: 50, all: true }));
        within.take(40).unwrap();
        let mut beside = Limiter::new(Arc::clone(&whole), 80);
        beside.take(55).unwrap();
        assert_eq!(within.take(6), Err(Stop::Memory { limit: 100, all: true }));
        assert_eq!((half.used(), whole.used()), (40, 95));
        drop(within);
        assert_eq!((half.used(), whole.used()), (0, 55));
    }
}
