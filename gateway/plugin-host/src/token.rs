//! Bearer tokens: what a token source obtains, and what secret inserts may put in without reading it.
//!
//! The gateway keeps tokens and says with each call which ones it holds; here they are only made and
//! looked up by their scope. A token is a secret like any credential: wiped when the last clone goes,
//! and never printed. Its copy in the guest's memory goes with the instance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::secret::SecretBytes;

/// What stands before the scope in the name of a secret insert.
const PREFIX: &str = "token:";

/// A token that a plugin obtained.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its text. Not empty, at most 16 KiB, of printable ASCII.
    pub value: SecretBytes,
    /// How long it lives, when the provider said so.
    pub expires_in: Option<Duration>,
}

/// The tokens that are held for a call, by scope. Cheap to clone; [`Default`] holds none.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Option<Arc<BTreeMap<String, SecretBytes>>>);

impl Tokens {
    /// The token for that scope.
    pub(crate) fn get(&self, scope: &str) -> Option<&SecretBytes> {
        self.0.as_ref()?.get(scope)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &SecretBytes> {
        self.0.iter().flat_map(|tokens| tokens.values())
    }
}

impl FromIterator<(String, SecretBytes)> for Tokens {
    fn from_iter<I: IntoIterator<Item = (String, SecretBytes)>>(tokens: I) -> Self {
        Self(Some(Arc::new(tokens.into_iter().collect())))
    }
}

/// The scope, if a secret insert of that name asks for a token.
pub(crate) fn scope_of(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX)
}
