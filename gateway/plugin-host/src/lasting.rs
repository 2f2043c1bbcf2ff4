//! What outlives one version of a plugin: its state, and the measurements that it has named.
//!
//! A hot swap loads the new version before it drops the old one, so what is shared by name passes from
//! one to the other; when the last version of that name goes, so does this. Nothing has to be cleaned up
//! by hand, and a name that is no longer configured costs nothing. It is not kept over restarts.

pub(crate) mod series;
pub(crate) mod space;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use series::Series;
use space::Space;

/// Integrations that one plugin name may keep state for. The name of a builtin is shared by all that use it.
const SPACES_MAX: usize = 1024;

/// Bounds of what one plugin may keep for one integration, over all its credential profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateLimits {
    /// Entries at a time. Default 1,024.
    pub entries: usize,
    /// Octets of keys and values together. Default 1 MiB.
    pub bytes: usize,
}

impl Default for StateLimits {
    fn default() -> Self {
        Self { entries: 1024, bytes: 1 << 20 }
    }
}

/// What all versions of one plugin share.
pub(crate) struct Lasting {
    pub(crate) series: Series,
    spaces: RwLock<HashMap<Arc<str>, Arc<Space>>>,
    limits: StateLimits,
}

impl Lasting {
    fn new(limits: StateLimits) -> Self {
        Self { series: Series::default(), spaces: RwLock::default(), limits }
    }

    /// The state for that integration; `None` when there are too many.
    pub(crate) fn space(&self, integration: &Arc<str>) -> Option<Arc<Space>> {
        if let Some(space) = self.spaces.read().get(integration) {
            return Some(Arc::clone(space));
        }
        let mut spaces = self.spaces.write();
        if spaces.len() >= SPACES_MAX && !spaces.contains_key(integration) {
            return None;
        }
        let space =
            spaces.entry(Arc::clone(integration)).or_insert_with(|| Arc::new(Space::new(self.limits)));
        Some(Arc::clone(space))
    }
}

/// The lasting parts of all plugins of a host, by identity.
pub(crate) struct Registry {
    limits: StateLimits,
    plugins: Mutex<HashMap<String, Weak<Lasting>>>,
}

impl Registry {
    pub(crate) fn new(limits: StateLimits) -> Self {
        Self { limits, plugins: Mutex::default() }
    }

    /// What the versions of that plugin share, new if there is none. Asked once per load.
    pub(crate) fn of(&self, plugin: &str) -> Arc<Lasting> {
        let mut plugins = self.plugins.lock();
        plugins.retain(|_, lasting| lasting.strong_count() > 0);
        if let Some(lasting) = plugins.get(plugin).and_then(Weak::upgrade) {
            return lasting;
        }
        let lasting = Arc::new(Lasting::new(self.limits));
        plugins.insert(plugin.to_owned(), Arc::downgrade(&lasting));
        lasting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_name_share_until_the_last_one_goes() {
        let registry = Registry::new(StateLimits::default());
        let old = registry.of("counter");
        let new = registry.of("counter");
        assert!(Arc::ptr_eq(&old, &new) && !Arc::ptr_eq(&old, &registry.of("other")));
        drop((old, new));
        registry.of("third");
        assert_eq!(registry.plugins.lock().len(), 1, "only the one that was just made is known");
    }

    #[test]
    fn each_integration_has_a_space_and_they_are_bounded() {
        let lasting = Lasting::new(StateLimits::default());
        let name = |number: usize| -> Arc<str> { format!("integration-{number}").into() };
        for number in 0..SPACES_MAX {
            assert!(lasting.space(&name(number)).is_some());
        }
        assert!(lasting.space(&name(SPACES_MAX)).is_none());
        let (one, again) = (lasting.space(&name(0)).unwrap(), lasting.space(&name(0)).unwrap());
        assert!(Arc::ptr_eq(&one, &again));
    }
}
