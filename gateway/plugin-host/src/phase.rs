//! The phases of a call that a plugin may take part in, and what is special about each.
//!
//! A phase is one exported interface of `bascule:plugin`; `lifecycle` is the one export that is none.

use std::fmt;
use std::time::Duration;

/// The track of the WIT package that this host speaks, as `major.minor`.
pub const WIT_TRACK: &str = "0.1";

/// A phase of a call. `lifecycle` is none: it runs when a plugin is loaded, never on the call path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Names the part of the cache key that depends on the input. Once per call, where caching is on.
    CachePolicy,
    /// Makes the outbound request from the operation's draft and the caller's input. Once per call.
    RequestMapper,
    /// Obtains a bearer token. Whenever the gateway holds none that is valid.
    TokenSource,
    /// Adds what authenticates a request. Once per attempt, last before the wire.
    Signer,
    /// Judges one answer of the provider. Once per attempt.
    Classifier,
    /// Makes the caller's answer from a success. Once per call.
    ResponseMapper,
    /// Makes the caller's fault when no attempt succeeded. Once per call.
    ErrorMapper,
}

impl Phase {
    /// All phases, in the order in which a call meets them.
    pub const ALL: [Self; 7] = [
        Self::CachePolicy,
        Self::RequestMapper,
        Self::TokenSource,
        Self::Signer,
        Self::Classifier,
        Self::ResponseMapper,
        Self::ErrorMapper,
    ];

    /// The name of the WIT interface, which is also the name in configuration, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CachePolicy => "cache-policy",
            Self::RequestMapper => "request-mapper",
            Self::TokenSource => "token-source",
            Self::Signer => "signer",
            Self::Classifier => "classifier",
            Self::ResponseMapper => "response-mapper",
            Self::ErrorMapper => "error-mapper",
        }
    }

    /// The phase of that name, if this version has it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == name)
    }

    /// CPU time that one call may use when the configuration names no limit.
    #[must_use]
    pub fn default_cpu(self) -> Duration {
        match self {
            Self::Signer | Self::Classifier | Self::CachePolicy => Duration::from_millis(20),
            Self::RequestMapper | Self::ResponseMapper | Self::ErrorMapper => Duration::from_millis(50),
            Self::TokenSource => Duration::from_millis(100),
        }
    }

    /// Whether the phase may read bodies without the grant `body-read`: the mappers and the cache policy,
    /// whose task it is.
    #[must_use]
    pub fn reads_bodies_by_nature(self) -> bool {
        !matches!(self, Self::Signer | Self::Classifier)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an instance was made for: a phase, a request that it serves by itself, or the checks at load time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Lifecycle,
    Phase(Phase),
    Backend,
}

impl From<Phase> for Hook {
    fn from(phase: Phase) -> Self {
        Self::Phase(phase)
    }
}

impl Hook {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Lifecycle => "lifecycle",
            Self::Phase(phase) => phase.as_str(),
            Self::Backend => "incoming-handler",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_phase() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_name(phase.as_str()), Some(phase));
        }
        assert_eq!(Phase::from_name("lifecycle"), None);
    }
}
