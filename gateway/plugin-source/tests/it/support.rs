//! Sources with few words.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use bascule_plugin_source::*;
use data_encoding::BASE64;
use rustls::RootCertStore;
use tempfile::TempDir;

use crate::server;

pub(crate) const PLUGIN: &[u8] = b"\0asm the plugin";

/// Sources with a store of their own, which goes with this.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) config: FetcherConfig,
}

impl Place {
    pub(crate) fn new() -> Self {
        let config = FetcherConfig {
            tls: server::client(RootCertStore::empty()),
            egress: Arc::new(|_, _| true),
            credentials: BTreeMap::new(),
            limits: FetchLimits::default(),
        };
        Self { dir: tempfile::tempdir().unwrap(), config }
    }

    pub(crate) fn with(change: impl FnOnce(&mut FetcherConfig)) -> Self {
        let mut place = Self::new();
        change(&mut place.config);
        place
    }

    pub(crate) fn sources(&self) -> Sources {
        let store = Store::open(self.dir.path().join("store"), Store::BYTES_MAX_DEFAULT).unwrap();
        Sources::new(Fetcher::new(self.config.clone()), store)
    }

    /// What the reference gives without a lock.
    pub(crate) async fn obtain(&self, wanted: &Wanted) -> Result<Obtained, SourceError> {
        self.sources().obtain(wanted, &Lock::default(), Floating::Follow).await
    }

    /// What is wrong with the reference, at its root.
    pub(crate) async fn error(&self, wanted: &Wanted) -> String {
        chain(&self.obtain(wanted).await.unwrap_err())
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

pub(crate) fn wanted(reference: &str) -> Wanted {
    Wanted::new(Reference::parse(reference).unwrap())
}

pub(crate) fn pinned(reference: &str, content: &[u8]) -> Wanted {
    Wanted { sha256: Some(Digest::of(content)), ..wanted(reference) }
}

pub(crate) fn oci(reference: &str) -> OciReference {
    let Reference::Oci(oci) = Reference::parse(reference).unwrap() else { panic!("{reference}") };
    oci
}

pub(crate) fn push(content: &[u8]) -> Push {
    Push {
        content: content.to_vec().into(),
        created: "2026-11-21T18:00:00Z".to_owned(),
        component: Some(ComponentSummary { exports: vec!["acme:x/y@1.0.0".to_owned()], imports: Vec::new() }),
        annotations: BTreeMap::from([("org.opencontainers.image.version".to_owned(), "1.0.0".to_owned())]),
    }
}

/// A fresh key of each kind, in both halves.
pub(crate) fn ed25519(name: &str) -> (SigningKey, PublicKey) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    halves(name, pair.to_pkcs8().unwrap().as_ref(), public.as_ref())
}

pub(crate) fn p256(name: &str) -> (SigningKey, PublicKey) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    halves(name, pair.to_pkcs8v1().unwrap().as_ref(), public.as_ref())
}

fn halves(name: &str, private: &[u8], public: &[u8]) -> (SigningKey, PublicKey) {
    let pem = |kind: &str, der: &[u8]| {
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64.encode(der))
    };
    let private = SigningKey::from_pem(name, pem("PRIVATE KEY", private).as_bytes()).unwrap();
    (private, PublicKey::from_pem(name, pem("PUBLIC KEY", public).as_bytes()).unwrap())
}
