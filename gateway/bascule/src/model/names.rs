//! Names of integrations, operations and shared breakers: validated once, cheap to clone, safe as metric labels.

use std::{borrow::Borrow, fmt, sync::Arc};

/// Longest name, in octets. Names are metric labels and file names; 64 keeps both readable.
const NAME_MAX: usize = 64;

/// A name that does not match `[A-Za-z][A-Za-z0-9_-]{0,63}`, or is reserved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text does not match the pattern.
    #[error("`{0}` is not a name: use a letter, then up to 63 letters, digits, `_` or `-`")]
    Malformed(String),
    /// `proxy` is the name under which `/proxy` calls are counted.
    #[error("an operation cannot be called `proxy`")]
    Reserved,
}

fn check(text: &str) -> Result<(), InvalidName> {
    let mut octets = text.bytes();
    let well_formed = octets.next().is_some_and(|first| first.is_ascii_alphabetic())
        && text.len() <= NAME_MAX
        && octets.all(|octet| octet.is_ascii_alphanumeric() || octet == b'_' || octet == b'-');
    if well_formed { Ok(()) } else { Err(InvalidName::Malformed(text.to_owned())) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The shared text, for places that keep it.
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// Name of an integration.
    IntegrationName
);
name!(
    /// Name of an operation within its integration.
    OperationName
);
name!(
    /// Name of a breaker that `bascule.toml` declares for sharing.
    BreakerName
);

impl IntegrationName {
    /// Validates an integration's name.
    ///
    /// # Errors
    /// [`InvalidName::Malformed`] when the text does not match the pattern.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

impl OperationName {
    /// Validates an operation's name.
    ///
    /// # Errors
    /// [`InvalidName`] when the text does not match the pattern or is `proxy`.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check(text)?;
        if text == "proxy" {
            return Err(InvalidName::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// The name under which calls through `/proxy` are counted and traced.
    pub fn proxy() -> Self {
        Self("proxy".into())
    }
}

impl BreakerName {
    /// Validates a breaker's name.
    ///
    /// # Errors
    /// [`InvalidName::Malformed`] when the text does not match the pattern.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern() {
        for good in ["a", "GitHubAPI", "get_user", "a-b", &"x".repeat(64)] {
            assert!(IntegrationName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "_a", "a.b", "a b", "ä", &"x".repeat(65)] {
            assert!(IntegrationName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn proxy_is_no_name_for_an_operation() {
        assert_eq!(OperationName::new("proxy"), Err(InvalidName::Reserved));
        assert!(IntegrationName::new("proxy").is_ok());
    }
}
