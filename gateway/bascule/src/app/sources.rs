//! What the plugins of a configuration are: the pinned, locked and signed octets of each, or why there are none.
//!
//! All of them are obtained before the first is compiled, and once for each reload: what tells whether an
//! integration changed is what is loaded. Reading the lock file decides; writing it is a command's.
//! Nothing here knows WebAssembly.

mod advice;
mod all;

use super::{builtin::shipped, plugins::describe};
use crate::{
    config::{BaseUrl, Config, Diagnostic, Integration, PluginSettings, PluginSource, Problems, SourceRules},
    upstream::{EgressPolicy, Tls},
};
use all::obtain_all;
use bascule_plugin_source::{
    CONTENT_BYTES_CAP, Credentials, Digest, Egress, FetchLimits, Fetcher, FetcherConfig, Floating, Lock,
    LockError, Reference, Sources, Store, Wanted,
};
use bytes::Bytes;
use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;
use url::Url;

/// The folder of fetched plugins, within that of compiled ones.
const FOLDER: &str = "sources";

/// What is wrong, and what to do about it.
pub(super) type Found = (String, String);

/// What plugins are fetched with and where they are kept: what outlives configurations. Cloning shares it.
#[derive(Clone)]
pub struct PluginSources {
    tls: Tls,
    folder: PathBuf,
    _own: Option<Arc<TempDir>>,
}

/// A plugin's octets and their digest.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) octets: Bytes,
    pub(super) digest: Digest,
}

/// What every plugin of a configuration is.
pub(super) struct Contents(BTreeMap<String, Result<Content, Found>>);

impl PluginSources {
    /// Keeps what is fetched in a folder within `cache`; without one in a folder that goes with the last clone.
    ///
    /// # Errors
    /// When there is no temporary folder to be had.
    pub fn new(tls: &Tls, cache: Option<&Path>) -> io::Result<Self> {
        let own = match cache {
            Some(_) => None,
            None => Some(Arc::new(tempfile::Builder::new().prefix("bascule-plugins-").tempdir()?)),
        };
        let base = cache.or(own.as_deref().map(TempDir::path)).unwrap_or(Path::new("."));
        Ok(Self { tls: tls.clone(), folder: base.join(FOLDER), _own: own })
    }

    /// What fetches these references by these rules. A private or loopback address is reached only where the
    /// rules or the references themselves name its host.
    ///
    /// # Errors
    /// When the folder cannot be made or made private.
    pub fn by<'a>(
        &self,
        rules: &SourceRules,
        references: impl IntoIterator<Item = &'a Reference>,
    ) -> io::Result<Sources> {
        let store = Store::open(&self.folder, Store::BYTES_MAX_DEFAULT)?;
        let logins = rules.registries.iter().filter_map(|(name, registry)| {
            let login = registry.login.as_ref()?;
            let password = login.password.expose().to_owned().into();
            Some((name.clone(), Credentials { username: login.username.clone(), password }))
        });
        let fetcher = Fetcher::new(FetcherConfig {
            tls: Arc::clone(self.tls.config()),
            egress: egress(rules, references),
            credentials: logins.collect(),
            // How large a plugin may be is the plugin host's to say.
            limits: FetchLimits { content: CONTENT_BYTES_CAP, ..FetchLimits::default() },
        });
        Ok(Sources::new(fetcher, store))
    }

    /// Obtains every plugin. Blocks, and must not be called on a thread that has calls to serve; a plugin that
    /// is not there in time is told at its `source`, a lock file that cannot be read once, in `problems`.
    pub(super) fn obtain<I: Borrow<Arc<Integration>>>(
        &self,
        rules: &SourceRules,
        integrations: impl IntoIterator<Item = I>,
        problems: &mut Problems,
    ) -> Contents {
        let mut all = BTreeMap::new();
        for integration in integrations {
            for wanted in integration.borrow().plugins.iter().filter_map(wanted) {
                all.entry(identity(&wanted)).or_insert(wanted);
            }
        }
        let lock = match lock(rules, all.values()) {
            Ok(lock) => lock,
            Err(error) => {
                let help = "restore it, or remove it and run `bascule plugin lock`";
                problems.push(Diagnostic::new(&rules.lock, "", describe(&error), help));
                all.retain(|_, wanted| !wanted.reference.is_remote());
                Lock::default()
            }
        };
        if all.is_empty() {
            return Contents(BTreeMap::new());
        }
        let sources = match self.by(rules, all.values().map(|wanted| &wanted.reference)) {
            Ok(sources) => sources,
            Err(error) => {
                let found = (format!("no folder for plugins: {error}"), "mend the cache folder".to_owned());
                return Contents(all.into_keys().map(|key| (key, Err(found.clone()))).collect());
            }
        };
        let floating = if rules.locked { Floating::Refuse } else { Floating::Follow };
        Contents(obtain_all(sources, lock, floating, all))
    }
}

