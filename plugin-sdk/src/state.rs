//! Entries that last from call to call, for this plugin, integration and credential profile.
//!
//! Takes the grant `state`. Entries survive hot swaps, not restarts, and there is room for 1,024 of them
//! in 1 MiB: a place for cursors, nonces and counters, not a database. Instances run side by side, so what
//! depends on an entry's value goes through [`swap`] or [`add`].

use std::time::Duration;

use crate::Fault;
use crate::fault::millis;
use crate::generated::imports::bascule::plugin::state as host;

pub use host::{Entry, StateError, get, remove};

/// Stores a value, for `ttl` or for as long as the plugin is loaded, and gives its version.
///
/// # Errors
/// [`StateError::TooLarge`] for a key beyond 256 octets or a value beyond 64 KiB, [`StateError::Full`] when
/// there is no room, [`StateError::Denied`] without the grant and while no call is in progress.
pub fn put(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<u64, StateError> {
    host::put(key, value, ttl.map(millis), None)
}

/// Stores a value where there is none.
///
/// # Errors
/// [`StateError::Conflict`] when there is one, and those of [`put`].
pub fn insert(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<u64, StateError> {
    host::put(key, value, ttl.map(millis), Some(0))
}

/// Stores a value in the place of that version, which [`get`] or an earlier call told.
///
/// # Errors
/// [`StateError::Conflict`] when another version is there, and those of [`put`].
pub fn swap(key: &str, version: u64, value: &[u8], ttl: Option<Duration>) -> Result<u64, StateError> {
    host::put(key, value, ttl.map(millis), Some(version))
}

/// Adds to a counter and gives the sum. A counter that is not there begins at zero and lives for `ttl`;
/// one that is there keeps its time, so a window does not slide.
///
/// # Errors
/// [`StateError::Conflict`] when the entry is no counter or the sum is out of range, and those of [`put`].
pub fn add(key: &str, delta: i64, ttl: Option<Duration>) -> Result<i64, StateError> {
    host::add(key, delta, ttl.map(millis))
}

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        let (code, message) = match error {
            StateError::Denied => ("state-denied", "the grant `state` is missing, or no call is in progress"),
            StateError::TooLarge => ("state-too-large", "a key or value is larger than an entry may be"),
            StateError::Full => ("state-full", "the plugin's state has no room left"),
            StateError::Conflict => ("state-conflict", "the entry has changed meanwhile, or is no counter"),
        };
        Self::internal(code, message)
    }
}
