//! Why a request went to the origin, in the words of `Cache-Status` (RFC 9211 §2.2).
//!
//! It does not write the field: what else is in it (`stored`, `collapsed`, `ttl`) is known to whoever answers.

use std::fmt;

/// The value of the parameter `fwd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The cache was told not to take part.
    Bypass,
    /// Answers to this method are not stored.
    Method,
    /// Nothing is stored for the URI.
    UriMiss,
    /// Something is stored for the URI, but not for this request (`Vary`).
    VaryMiss,
    /// One of the two.
    Miss,
    /// What is stored was fresh, but the request wanted it validated.
    Request,
    /// What is stored was not fresh any more.
    Stale,
    /// A part was asked for, and another one is stored.
    Partial,
}

impl Forward {
    /// The token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
