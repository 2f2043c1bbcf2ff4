//! `random`: octets from the source that the host was made with.

use crate::bindings::bascule::plugin::random::Host;
use crate::limits::RANDOM_BYTES_MAX;
use crate::state::{State, Stop};

impl Host for State {
    fn bytes(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        if !self.shared.grants.random {
            return Err(Stop::Misuse("the grant `random` is missing").into());
        }
        if len > RANDOM_BYTES_MAX {
            return Err(Stop::Misuse("asked for more than 64 KiB of random octets at a time").into());
        }
        let mut out = vec![0; len as usize];
        self.shared.random.fill(&mut out)?;
        Ok(out)
    }
}
