//! Idempotency keys of calls that are under way: of two calls with one key, the second waits for the first to end.
//!
//! As many as there are calls in flight of operations that may be queued; each is given back when its call ends,
//! however it ends.

use parking_lot::Mutex;
use std::{collections::HashSet, sync::Arc};

/// An operation and a key.
type Name = (Arc<str>, Arc<str>);

/// The keys in use.
#[derive(Default)]
pub(super) struct Keys {
    used: Mutex<HashSet<Name>>,
}

/// A key that this call alone may use. Dropped, it is free.
pub(in crate::pipeline) struct KeyInFlight {
    keys: Arc<Keys>,
    name: Name,
}

impl Keys {
    /// Takes the key for a call of the operation; none while another call has it.
    pub(super) fn take(self: &Arc<Self>, operation: &Arc<str>, key: &str) -> Option<KeyInFlight> {
        let name: Name = (Arc::clone(operation), key.into());
        self.used.lock().insert(name.clone()).then(|| KeyInFlight { keys: Arc::clone(self), name })
    }
}

impl Drop for KeyInFlight {
    fn drop(&mut self) {
        self.keys.used.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_calls_until_that_has_ended() {
        let keys: Arc<Keys> = Arc::default();
        let (pay, refund): (Arc<str>, Arc<str>) = ("shop.pay".into(), "shop.refund".into());
        let held = keys.take(&pay, "k").unwrap();
        assert!(keys.take(&pay, "k").is_none());
        assert!(keys.take(&refund, "k").is_some() && keys.take(&pay, "l").is_some());
        drop(held);
        assert!(keys.take(&pay, "k").is_some());
        assert!(keys.used.lock().is_empty());
    }
}
