//! `wasi:random`: the source and the grant of `bascule:plugin/random`, under WASI's names.
//!
//! The insecure variants are as good as the others: there is one source.

use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use crate::bindings::bascule::plugin::random::Host;
use crate::state::State;

impl State {
    fn octets(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        // Too much for a `u32` is too much for the host's own cap as well, which says so.
        self.bytes(u32::try_from(len).unwrap_or(u32::MAX))
    }

    fn number(&mut self) -> wasmtime::Result<u64> {
        Ok(self.octets(8)?.into_iter().fold(0, |number, octet| number << 8 | u64::from(octet)))
    }
}

impl random::Host for State {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.octets(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.number()
    }
}

impl insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.octets(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.number()
    }
}

impl insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.number()?, self.number()?))
    }
}
