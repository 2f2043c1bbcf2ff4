//! `state`: entries of this plugin for the call's integration and credential profile.
//!
//! Without the grant, and at load time when no call is in progress, the store is empty and takes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bindings::bascule::plugin::state::{Entry, Host, StateError};
use crate::lasting::space::{Place, Refusal, Space};
use crate::phase::Hook;
use crate::state::State;

impl State {
    fn place(&mut self, key: String) -> Result<(Arc<Space>, Place), StateError> {
        if !self.shared.grants.state || self.hook == Hook::Lifecycle {
            return Err(StateError::Denied);
        }
        let space = match &self.space {
            Some(space) => Arc::clone(space),
            None => {
                let space = self.shared.lasting.space(&self.call.integration).ok_or(StateError::Full)?;
                Arc::clone(self.space.insert(space))
            }
        };
        Ok((space, Place { credential: Arc::clone(&self.call.credential), key: key.into() }))
    }
}

impl Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Entry>> {
        let Ok((space, place)) = self.place(key) else { return Ok(None) };
        let found = space.get(&place, Instant::now());
        Ok(found.map(|(value, version)| Entry { value: value.to_vec(), version }))
    }

    fn put(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u32>,
        if_version: Option<u64>,
    ) -> wasmtime::Result<Result<u64, StateError>> {
        Ok(self.place(key).and_then(|(space, place)| {
            Ok(space.put(place, value.into(), ttl(ttl_ms), if_version, Instant::now())?)
        }))
    }

    fn remove(&mut self, key: String) -> wasmtime::Result<()> {
        if let Ok((space, place)) = self.place(key) {
            space.remove(&place, Instant::now());
        }
        Ok(())
    }

    fn add(
        &mut self,
        key: String,
        delta: i64,
        ttl_ms: Option<u32>,
    ) -> wasmtime::Result<Result<i64, StateError>> {
        Ok(self
            .place(key)
            .and_then(|(space, place)| Ok(space.add(place, delta, ttl(ttl_ms), Instant::now())?)))
    }
}

fn ttl(millis: Option<u32>) -> Option<Duration> {
    millis.map(|millis| Duration::from_millis(millis.into()))
}

impl From<Refusal> for StateError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge => Self::TooLarge,
            Refusal::Full => Self::Full,
            Refusal::Conflict => Self::Conflict,
        }
    }
}
