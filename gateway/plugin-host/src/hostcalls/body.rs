//! `types`: bodies behind handles. Size and digest for everyone, octets only for those who may.

use bytes::Bytes;
use wasmtime::component::Resource;

use crate::bindings::bascule::plugin::types::{BodyError, FieldValue, Hash, Host, HostBody as HostBodyCalls};
use crate::body::{HostBody, Provenance};
use crate::secret::insert::InsertError;
use crate::state::{State, Stop};

impl Host for State {}

impl State {
    /// Puts a body that the guest made or fetched into its table; the octets count as its memory.
    pub(super) fn keep(
        &mut self,
        data: impl Into<Bytes>,
        provenance: Provenance,
    ) -> wasmtime::Result<Resource<HostBody>> {
        let data = data.into();
        let size = data.len() as u64;
        if size > self.shared.limits.body {
            return Err(Stop::Misuse("made a body larger than the limit `body`").into());
        }
        self.limiter.take(size)?;
        Ok(self.table.push(HostBody::made(data, provenance))?)
    }
}

impl HostBodyCalls for State {
    fn new(&mut self, data: Vec<u8>) -> wasmtime::Result<Resource<HostBody>> {
        self.keep(data, Provenance::Plugin)
    }

    fn size(&mut self, body: Resource<HostBody>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&body)?.size())
    }

    fn replayable(&mut self, body: Resource<HostBody>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&body)?.replayable())
    }

    fn read(&mut self, body: Resource<HostBody>) -> wasmtime::Result<Result<Vec<u8>, BodyError>> {
        let body = self.table.get(&body)?;
        if !self.may_read(body) {
            return Ok(Err(BodyError::Denied));
        }
        let limit = self.shared.limits.body;
        Ok(match body.octets() {
            None => Err(BodyError::NotReplayable),
            Some(data) if data.len() as u64 > limit => Err(BodyError::TooLarge(limit)),
            Some(data) => Ok(data.to_vec()),
        })
    }

    fn digest(
        &mut self,
        body: Resource<HostBody>,
        algorithm: Hash,
    ) -> wasmtime::Result<Result<Vec<u8>, BodyError>> {
        let body = self.table.get(&body)?;
        if body.provenance() == Provenance::Sealed && !algorithm.hides_its_input() {
            return Ok(Err(BodyError::Denied));
        }
        Ok(body.digest(algorithm).map(<[u8]>::to_vec).ok_or(BodyError::NotReplayable))
    }

    fn from_parts(&mut self, parts: Vec<FieldValue>) -> wasmtime::Result<Resource<HostBody>> {
        let (octets, secret) = self.secrets().join(&parts).map_err(|error| match error {
            InsertError::TooManyParts => Stop::Misuse("put too many parts into a body"),
            InsertError::Unknown { .. } => Stop::Misuse("put a secret that is not granted into a body"),
            InsertError::NoToken { .. } => Stop::Misuse("put a token that is not held into a body"),
        })?;
        let provenance = if secret { Provenance::Sealed } else { Provenance::Plugin };
        self.keep(octets.to_vec(), provenance)
    }

    fn drop(&mut self, body: Resource<HostBody>) -> wasmtime::Result<()> {
        self.table.delete(body)?;
        Ok(())
    }
}
