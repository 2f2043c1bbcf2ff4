//! Why a plugin cannot be had, and why one that was had is not taken.
//!
//! [`FetchError`] is about the network and what came over it; [`SourceError`] about what the
//! configuration, the lock file and the publishers' keys say of it. URLs are shown without their query,
//! which may hold a token.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

use crate::digest::Digest;
use crate::key::KeyError;
use crate::oci::manifest::ManifestError;

/// What went wrong on the way to a server, or was wrong with its answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The egress rule does not allow one of the host's addresses. Nothing was connected to.
    #[error("`{host}` resolves to {address}, which is not allowed")]
    EgressDenied {
        /// The host as named.
        host: String,
        /// The address that is not allowed.
        address: IpAddr,
    },
    /// Something other than this machine would have been spoken to without TLS.
    #[error("`{url}` would be fetched without TLS from another machine")]
    PlainHttp {
        /// Where.
        url: String,
    },
    /// No address, or none that answers.
    #[error("`{host}` cannot be reached")]
    Unreachable {
        /// The host as named.
        host: String,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("`{host}` cannot be trusted or speaks no TLS")]
    Tls {
        /// The host as named.
        host: String,
        /// What rustls says.
        #[source]
        source: io::Error,
    },
    /// An answer that is no HTTP, or ended early.
    #[error("`{url}` gave no usable answer")]
    Protocol {
        /// Where.
        url: String,
        /// What hyper says.
        #[source]
        source: hyper::Error,
    },
    /// The whole fetch took too long.
    #[error("not fetched within {limit:?}")]
    Timeout {
        /// The time allowed.
        limit: Duration,
    },
    /// A status that is neither success nor a redirect.
    #[error("`{url}` answered {status}")]
    Status {
        /// Where.
        url: String,
        /// What it said.
        status: StatusCode,
    },
    /// A redirect that is not followed: to another host, without a goal, or one too many.
    #[error("`{url}` redirects to `{to}`, which is not followed")]
    Redirected {
        /// Where.
        url: String,
        /// Its goal.
        to: String,
    },
    /// Not the kind of document that was asked for.
    #[error("`{url}` is of type `{found}`, not {expected}")]
    MediaType {
        /// Where.
        url: String,
        /// What the server calls it.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// More octets than allowed; the rest was not read.
    #[error("`{url}` has more than the {limit} octets allowed")]
    TooLarge {
        /// Where.
        url: String,
        /// Octets allowed.
        limit: u64,
    },
    /// The server's octets are not the ones asked for.
    #[error("`{url}` has {actual}, but {expected} was asked for")]
    Digest {
        /// Where.
        url: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A manifest that does not describe one plugin.
    #[error("`{url}` does not describe a plugin")]
    Manifest {
        /// Where.
        url: String,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// The registry wants a login that could not be made.
    #[error("no login at `{registry}`: {reason}")]
    Login {
        /// The registry.
        registry: String,
        /// Why.
        reason: &'static str,
    },
    /// The registry does not behave as the distribution specification wants.
    #[error("`{url}` breaks the distribution specification: {reason}")]
    Specification {
        /// Where.
        url: String,
        /// How.
        reason: &'static str,
    },
}

/// Why a plugin was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The reference has a digest, which only the registry's answer can give, or no tag.
    #[error("`{reference}` is no place to push to: it needs a tag and no digest")]
    Reference {
        /// The reference.
        reference: String,
    },
    /// The network.
    #[error("`{reference}` cannot be pushed")]
    Fetch {
        /// The reference.
        reference: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Why a `source` of the configuration is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// `builtin:` is the caller's, who should not have asked here.
    #[error("`{reference}` is not fetched")]
    Builtin {
        /// The source.
        reference: String,
    },
    /// A file that cannot be read.
    #[error("the file `{path}` cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// A file larger than allowed.
    #[error("the file `{path}` has more than the {limit} octets allowed")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Octets allowed.
        limit: u64,
    },
    /// The content store cannot be written.
    #[error("what was fetched cannot be stored")]
    Store(#[source] io::Error),
    /// The network.
    #[error("`{reference}` cannot be fetched")]
    Fetch {
        /// The source.
        reference: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// `https://` without a pin.
    #[error("`{reference}` is not pinned; add `sha256 = \"…\"` of the file that you trust")]
    Unpinned {
        /// The source.
        reference: String,
    },
    /// A tag that neither a lock entry nor a pin holds, where `locked = true` asks for one.
    #[error("`{reference}` may change at any time and is not locked; run `bascule plugin lock`")]
    NotLocked {
        /// The source.
        reference: String,
    },
    /// Other content than the pin or the lock file says.
    #[error("`{reference}` has {actual}, but {expected} is {by}")]
    Digest {
        /// The source.
        reference: String,
        /// What was found.
        actual: Digest,
        /// What was expected.
        expected: Digest,
        /// `pinned` or `locked`.
        by: &'static str,
    },
    /// A key is configured, and no signature by it is there.
    #[error("`{reference}` ({content}) has no valid signature by {keys}; signatures found: {found}")]
    NotSigned {
        /// The source.
        reference: String,
        /// What would have to be signed.
        content: Digest,
        /// The keys by their names and ids.
        keys: String,
        /// How many signatures there are, valid or not.
        found: usize,
    },
}
