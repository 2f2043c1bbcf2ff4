//! `crypto`: digests, and keys that a plugin can use and not read.
//!
//! A secret is granted by being named in `credentials`; one that is not does not exist for the plugin.

use wasmtime::component::Resource;

use crate::bindings::bascule::plugin::crypto::{CryptoError, Encoding, Host, HostKey, SignatureAlgorithm};
use crate::bindings::bascule::plugin::types::{FieldValue, Hash};
use crate::body::HostBody;
use crate::crypto::tree::Root;
use crate::crypto::{Key, KeyKind, hash};
use crate::secret::insert::InsertError;
use crate::state::{State, Stop};

/// What a call gives: an answer for the guest inside, the end of the guest outside.
type Answer<T> = wasmtime::Result<Result<T, CryptoError>>;

impl Host for State {
    fn hash_bytes(&mut self, algorithm: Hash, data: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        Ok(hash::digest(algorithm, &data))
    }

    fn hash_parts(&mut self, algorithm: Hash, parts: Vec<FieldValue>) -> Answer<Vec<u8>> {
        if !algorithm.hides_its_input() {
            return Ok(Err(CryptoError::Unsupported));
        }
        Ok(match self.secrets().join(&parts) {
            Ok((octets, _secret)) => Ok(hash::digest(algorithm, &octets)),
            Err(InsertError::Unknown { .. } | InsertError::NoToken { .. }) => Err(CryptoError::UnknownKey),
            Err(InsertError::TooManyParts) => Err(CryptoError::Unsupported),
        })
    }

    fn equal(&mut self, a: Vec<u8>, b: Vec<u8>) -> wasmtime::Result<bool> {
        Ok(aws_lc_rs::constant_time::verify_slices_are_equal(&a, &b).is_ok())
    }
}

impl HostKey for State {
    fn open(&mut self, name: String, encoding: Encoding, prefix: Vec<u8>) -> Answer<Resource<Key>> {
        if self.keys_opened >= self.shared.limits.key_opens {
            return Err(Stop::Misuse("opened more keys than the limit `key_opens`").into());
        }
        self.keys_opened += 1;
        let Some(secret) = self.shared.vault.get(&name) else {
            return Ok(Err(CryptoError::UnknownKey));
        };
        let kind = match self.shared.keys.open(&name, secret.expose(), encoding, &prefix) {
            Ok(Root::Symmetric(node)) => KeyKind::Symmetric { node, depth: 0, prefixed: !prefix.is_empty() },
            Ok(Root::Asymmetric(key)) => KeyKind::Asymmetric(key),
            Err(error) => return Ok(Err(error)),
        };
        let key = Key { kind, rule: secret.rule() };
        Ok(Ok(self.table.push(key)?))
    }

    fn derive(&mut self, key: Resource<Key>, algorithm: Hash, data: Vec<u8>) -> Answer<Resource<Key>> {
        match self.table.get(&key)?.derive(&self.shared.keys, algorithm, &data) {
            Ok(derived) => Ok(Ok(self.table.push(derived)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn derive_path(
        &mut self,
        key: Resource<Key>,
        algorithm: Hash,
        steps: Vec<Vec<u8>>,
    ) -> Answer<Resource<Key>> {
        match self.table.get(&key)?.derive_path(&self.shared.keys, algorithm, &steps) {
            Ok(derived) => Ok(Ok(self.table.push(derived)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn mac(&mut self, key: Resource<Key>, algorithm: Hash, data: Vec<u8>) -> Answer<Vec<u8>> {
        Ok(self.table.get(&key)?.mac(algorithm, &data, None))
    }

    fn mac_body(
        &mut self,
        key: Resource<Key>,
        algorithm: Hash,
        lead: Vec<u8>,
        body: Resource<HostBody>,
    ) -> Answer<Vec<u8>> {
        let body = self.table.get(&body)?;
        Ok(self.table.get(&key)?.mac(algorithm, &lead, Some(body)))
    }

    fn sign(&mut self, key: Resource<Key>, algorithm: SignatureAlgorithm, data: Vec<u8>) -> Answer<Vec<u8>> {
        Ok(self.table.get(&key)?.sign(algorithm, &data))
    }

    fn drop(&mut self, key: Resource<Key>) -> wasmtime::Result<()> {
        self.table.delete(key)?;
        Ok(())
    }
}
