//! The plugin as an exchange has it: the loaded code under test values, unheard and unseen.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use super::exchange::Exchange;
use crate::error::LoadError;
use crate::grants::{GrantError, Grants};
use crate::lasting::{Registry, StateLimits};
use crate::observer::{LogLevel, Observer};
use crate::plugin::Plugin;
use crate::plugin::load::{self, PluginSpec};
use crate::random::{RandomError, RandomSource};
use crate::secret::SecretBytes;
use crate::state::Shared;

/// An exchange that no plugin can be put on stage for.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    #[error("its grants: {0}")]
    Grant(#[from] GrantError),
    #[error("{0}")]
    Load(#[from] LoadError),
}

/// All phases that the code exports, whatever the configuration chose, under the exchange's own values and
/// the limits of the configuration.
pub(super) fn plugin(loaded: &Plugin, exchange: &Exchange) -> Result<Plugin, StageError> {
    let credentials = exchange.credentials.iter();
    let spec = PluginSpec {
        config: Value::Object(exchange.config.clone()),
        credentials: credentials
            .map(|(name, value)| (name.clone(), SecretBytes::from(value.as_str())))
            .collect(),
        grants: Grants::parse(exchange.grants.iter().map(String::as_str))?,
        attributes: exchange.attributes.clone(),
        limits: loaded.shared.limits.clone(),
        ..PluginSpec::new(loaded.name(), Vec::new())
    };
    let shared = Shared {
        observer: Arc::new(Unheard),
        random: Arc::new(Seeded::new(exchange.seed)),
        // What live calls keep is neither read nor changed.
        lasting: Registry::new(StateLimits::default()).of(loaded.name()),
        ..load::shared(&loaded.host, spec)?
    };
    Ok(loaded.with(shared))
}

/// A rehearsal is no call: nothing of it is counted or logged.
struct Unheard;

impl Observer for Unheard {
    fn log(&self, _: &str, _: &str, _: LogLevel, _: &str, _: &[(String, String)]) {}

    fn call(&self, _: &str, _: &str, _: Duration, _: Option<&'static str>) {}
}

/// SplitMix64: the same octets for the same seed on every machine, and for nothing but rehearsals.
struct Seeded(Mutex<u64>);

impl Seeded {
    fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl RandomSource for Seeded {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        let mut state = self.0.lock();
        for chunk in out.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            chunk.iter_mut().zip(mixed.to_le_bytes()).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_octets_of_the_published_generator() {
        let mut out = [0; 19];
        Seeded::new(1_234_567).fill(&mut out).unwrap();
        assert_eq!(out[..8], 6_457_827_717_110_365_317_u64.to_le_bytes());
        assert_eq!(out[8..16], 3_203_168_211_198_807_973_u64.to_le_bytes());
        assert_ne!(out[16..], [0; 3]);
    }
}
