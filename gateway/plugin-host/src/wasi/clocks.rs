//! `wasi:clocks`: the instant of the call, moved by nothing but the guest's own waits.
//!
//! A wait is over as soon as it is asked for, and moves both clocks by its length. So a guest that sleeps
//! sees the time it slept, and a recorded call can be replayed. What stands still cannot be used to time
//! the host.

use std::time::{Duration, UNIX_EPOCH};

use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::state::State;

/// What both clocks say of their own precision: a millisecond, as if they were coarse.
const RESOLUTION: Duration = Duration::from_millis(1);

impl State {
    fn waited(&mut self) -> u64 {
        self.wasi().0.waited
    }
}

impl wall_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        // WASI has no time before 1970, and no call is made then.
        let now = self.call.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = now.saturating_add(Duration::from_nanos(self.waited()));
        Ok(wall_clock::Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: RESOLUTION.subsec_nanos() })
    }
}

impl monotonic_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.waited())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::from(RESOLUTION.subsec_nanos()))
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let (wasi, table) = self.wasi();
        wasi.waited = wasi.waited.max(when);
        let over = table.push(Over)?;
        subscribe(table, over)
    }

    fn subscribe_duration(&mut self, length: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let when = self.waited().saturating_add(length);
        self.subscribe_instant(when)
    }
}

/// A wait that is over.
struct Over;

#[wasmtime_wasi::async_trait]
impl Pollable for Over {
    async fn ready(&mut self) {}
}
