//! From a reference to octets that may be run: the store, the network, pins, lock and keys in one order.
//!
//! | step | file | `https://` | `oci://` |
//! | --- | --- | --- | --- |
//! | 1. which content | as it is | the pin, which it must have | pin or lock entry, or the manifest that the reference, the lock entry or, with neither, the tag names |
//! | 2. from | the disk | the store, then the network | the store, then the network |
//! | 3. content is pinned and locked | pin | both | both |
//! | 4. signature by a configured key | `FILE.sig` | `PATH.sig` | cosign's tag |
//!
//! With a lock entry the tag is not followed, nor asked after: [`Sources::verify`] says when it has moved.
//! What was taken is stored with its manifest and signatures, so that the same configuration starts
//! without a network; what was refused is not stored.

mod take;

use bytes::Bytes;

use crate::digest::Digest;
use crate::error::{FetchError, SourceError};
use crate::fetcher::Fetcher;
use crate::key::PublicKey;
use crate::lock::{Lock, Locked};
use crate::reference::Reference;
use crate::store::Store;
use take::{Name, Taken};

/// One `source` with what the configuration says of it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The source; a file's path as it can be opened from here.
    pub reference: Reference,
    /// The pin.
    pub sha256: Option<Digest>,
    /// Keys of which one must have signed; none = not checked.
    pub signed_by: Vec<PublicKey>,
}

/// What to do with a tag that neither a lock entry nor a pin holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Floating {
    /// Follow it; [`Obtained::floats`] says so, for a warning.
    #[default]
    Follow,
    /// Refuse it (`locked = true`).
    Refuse,
}

/// A plugin that may be run as far as its source goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obtained {
    /// The plugin.
    pub content: Bytes,
    /// Its digest.
    pub sha256: Digest,
    /// The digest of its manifest, when it is an artifact and the manifest is known.
    pub manifest: Option<Digest>,
    /// The id of the configured key that signed it; `None` when none is configured.
    pub signer: Option<String>,
    /// A tag was followed that nothing holds: another start may run other code.
    pub floats: bool,
}

/// What [`Sources::verify`] found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// It cannot be had any more, or not be trusted.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A remote reference without an entry.
    #[error("`{reference}` is not in the lock file; run `bascule plugin lock`")]
    NotLocked {
        /// The source.
        reference: String,
    },
    /// An entry whose reference is nowhere in the configuration.
    #[error("`{reference}` is in the lock file and nowhere in the configuration")]
    Unused {
        /// The source.
        reference: String,
    },
    /// The reference means something else than when it was locked.
    #[error("`{reference}` was locked as {locked} and is {now} now")]
    Moved {
        /// The source.
        reference: String,
        /// What was locked.
        locked: Box<Locked>,
        /// What it is now.
        now: Box<Locked>,
    },
}

/// Plugins by their references.
pub struct Sources {
    fetcher: Fetcher,
    store: Store,
}

impl Sources {
    /// Fetches with that fetcher and keeps in that store.
    #[must_use]
    pub fn new(fetcher: Fetcher, store: Store) -> Self {
        Self { fetcher, store }
    }

    /// The fetcher, for pushing.
    #[must_use]
    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// The plugin behind a reference, as it is pinned, locked and signed.
    ///
    /// Cancel-safe: dropped, it leaves at most a stored file. Takes at most
    /// [`FetchLimits::total`](crate::FetchLimits::total) of network time.
    ///
    /// # Errors
    /// [`SourceError`], one variant per reason.
    pub async fn obtain(
        &self,
        wanted: &Wanted,
        lock: &Lock,
        floating: Floating,
    ) -> Result<Obtained, SourceError> {
        let locked = lock.get(&wanted.reference);
        let floats = wanted.floats(lock);
        if floats && floating == Floating::Refuse {
            return Err(SourceError::NotLocked { reference: wanted.reference.to_string() });
        }
        let name = Name {
            content: wanted.sha256.or(locked.map(|locked| locked.content)),
            manifest: locked.and_then(|locked| locked.manifest),
        };
        let (taken, signer) = self.take(wanted, name).await?;
        if let Some(locked) = locked {
            taken.is(locked.content, "locked", wanted)?;
        }
        Ok(Obtained {
            sha256: taken.digest,
            manifest: taken.manifest(),
            content: taken.content,
            signer,
            floats,
        })
    }

    /// What a reference means now, to be locked: a tag is followed, whatever was locked before. `None` for
    /// files and builtins, which have no place in the lock file.
    ///
    /// # Errors
    /// [`SourceError`], one variant per reason.
    pub async fn resolve(&self, wanted: &Wanted) -> Result<Option<Locked>, SourceError> {
        if !wanted.reference.is_remote() {
            return Ok(None);
        }
        let (taken, signer) = self.take_afresh(wanted).await?;
        let (manifest, content, size) = (taken.manifest(), taken.digest, taken.content.len() as u64);
        Ok(Some(Locked { manifest, content, size, signer }))
    }

    /// Whether every remote reference still means what was locked, and every file is what is pinned and
    /// signed; everything that is not so, at once.
    pub async fn verify(&self, wanted: &[Wanted], lock: &Lock) -> Vec<Finding> {
        let mut findings = Vec::new();
        for wanted in wanted {
            if matches!(wanted.reference, Reference::Builtin(_)) {
                continue;
            }
            if let Err(finding) = self.verify_one(wanted, lock).await {
                findings.push(finding);
            }
        }
        let used = |reference: &str| wanted.iter().any(|wanted| wanted.reference.to_string() == reference);
        let unused = lock.references().filter(|reference| !used(reference));
        findings.extend(unused.map(|reference| Finding::Unused { reference: reference.to_owned() }));
        findings
    }

    async fn verify_one(&self, wanted: &Wanted, lock: &Lock) -> Result<(), Finding> {
        if !wanted.reference.is_remote() {
            self.take(wanted, Name::default()).await?;
            return Ok(());
        }
        let reference = wanted.reference.to_string();
        let Some(locked) = lock.get(&wanted.reference) else {
            return Err(Finding::NotLocked { reference });
        };
        match self.resolve(wanted).await? {
            Some(now) if !now.is_what(locked) => {
                Err(Finding::Moved { reference, locked: Box::new(locked.clone()), now: Box::new(now) })
            }
            _ => Ok(()),
        }
    }
}

impl Wanted {
    /// A reference that is neither pinned nor signed.
    #[must_use]
    pub fn new(reference: Reference) -> Self {
        Self { reference, sha256: None, signed_by: Vec::new() }
    }

    /// Whether what it means may change without a change of configuration and lock file: a tag that
    /// neither a pin nor a lock entry holds.
    #[must_use]
    pub fn floats(&self, lock: &Lock) -> bool {
        let by_tag = matches!(&self.reference, Reference::Oci(oci) if oci.digest().is_none());
        by_tag && self.sha256.is_none() && lock.get(&self.reference).is_none()
    }

    fn fetch_error(&self) -> impl Fn(FetchError) -> SourceError + use<> {
        let reference = self.reference.to_string();
        move |source| SourceError::Fetch { reference: reference.clone(), source }
    }
}

impl Taken {
    /// Refuses content that is not the expected one.
    fn is(&self, expected: Digest, by: &'static str, wanted: &Wanted) -> Result<(), SourceError> {
        if self.digest == expected {
            return Ok(());
        }
        let reference = wanted.reference.to_string();
        Err(SourceError::Digest { reference, actual: self.digest, expected, by })
    }
}
