//! An answer on its way to the caller, and where it came from.

use bascule_cache::rfc9111::{CacheStatus as Member, Forward, Handling};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::combinators::BoxBody;
use std::{fmt, sync::Arc, time::Duration};

use super::Cause;

/// Why a body broke off.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer reset or truncated it.
    #[error("the body broke off: {0}")]
    Broken(Arc<str>),
    /// Nothing came for too long, or the whole took too long.
    #[error("the body stalled: {0} timeout")]
    TimedOut(super::TimeoutKind),
    /// It is larger than allowed.
    #[error("the body is larger than {0} octets")]
    TooLarge(u64),
}

/// A body that is passed through as it arrives.
pub type StreamBody = BoxBody<Bytes, BodyError>;

/// A body.
pub enum Payload {
    /// All of it, in memory.
    Full(Bytes),
    /// As it arrives.
    Stream(StreamBody),
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(bytes) => write!(f, "Full({} octets)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// Which rung of the ladder answered: `Bascule-Source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The provider.
    Upstream,
    /// A fresh entry of the cache.
    Cache,
    /// An expired entry of the cache.
    Stale,
    /// Another caller's fetch of the same thing.
    Coalesced,
    /// A plugin, without the provider.
    Plugin,
    /// A fallback operation, as `integration.operation`.
    Operation(Arc<str>),
    /// A declared default.
    Default,
    /// Nobody yet: the call is in the outbox.
    Queued,
}

impl Source {
    /// The kind of rung, without the operation's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Cache => "cache",
            Self::Stale => "stale",
            Self::Coalesced => "coalesced",
            Self::Plugin => "plugin",
            Self::Operation(_) => "operation",
            Self::Default => "default",
            Self::Queued => "queued",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(name) => write!(f, "operation:{name}"),
            other => f.write_str(other.kind()),
        }
    }
}

/// `Cache-Status` (RFC 9211).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// Answered from the cache.
    Hit {
        /// Seconds of freshness left; negative when stale.
        ttl: i64,
        /// Why a stale entry was good enough.
        detail: Option<Cause>,
    },
    /// Fetched, because nothing usable was there.
    Miss {
        /// Whether the answer was stored.
        stored: bool,
        /// Whether it was another caller's fetch.
        collapsed: bool,
    },
    /// Fetched, because the caller skipped the cache.
    Bypass,
    /// Fetched, for a reason of HTTP's.
    Forwarded {
        /// Why the store did not do.
        because: Forward,
        /// The provider's status, where the caller gets another.
        status: Option<StatusCode>,
        /// Whether the answer was stored.
        stored: bool,
        /// Whether it was another caller's fetch.
        collapsed: bool,
        /// Why the stored answer had to do after all.
        detail: Option<Cause>,
    },
}

impl CacheStatus {
    fn parts(&self) -> (Handling, Option<i64>, Option<Cause>) {
        let forwarded = |because, status, stored, collapsed| Handling::Forwarded {
            // One word for both, as the contract has it.
            because: if because == Forward::UriMiss { Forward::Miss } else { because },
            status,
            stored,
            collapsed,
        };
        match *self {
            Self::Hit { ttl, detail } => (Handling::Hit, Some(ttl), detail),
            Self::Miss { stored, collapsed } => {
                (forwarded(Forward::Miss, None, stored, collapsed), None, None)
            }
            Self::Bypass => (forwarded(Forward::Bypass, None, false, false), None, None),
            Self::Forwarded { because, status, stored, collapsed, detail } => {
                (forwarded(because, status, stored, collapsed), None, detail)
            }
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (handling, ttl, detail) = self.parts();
        Member { cache: "bascule", handling, ttl, detail: detail.map(Cause::as_str) }.fmt(f)
    }
}

/// What a caller gets.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers without hop-by-hop ones.
    pub headers: HeaderMap,
    /// The body.
    pub body: Payload,
    /// Where it came from.
    pub source: Source,
    /// What the cache had to do with it; none where no cache applies.
    pub cache: Option<CacheStatus>,
    /// Its age, when it came from the cache.
    pub age: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_status_follows_the_contract() {
        let show = |status: CacheStatus| status.to_string();
        assert_eq!(show(CacheStatus::Hit { ttl: 512, detail: None }), "bascule; hit; ttl=512");
        assert_eq!(
            show(CacheStatus::Hit { ttl: -30, detail: Some(Cause::CircuitOpen) }),
            "bascule; hit; ttl=-30; detail=circuit-open"
        );
        assert_eq!(show(CacheStatus::Miss { stored: true, collapsed: false }), "bascule; fwd=miss; stored");
        assert_eq!(show(CacheStatus::Bypass), "bascule; fwd=bypass");
        let forwarded = |because, status, stored| CacheStatus::Forwarded {
            because,
            status,
            stored,
            collapsed: false,
            detail: None,
        };
        assert_eq!(show(forwarded(Forward::UriMiss, None, true)), "bascule; fwd=miss; stored");
        assert_eq!(
            show(forwarded(Forward::Stale, Some(StatusCode::NOT_MODIFIED), true)),
            "bascule; fwd=stale; fwd-status=304; stored"
        );
    }
}