impl Contents {
    /// What a plugin is, or why it is nothing.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub(super) fn of(&self, settings: &PluginSettings) -> Result<Content, Found> {
        if let PluginSource::Builtin(name) = &settings.source {
            return match shipped(name) {
                Ok(octets) => Ok(Content { octets: Bytes::from_static(octets), digest: Digest::of(octets) }),
                Err(error) => Err((error.to_string(), "or give a file".to_owned())),
            };
        }
        let found = wanted(settings).and_then(|wanted| self.0.get(&identity(&wanted)));
        found.cloned().unwrap_or_else(|| {
            Err((
                "not looked at: the lock file cannot be read".to_owned(),
                "mend bascule.lock first".to_owned(),
            ))
        })
    }
}

/// What a plugin's table asks for; none for what is built in.
pub fn wanted(settings: &PluginSettings) -> Option<Wanted> {
    let reference = match &settings.source {
        PluginSource::Builtin(_) => return None,
        PluginSource::File(path) => Reference::File(path.clone()),
        PluginSource::Remote(reference) => reference.clone(),
    };
    let sha256 = settings.sha256.map(Digest::from);
    Some(Wanted { reference, sha256, signed_by: settings.signed_by.clone() })
}

/// A warning for each tag that neither `bascule.lock` nor a pin holds: another start may run other code.
/// `problems` knows the files' texts. With `locked = true` and without a readable lock file there is none: those
/// are problems.
pub fn floating(config: &Config, problems: &Problems) -> Problems {
    let mut doubts = problems.about_the_same_files();
    let Ok(lock) = Lock::read(&config.source_rules.lock) else { return doubts };
    for settings in config.integrations.values().flat_map(|integration| &integration.plugins) {
        if !config.source_rules.locked && wanted(settings).is_some_and(|wanted| wanted.floats(&lock)) {
            let message = "the tag may mean another plugin at the next start";
            let help = "hold it with `bascule plugin lock`, or write its digest: @sha256:…";
            doubts.push(Diagnostic::at(&settings.origin, message, help).warning());
        }
    }
    doubts
}

/// What two tables must have in common to mean the same plugin.
fn identity(wanted: &Wanted) -> String {
    let keys: Vec<&str> = wanted.signed_by.iter().map(|key| key.id()).collect();
    format!("{} {:?} {keys:?}", wanted.reference, wanted.sha256)
}

/// The lock file, where anything could be in it.
fn lock<'a>(rules: &SourceRules, all: impl IntoIterator<Item = &'a Wanted>) -> Result<Lock, LockError> {
    if !all.into_iter().any(|wanted| wanted.reference.is_remote()) {
        return Ok(Lock::default());
    }
    Lock::read(&rules.lock)
}

fn egress<'a>(rules: &SourceRules, references: impl IntoIterator<Item = &'a Reference>) -> Arc<Egress> {
    let local = references.into_iter().filter_map(url).filter(|url| BaseUrl::of(url).loopback);
    let local: BTreeSet<String> = local.filter_map(|url| Some(url.host_str()?.to_owned())).collect();
    let private = rules.registries.iter().filter(|(_, registry)| registry.allow_private);
    let private: BTreeSet<String> =
        private.filter_map(|(name, _)| Some(of_registry(name)?.host_str()?.to_owned())).collect();
    Arc::new(move |host, address| {
        let (allow_private, allow_loopback) = (private.contains(host), local.contains(host));
        EgressPolicy { allow_private, allow_loopback }.allows(address)
    })
}

fn url(reference: &Reference) -> Option<Url> {
    match reference {
        Reference::Https(url) => Some(url.clone()),
        Reference::Oci(oci) => of_registry(oci.registry()),
        Reference::File(_) | Reference::Builtin(_) => None,
    }
}

fn of_registry(name: &str) -> Option<Url> {
    Url::parse(&format!("https://{name}/")).ok()
}

#[cfg(test)]
mod tests;
