//! The cache's own word on an answer: a member of the field `Cache-Status` (RFC 9211).
//!
//! ```text
//! bascule; hit; ttl=512
//! bascule; fwd=stale; fwd-status=304; ttl=60; stored
//! bascule; hit; ttl=-30; detail=circuit-open
//! ```
//!
//! The decision: an answer is a hit or it was forwarded, so that is an enum, and what only goes with the latter is in it.
//! The parameter `key` is left out: keys are digests, and what is in them is nobody's business.

use std::fmt::{self, Write};

use http::StatusCode;

/// One member of `Cache-Status`, written by `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus<'a> {
    /// The name of the cache, a token.
    pub cache: &'a str,
    /// Where the answer came from.
    pub handling: Handling,
    /// Whole seconds until the answer is no longer fresh, where that is known; negative when it is stale.
    pub ttl: Option<i64>,
    /// More, such as why a stale answer was good enough.
    pub detail: Option<&'a str>,
}

/// Whether the origin was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// It was not, for this request.
    Hit,
    /// It was.
    Forwarded {
        /// Why.
        because: Forward,
        /// What it said, where that is not what the caller gets, as after a validation.
        status: Option<StatusCode>,
        /// Whether what it said was stored.
        stored: bool,
        /// Whether the request was not sent itself, but waited for another one's answer.
        collapsed: bool,
    },
}

impl fmt::Display for CacheStatus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cache)?;
        let (stored, collapsed) = match self.handling {
            Handling::Hit => {
                f.write_str("; hit")?;
                (false, false)
            }
            Handling::Forwarded { because, status, stored, collapsed } => {
                write!(f, "; fwd={because}")?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={}", status.as_u16())?;
                }
                (stored, collapsed)
            }
        };
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        for (set, name) in [(stored, "stored"), (collapsed, "collapsed")] {
            if set {
                write!(f, "; {name}")?;
            }
        }
        self.detail.map_or(Ok(()), |detail| write_detail(f, detail))
    }
}

/// A token as it is, else a string, without what neither can hold.
fn write_detail(f: &mut fmt::Formatter<'_>, detail: &str) -> fmt::Result {
    f.write_str("; detail=")?;
    let is_token = detail.starts_with(|first: char| first.is_ascii_alphabetic())
        && detail.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte));
    if is_token {
        return f.write_str(detail);
    }
    f.write_char('"')?;
    for letter in detail.chars().filter(|letter| matches!(letter, ' '..='~')) {
        if matches!(letter, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(letter)?;
    }
    f.write_char('"')
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(handling: Handling, ttl: Option<i64>, detail: Option<&str>, expected: &str) {
        let text = CacheStatus { cache: "bascule", handling, ttl, detail }.to_string();
        assert_eq!(text, expected);
        let list: sfv::List = sfv::Parser::new(&text).parse().unwrap();
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn is_written_as_a_structured_field() {
        let forwarded =
            |because, status, stored, collapsed| Handling::Forwarded { because, status, stored, collapsed };
        check(Handling::Hit, Some(512), None, "bascule; hit; ttl=512");
        check(Handling::Hit, Some(-30), Some("circuit-open"), "bascule; hit; ttl=-30; detail=circuit-open");
        check(
            forwarded(Forward::UriMiss, None, true, false),
            Some(60),
            None,
            "bascule; fwd=uri-miss; ttl=60; stored",
        );
        let validated = forwarded(Forward::Stale, Some(StatusCode::NOT_MODIFIED), true, true);
        check(validated, None, None, "bascule; fwd=stale; fwd-status=304; stored; collapsed");
        check(
            forwarded(Forward::Bypass, None, false, false),
            None,
            Some("a \"b\"\u{e9}\\"),
            r#"bascule; fwd=bypass; detail="a \"b\"\\""#,
        );
        check(Handling::Hit, None, Some(""), "bascule; hit; detail=\"\"");
    }
}
