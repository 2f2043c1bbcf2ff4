//! What a purge names: an integration, or one operation of it.
//!
//! The decision: a purge is the raising of a counter. Every stored entry remembers the counters ([`Epoch`]) from
//! before its fetch began; an entry whose counters have been overtaken is never served again. So a purge is exact
//! and immediate whatever the number of entries, and an answer that was already under way cannot slip in after it.
//!
//! Freeing the memory of purged entries is the [store](crate::Store)'s work, not done here.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

/// One operation of one integration, as the owner of its cache entries. Cloning is one reference count.
///
/// It comes from [`Store::scope`](crate::Store::scope) and belongs to that store.
#[derive(Clone)]
pub struct Scope(Arc<Operation>);

/// How often a scope had been purged at one moment, and how often any key or tag had been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    integration: u64,
    operation: u64,
    keys_and_tags: u64,
}

struct Operation {
    integration: Arc<Integration>,
    name: Box<str>,
    purges: AtomicU64,
}

struct Integration {
    name: Box<str>,
    purges: AtomicU64,
}

impl Epoch {
    /// The epoch of a new store: with it, all purges of a scope count that somebody has held since.
    pub const START: Self = Self { integration: 0, operation: 0, keys_and_tags: 0 };

    /// The purges of the integration and of the operation up to it.
    pub(crate) fn of_scope(self) -> (u64, u64) {
        (self.integration, self.operation)
    }

    /// The purges of keys and tags up to it.
    pub(crate) fn keys_and_tags(self) -> u64 {
        self.keys_and_tags
    }
}

/// All scopes of a store by name.
///
/// There is at most one live `Scope` per name: the table lets go of a scope only when nobody else holds it.
#[derive(Default)]
pub(crate) struct Scopes {
    table: Mutex<HashMap<Box<str>, Branch>>,
}

struct Branch {
    integration: Arc<Integration>,
    operations: HashMap<Box<str>, Scope>,
}

impl Scope {
    /// The integration's name.
    #[must_use]
    pub fn integration(&self) -> &str {
        &self.0.integration.name
    }

    /// The operation's name.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.0.name
    }

    /// The epoch of this moment, `keys_and_tags` purges of those included.
    pub(crate) fn epoch(&self, keys_and_tags: u64) -> Epoch {
        Epoch {
            integration: self.0.integration.purges.load(Ordering::Acquire),
            operation: self.0.purges.load(Ordering::Acquire),
            keys_and_tags,
        }
    }

    /// Whether the scope was purged after an epoch.
    pub(crate) fn was_purged_since(&self, epoch: Epoch) -> bool {
        self.epoch(epoch.keys_and_tags) != epoch
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Scopes {
    pub(crate) fn scope(&self, integration: &str, operation: &str) -> Scope {
        let mut table = self.table.lock();
        let branch = table.entry(integration.into()).or_insert_with(|| Branch {
            integration: Arc::new(Integration { name: integration.into(), purges: AtomicU64::new(0) }),
            operations: HashMap::new(),
        });
        let parent = &branch.integration;
        branch
            .operations
            .entry(operation.into())
            .or_insert_with(|| {
                Scope(Arc::new(Operation {
                    integration: Arc::clone(parent),
                    name: operation.into(),
                    purges: AtomicU64::new(0),
                }))
            })
            .clone()
    }

    /// False if nobody has asked for a scope of that name, so that there is nothing to purge.
    pub(crate) fn purge_integration(&self, integration: &str) -> bool {
        let table = self.table.lock();
        let Some(branch) = table.get(integration) else { return false };
        branch.integration.purges.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// False as for [`purge_integration`](Self::purge_integration).
    pub(crate) fn purge_operation(&self, integration: &str, operation: &str) -> bool {
        let table = self.table.lock();
        let Some(scope) = table.get(integration).and_then(|branch| branch.operations.get(operation)) else {
            return false;
        };
        scope.0.purges.fetch_add(1, Ordering::AcqRel);
        true
    }

    pub(crate) fn purge_everything(&self) {
        for branch in self.table.lock().values() {
            branch.integration.purges.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Lets go of scopes that neither an entry nor a configuration holds any more. Clones are made only from other
    /// clones or under the lock that is held here, so a count of one cannot grow meanwhile.
    pub(crate) fn sweep(&self) {
        self.table.lock().retain(|_, branch| {
            branch.operations.retain(|_, scope| Arc::strong_count(&scope.0) > 1);
            !branch.operations.is_empty()
        });
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.lock().values().map(|branch| branch.operations.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_names_give_the_same_scope() {
        let scopes = Scopes::default();
        let scope = scopes.scope("github", "get_user");
        assert!(scope.is(&scopes.scope("github", "get_user")));
        assert!(!scope.is(&scopes.scope("github", "get_repo")));
        assert_eq!((scope.integration(), scope.operation()), ("github", "get_user"));
    }

    #[test]
    fn a_purge_moves_the_epochs_of_what_it_names_and_no_others() {
        let scopes = Scopes::default();
        let all = [("github", "a"), ("github", "b"), ("stripe", "a")].map(|(i, o)| scopes.scope(i, o));
        let moved = |purge: &dyn Fn() -> bool| {
            let before = all.each_ref().map(|scope| scope.epoch(0));
            assert!(purge());
            [0, 1, 2].map(|index: usize| all[index].was_purged_since(before[index]))
        };
        assert_eq!(moved(&|| scopes.purge_operation("github", "a")), [true, false, false]);
        assert_eq!(moved(&|| scopes.purge_integration("github")), [true, true, false]);
        assert_eq!(moved(&|| scopes.purge_integration("stripe")), [false, false, true]);
    }

    #[test]
    fn purging_an_unknown_name_does_nothing() {
        let scopes = Scopes::default();
        let scope = scopes.scope("github", "a");
        let before = scope.epoch(0);
        assert!(!scopes.purge_integration("gitlab"));
        assert!(!scopes.purge_operation("github", "b"));
        assert_eq!((scope.was_purged_since(before), scopes.len()), (false, 1));
    }

    #[test]
    fn a_sweep_lets_go_of_scopes_that_nobody_holds() {
        let scopes = Scopes::default();
        let held = scopes.scope("github", "a");
        drop(scopes.scope("github", "b"));
        drop(scopes.scope("stripe", "a"));
        scopes.sweep();
        assert_eq!(scopes.len(), 1);
        assert!(held.is(&scopes.scope("github", "a")));
    }
}
