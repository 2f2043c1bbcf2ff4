//! `secrets`: the one way in which a credential's octets reach a guest, for those named in a grant.

use crate::bindings::bascule::plugin::secrets::Host;
use crate::state::State;

impl Host for State {
    fn reveal(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        if !self.shared.grants.reveal.contains(&name) {
            return Ok(None);
        }
        let secret = self.shared.vault.get(&name);
        Ok(secret.and_then(|secret| std::str::from_utf8(secret.expose()).ok()).map(str::to_owned))
    }
}
