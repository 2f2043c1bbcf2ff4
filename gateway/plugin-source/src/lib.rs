//! Where plugins come from, and whether they may be trusted.
//!
//! A `source` of the configuration is parsed once into a [`Reference`]. [`Sources`] turns it into octets
//! that are the pinned, locked and signed ones, or into an error that says which of these they are not.
//!
//! | part | holds to |
//! | --- | --- |
//! | [`Fetcher`] | every address is put to the egress rule before it is connected to; every answer has a cap of octets and every fetch one of time; plain http only to this machine |
//! | [`Store`] | files are named by their sha256 and checked against it whenever they are read, so that a start without a network runs what was fetched, or nothing |
//! | [`Lock`] | a tag is what it was when it was locked, until somebody locks again |
//! | [`PublicKey`] | no key configured = not checked; a key and no valid signature = refused |
//!
//! It knows nothing of WebAssembly, of the configuration's files or of the gateway.

mod digest;
mod error;
mod evidence;
mod fetcher;
mod http;
mod key;
mod lock;
mod oci;
mod reference;
mod sources;
mod store;

pub use digest::{Digest, DigestError};
pub use error::{FetchError, PushError, SourceError};
pub use fetcher::{Credentials, Egress, FetchLimits, Fetcher, FetcherConfig};
pub use key::{KeyError, PublicKey, SigningKey};
pub use lock::{Lock, LockError, Locked};
pub use oci::manifest::ManifestError;
pub use oci::push::{ComponentSummary, Push, Pushed};
pub use reference::{OciReference, Reference, ReferenceError};
pub use sources::{Finding, Floating, Obtained, Sources, Wanted};
pub use store::Store;

/// Largest plugin that any configuration may allow, in octets: 64 MiB.
pub const CONTENT_BYTES_CAP: u64 = 64 << 20;
