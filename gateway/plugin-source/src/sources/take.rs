//! Taking one plugin, from the disk or the network, and looking at its pin and signature.
//!
//! What blocks on the disk runs beside the runtime's threads.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::StatusCode;
use url::Url;

use super::{Sources, Wanted};
use crate::digest::Digest;
use crate::error::{FetchError, SourceError};
use crate::evidence::Evidence;
use crate::fetcher::SIGNATURE_BYTES_MAX;
use crate::http::shown;
use crate::oci::manifest::Manifest;
use crate::oci::{MANIFEST_BYTES_MAX, Resolved};
use crate::reference::{OciReference, Reference};
use crate::store::Store;

/// What is known of a plugin before it is there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Name {
    pub(super) content: Option<Digest>,
    pub(super) manifest: Option<Digest>,
}

/// A plugin with what vouches for it, nothing of it checked but its digests.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) content: Bytes,
    pub(super) digest: Digest,
    /// The manifest that names the content, when it is an artifact.
    resolved: Option<(Digest, Bytes)>,
    /// Looked for only when a key is configured.
    evidence: Option<Evidence>,
}

impl Taken {
    pub(super) fn manifest(&self) -> Option<Digest> {
        self.resolved.as_ref().map(|(digest, _)| *digest)
    }

    /// The id of the key that signed, or a refusal; nothing without a key.
    fn signer(&self, wanted: &Wanted) -> Result<Option<String>, SourceError> {
        if wanted.signed_by.is_empty() {
            return Ok(None);
        }
        let of =
            |evidence: &Evidence| evidence.signer(&self.content, self.digest, &wanted.signed_by).cloned();
        if let Some(key) = self.evidence.as_ref().and_then(of) {
            return Ok(Some(key.id().to_owned()));
        }
        let keys: Vec<String> = wanted.signed_by.iter().map(ToString::to_string).collect();
        Err(SourceError::NotSigned {
            reference: wanted.reference.to_string(),
            content: self.digest,
            keys: keys.join(" or "),
            found: self.evidence.as_ref().map_or(0, Evidence::len),
        })
    }

    /// Pin and signature.
    fn check(&self, wanted: &Wanted) -> Result<Option<String>, SourceError> {
        if let Some(pin) = wanted.sha256 {
            self.is(pin, "pinned", wanted)?;
        }
        self.signer(wanted)
    }
}

impl Sources {
    /// The plugin, checked, and the key that signed it: from the store when that has all of it.
    pub(super) async fn take(
        &self,
        wanted: &Wanted,
        name: Name,
    ) -> Result<(Taken, Option<String>), SourceError> {
        if let Reference::File(path) = &wanted.reference {
            let taken = self.file(path, wanted).await?;
            let signer = taken.check(wanted)?;
            return Ok((taken, signer));
        }
        let by_digest = match &wanted.reference {
            Reference::Oci(oci) => oci.digest(),
            _ => None,
        };
        let name = Name { manifest: by_digest.or(name.manifest), ..name };
        wanted.refuse_unpinned()?;
        let (store, limit, keys) = (self.store.clone(), self.fetcher.content_max(), wanted.signed_by.len());
        let stored = blocking(move || Ok(stored(&store, name, limit, keys > 0))).await;
        if let Some(taken) = stored.map_err(SourceError::Store)?
            && let Ok(signer) = taken.check(wanted)
        {
            return Ok((taken, signer));
        }
        self.take_named(wanted, name).await
    }

    /// The same from the network alone, a tag followed.
    pub(super) async fn take_afresh(&self, wanted: &Wanted) -> Result<(Taken, Option<String>), SourceError> {
        wanted.refuse_unpinned()?;
        self.take_named(wanted, Name::default()).await
    }

    async fn take_named(&self, wanted: &Wanted, name: Name) -> Result<(Taken, Option<String>), SourceError> {
        let signed = !wanted.signed_by.is_empty();
        let taken = match &wanted.reference {
            Reference::Oci(oci) => self.fetcher.within(self.artifact(oci, name.manifest, signed)).await,
            Reference::Https(url) => self.fetcher.within(self.download(url, signed)).await,
            Reference::File(_) | Reference::Builtin(_) => {
                return Err(SourceError::Builtin { reference: wanted.reference.to_string() });
            }
        };
        let taken = taken.map_err(wanted.fetch_error())?;
        let signer = taken.check(wanted)?;
        self.keep(&taken).await.map_err(SourceError::Store)?;
        Ok((taken, signer))
    }

