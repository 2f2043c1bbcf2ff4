//! What is still to be sent: keys that changed, and purges.
//!
//! The decision: both are bounded. A key too many is skipped and counted: it is one miss of another gateway. A purge too many
//! makes all of them a purge of everything, and is never forgotten. What was purged elsewhere is not sent again.

use bascule_cache::{Follower, Heard, Kept, Key, Purge, Scope};
use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};
use tokio::sync::Notify;

const KEYS_MAX: usize = 16_384;
const PURGES_MAX: usize = 4096;

#[derive(Default)]
pub(crate) struct Pending {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    keys: VecDeque<Key>,
    /// The same keys.
    known: HashSet<Key>,
    purges: VecDeque<Purge>,
    /// One that is being sent, out of the queue: what comes meanwhile is another purge, even if it names the same.
    sending: Option<Purge>,
    skipped: u64,
}

impl Pending {
    /// Waits until something is pending. Cancel-safe.
    pub(crate) async fn changed(&self) {
        loop {
            let changed = self.changed.notified();
            if self.has_any() {
                return;
            }
            changed.await;
        }
    }

    /// The purge that came first. It waits until it is said what became of it.
    pub(crate) fn purge(&self) -> Option<Purge> {
        let mut state = self.state.lock();
        state.sending = state.purges.pop_front();
        state.sending.clone()
    }

    /// It has been sent.
    pub(crate) fn sent(&self) {
        self.state.lock().sending = None;
    }

    /// It has not been sent, and is the first again.
    pub(crate) fn not_sent(&self) {
        let mut state = self.state.lock();
        if let Some(purge) = state.sending.take() {
            state.purges.push_front(purge);
        }
    }

    /// A key that changed.
    pub(crate) fn key(&self) -> Option<Key> {
        let mut state = self.state.lock();
        let key = state.keys.pop_front()?;
        state.known.remove(&key);
        Some(key)
    }

    /// Counts what was not sent.
    pub(crate) fn skip(&self) {
        self.state.lock().skipped += 1;
    }

    pub(crate) fn skipped(&self) -> u64 {
        self.state.lock().skipped
    }

    /// Purges that wait.
    pub(crate) fn purges(&self) -> usize {
        let state = self.state.lock();
        state.purges.len() + usize::from(state.sending.is_some())
    }

    /// Whether a purge that is not known to be on the server yet concerns what is kept under this key.
    pub(crate) fn covers(&self, key: &Key, kept: &Kept) -> bool {
        let state = self.state.lock();
        let mut waiting = state.sending.iter().chain(&state.purges).peekable();
        // The usual case is spared the look at the tags.
        waiting.peek().is_some() && {
            let tags = kept.tags();
            waiting.any(|purge| concerns(purge, key, kept.scope(), &tags))
        }
    }

    fn has_any(&self) -> bool {
        let state = self.state.lock();
        !state.keys.is_empty() || !state.purges.is_empty()
    }

    fn change(&self, key: &Key) {
        let mut state = self.state.lock();
        if state.known.contains(key) {
            return;
        }
        if state.keys.len() >= KEYS_MAX {
            state.skipped += 1;
            return;
        }
        state.known.insert(*key);
        state.keys.push_back(*key);
        drop(state);
        self.changed.notify_one();
    }
}

impl Follower for Pending {
    fn stored(&self, key: &Key) {
        self.change(key);
    }

    /// What a fetch brings later is good, so this is no purge.
    fn removed(&self, key: &Key) {
        self.change(key);
    }

    fn purged(&self, purge: &Purge, heard: Heard) {
        if heard == Heard::Elsewhere {
            return;
        }
        let mut state = self.state.lock();
        if state.purges.back() == Some(purge) {
            return;
        }
        if state.purges.len() >= PURGES_MAX {
            state.purges.clear();
            state.purges.push_back(Purge::Everything);
        } else {
            state.purges.push_back(purge.clone());
        }
        drop(state);
        self.changed.notify_one();
    }
}

fn concerns(purge: &Purge, key: &Key, scope: &Scope, tags: &[u16]) -> bool {
    match purge {
        Purge::Everything => true,
        Purge::Integration(integration) => **integration == *scope.integration(),
        Purge::Operation { integration, operation } => {
            (&**integration, &**operation) == (scope.integration(), scope.operation())
        }
        Purge::Tag(number) => tags.contains(number),
        Purge::Key(purged) => purged == key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bascule_cache::{KeyBuilder, Store, StoreConfig};

    fn key(index: usize) -> Key {
        KeyBuilder::new("i", "o").field("n", &index.to_be_bytes()).finish()
    }

    #[test]
    fn a_key_too_many_is_skipped_and_a_purge_too_many_becomes_one_of_everything() {
        let pending = Pending::default();
        for index in 0..KEYS_MAX + 10 {
            pending.stored(&key(index));
            pending.stored(&key(0));
        }
        assert_eq!(pending.skipped(), 10);
        for index in 0..=PURGES_MAX {
            pending.purged(&Purge::Key(key(index)), Heard::Here);
        }
        assert_eq!((pending.purges(), pending.purge()), (1, Some(Purge::Everything)));
        pending.purged(&Purge::Tag(7), Heard::Elsewhere);
        assert_eq!(pending.purges(), 1, "what was purged elsewhere is not sent again");
    }

    #[test]
    fn a_purge_concerns_what_it_names_and_nothing_else() {
        let store = Store::new(StoreConfig::default());
        let scope = store.scope("shop", "get_user");
        let operation = |integration: &str, operation: &str| Purge::Operation {
            integration: integration.into(),
            operation: operation.into(),
        };
        let (mine, other) = (key(1), key(2));
        for (purge, concerned) in [
            (Purge::Everything, true),
            (Purge::Integration("shop".into()), true),
            (Purge::Integration("shops".into()), false),
            (operation("shop", "get_user"), true),
            (operation("shop", "get"), false),
            (operation("other", "get_user"), false),
            (Purge::Tag(7), true),
            (Purge::Tag(8), false),
            (Purge::Key(mine), true),
            (Purge::Key(other), false),
        ] {
            assert_eq!(concerns(&purge, &mine, &scope, &[3, 7]), concerned, "{purge:?}");
        }
    }

    #[test]
    fn a_purge_waits_until_it_is_sent() {
        let pending = Pending::default();
        pending.purged(&Purge::Tag(7), Heard::Here);
        assert_eq!(pending.purge(), Some(Purge::Tag(7)));
        // The same again, while it is being sent: what was stored in between must go as well.
        pending.purged(&Purge::Tag(7), Heard::Here);
        pending.purged(&Purge::Tag(7), Heard::Here);
        pending.not_sent();
        assert_eq!((pending.purges(), pending.purge()), (2, Some(Purge::Tag(7))));
        pending.sent();
        assert_eq!((pending.purge(), pending.purges()), (Some(Purge::Tag(7)), 1));
        pending.sent();
        assert_eq!((pending.purge(), pending.purges()), (None, 0));
    }
}
