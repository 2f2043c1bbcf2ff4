//! Loads, checks, limits and calls WebAssembly plugins.
//!
//! A plugin is a component that exports some phases of the WIT package `bascule:plugin` and imports
//! what it needs of it. [`PluginHost::load`] turns a file into a [`Plugin`]; each phase of a call is
//! one method of it, run on a fresh instance that is thrown away afterwards. What a plugin keeps from
//! call to call, it keeps in the host's store, within bounds.
//!
//! What the crate holds to:
//! - No secret enters guest memory unless the operator named it in a `reveal:…` grant. Plugins sign with
//!   keys that they cannot read, and name secrets that the host puts in after they have returned.
//! - Every guest ends: by its answer, or at a limit of CPU time, wall time or memory. The next call
//!   starts on a fresh instance and owes nothing to the last.
//! - What a plugin can do is what its import list says and the configuration grants, checked when it is
//!   loaded.
//! - Nothing that a plugin returns is used unchecked.
//!
//! A component may also serve requests by itself, as the backend of an integration ([`Role::Backend`],
//! [`Plugin::respond`]): the same files, limits and breaker, and requests of its own only to integrations that it is
//! granted.
//!
//! It knows nothing of HTTP connections (side requests go to whoever makes the [`CallContext`]), of the
//! pipeline or of the cache.

mod artifact;
mod backend;
mod bindings;
mod body;
mod crypto;
mod error;
mod grants;
mod host;
mod hostcalls;
mod inspect;
mod lasting;
mod limits;
mod observer;
mod phase;
mod plugin;
mod random;
mod rehearsal;
mod secret;
mod side;
mod state;
mod token;
mod wasi;

pub use backend::{
    AnswerBody, GuestBody, HttpBody, HttpBodyError, OutboundError, OutboundFuture, OutboundRequest,
    OutboundRequests, Role,
};
pub use bindings::bascule::plugin::types::{Fault, FaultKind, Header, RequestHead, ResponseHead};
pub use bindings::exports::bascule::plugin::classifier::{Classification, Quota, Verdict};
pub use bindings::exports::bascule::plugin::error_mapper::Cause;
pub use body::HostBody;
pub use crypto::KeyRule;
pub use error::{HostError, LoadError, PluginError, SourceError, TimeoutKind};
pub use grants::{GrantError, Grants};
pub use host::{HostConfig, PluginHost};
pub use inspect::{ArtifactKind, Description, ImportedInterface, Inspection};
pub use lasting::StateLimits;
pub use limits::{BreakerLimits, Limits};
pub use observer::{LogLevel, Observer, TracingObserver};
pub use phase::{Phase, WIT_TRACK};
pub use plugin::answer::{AuthPatch, MappedRequest, Mapping, OutgoingBody, Reply};
pub use plugin::load::PluginSpec;
pub use plugin::{Plugin, PluginId};
pub use random::{RandomError, RandomSource, SystemRandom};
pub use rehearsal::{
    Difference, Exchange, ExchangeError, REHEARSAL_MAX, Rehearsal, RehearsalError, Rehearsed,
};
pub use secret::{SecretBytes, SecretValue};
pub use side::{SideError, SideFuture, SideRequest, SideRequests, SideResponse};
pub use state::CallContext;
pub use token::{Token, Tokens};