    async fn keep(&self, taken: &Taken) -> io::Result<()> {
        let store = self.store.clone();
        let (content, digest) = (taken.content.clone(), taken.digest);
        let (resolved, evidence) = (taken.resolved.clone(), taken.evidence.clone());
        blocking(move || {
            if let Some((_, raw)) = resolved {
                store.put(&raw)?;
            }
            if let Some(evidence) = evidence {
                store.put_evidence(digest, &evidence)?;
            }
            store.put(&content).map(drop)
        })
        .await
    }

    async fn artifact(
        &self,
        oci: &OciReference,
        manifest: Option<Digest>,
        signed: bool,
    ) -> Result<Taken, FetchError> {
        let mut registry = self.fetcher.registry(oci, "pull");
        let asked = manifest.map_or_else(|| oci.asked(), |manifest| manifest.to_string());
        let found = registry.manifest(&asked).await?;
        let Some(Resolved { digest, raw, manifest }) = found else {
            let url = oci.url(&format!("manifests/{asked}")).as_ref().map(shown).unwrap_or_default();
            return Err(FetchError::Status { url, status: StatusCode::NOT_FOUND });
        };
        let layer =
            manifest.plugin().map_err(|source| FetchError::Manifest { url: format!("{oci}"), source })?;
        let content = registry.blob(layer, self.fetcher.content_max()).await?;
        let evidence = if signed {
            Some(Evidence::Manifest { manifest: digest, signed: registry.signatures(digest).await? })
        } else {
            None
        };
        Ok(Taken { digest: layer.digest, content, resolved: Some((digest, raw)), evidence })
    }

    async fn download(&self, url: &Url, signed: bool) -> Result<Taken, FetchError> {
        let content = self.fetcher.file(url).await?;
        let evidence = if signed { Some(self.fetcher.file_signatures(url).await?) } else { None };
        Ok(Taken { digest: Digest::of(&content), content, resolved: None, evidence })
    }

    async fn file(&self, path: &Path, wanted: &Wanted) -> Result<Taken, SourceError> {
        let signed = !wanted.signed_by.is_empty();
        let limit = self.fetcher.content_max();
        let from = path.to_owned();
        let failed = |source| SourceError::File { path: path.to_owned(), source };
        let read = move || {
            let content = read(&from, limit)?;
            let signatures = signed.then(|| signatures_beside(from)).transpose()?;
            Ok((content, signatures))
        };
        let (content, evidence) = blocking(read).await.map_err(failed)?;
        let content = content.ok_or_else(|| SourceError::TooLarge { path: path.to_owned(), limit })?;
        Ok(Taken { digest: Digest::of(&content), content: content.into(), resolved: None, evidence })
    }
}

impl Wanted {
    fn refuse_unpinned(&self) -> Result<(), SourceError> {
        match &self.reference {
            Reference::Https(_) if self.sha256.is_none() => {
                Err(SourceError::Unpinned { reference: self.reference.to_string() })
            }
            _ => Ok(()),
        }
    }
}

/// What the store has under that name, with everything that vouches for it.
fn stored(store: &Store, name: Name, limit: u64, signed: bool) -> Option<Taken> {
    let of_manifest = |manifest| {
        let raw = store.get(manifest, MANIFEST_BYTES_MAX)?;
        let content = Manifest::parse(&raw).ok()?.plugin().ok()?.digest;
        Some(((manifest, Bytes::from(raw)), content))
    };
    let named = name.manifest.and_then(of_manifest);
    let digest = name.content.or(named.as_ref().map(|(_, content)| *content))?;
    let content = Bytes::from(store.get(digest, limit)?);
    let evidence = if signed { Some(store.evidence(digest)?) } else { None };
    let resolved = match &evidence {
        // Signatures of a manifest vouch for this content only if that manifest names it.
        Some(Evidence::Manifest { manifest, .. }) => {
            Some(of_manifest(*manifest).filter(|(_, content)| *content == digest)?.0)
        }
        _ => named.filter(|(_, content)| *content == digest).map(|(resolved, _)| resolved),
    };
    Some(Taken { content, digest, resolved, evidence })
}

/// A file's octets; `None` when there are more than that.
fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    Ok((content.len() as u64 <= limit).then_some(content))
}

/// What `FILE.sig` has; no file is no signature.
fn signatures_beside(path: PathBuf) -> io::Result<Evidence> {
    let mut beside = path.into_os_string();
    beside.push(".sig");
    match read(Path::new(&beside), SIGNATURE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Evidence::of_file("")),
        other => Ok(Evidence::of_file(&String::from_utf8_lossy(&other?.unwrap_or_default()))),
    }
}

/// Runs what blocks on the disk beside the runtime's threads.
async fn blocking<R: Send + 'static>(work: impl FnOnce() -> io::Result<R> + Send + 'static) -> io::Result<R> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
